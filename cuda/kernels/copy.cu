// copy on CUDA. Contract: cpp/ops/copy.h
// Memory bound: 2 elements moved per element; dense copies of one type are the copy engine's.
#include <optional>
#include "cpp/ops/copy.h"
#include "cuda/arch/shared.cuh"
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

// ---- transposed copies ------------------------------------------------------------------------------------------------

constexpr int kEdge = 32, kLines = kMapThreads / kEdge;
constexpr int64_t kWorthTiles = 8;                   // lines shorter than that are not worth a tile

template <class S> struct Tile {
    S x[kEdge][kEdge + (sizeof(S) < 4 ? 4 / sizeof(S) : 1)];       // more of a line sends neighbours to other banks
};

// x is dense along one dimension, `rows`, y along another, `cols`; the walk is over the rest of them.
struct Turned {
    Strided<2> rest;
    int64_t rows, cols, y_row, x_col;                 // sizes; the strides that are not 1
};

// Squares, read along the one and written along the other.
template <class S> __global__ __launch_bounds__(kMapThreads) void turn_kernel(S* y, const S* x, Turned t) {
    auto& tile = shared_memory<Tile<S>>();
    const int64_t across = div_up(t.cols, kEdge), down = div_up(t.rows, kEdge), square = int64_t(blockIdx.x) % (across * down);
    const Offsets<2> o = locate(t.rest, int64_t(blockIdx.x) / (across * down));
    const int64_t col0 = square % across * kEdge, row0 = square / across * kEdge;
    const int i = int(threadIdx.x) % kEdge, line = int(threadIdx.x) / kEdge;
#pragma unroll
    for (int j = line; j < kEdge; j += kLines)
        if (row0 + i < t.rows && col0 + j < t.cols) tile.x[j][i] = x[o.at[1] + row0 + i + (col0 + j) * t.x_col];
    __syncthreads();
#pragma unroll
    for (int j = line; j < kEdge; j += kLines)
        if (row0 + j < t.rows && col0 + i < t.cols) y[o.at[0] + (row0 + j) * t.y_row + col0 + i] = tile.x[i][j];
}

// The walk as such squares, if it is one of them.
std::optional<Turned> turned(const Strided<2>& s) {
    const int last = s.rank - 1;
    if (s.stride[0][last] != 1 || s.stride[1][last] == 1 || s.size[last] < kWorthTiles) return {};
    for (int d = 0; d < last; ++d) {
        if (s.stride[1][d] != 1 || s.size[d] < kWorthTiles) continue;
        Turned t{s, s.size[d], s.size[last], s.stride[0][d], s.stride[1][last]};
        t.rest.numel = s.numel / (t.rows * t.cols);
        for (const int gone : {d, last}) {
            t.rest.size[gone] = 1;
            t.rest.stride[0][gone] = t.rest.stride[1][gone] = 0;
        }
        return t;
    }
    return {};
}

}  // namespace

template <class S> void copy_forward(const CopyForward<S>& a) {
    if (a.walk.numel == 0) return;
    if (a.to == dtype_of<S>) {
        if (a.walk.rank == 1 && a.walk.stride[0][0] == 1 && a.walk.stride[1][0] == 1)
            return copy_on_device(a.y, a.x, size_t(a.walk.numel) * sizeof(S));
        if (const auto t = turned(a.walk)) {
            const int64_t squares = t->rest.numel * div_up(t->cols, kEdge) * div_up(t->rows, kEdge);
            return launch("copy", turn_kernel<S>, {Blocks(squares), dim3(kMapThreads), shared_bytes<Tile<S>>}, static_cast<S*>(a.y), a.x, *t);
        }
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
