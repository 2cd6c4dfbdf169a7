// linear_backward on CUDA: dz = dy act'(z) and db = sum of its rows. Contract: cpp/ops/linear.h
// Memory bound: dz moves 3 elements per element; db reads it once more.
#include "cpp/ops/linear.h"
#include "cpp/ops/copy.h"
#include "cpp/ops/reduce.h"
#include "cuda/kernels/matmul_epilogue.cuh"
#include "cuda/kernels/strided.cuh"

namespace lc::cuda {
namespace {

template <class T> struct Backward {
    Activation activation;
    __device__ __forceinline__ T operator()(const T (&x)[2]) const { return narrow<T>(widen(x[0]) * slope<acc_t<T>>(activation, widen(x[1]))); }
};

template <int N> Strided<N> flat(int64_t n) {
    Strided<N> s{};
    s.numel = s.size[0] = n;
    s.rank = 1;
    for (int k = 0; k < N; ++k) s.stride[k][0] = 1;
    return s;
}

}  // namespace

template <class T> void linear_backward(const LinearBackward<T>& a) {
    const int64_t n = a.rows * a.cols;
    if (a.dz) map<T, T, 2>("linear_backward", a.dz, {{a.dy, a.saved}}, flat<3>(n), Backward<T>{a.activation});
    if (!a.db || a.cols == 0) return;
    const T* dz = a.dz ? a.dz : a.dy;
    if (a.rows == 0) return fill_bytes(a.db, 0, size_t(a.cols) * sizeof(T), {Device::Type::cuda, int8_t(device_in_use())});
    if constexpr (sizeof(T) == sizeof(acc_t<T>)) {
        reduce_forward<T>({ReduceOp::sum, 1, a.rows, a.cols, dz, nullptr, a.db});
    } else {
        const Scratch<float> sums(a.cols);
        reduce_forward<T>({ReduceOp::sum, 1, a.rows, a.cols, dz, nullptr, sums.data()});
        copy_forward<float>({sums.data(), a.db, dtype_of<T>, flat<2>(a.cols)});
    }
}

template void linear_backward(const LinearBackward<float>&);
template void linear_backward(const LinearBackward<double>&);
template void linear_backward(const LinearBackward<bfloat16>&);
template void linear_backward(const LinearBackward<float16>&);

}  // namespace lc::cuda
