// rotary_embedding: turns pairs of features by an angle that grows with the position (RoFormer).
//
//   forward    (y1, y2) = (x1 cos - x2 sin, x1 sin + x2 cos)      for pair i of row t, cos = cos[t,i], sin = sin[t,i]
//              interleaved: the pair is (x[2i], x[2i+1]);  else: (x[i], x[i + r/2]), r = 2 * the number of pairs
//   backward   the turn back: the same with -sin
//
// x is [..., t, dim] with dim >= r; features from r on pass unchanged. cos and sin are [t, r/2], float64 for float64 x and
// float32 otherwise; they have no gradient. float32, float64, and 16-bit storage with float32 arithmetic.
#pragma once
#include "cpp/core/cpu_kernel.h"
#include "cpp/core/cuda_kernel.h"
#include "cpp/core/tensor.h"

namespace lc {

template <class T> struct RotaryEmbeddingForward {
    int64_t batch, seq, dim, pairs;                   // x, y: [batch, seq, dim]
    bool interleaved;
    const T* x;                                       // in
    const acc_t<T>*cos, *sin;                         // in    [seq, pairs]; backward is the call with -sin
    T* y;                                             // out
};
template <class T> using RotaryEmbeddingBackward = RotaryEmbeddingForward<T>;

LC_API Tensor rotary_embedding(const Tensor& x, const Tensor& cos, const Tensor& sin, bool interleaved = false);

}  // namespace lc

LC_CPU_KERNEL(rotary_embedding_forward, RotaryEmbeddingForward)
LC_CPU_KERNEL(rotary_embedding_backward, RotaryEmbeddingBackward)
LC_CUDA_KERNEL(rotary_embedding_forward, RotaryEmbeddingForward)
LC_CUDA_KERNEL(rotary_embedding_backward, RotaryEmbeddingBackward)
