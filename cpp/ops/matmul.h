// matmul: y = a b over the last two axes, batch axes broadcast; PyTorch's rules for 1-d operands.
//
//   forward    y[i, j]  = sum_k a[i, k] b[k, j]
//   backward   da[i, k] = sum_j dy[i, j] b[k, j]          db[k, j] = sum_i a[i, k] dy[i, j]
//              summed over the batch axes an operand was broadcast along
//
// Operands may have any strides: a transposed one is not copied. Sums are kept in acc_t<T>, in one order fixed by k
// (matmul_plan.h: k_block), so a row of y has the same bits whatever m, its place in the batch and the thread count.
// Saved: a, b. No output aliases an input.
#pragma once
#include "cpp/core/cpu_kernel.h"
#include "cpp/core/cuda_kernel.h"
#include "cpp/core/tensor.h"
#include "cpp/ops/matmul_plan.h"

namespace lc {

// What is done to a finished sum; linear_backward undoes it from the value before.
enum class Activation : uint8_t { none,
                                  relu,
                                  gelu,
                                  gelu_tanh,
                                  silu,
                                  sigmoid,
                                  tanh };

// y[i, j] = act(sum_k a[i, k] b[k, j] + bias[j]), for every entry of a batch. On CUDA also that plus residual[i, j], or
// (sum_k a[i, k] b[k, j]) act'(slope_of[i, j]): the CPU's bandwidth leaves these to passes of their own.
template <class T> struct MatmulForward {
    const T *a, *b;
    T* y;
    int64_t batch, m, n, k;
    int64_t a_row, a_depth, b_depth, b_col, y_row;                // strides; y's columns are adjacent
    int64_t a_batch, b_batch, y_batch;                            // strides between batch entries,
    const int64_t *a_offsets, *b_offsets;                         // or where each entry begins, if not null
    const T* bias;                                                // [n] or null
    T* before;                                                    // [batch, m, n] as y: the sum with its bias; or null
    const T *residual, *slope_of;                                 // [batch, m, n] as y, or null; slope_of: what linear.h saves
    Activation activation;
    bool add;                                                     // y += instead, of float32 or float64; without bias and activation
    MatmulPlan plan;
};

}  // namespace lc
LC_CPU_KERNEL(matmul_forward, MatmulForward)
LC_CUDA_KERNEL(matmul_forward, MatmulForward)
namespace lc {

LC_API Tensor matmul(const Tensor& a, const Tensor& b);
LC_API Tensor mm(const Tensor& a, const Tensor& b);               // 2-d only
LC_API Tensor bmm(const Tensor& a, const Tensor& b);              // 3-d only, no broadcasting
LC_API Tensor mv(const Tensor& a, const Tensor& v);
LC_API Tensor dot(const Tensor& a, const Tensor& b);
LC_API Tensor outer(const Tensor& a, const Tensor& b);
LC_API Tensor addmm(const Tensor& x, const Tensor& a, const Tensor& b, double beta, double alpha);   // beta x + alpha a b
LC_API Tensor baddbmm(const Tensor& x, const Tensor& a, const Tensor& b, double beta, double alpha);

namespace detail {

// One 2-d operand: element (i, j) is data[i * row + j * col].
struct Matrix {
    const void* data;
    int64_t row, col;
};

// y[m, n] = a b (or y += a b) without checks or history, for ops made of products. y's columns are adjacent.
struct Product {
    Matrix a, b;
    void* y;
    int64_t y_row, m, n, k;
    bool add = false;
    const void* bias = nullptr;
    void* before = nullptr;
    const void *residual = nullptr, *slope_of = nullptr;          // on CUDA
    Activation activation = Activation::none;
};
LC_API void multiply(DType dtype, const Product& p, Device device = {});

// a b as matmul defines it, without history.
LC_API Tensor product(const char* op, const Tensor& a, const Tensor& b);

}  // namespace detail

inline int64_t matmul_flops(int64_t batch, int64_t m, int64_t n, int64_t k) { return 2 * batch * m * n * k; }
inline int64_t matmul_bytes(int64_t batch, int64_t m, int64_t n, int64_t k, DType dtype) {
    return batch * (m * k + k * n + m * n) * int64_t(item_size(dtype));
}

}  // namespace lc
