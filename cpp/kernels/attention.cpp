// attention on CPU. Math and shapes: cpp/ops/attention.h
// Compute bound: 4 * dim flops a score forward, 10 backward, all in the register tile of cpp/kernels/gemm.h.
//
// Scores are computed transposed: a panel is two registers of queries, one lane each, and the keys run down. So q and
// do are transposed once per call, k and v are read as they lie (a key's element is broadcast), the maximum and the
// sum of a row are plain register operations, and causality cuts a panel at its own last key.
#include "cpp/ops/attention.h"
#include "cpp/core/allocator.h"
#include "cpp/core/parallel.h"
#include "cpp/kernels/gemm.h"
#include "cpp/simd/philox.h"
#include "cpp/simd/reduce.h"
#include "cpp/simd/vec_math.h"

namespace lc::cpu::LC_ISA {
namespace {

template <class A> constexpr int W = kTileCols<A>;    // queries of a panel
constexpr int64_t kQueries = 64;                      // of a block, the same on every ISA: a whole number of panels
constexpr int64_t kKeys = 128;                        // of a forward block: 64 KB of k and v in L2, 8 KB of scores in L1
constexpr int64_t kBackwardKeys = 64;                 // of a backward block: a 64 x 64 tile, its operands and gradients in L2
constexpr int64_t kFewQueries = 4;                    // below it a panel is mostly padding: rows are better

int64_t round_up(int64_t n, int64_t to) { return (n + to - 1) / to * to; }
int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }
int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }
template <class A> constexpr A kMinusInfinity = A(-__builtin_inf());

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

// c[rows, W] = or += a[rows, k] b[k, W]
template <class A, class Rows> LC_NOINLINE void multiply(int64_t rows, int64_t k, Rows a, const A* b, int64_t ldb, A* c, int64_t ldc, bool add) {
    int64_t i = 0;
    auto tile = [&]<int count>() {
        multiply_tile<count, 2>(k, a.from(i), b, ldb, TileOut<A>{c + i * ldc, ldc, W<A>, add});
        i += count;
    };
    while (i + kTileRows<A> <= rows) tile.template operator()<kTileRows<A>>();
    if constexpr (kTileRows<A> > 8)
        if (i + 8 <= rows) tile.template operator()<8>();
    if (i + 4 <= rows) tile.template operator()<4>();
    if (i + 2 <= rows) tile.template operator()<2>();
    if (i < rows) tile.template operator()<1>();
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
    pack<W<A>>(src, row, 1, count, cols, panels);
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
                                 : A(to_float(static_cast<const T*>(m.data)[at + i * m.row]));
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

// ---- forward ------------------------------------------------------------------------------------------------------------

template <class A> struct ForwardScratch {
    A *q, *o, *s, *z, *k, *v, *max, *sum;
    static int64_t size(const AttentionShape& a) {
        return round_up(kQueries * (a.dim + a.dim_v + 2) + kKeys * (2 * W<A> + a.dim + a.dim_v), 16);
    }
    ForwardScratch(A* p, const AttentionShape& a) : q(p) {
        o = q + kQueries * a.dim;
        s = o + kQueries * a.dim_v;
        z = s + kKeys * W<A>;
        k = z + kKeys * W<A>;
        v = k + kKeys * a.dim;
        max = v + kKeys * a.dim_v;
        sum = max + kQueries;
    }
};

// Scores to exp(s - max), with the maximum and the sum so far brought up to date; o, [dim_v][W], follows the maximum.
template <class A> void softmax_panel(A* s, int64_t keys, A* max_state, A* sum_state, A* o, int64_t dim_v) {
    constexpr int L = lanes<A>;
    const vec<A> none = splat(kMinusInfinity<A>);
    const vec<A> m0 = load(max_state), m1 = load(max_state + L);
    vec<A> a0 = m0, a1 = m1;
    for (int64_t t = 0; t < keys; ++t) {
        a0 = max(load(s + t * W<A>), a0);
        a1 = max(load(s + t * W<A> + L), a1);
    }
    const vec<A> ref0 = select(a0 == none, zero<A>(), a0), ref1 = select(a1 == none, zero<A>(), a1);   // nothing seen yet: exp(-inf)
    vec<A> sum0 = zero<A>(), sum1 = sum0;
    for (int64_t t = 0; t < keys; ++t) {
        const vec<A> e0 = exp(load(s + t * W<A>) - ref0), e1 = exp(load(s + t * W<A> + L) - ref1);
        store(s + t * W<A>, e0);
        store(s + t * W<A> + L, e1);
        sum0 = sum0 + e0;
        sum1 = sum1 + e1;
    }
    const vec<A> shrink0 = exp(m0 - ref0), shrink1 = exp(m1 - ref1);
    store(max_state, a0);
    store(max_state + L, a1);
    store(sum_state, fma(load(sum_state), shrink0, sum0));
    store(sum_state + L, fma(load(sum_state + L), shrink1, sum1));
    for (int64_t d = 0; d < dim_v; ++d) {
        store(o + d * W<A>, load(o + d * W<A>) * shrink0);
        store(o + d * W<A> + L, load(o + d * W<A> + L) * shrink1);
    }
}

template <class T, class A = acc_t<T>> void forward_block(const AttentionForward<T>& a, int64_t b, int64_t h, int64_t q0, A* memory) {
    const AttentionShape& s = a.shape;
    const ForwardScratch<A> x(memory, s);
    const int64_t hk = h / (s.heads / s.kv_heads), count = smaller(kQueries, s.tq - q0), panels = (count + W<A> - 1) / W<A>;
    const int64_t last_key = s.causal ? smaller(s.tk, q0 + count) : s.tk;
    pack_panels(a.q.at(b, h, q0), a.q.row, count, s.dim, A(s.scale), x.q);
    for (int64_t i = 0; i < panels * W<A> * s.dim_v; ++i) x.o[i] = 0;
    for (int64_t i = 0; i < panels * W<A>; ++i) {
        x.max[i] = kMinusInfinity<A>;
        x.sum[i] = 0;
    }
    for (int64_t j = 0; j < last_key; j += kKeys) {
        const int64_t block = smaller(kKeys, last_key - j);
        const RowMajor<A> k = make_dense(a.k.at(b, hk, j), a.k.row, block, s.dim, s.dim, x.k);
        const RowMajor<A> v = make_dense(a.v.at(b, hk, j), a.v.row, block, s.dim_v, s.dim_v, x.v);
        for (int64_t p = 0; p < panels; ++p) {
            const int64_t q = q0 + p * W<A>, keys = s.causal ? smaller(block, q + W<A> - j) : block;
            if (keys <= 0) continue;
            const Panel panel{b, h, q, j, keys};
            A* o = x.o + p * W<A> * s.dim_v;
            multiply(keys, s.dim, k, x.q + p * W<A> * s.dim, W<A>, x.s, W<A>, false);
            hide<T>(s, a.mask, panel, x.s, W<A>);
            softmax_panel(x.s, keys, x.max + p * W<A>, x.sum + p * W<A>, o, s.dim_v);
            if (a.dropout.probability > 0) {
                dropout_factors(s, a.dropout, panel, x.z);
                for (int64_t i = 0; i < keys * W<A>; i += lanes<A>) store(x.s + i, load(x.s + i) * load(x.z + i));
            }
            multiply(s.dim_v, keys, Transposed<A>{v.p, v.ld}, x.s, W<A>, o, W<A>, true);
        }
    }
    A* lse = a.lse + (b * s.heads + h) * s.tq + q0;
    for (int64_t p = 0; p < panels; ++p) {
        A* sum = x.sum + p * W<A>;
        for (int64_t i = 0; i < W<A> && p * W<A> + i < count; ++i)
            lse[p * W<A> + i] = sum[i] == 0 ? -kMinusInfinity<A> : x.max[p * W<A> + i] + log(splat(sum[i]))[0];
        for (int i = 0; i < W<A>; ++i) sum[i] = sum[i] == 0 ? A(0) : 1 / sum[i];                        // nothing seen: o = 0
        unpack_panel(x.o + p * W<A> * s.dim_v, sum, smaller(W<A>, count - p * W<A>), s.dim_v, a.o.at(b, h, q0 + p * W<A>), a.o.row);
    }
}

// Few queries, as in generation: k and v are read once, along their rows. scores: [tk].
template <class T, class A = acc_t<T>> void forward_row(const AttentionForward<T>& a, int64_t b, int64_t h, int64_t i, A* scores, A* o) {
    const AttentionShape& s = a.shape;
    const int64_t hk = h / (s.heads / s.kv_heads), keys = s.causal ? smaller(s.tk, i + 1) : s.tk;
    const T* q = a.q.at(b, h, i);
    for (int64_t j = 0; j < keys; ++j) {
        const T* k = a.k.at(b, hk, j);
        scores[j] = A(s.scale) * sum_row<A>(s.dim, [&](int64_t d, auto n) { return load(q + d, n) * load(k + d, n); });
    }
    if (a.mask.data) {
        const int64_t start = b * a.mask.batch + h * a.mask.head + i * a.mask.row;
        for (int64_t j = 0; j < keys; ++j) {
            const int64_t at = start + j * a.mask.col;
            if (!a.mask.boolean) scores[j] += A(to_float(static_cast<const T*>(a.mask.data)[at]));
            else if (!static_cast<const bool*>(a.mask.data)[at]) scores[j] = kMinusInfinity<A>;
        }
    }
    const A m = max_row(scores, keys);
    const vec<A> ref = splat(m == kMinusInfinity<A> ? A(0) : m);
    const A sum = sum_row<A>(keys, [&](int64_t j, auto n) {
        const vec<A> e = first(exp(load(scores + j, n) - ref), n, zero<A>());
        store(scores + j, e, n);
        return e;
    });
    a.lse[(b * s.heads + h) * s.tq + i] = sum == 0 ? -kMinusInfinity<A> : m + log(splat(sum))[0];
    each_vec<A>(s.dim_v, [&](int64_t d, auto n) { store(o + d, zero<A>(), n); });
    for (int64_t j = 0; j < keys; ++j) {
        const T* v = a.v.at(b, hk, j);
        const vec<A> p = splat(scores[j]);
        each_vec<A>(s.dim_v, [&](int64_t d, auto n) { store(o + d, fma(p, load(v + d, n), load(o + d, n)), n); });
    }
    const vec<A> factor = splat(sum == 0 ? A(0) : 1 / sum);
    T* out = a.o.at(b, h, i);
    each_vec<A>(s.dim_v, [&](int64_t d, auto n) { store(out + d, load(o + d, n) * factor, n); });
}

// ---- backward -----------------------------------------------------------------------------------------------------------

// Made once per call for every head: q and do as panels, their rows at full width, dq as panels (one set per strip).
template <class A> struct Prepared {
    int64_t rows, q_width, do_width;                  // rows: tq in whole blocks
    A *q_panels, *do_panels, *q_rows, *do_rows, *dq, *lse, *delta;

    static int64_t width(int64_t dim) { return round_up(dim, W<A>); }
    static int64_t size(const AttentionShape& s, int64_t strips) {
        const int64_t rows = round_up(s.tq, kQueries) * s.batch * s.heads;
        return rows * (s.dim + s.dim_v + width(s.dim) + width(s.dim_v) + strips * s.dim + 2);
    }
    Prepared(A* p, const AttentionShape& s) : rows(round_up(s.tq, kQueries)), q_width(width(s.dim)), do_width(width(s.dim_v)), q_panels(p) {
        const int64_t all = rows * s.batch * s.heads;
        do_panels = q_panels + all * s.dim;
        q_rows = do_panels + all * s.dim_v;
        do_rows = q_rows + all * q_width;
        lse = do_rows + all * do_width;
        delta = lse + all;
        dq = delta + all;
    }
    // dq of one strip
    A* dq_panels(const AttentionShape& s, int64_t strip) const { return dq + strip * rows * s.batch * s.heads * s.dim; }
};

template <class T, class A = acc_t<T>> void prepare_block(const AttentionBackward<T>& a, const Prepared<A>& x, int64_t strips, int64_t b, int64_t h, int64_t q0) {
    const AttentionShape& s = a.shape;
    const int64_t count = smaller(kQueries, s.tq - q0), at = (b * s.heads + h) * x.rows + q0;
    pack_panels(a.q.at(b, h, q0), a.q.row, count, s.dim, A(s.scale), x.q_panels + at * s.dim);
    pack_panels(a.d_o.at(b, h, q0), a.d_o.row, count, s.dim_v, A(1), x.do_panels + at * s.dim_v);
    make_dense(a.q.at(b, h, q0), a.q.row, count, s.dim, x.q_width, x.q_rows + at * x.q_width);
    make_dense(a.d_o.at(b, h, q0), a.d_o.row, count, s.dim_v, x.do_width, x.do_rows + at * x.do_width);
    for (int64_t i = 0; i < kQueries; ++i) {
        const bool present = i < count;
        x.lse[at + i] = present ? a.lse[(b * s.heads + h) * s.tq + q0 + i] : -kMinusInfinity<A>;     // padding: p = exp(-inf)
        x.delta[at + i] = 0;
        if (!present) continue;
        const T *d_o = a.d_o.at(b, h, q0 + i), *o = a.o.at(b, h, q0 + i);
        x.delta[at + i] = sum_row<A>(s.dim_v, [&](int64_t d, auto k) { return load(d_o + d, k) * load(o + d, k); });
    }
    for (int64_t strip = 0; strip < strips; ++strip) {
        A* dq = x.dq_panels(s, strip) + at * s.dim;
        for (int64_t i = 0; i < kQueries * s.dim; ++i) dq[i] = 0;
    }
}

template <class A> struct BackwardScratch {
    A *p, *ds, *z, *k, *v, *dk, *dv;
    static int64_t size(const AttentionShape& s) {
        return kBackwardKeys * (2 * kQueries + W<A> + s.dim + s.dim_v + Prepared<A>::width(s.dim) + Prepared<A>::width(s.dim_v));
    }
    BackwardScratch(A* memory, const AttentionShape& s) : p(memory) {
        ds = p + kBackwardKeys * kQueries;
        z = ds + kBackwardKeys * kQueries;
        k = z + kBackwardKeys * W<A>;
        v = k + kBackwardKeys * s.dim;
        dk = v + kBackwardKeys * s.dim_v;
        dv = dk + kBackwardKeys * Prepared<A>::width(s.dim);
    }
};

// Scores and their incoming gradients of one panel to z p and ds; z: dropout factors or null.
template <class A> void softmax_backward_panel(A* p, A* ds, const A* z, int64_t keys, const A* lse, const A* delta) {
    for (int half = 0; half < 2; ++half) {
        const vec<A> l = load(lse + half * lanes<A>), d = load(delta + half * lanes<A>);
        for (int64_t t = 0; t < keys; ++t) {
            const int64_t at = t * kQueries + half * lanes<A>;
            const vec<A> e = exp(load(p + at) - l);
            const vec<A> keep = z ? load(z + t * W<A> + half * lanes<A>) : splat(A(1));
            store(p + at, e * keep);
            store(ds + at, e * (load(ds + at) * keep - d));
        }
    }
}

// Keys j .. j + count of one key head: their dk and dv, and their share of every dq of the strip.
template <class T, class A = acc_t<T>>
void backward_block(const AttentionBackward<T>& a, const Prepared<A>& x, int64_t strip, int64_t b, int64_t hk, int64_t j, int64_t count, A* memory) {
    const AttentionShape& s = a.shape;
    const BackwardScratch<A> y(memory, s);
    const RowMajor<A> k = make_dense(a.k.at(b, hk, j), a.k.row, count, s.dim, s.dim, y.k);
    const RowMajor<A> v = make_dense(a.v.at(b, hk, j), a.v.row, count, s.dim_v, s.dim_v, y.v);
    for (int64_t i = 0; i < count * x.q_width; ++i) y.dk[i] = 0;
    for (int64_t i = 0; i < count * x.do_width; ++i) y.dv[i] = 0;

    const int64_t group = s.heads / s.kv_heads;
    for (int64_t h = hk * group; h < (hk + 1) * group; ++h)
        for (int64_t q0 = s.causal ? j / kQueries * kQueries : 0; q0 < s.tq; q0 += kQueries) {
            const int64_t queries = smaller(kQueries, s.tq - q0), at = (b * s.heads + h) * x.rows + q0;
            for (int64_t p = 0; p < queries; p += W<A>) {
                const int64_t q = q0 + p, seen = s.causal ? smaller(count, q + W<A> - j) : count;
                if (seen <= 0) continue;
                const int64_t keys = smaller(count, round_up(seen, kTileRows<A>));        // whole tiles: dk and dv read them
                multiply(keys, s.dim, k, x.q_panels + (at + p) * s.dim, W<A>, y.p + p, kQueries, false);
                multiply(keys, s.dim_v, v, x.do_panels + (at + p) * s.dim_v, W<A>, y.ds + p, kQueries, false);
                const Panel panel{b, h, q, j, keys};
                hide<T>(s, a.mask, panel, y.p + p, kQueries);
                const bool dropout = a.dropout.probability > 0;
                if (dropout) dropout_factors(s, a.dropout, panel, y.z);
                softmax_backward_panel(y.p + p, y.ds + p, dropout ? y.z : nullptr, keys, x.lse + at + p, x.delta + at + p);
                multiply(s.dim, keys, Transposed<A>{k.p, k.ld}, y.ds + p, kQueries, x.dq_panels(s, strip) + (at + p) * s.dim, W<A>, true);
            }
            const RowMajor<A> q_rows = dense_rows(a.q.at(b, h, q0), a.q.row, s.dim, x.q_width, x.q_rows + at * x.q_width);
            const RowMajor<A> do_rows = dense_rows(a.d_o.at(b, h, q0), a.d_o.row, s.dim_v, x.do_width, x.do_rows + at * x.do_width);
            for (int64_t t = 0; t < count; t += kTileRows<A>) {
                const int64_t keys = smaller(kTileRows<A>, count - t), first = s.causal ? larger(0, j + t - q0) : 0;
                if (first >= queries) break;                                              // later keys see fewer queries still
                const int64_t from = t * kQueries + first;
                for (int64_t d = 0; d < x.do_width; d += W<A>)
                    multiply(keys, queries - first, RowMajor<A>{y.p + from, kQueries}, do_rows.p + first * do_rows.ld + d, do_rows.ld, y.dv + t * x.do_width + d, x.do_width, true);
                for (int64_t d = 0; d < x.q_width; d += W<A>)
                    multiply(keys, queries - first, RowMajor<A>{y.ds + from, kQueries}, q_rows.p + first * q_rows.ld + d, q_rows.ld, y.dk + t * x.q_width + d, x.q_width, true);
            }
        }

    const vec<A> scale = splat(A(s.scale));
    for (int64_t i = 0; i < count; ++i) {
        T *dk = a.dk.at(b, hk, j + i), *dv = a.dv.at(b, hk, j + i);
        each_vec<A>(s.dim, [&](int64_t d, auto n) { store(dk + d, load(y.dk + i * x.q_width + d, n) * scale, n); });
        each_vec<A>(s.dim_v, [&](int64_t d, auto n) { store(dv + d, load(y.dv + i * x.do_width + d, n), n); });
    }
}

template <class T, class A = acc_t<T>> void finish_dq(const AttentionBackward<T>& a, const Prepared<A>& x, int64_t strips, int64_t b, int64_t h, int64_t q0) {
    const AttentionShape& s = a.shape;
    const int64_t count = smaller(kQueries, s.tq - q0), at = (b * s.heads + h) * x.rows + q0;
    A factor[W<A>];
    for (A& f : factor) f = A(s.scale);
    for (int64_t p = 0; p < count; p += W<A>) {
        A* dq = x.dq + (at + p) * s.dim;
        for (int64_t strip = 1; strip < strips; ++strip) {
            const A* more = x.dq_panels(s, strip) + (at + p) * s.dim;
            each_vec<A>(W<A> * s.dim, [&](int64_t i, auto k) { store(dq + i, load(dq + i, k) + load(more + i, k), k); });
        }
        unpack_panel(dq, factor, smaller(W<A>, count - p), s.dim, a.dq.at(b, h, q0 + p), a.dq.row);
    }
}

// Key ranges of one head that different threads take (strips, each with a dq of its own) and that follow each other
// (rounds, so that a task stays within a few ms). Both depend on the shape alone.
struct KeySplit {
    int64_t keys, strips, rounds;

    KeySplit(const AttentionShape& s) {
        const int64_t heads = s.batch * s.kv_heads, work_per_key = 10 * s.dim * s.tq * (s.heads / s.kv_heads) + 1;
        keys = larger(1, 200000000 / work_per_key / kBackwardKeys) * kBackwardKeys;
        strips = heads >= 8 ? 1 : (8 + heads - 1) / heads;
        if (strips > 1) keys = smaller(keys, larger(1, (s.tk + strips * kBackwardKeys - 1) / (strips * kBackwardKeys)) * kBackwardKeys);
        const int64_t ranges = larger(1, (s.tk + keys - 1) / keys);
        strips = smaller(strips, ranges);
        rounds = (ranges + strips - 1) / strips;
    }
};

// f(b, h, block) over the query blocks of every head.
template <class F> void each_query_block(const AttentionShape& s, int64_t work_ns, F&& f) {
    const int64_t blocks = (s.tq + kQueries - 1) / kQueries;
    parallel_for(s.batch * s.heads * blocks, work_ns, [&](int64_t task, int worker) {
        const int64_t head = task / blocks, block = blocks - 1 - task % blocks;          // causal: the longest first
        f(head / s.heads, head % s.heads, block * kQueries, worker);
    });
}

}  // namespace

template <class T> void attention_forward(const AttentionForward<T>& a) {
    using A = acc_t<T>;
    const AttentionShape& s = a.shape;
    if (s.tq < kFewQueries && a.dropout.probability == 0) {
        const int64_t size = round_up(s.tk + s.dim_v, 16);
        const Buffer<A> scratch(num_threads() * size);
        parallel_for(s.batch * s.heads * s.tq, s.batch * s.heads * s.tq * s.tk * (s.dim + s.dim_v) / 8, [&](int64_t task, int worker) {
            A* const scores = scratch.data() + worker * size;
            const int64_t head = task / s.tq;
            forward_row(a, head / s.heads, head % s.heads, task % s.tq, scores, scores + s.tk);
        });
        return;
    }
    const int64_t size = ForwardScratch<A>::size(s);
    const Buffer<A> scratch(num_threads() * size);
    each_query_block(s, s.batch * s.heads * s.tq * s.tk * (s.dim + s.dim_v) / 40, [&](int64_t b, int64_t h, int64_t q0, int worker) {
        forward_block(a, b, h, q0, scratch.data() + worker * size);
    });
}

template <class T> void attention_backward(const AttentionBackward<T>& a) {
    using A = acc_t<T>;
    const AttentionShape& s = a.shape;
    if (s.batch * s.heads == 0) return;
    const KeySplit split(s);
    const Buffer<A> memory(Prepared<A>::size(s, split.strips));
    const Prepared<A> x(memory.data(), s);
    const int64_t size = BackwardScratch<A>::size(s), scores = s.batch * s.heads * s.tq * s.tk, rows = s.batch * s.heads * s.tq;
    const Buffer<A> scratch(num_threads() * size);
    each_query_block(s, rows * (s.dim + s.dim_v), [&](int64_t b, int64_t h, int64_t q0, int) { prepare_block(a, x, split.strips, b, h, q0); });
    for (int64_t round = 0; round < split.rounds; ++round)
        parallel_for(s.batch * s.kv_heads * split.strips, scores * (s.dim + s.dim_v) / 16 / split.rounds, [&](int64_t task, int worker) {
            const int64_t head = task / split.strips, strip = task % split.strips;
            const int64_t begin = (round * split.strips + strip) * split.keys, end = smaller(begin + split.keys, s.tk);
            for (int64_t j = begin; j < end; j += kBackwardKeys)
                backward_block(a, x, strip, head / s.kv_heads, head % s.kv_heads, j, smaller(kBackwardKeys, end - j), scratch.data() + worker * size);
        });
    each_query_block(s, rows * s.dim, [&](int64_t b, int64_t h, int64_t q0, int) { finish_dq(a, x, split.strips, b, h, q0); });
}

template void attention_forward(const AttentionForward<float>&);
template void attention_forward(const AttentionForward<double>&);
template void attention_forward(const AttentionForward<bfloat16>&);
template void attention_forward(const AttentionForward<float16>&);
template void attention_backward(const AttentionBackward<float>&);
template void attention_backward(const AttentionBackward<double>&);
template void attention_backward(const AttentionBackward<bfloat16>&);
template void attention_backward(const AttentionBackward<float16>&);

}  // namespace lc::cpu::LC_ISA
