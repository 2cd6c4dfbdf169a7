// One score of attention: what is added to it, whether it may be seen, and whether it is dropped. Contract: cpp/ops/attention.h
#pragma once
#include <math.h>
#include "cpp/ops/attention.h"
#include "cuda/arch/convert.cuh"

namespace lc::cuda {

template <class T> __device__ __forceinline__ acc_t<T> masked(const AttentionShape& s, const AttentionMask& m, int64_t b, int64_t h, int64_t i, int64_t j, acc_t<T> score) {
    using A = acc_t<T>;
    if (j >= s.tk || (s.causal && j > i)) return A(-INFINITY);
    if (!m.data) return score;
    const int64_t at = b * m.batch + h * m.head + i * m.row + j * m.col;
    if (m.boolean) return static_cast<const bool*>(m.data)[at] ? score : A(-INFINITY);
    return score + widen(static_cast<const T*>(m.data)[at]);
}

// 0 or 1 / (1 - p).
template <class A> __device__ __forceinline__ A kept(const AttentionShape& s, const AttentionDropout& dropout, int64_t b, int64_t h, int64_t i, int64_t j) {
    if (dropout.probability <= 0) return A(1);
    const int64_t width = (s.tk + 63) / 64 * 64, row = (b * s.heads + h) * s.tq + i;
    const uint32_t word = random_word(dropout.key, uint64_t(row * width + j));
    return word >= uint32_t(dropout.probability * 0x1p32) ? A(1 / (1 - dropout.probability)) : A(0);
}

}  // namespace lc::cuda
