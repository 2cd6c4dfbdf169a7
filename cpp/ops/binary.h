// binary: y = f(a, b) element by element, a and b broadcast to one shape and promoted to one dtype.
//
//   forward                                   backward (then summed to the shape of a and b)
//   add            a + b                      da = dy                      db = dy
//   sub            a - b                      da = dy                      db = -dy
//   mul            a b                        da = dy b                    db = dy a
//   div            a / b                      da = dy / b                  db = -dy a / b^2
//   pow            a^b                        da = dy b a^(b-1)            db = dy a^b log a
//   maximum        a > b ? a : b, NaN wins    da = dy [a > b] + dy/2 [a = b], db likewise
//   minimum        a < b ? a : b, NaN wins    the same with <
//   remainder      a - b floor(a / b)         da = dy                      db = -dy floor(a / b)
//   floor_divide   floor(a / b)               none: raises; div(a, b, "floor") gives 0
//   trunc_divide   a / b without its fraction div(a, b, "trunc"): 0
//   bitwise_and, bitwise_or, bitwise_xor      integers and bool
//   eq ne lt le gt ge -> bool                 none: raises
//   logical_and, logical_or, logical_xor -> bool
//
// Promotion is PyTorch's: tensors with dimensions decide first, then 0-dim tensors, then Python numbers (`weak`), and a
// later group only counts if it is of a higher kind (bool < integer < float). Division of integers gives float32.
// 16-bit floats are computed in float32 and rounded once.
#pragma once
#include <string>
#include "cpp/core/cpu_kernel.h"
#include "cpp/core/cuda_kernel.h"
#include "cpp/core/strided.h"
#include "cpp/core/tensor.h"

namespace lc {

enum class BinaryOp : uint8_t { add,
                                sub,
                                mul,
                                div,
                                pow,
                                maximum,
                                minimum,
                                remainder,
                                floor_divide,
                                trunc_divide,
                                bitwise_and,
                                bitwise_or,
                                bitwise_xor };
enum class CompareOp : uint8_t { eq,
                                 ne,
                                 lt,
                                 le,
                                 gt,
                                 ge };

template <class T> struct BinaryForward {
    BinaryOp op;
    const T *a, *b;
    T* y;
    Strided<3> walk;                                  // y, a, b
};
template <class T> struct BinaryBackward {            // mul div pow maximum minimum remainder
    BinaryOp op;
    const T *dy, *a, *b;
    T *da, *db;                                       // dense, the shape of dy; null: not wanted
    Strided<4> walk;                                  // da (or db), dy, a, b
};
template <class T> struct CompareForward {            // T: float double int64 int32 uint8
    CompareOp op;
    const T *a, *b;
    bool* y;
    Strided<3> walk;                                  // y, a, b
};

}  // namespace lc
LC_CPU_KERNEL(binary_forward, BinaryForward)
LC_CPU_KERNEL(binary_backward, BinaryBackward)
LC_CPU_KERNEL(compare_forward, CompareForward)
LC_CUDA_KERNEL(binary_forward, BinaryForward)
LC_CUDA_KERNEL(binary_backward, BinaryBackward)
LC_CUDA_KERNEL(compare_forward, CompareForward)
namespace lc {

LC_API DType result_type(const Tensor& a, const Tensor& b);
LC_API Tensor number(double value);                   // as a Python float: 0-dim, weak
LC_API Tensor number(int64_t value);                  // as a Python int

LC_API Tensor add(const Tensor& a, const Tensor& b);
LC_API Tensor sub(const Tensor& a, const Tensor& b);
LC_API Tensor mul(const Tensor& a, const Tensor& b);
LC_API Tensor div(const Tensor& a, const Tensor& b);
LC_API Tensor div(const Tensor& a, const Tensor& b, const std::string& rounding);      // "floor" or "trunc"
LC_API Tensor pow(const Tensor& a, const Tensor& b);
LC_API Tensor maximum(const Tensor& a, const Tensor& b);
LC_API Tensor minimum(const Tensor& a, const Tensor& b);
LC_API Tensor remainder(const Tensor& a, const Tensor& b);
LC_API Tensor floor_divide(const Tensor& a, const Tensor& b);
LC_API Tensor bitwise_and(const Tensor& a, const Tensor& b);
LC_API Tensor bitwise_or(const Tensor& a, const Tensor& b);
LC_API Tensor bitwise_xor(const Tensor& a, const Tensor& b);

inline Tensor add(const Tensor& a, double b) { return add(a, number(b)); }
inline Tensor sub(const Tensor& a, double b) { return sub(a, number(b)); }
inline Tensor mul(const Tensor& a, double b) { return mul(a, number(b)); }
inline Tensor div(const Tensor& a, double b) { return div(a, number(b)); }
inline Tensor pow(const Tensor& a, double b) { return pow(a, number(b)); }

LC_API Tensor eq(const Tensor& a, const Tensor& b);
LC_API Tensor ne(const Tensor& a, const Tensor& b);
LC_API Tensor lt(const Tensor& a, const Tensor& b);
LC_API Tensor le(const Tensor& a, const Tensor& b);
LC_API Tensor gt(const Tensor& a, const Tensor& b);
LC_API Tensor ge(const Tensor& a, const Tensor& b);
LC_API Tensor logical_and(const Tensor& a, const Tensor& b);
LC_API Tensor logical_or(const Tensor& a, const Tensor& b);
LC_API Tensor logical_xor(const Tensor& a, const Tensor& b);

// In place: a = f(a, b). b broadcasts to a; the result must be of a kind that a's dtype can hold.
LC_API void add_(const Tensor& a, const Tensor& b);
LC_API void sub_(const Tensor& a, const Tensor& b);
LC_API void mul_(const Tensor& a, const Tensor& b);
LC_API void div_(const Tensor& a, const Tensor& b);
LC_API void div_(const Tensor& a, const Tensor& b, const std::string& rounding);
LC_API void pow_(const Tensor& a, const Tensor& b);
LC_API void remainder_(const Tensor& a, const Tensor& b);
LC_API void floor_divide_(const Tensor& a, const Tensor& b);

}  // namespace lc
