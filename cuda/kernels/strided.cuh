// Elementwise kernels: y[i] = f(x0[i], x1[i], ...) over operands of any strides, one kernel for rows in 16-byte packs,
// one for the rest. Memory bound: every operand is read or written once.
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

// Where every operand has element i of the walk. kSmall: the caller knows that a walk of several dimensions has fewer than
// 2^31 elements; the code of a 64-bit division would cost it registers.
template <bool kSmall = false, int N> __device__ __forceinline__ Offsets<N> locate(const Strided<N>& s, int64_t i) {
    Offsets<N> o{};
    for (int d = s.rank - 1; d > 0; --d) {
        int64_t index;
        if (kSmall || s.numel < int64_t(1) << 31) {             // 64-bit division takes ten times as long
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

template <class Out, class In> constexpr int kPackOf = 16 / int(sizeof(In) > sizeof(Out) ? sizeof(In) : sizeof(Out));

// The walk is over packs along the last dimension. step[k] is 1 where operand k is dense there, 0 where it is one element.
// n: elements; of a walk of one dimension some may be left after the whole packs.
template <class Out, class In, int kIn, class F>
__global__ __launch_bounds__(kMapThreads) void map_packs(Out* y, Inputs<In, kIn> in, Strided<kIn + 1> s, int64_t n, unsigned steps, F f) {
    constexpr int kPack = kPackOf<Out, In>;
    const int64_t pack = int64_t(blockIdx.x) * kMapThreads + threadIdx.x;
    if (pack > s.numel) return;
    if (pack == s.numel) {
        for (int64_t i = pack * kPack; i < n; ++i) {
            In v[kIn];
            for (int k = 0; k < kIn; ++k) v[k] = in.x[k][steps >> k & 1 ? i : 0];
            y[i] = f(v);
        }
        return;
    }
    const Offsets<kIn + 1> o = locate<true>(s, pack);
    Vec<In, kPack> x[kIn];
    for (int k = 0; k < kIn; ++k) {
        const In* from = in.x[k] + o.at[k + 1];
        if (steps >> k & 1) {
            x[k] = *reinterpret_cast<const Vec<In, kPack>*>(from);
        } else {
            const In one = *from;
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
    *reinterpret_cast<Vec<Out, kPack>*>(y + locate<true>(s, opaque(pack)).at[0]) = out;      // found again: kept, it would be spilled
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

// Can operand k, at p, be walked in packs of n along the last dimension, or (`one`) is it a single element there?
template <int N> bool in_packs(const Strided<N>& s, int k, const void* p, int item, int n, bool& one) {
    const int last = s.rank - 1;
    one = s.stride[k][last] == 0;
    bool fits = one || (s.stride[k][last] == 1 && aligned(p, n * item));
    for (int d = 0; d < last && !one; ++d) fits = fits && s.stride[k][d] % n == 0;
    return fits;
}

// y = f(inputs) over the walk, whose operand 0 is y.
template <class Out, class In, int kIn, class F> void map(const char* name, Out* y, const Inputs<In, kIn>& in, const Strided<kIn + 1>& s, const F& f) {
    if (s.numel == 0) return;
    constexpr int kPack = kPackOf<Out, In>;
    const int last = s.rank - 1;
    bool one, packs = in_packs(s, 0, y, int(sizeof(Out)), kPack, one) && !one && (s.rank == 1 || (s.size[last] % kPack == 0 && s.numel / kPack < int64_t(1) << 31));
    unsigned steps = 0;
    for (int k = 0; k < kIn && packs; ++k) {
        packs = in_packs(s, k + 1, in.x[k], int(sizeof(In)), kPack, one);
        steps |= unsigned(!one) << k;
    }
    if (!packs) return launch(name, map_strided<Out, In, kIn, F>, thread_each(s.numel, kMapThreads), y, in, s, f);
    Strided<kIn + 1> of_packs = s;
    of_packs.numel /= kPack;
    of_packs.size[last] /= kPack;
    for (auto& stride : of_packs.stride) stride[last] *= kPack;
    launch(name, map_packs<Out, In, kIn, F>, thread_each(div_up(s.numel, kPack), kMapThreads), y, in, of_packs, s.numel, steps, f);
}

}  // namespace lc::cuda
