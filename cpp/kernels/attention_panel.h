// A panel of attention scores: products with it, how its operands are laid out, and what of it may be seen.
#pragma once
#include "cpp/kernels/gemm.h"
#include "cpp/ops/attention_plan.h"
#include "cpp/simd/philox.h"
#include "cpp/simd/vec_exp2.h"

namespace lc::cpu::LC_ISA {
namespace {

template <class A> constexpr int W = kTileCols<A>;    // queries of a panel
constexpr int64_t kQueries = kBackwardQueries;        // a whole number of panels

int64_t round_up(int64_t n, int64_t to) { return (n + to - 1) / to * to; }
int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }
int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }
template <class A> constexpr A kMinusInfinity = A(-__builtin_inf());

// Scores are kept in units of ln 2: their exponential is then a power of two.
constexpr double kLog2e = 0x1.71547652b82fep0;
template <class A> LC_INLINE A over_ln2(A x) {        // finite stays finite: masks are often the lowest number there is
    constexpr A top = sizeof(A) == 4 ? A(0x1.fffffep127) : A(0x1.fffffffffffffp1023);
    const A y = x * A(kLog2e);
    return y > top && x <= top ? top : y < -top && x >= -top ? -top
                                                             : y;
}

// ---- products ---------------------------------------------------------------------------------------------------------

template <class A> struct RowMajor {
    const A* p;
    int64_t ld;
    LC_INLINE A at(int i, int64_t k) const { return p[i * ld + k]; }
    LC_INLINE RowMajor from(int64_t i) const { return {p + i * ld, ld}; }
};
template <class A> struct Transposed {
    const A* p;
    int64_t ld;
    LC_INLINE A at(int i, int64_t k) const { return p[k * ld + i]; }
    LC_INLINE Transposed from(int64_t i) const { return {p + i, ld}; }
};

// f.operator()<count>(first) over tiles of kTileRows rows, then smaller ones
template <class A, class F> LC_INLINE void each_row_tile(int64_t rows, F&& f) {
    int64_t i = 0;
    auto tile = [&]<int count>() {
        f.template operator()<count>(i);
        i += count;
    };
    while (i + kTileRows<A> <= rows) tile.template operator()<kTileRows<A>>();
    if constexpr (kTileRows<A> > 8)
        if (i + 8 <= rows) tile.template operator()<8>();
    if (i + 4 <= rows) tile.template operator()<4>();
    if (i + 2 <= rows) tile.template operator()<2>();
    if (i < rows) tile.template operator()<1>();
}

// c[rows, W] = or += a[rows, k] b[k, W]
template <class A, class Rows> LC_NOINLINE void multiply(int64_t rows, int64_t k, Rows a, const A* b, int64_t ldb, A* c, int64_t ldc, bool add) {
    each_row_tile<A>(rows, [&]<int count>(int64_t i) {
        multiply_tile<count, 2>(k, a.from(i), b, ldb, TileOut<A>{c + i * ldc, ldc, W<A>, add});
    });
}

// ---- operands ---------------------------------------------------------------------------------------------------------

// Rows [rows, cols] as A, densely and with zeros up to width: where they lie if they lie so, else copied to scratch.
// (Rows a multiple of 1 KB apart, as between heads, would share a few sets of the cache.)
template <class A, class T> RowMajor<A> dense_rows(const T* src, int64_t row, int64_t cols, int64_t width, A* scratch) {
    if constexpr (std::is_same_v<A, T>)
        if (row == cols && cols == width) return {src, row};
    return {scratch, width};
}
template <class A, class T> RowMajor<A> make_dense(const T* src, int64_t row, int64_t rows, int64_t cols, int64_t width, A* scratch) {
    const RowMajor<A> dense = dense_rows(src, row, cols, width, scratch);
    for (int64_t i = 0; dense.p == scratch && i < rows; ++i) {
        each_vec<A>(cols, [&](int64_t d, auto k) { store(scratch + i * width + d, load(src + i * row + d, k), k); });
        for (int64_t d = cols; d < width; ++d) scratch[i * width + d] = 0;
    }
    return dense;
}

// `count` rows as panels [ceil(count / W)][cols][W], times scale.
template <class A, class T> void pack_panels(const T* src, int64_t row, int64_t count, int64_t cols, A scale, A* panels) {
    pack<W<A>>(src, row, 1, count, {cols}, panels);
    if (scale != 1) each_vec<A>(round_up(count, W<A>) * cols, [&](int64_t i, auto k) { store(panels + i, load(panels + i, k) * splat(scale), k); });
}

// The rows of one panel [cols][W], lane i times factor[i].
template <class A, class T> void unpack_panel(const A* panel, const A* factor, int64_t count, int64_t cols, T* dst, int64_t row) {
    constexpr int L = lanes<A>;
    for (int64_t d = 0; d < cols; d += L) {
        const int n = int(smaller(L, cols - d));
        for (int half = 0; half < 2 && half * L < count; ++half) {
            vec<A> r[size_t(L)];
            const vec<A> f = load(factor + half * L);
#pragma GCC unroll 16
            for (int i = 0; i < L; ++i) r[i] = i < n ? load(panel + (d + i) * W<A> + half * L) * f : zero<A>();
            transpose(r);
            T* out = dst + half * L * row + d;
            const int64_t rows = smaller(L, count - half * L);
#pragma GCC unroll 16
            for (int i = 0; i < L; ++i)
                if (i < rows) {
                    if (n == L) store(out + i * row, r[i]);
                    else store(out + i * row, r[i], n);
                }
        }
    }
}

// ---- scores of one panel: what may be seen, and what is dropped -----------------------------------------------------------

// One panel: queries q .. q + W of head h, keys j .. j + keys of its block. Scores stand at s[key * ld + lane].
struct Panel {
    int64_t b, h, q, j, keys;
};

template <class A> LC_INLINE vec<A> lane_index(int half) {
    vec<A> v;
    for (int i = 0; i < lanes<A>; ++i) v.v[i] = A(half * lanes<A> + i);
    return v;
}

template <class A> void hide_later_keys(const Panel& p, A* s, int64_t ld) {
    for (int64_t t = larger(0, p.q + 1 - p.j); t < p.keys; ++t) {
        const vec<A> first_lane = splat(A(p.j + t - p.q));        // the lanes before it are queries before this key
        for (int half = 0; half < 2; ++half) {
            A* at = s + t * ld + half * lanes<A>;
            store(at, select(lane_index<A>(half) < first_lane, splat(kMinusInfinity<A>), load(at)));
        }
    }
}

template <class T, class A> void apply_mask(const AttentionMask& m, const Panel& p, int64_t tq, A* s, int64_t ld) {
    const int64_t start = p.b * m.batch + p.h * m.head + p.q * m.row + p.j * m.col, count = smaller(W<A>, tq - p.q);
    A value[W<A>] = {};
    for (int64_t t = 0; t < p.keys; ++t) {
        const int64_t at = start + t * m.col;
        for (int64_t i = 0; i < count; ++i)
            value[i] = m.boolean ? (static_cast<const bool*>(m.data)[at + i * m.row] ? A(0) : kMinusInfinity<A>)
                                 : over_ln2(A(to_float(static_cast<const T*>(m.data)[at + i * m.row])));
        for (int half = 0; half < 2; ++half) {
            A* out = s + t * ld + half * lanes<A>;
            const vec<A> v = load(value + half * lanes<A>), old = load(out);
            store(out, m.boolean ? select(v < zero<A>(), v, old) : old + v);
        }
    }
}

template <class T, class A> void hide(const AttentionShape& shape, const AttentionMask& mask, const Panel& p, A* s, int64_t ld) {
    if (mask.data) apply_mask<T>(mask, p, shape.tq, s, ld);
    if (shape.causal) hide_later_keys(p, s, ld);
}

// The dropout factors of a panel, [keys][W]; p.j is a multiple of 64.
template <class A> void dropout_factors(const AttentionShape& s, const AttentionDropout& dropout, const Panel& p, A* z) {
    const uint64_t threshold = uint64_t(dropout.probability * 0x1p32);
    const A scale = A(1 / (1 - dropout.probability));
    const int64_t groups = (s.tk + kWordGroup - 1) / kWordGroup, row = (p.b * s.heads + p.h) * s.tq + p.q;
    for (int64_t i = 0; i < W<A>; ++i)
        for (int64_t t = 0; t < p.keys; t += kWordGroup) {
            uint32_t word[kWordGroup];
            random_words(dropout.key, (row + i) * groups + (p.j + t) / kWordGroup, word);
            for (int64_t u = 0; u < kWordGroup && t + u < p.keys; ++u) z[(t + u) * W<A> + i] = word[u] >= threshold ? scale : A(0);
        }
}

// The panel times its factors.
template <class A> void drop_panel(const AttentionShape& shape, const AttentionDropout& dropout, const Panel& p, A* z, A* s, int64_t ld) {
    dropout_factors(shape, dropout, p, z);
    for (int64_t t = 0; t < p.keys; ++t)
        for (int i = 0; i < W<A>; i += lanes<A>) store(s + t * ld + i, load(s + t * ld + i) * load(z + t * W<A> + i));
}

}  // namespace
}  // namespace lc::cpu::LC_ISA
