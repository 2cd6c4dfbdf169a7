// Scores of attention: what is added to them, whether they may be seen, and whether they are dropped; one at a time, and as the
// fragments of mma.sync. All in units of ln 2: an exponential is then a power of two. Contract: cpp/ops/attention.h
#pragma once
#include <math.h>
#include "cpp/ops/attention.h"
#include "cuda/arch/convert.cuh"
#include "cuda/arch/warp.cuh"

namespace lc::cuda {

constexpr double kLog2E = 1.4426950408889634;

// Finite stays finite: masks are often the lowest number there is.
template <class A> __device__ __forceinline__ A over_ln2(A x) {
    constexpr A top = sizeof(A) == 4 ? A(0x1.fffffep127) : A(0x1.fffffffffffffp1023);
    const A y = x * A(kLog2E);
    return y > top && x <= top ? top : y < -top && x >= -top ? -top
                                                             : y;
}

// ---- one at a time ------------------------------------------------------------------------------------------------------

template <class T> __device__ __forceinline__ acc_t<T> masked(const AttentionShape& s, const AttentionMask& m, int64_t b, int64_t h, int64_t i, int64_t j, acc_t<T> score) {
    using A = acc_t<T>;
    if (j >= s.tk || (s.causal && j > i)) return A(-INFINITY);
    if (!m.data) return score;
    const int64_t at = b * m.batch + h * m.head + i * m.row + j * m.col;
    if (m.boolean) return static_cast<const bool*>(m.data)[at] ? score : A(-INFINITY);
    return score + over_ln2(widen(static_cast<const T*>(m.data)[at]));
}

__device__ __forceinline__ uint32_t dropout_threshold(const AttentionDropout& dropout) { return uint32_t(dropout.probability * 0x1p32); }

// 0 or 1 / (1 - p).
template <class A> __device__ __forceinline__ A kept(const AttentionShape& s, const AttentionDropout& dropout, int64_t b, int64_t h, int64_t i, int64_t j) {
    if (dropout.probability <= 0) return A(1);
    const int64_t width = (s.tk + 63) / 64 * 64, row = (b * s.heads + h) * s.tq + i;
    const uint32_t word = random_word(dropout.key, uint64_t(row * width + j));
    return word >= dropout_threshold(dropout) ? A(1 / (1 - dropout.probability)) : A(0);
}

// ---- fragments ----------------------------------------------------------------------------------------------------------

// What a lane's part of 16 x 8n scores has of the mask: bits[c][e] is elements 8 c + 2 t and the next of row g + 8 e, as they
// lie. Loaded before the products, which take longer than memory does.
template <int n> struct MaskFragment {
    uint32_t bits[n][2];

    // From element `at` of the mask on; what lies outside of rows x cols is some element inside.
    __device__ __forceinline__ void load(const AttentionMask& m, int64_t at, int64_t down, int64_t along, int64_t rows, int64_t cols) {
        if (m.boolean) load_pairs(static_cast<const uint8_t*>(m.data) + at, down, along, rows, cols);
        else load_pairs(static_cast<const uint16_t*>(m.data) + at, down, along, rows, cols);
    }
    // The score of element i of a pair.
    template <class T> __device__ __forceinline__ float apply(const AttentionMask& m, int c, int e, int i, float score) const {
        if (m.boolean) return bits[c][e] >> 8 * i & 0xff ? score : -INFINITY;
        return score + over_ln2(widen(T{uint16_t(bits[c][e] >> 16 * i)}));
    }

private:
    template <class U> __device__ __forceinline__ void load_pairs(const U* x, int64_t down, int64_t along, int64_t rows, int64_t cols) {
        const int g = lane_id() / 4, t = lane_id() % 4;
        const U* row[2] = {x + (g < rows ? g : rows - 1) * down, x + (g + 8 < rows ? g + 8 : rows - 1) * down};
        const bool whole = along == 1 && cols % 2 == 0 && down % 2 == 0 && reinterpret_cast<uintptr_t>(x) % (2 * sizeof(U)) == 0;      // the same for the warp
        if (whole) each(cols, t, [&](int c, int e, int64_t col, bool) { bits[c][e] = *reinterpret_cast<const Pair<U>*>(row[e] + col); });
        else each(cols, t, [&](int c, int e, int64_t col, bool next) {
            const U* p = row[e] + col * along;
            bits[c][e] = p[0] | uint32_t(p[next ? along : 0]) << 8 * sizeof(U);
        });
    }
    template <class F> static __device__ __forceinline__ void each(int64_t cols, int t, F&& f) {
        const int64_t last = (cols - 1) / 2 * 2;
#pragma unroll
        for (int c = 0; c < n; ++c) {
            const int64_t col = 8 * c + 2 * t < cols ? 8 * c + 2 * t : last;
#pragma unroll
            for (int e = 0; e < 2; ++e) f(c, e, col, col + 1 < cols);
        }
    }
    template <class U> using Pair = std::conditional_t<sizeof(U) == 1, uint16_t, uint32_t>;
};

// Which of 64 keys a query keeps, for `rows` queries: bit j is key key0 + j. A block of Philox holds words of keys 16 apart,
// and a thread makes eight of them. row0: the first query's number, of all heads.
template <int rows> __device__ __forceinline__ void draw_kept(uint64_t* keep, const AttentionShape& s, const AttentionDropout& dropout, int64_t row0, int64_t key0) {
    if (threadIdx.x >= 2 * rows) return;
    const int row = int(threadIdx.x) / 2, half = int(threadIdx.x) % 2;
    const uint64_t block = uint64_t((row0 + row) * ((s.tk + 63) / 64) + key0 / 64) * 16 + uint64_t(8 * half);
    const uint32_t threshold = dropout_threshold(dropout);
    uint32_t bits = 0;
#pragma unroll 2
    for (int i = 0; i < 8; ++i) {
        const PhiloxBlock words = philox(dropout.key, block + uint64_t(i));
#pragma unroll
        for (int w = 0; w < 4; ++w) bits |= uint32_t(words.word[w] >= threshold) << (8 * w + i);
    }
#pragma unroll
    for (int w = 0; w < 4; ++w) reinterpret_cast<uint8_t*>(keep + row)[2 * w + half] = uint8_t(bits >> 8 * w);
}

}  // namespace lc::cuda
