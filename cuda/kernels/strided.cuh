// Elementwise kernels: y[i] = f(x0[i], x1[i], ...) over operands of any strides, one kernel for dense memory in 16-byte
// packs, one for the rest. Memory bound: every operand is read or written once.
#pragma once
#include "cpp/core/strided.h"
#include "cuda/arch/convert.cuh"
#include "cuda/core/launch.h"

namespace lc::cuda {

constexpr int kMapThreads = 256;

template <class T, int n> struct alignas(sizeof(T) * n) Vec {
    T x[n];
};
template <class T, int n> struct Inputs {
    const T* x[n];
};
template <int N> struct Offsets {
    int64_t at[N];
};

// Where every operand has element i of the walk.
template <int N> __device__ __forceinline__ Offsets<N> locate(const Strided<N>& s, int64_t i) {
    Offsets<N> o{};
    for (int d = s.rank - 1; d > 0; --d) {
        int64_t index;
        if (s.numel < int64_t(1) << 31) {             // 64-bit division takes ten times as long
            index = int64_t(uint32_t(i) % uint32_t(s.size[d]));
            i = int64_t(uint32_t(i) / uint32_t(s.size[d]));
        } else {
            index = i % s.size[d];
            i /= s.size[d];
        }
        for (int k = 0; k < N; ++k) o.at[k] += index * s.stride[k][d];
    }
    for (int k = 0; k < N; ++k) o.at[k] += i * s.stride[k][0];
    return o;
}

// ---- device -----------------------------------------------------------------------------------------------------------

// step[k] is 1, or 0 for an operand that is one element. `whole` packs, then a tail of single elements.
template <class Out, class In, int kIn, class F>
__global__ __launch_bounds__(kMapThreads) void map_dense(Out* y, Inputs<In, kIn> in, int64_t n, unsigned steps, F f) {
    constexpr int kPack = 16 / int(sizeof(In) > sizeof(Out) ? sizeof(In) : sizeof(Out));
    const int64_t pack = int64_t(blockIdx.x) * kMapThreads + threadIdx.x, begin = pack * kPack;
    if (begin >= n) return;
    if (begin + kPack > n) {
        for (int64_t i = begin; i < n; ++i) {
            In v[kIn];
            for (int k = 0; k < kIn; ++k) v[k] = in.x[k][steps >> k & 1 ? i : 0];
            y[i] = f(v);
        }
        return;
    }
    Vec<In, kPack> x[kIn];
    for (int k = 0; k < kIn; ++k) {
        if (steps >> k & 1) {
            x[k] = *reinterpret_cast<const Vec<In, kPack>*>(in.x[k] + begin);
        } else {
            const In one = in.x[k][0];
            for (int i = 0; i < kPack; ++i) x[k].x[i] = one;
        }
    }
    Vec<Out, kPack> out;
#pragma unroll
    for (int i = 0; i < kPack; ++i) {
        In v[kIn];
        for (int k = 0; k < kIn; ++k) v[k] = x[k].x[i];
        out.x[i] = f(v);
    }
    *reinterpret_cast<Vec<Out, kPack>*>(y + begin) = out;
}

template <class Out, class In, int kIn, class F>
__global__ __launch_bounds__(kMapThreads) void map_strided(Out* y, Inputs<In, kIn> in, Strided<kIn + 1> s, F f) {
    const int64_t i = int64_t(blockIdx.x) * kMapThreads + threadIdx.x;
    if (i >= s.numel) return;
    const Offsets<kIn + 1> o = locate(s, i);
    In v[kIn];
    for (int k = 0; k < kIn; ++k) v[k] = in.x[k][o.at[k + 1]];
    y[o.at[0]] = f(v);
}

// ---- host -------------------------------------------------------------------------------------------------------------

inline bool aligned(const void* p, int bytes) { return reinterpret_cast<uintptr_t>(p) % uintptr_t(bytes) == 0; }

// y = f(inputs) over the walk, whose operand 0 is y.
template <class Out, class In, int kIn, class F> void map(const char* name, Out* y, const Inputs<In, kIn>& in, const Strided<kIn + 1>& s, const F& f) {
    if (s.numel == 0) return;
    constexpr int kPack = 16 / int(sizeof(In) > sizeof(Out) ? sizeof(In) : sizeof(Out));
    bool dense = s.rank == 1 && s.stride[0][0] == 1 && aligned(y, kPack * int(sizeof(Out)));
    unsigned steps = 0;
    for (int k = 0; k < kIn; ++k) {
        const int64_t step = s.stride[k + 1][0];
        dense = dense && (step == 0 || (step == 1 && aligned(in.x[k], kPack * int(sizeof(In)))));
        steps |= unsigned(step != 0) << k;
    }
    const int64_t per_block = dense ? kMapThreads * kPack : kMapThreads;
    const Grid grid{Blocks(div_up(s.numel, per_block)), dim3(kMapThreads)};
    if (dense) launch(name, map_dense<Out, In, kIn, F>, grid, y, in, s.numel, steps, f);
    else launch(name, map_strided<Out, In, kIn, F>, grid, y, in, s, f);
}

}  // namespace lc::cuda
