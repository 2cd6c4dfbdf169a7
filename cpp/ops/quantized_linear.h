// quantized_linear: linear with a frozen weight kept in 8 or 4 bits. quantize_weight and dequantize_weight are the way there
// and back.
//
//   scale[j, g] = max_k |w[j, k]| / most     over k of group g; most = 127 for 8 bits, 7 for 4
//                                            but 0 below 2^-90, so that codes may be scaled by powers of two on the way
//   q[j, k]     = w[j, k] / scale[j, g]      rounded to nearest, ties to even; 0 where the scale is 0
//   forward     y[i, j] = sum_k x[i, k] (q[j, k] scale[j, g]) + b[j]        the sums are linear's of that weight, bit by bit,
//                                                                           but for 4 bits and few rows of x
//   backward    dx[i, k] = sum_j dy[i, j] (q[j, k] scale[j, g])             a product with the dequantized weight; w and b have none
//
// A group is a whole row of w with 8 bits, 32 columns with 4: an error of at most scale / 2 in each weight.
//
// 4 bits, up to kQuantizedRows rows, on the CPU: the numbers of x in a group are taken as integers, to within 2^-21 of the
// largest; their sum of products is exact, and groups are added in order, in float32. Infinity or NaN in a row of x makes its
// row of y NaN.
//
// codes: uint8 [ceil(out / 4), bytes], four rows of w side by side and in padded to a multiple of 8, so that 16 bytes are
// 4 rows x 4 depths, or 8 depths:
//   8 bits   byte k / 4 * 16 + j % 4 * 4 + k % 4 = q                                              (two's complement)
//   4 bits   byte k / 8 * 16 + j % 4 * 4 + k % 4 = q in the low half, or the high one where k % 8 >= 4
// scales: float32 [out, groups]. x, w, b, y: float32.
#pragma once
#include "cpp/core/cpu_kernel.h"
#include "cpp/core/cuda_kernel.h"
#include "cpp/core/tensor.h"

namespace lc {

constexpr int64_t kQuantizedGroup = 32;
constexpr int64_t kQuantizedRows = 16;                // of x, for which the codes are read where they are
constexpr int64_t quantized_depth(int64_t in) { return (in + 7) / 8 * 8; }

template <class T> struct QuantizedLinearForward {
    const T *x, *scales, *bias;                       // x: [m, quantized_depth(k)], zeros beyond k; bias or null
    const uint8_t* codes;
    T* y;                                             // [m, n]
    int64_t m, n, k, groups;
    int bits;
};

template <class T> struct QuantizedUnpack {
    const uint8_t* codes;
    const T* scales;
    int64_t n, k, groups;
    int bits;
    T* w;                                             // [n, k]
};

}  // namespace lc
LC_CPU_KERNEL(quantized_linear_forward, QuantizedLinearForward)
LC_CUDA_KERNEL(quantized_linear_forward, QuantizedLinearForward)
LC_CUDA_ONLY_KERNEL(quantized_unpack, QuantizedUnpack)
namespace lc {

struct QuantizedWeight {
    Tensor codes, scales;
};
LC_API QuantizedWeight quantize_weight(const Tensor& w, int64_t bits = 8);
LC_API Tensor dequantize_weight(const QuantizedWeight& w, int64_t in);               // [out, in]
LC_API Tensor quantized_linear(const Tensor& x, const QuantizedWeight& w, const Tensor& b = {});

inline int64_t quantized_linear_bytes(int64_t out, int64_t in, int64_t bits) {
    return out * in * bits / 8 + 4 * out * (bits == 8 ? 1 : (in + kQuantizedGroup - 1) / kQuantizedGroup);
}

}  // namespace lc
