// attention: softmax(q k^T scale + mask) v, one pass over the keys, nothing of size tq * tk in memory.
//
//   forward    s[i,j] = scale * sum_d q[i,d] k[j,d] + mask[i,j]       causal: -inf where j > i
//              p[i,j] = 2^(s[i,j] / ln 2 - lse[i]),  lse[i] = log2 sum_j exp s[i,j]
//              o[i,:] = sum_j z[i,j] p[i,j] v[j,:]
//   backward   delta[i] = sum_d do[i,d] o[i,d]
//              ds[i,j]  = p[i,j] (z[i,j] sum_d do[i,d] v[j,d] - delta[i])
//              dq[i,:]  = scale * sum_j ds[i,j] k[j,:]     dk[j,:] = scale * sum_i ds[i,j] q[i,:]     dv[j,:] = sum_i z[i,j] p[i,j] do[i,:]
//              dmask    = ds, summed over what the mask was broadcast along
//
// z is 1, or with dropout 0 or 1 / (1 - dropout): made anew in backward from the key and the element's number, r * n + j
// with r = (b * heads + h) * tq + i and n = tk rounded up to whole groups of 64 words (cpp/core/random.h). Saved: q, k, v, o and lse, [batch, heads, tq].
// A row whose every key is masked gives o = 0 and no gradient (its lse is +inf). heads is a multiple of kv_heads: query
// head h reads key head h / (heads / kv_heads), whose gradients are the sums over its query heads, in order.
// float32, float64, and 16-bit storage with float32 arithmetic. Row i of o has the same bits whatever tq is.
#pragma once
#include <optional>
#include "cpp/core/cpu_kernel.h"
#include "cpp/core/cuda_kernel.h"
#include "cpp/core/random.h"
#include "cpp/core/tensor.h"

namespace lc {

struct AttentionShape {
    int64_t batch, heads, kv_heads, tq, tk, dim, dim_v;   // dim: of q and k
    double scale;
    bool causal;
};

// [batch, heads, rows, cols] with dense cols; strides in elements.
template <class T> struct AttentionMatrix {
    T* data;
    int64_t batch, head, row;

    LC_INLINE T* at(int64_t b, int64_t h, int64_t i) const { return data + b * batch + h * head + i * row; }
};

// Added to the scores, or (boolean) true where a key may be seen. Strides are 0 where it is broadcast; data null: none.
struct AttentionMask {
    const void* data;
    bool boolean;
    int64_t batch, head, row, col;
};

struct AttentionDropout {
    double probability;                               // 0: none
    RandomKey key;
};

template <class T> struct AttentionForward {
    AttentionShape shape;
    AttentionMatrix<const T> q, k, v;                 // in    [batch, heads, tq, dim], [batch, kv_heads, tk, dim or dim_v]
    AttentionMask mask;
    AttentionDropout dropout;
    AttentionMatrix<T> o;                             // out   [batch, heads, tq, dim_v]
    acc_t<T>* lse;                                    // out   [batch, heads, tq]
};
// The gradient of an additive mask, dense: a size of 1 is a sum over the whole dimension. data null: not wanted.
template <class T> struct AttentionMaskGradient {
    T* data;
    int64_t batch, heads, rows, cols;
};
template <class T> struct AttentionBackward {
    AttentionShape shape;
    AttentionMatrix<const T> d_o, q, k, v, o;         // in
    AttentionMask mask;
    AttentionDropout dropout;
    const acc_t<T>* lse;
    AttentionMatrix<T> dq, dk, dv;                    // out
    AttentionMaskGradient<T> dmask;
};

// PyTorch's name for it. attn_mask broadcasts to [batch..., heads, tq, tk]; scale: none means 1 / sqrt(dim).
LC_API Tensor scaled_dot_product_attention(const Tensor& query, const Tensor& key, const Tensor& value, const Tensor& attn_mask = {},
                                           double dropout_p = 0, bool is_causal = false, std::optional<double> scale = {}, bool enable_gqa = false);

}  // namespace lc

LC_CPU_KERNEL(attention_forward, AttentionForward)
LC_CPU_KERNEL(attention_backward, AttentionBackward)
LC_CUDA_KERNEL(attention_forward, AttentionForward)
LC_CUDA_KERNEL(attention_backward, AttentionBackward)
