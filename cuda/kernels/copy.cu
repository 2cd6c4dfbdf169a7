// copy on CUDA. Contract: cpp/ops/copy.h
// Memory bound: 2 elements moved per element; dense copies of one type are the copy engine's.
#include "cpp/ops/copy.h"
#include "cuda/kernels/strided.cuh"

namespace lc::cuda {
namespace {

template <class D, class S> __device__ __forceinline__ D convert(S x) {
    if constexpr (std::is_same_v<D, bool>) return widen(x) != 0;
    else if constexpr (std::is_same_v<D, bfloat16> || std::is_same_v<D, float16>) return narrow<D>(float(widen(x)));
    else return D(widen(x));
}

template <class S> struct Move {
    __device__ __forceinline__ S operator()(const S (&x)[1]) const { return x[0]; }
};

template <class S> __global__ __launch_bounds__(kMapThreads) void fill_kernel(S* y, S value, Strided<1> s) {
    const int64_t i = int64_t(blockIdx.x) * kMapThreads + threadIdx.x;
    if (i < s.numel) y[locate(s, i).at[0]] = value;
}

template <class D, class S> __device__ __forceinline__ void convert_four(void* y, int64_t at, const Vec<S, 4>& x) {
    Vec<D, 4> out;
    for (int i = 0; i < 4; ++i) out.x[i] = convert<D>(x.x[i]);
    *reinterpret_cast<Vec<D, 4>*>(static_cast<D*>(y) + at) = out;
}

// f<D>() for the type of a dtype: the target type is chosen at run time, or there would be 64 kernels.
template <class F> __device__ __forceinline__ void with_type(DType t, F f) {
    switch (t) {
        case DType::float32: return f(float{});
        case DType::float64: return f(double{});
        case DType::bfloat16: return f(bfloat16{});
        case DType::float16: return f(float16{});
        case DType::int64: return f(int64_t{});
        case DType::int32: return f(int32_t{});
        case DType::uint8: return f(uint8_t{});
        case DType::bool_: return f(bool{});
    }
}

template <class S> __global__ __launch_bounds__(kMapThreads) void convert_kernel(CopyForward<S> a, bool dense) {
    const int64_t i = int64_t(blockIdx.x) * kMapThreads + threadIdx.x;
    if (dense && 4 * i + 4 <= a.walk.numel) {
        const Vec<S, 4> x = *reinterpret_cast<const Vec<S, 4>*>(a.x + 4 * i);
        return with_type(a.to, [&](auto type) { convert_four<decltype(type)>(a.y, 4 * i, x); });
    }
    const int64_t begin = dense ? 4 * i : i, end = dense ? a.walk.numel : i + 1;
    for (int64_t j = begin; j < end && j < a.walk.numel; ++j) {
        const Offsets<2> o = locate(a.walk, j);
        with_type(a.to, [&](auto type) { static_cast<decltype(type)*>(a.y)[o.at[0]] = convert<decltype(type)>(a.x[o.at[1]]); });
    }
}

}  // namespace

template <class S> void copy_forward(const CopyForward<S>& a) {
    if (a.walk.numel == 0) return;
    if (a.to == dtype_of<S>) {
        if (a.walk.rank == 1 && a.walk.stride[0][0] == 1 && a.walk.stride[1][0] == 1)
            return copy_on_device(a.y, a.x, size_t(a.walk.numel) * sizeof(S));
        return map<S, S, 1>("copy", static_cast<S*>(a.y), {{a.x}}, a.walk, Move<S>{});
    }
    const bool dense = a.walk.rank == 1 && a.walk.stride[0][0] == 1 && a.walk.stride[1][0] == 1 && aligned(a.x, 4 * int(sizeof(S))) && aligned(a.y, 4 * int(item_size(a.to)));
    launch("copy", convert_kernel<S>, {Blocks(div_up(a.walk.numel, dense ? 4 * kMapThreads : kMapThreads)), dim3(kMapThreads)}, a, dense);
}

template <class S> void fill_forward(const FillForward<S>& a) {
    if (a.walk.numel > 0)
        launch("fill", fill_kernel<S>, thread_each(a.walk.numel, kMapThreads), a.y, a.value, a.walk);
}

template void fill_forward(const FillForward<uint8_t>&);
template void fill_forward(const FillForward<bfloat16>&);
template void fill_forward(const FillForward<int32_t>&);
template void fill_forward(const FillForward<int64_t>&);
template void copy_forward(const CopyForward<float>&);
template void copy_forward(const CopyForward<double>&);
template void copy_forward(const CopyForward<bfloat16>&);
template void copy_forward(const CopyForward<float16>&);
template void copy_forward(const CopyForward<int64_t>&);
template void copy_forward(const CopyForward<int32_t>&);
template void copy_forward(const CopyForward<uint8_t>&);
template void copy_forward(const CopyForward<bool>&);

}  // namespace lc::cuda
