// attention on CPU. Math and shapes: cpp/ops/attention.h
// Compute bound: 4 * dim flops a score forward, 10 backward, all in the register tile of cpp/kernels/gemm.h.
//
// Scores are computed transposed: a panel is two registers of queries, one lane each, and the keys run down. So q and
// do are transposed once per call, k is read as it lies (a key's element is broadcast), the maximum and the sum of a
// row are plain register operations, and causality cuts a panel at its own last key.
#include "cpp/ops/attention.h"
#include "cpp/core/allocator.h"
#include "cpp/core/parallel.h"
#include "cpp/kernels/attention_panel.h"
#include "cpp/simd/reduce.h"
#include "cpp/simd/vec_math.h"

namespace lc::cpu::LC_ISA {
namespace {

constexpr int64_t kKeys = kForwardKeys;

// ---- forward ------------------------------------------------------------------------------------------------------------
//
// Panels side by side are a group, [keys][kGroup], whose queries are whole tiles of rows in the product with v: there a
// probability is broadcast and a row of v is a register.

template <class A> constexpr int kGroup = 3 * W<A>;

template <class A> struct ForwardScratch {
    int64_t width;                                    // of o and v: whole panels
    A *q, *o, *s, *z, *k, *v, *max, *sum, *shrink;
    static int64_t size(const AttentionShape& a) {
        return round_up(kForwardQueries * (a.dim + round_up(a.dim_v, W<A>) + 3) + kKeys * (kGroup<A> + W<A> + a.dim + round_up(a.dim_v, W<A>)), 16);
    }
    ForwardScratch(A* p, const AttentionShape& a) : width(round_up(a.dim_v, W<A>)), q(p) {
        o = q + kForwardQueries * a.dim;
        s = o + kForwardQueries * width;
        z = s + kKeys * kGroup<A>;
        k = z + kKeys * W<A>;
        v = k + kKeys * a.dim;
        max = v + kKeys * width;
        sum = max + kForwardQueries;
        shrink = sum + kForwardQueries;
    }
};

// Keys hidden from the queries of a group: query i sees the first i + 1 - hidden of a block.
template <class A> LC_NOINLINE void score_group(int64_t keys, int64_t dim, RowMajor<A> k, const A* q, int64_t panels, int64_t hidden, A* s) {
    each_row_tile<A>(keys, [&]<int count>(int64_t t) {
        for (int64_t p = larger(0, (hidden + t) / W<A>); p < panels; ++p)
            multiply_tile<count, 2>(dim, k.from(t), q + p * W<A> * dim, W<A>, TileOut<A>{s + t * kGroup<A> + p * W<A>, kGroup<A>, W<A>, false});
    });
}

// o = o shrink + p v
template <class A>
LC_NOINLINE void add_values(int64_t queries, int64_t keys, int64_t hidden, const A* p, RowMajor<A> v, const A* shrink, A* o, int64_t width) {
    for (int64_t d = 0; d < width; d += W<A>)
        each_row_tile<A>(queries, [&]<int count>(int64_t i) {
            const int64_t seen = smaller(keys, i + count - hidden);
            if (seen <= 0) return;
            vec<A> sum[size_t(count)][2] = {};
            accumulate_tile<count, 2>(seen, Transposed<A>{p + i, kGroup<A>}, v.p + d, v.ld, sum);
#pragma GCC unroll 16
            for (int r = 0; r < count; ++r) {
                A* at = o + (i + r) * width + d;
                const vec<A> f = splat(shrink[i + r]);
                store(at, fma(load(at), f, sum[r][0]));
                store(at + lanes<A>, fma(load(at + lanes<A>), f, sum[r][1]));
            }
        });
}

// Scores to exp2(s - max), with the maximum and the sum so far brought up to date; shrink: what o so far is to be multiplied by.
template <class A> LC_NOINLINE void softmax_panel(A* s, int64_t keys, A* max_state, A* sum_state, A* shrink) {
    constexpr int L = lanes<A>, ld = kGroup<A>;
    const vec<A> none = splat(kMinusInfinity<A>);
    const vec<A> m0 = load(max_state), m1 = load(max_state + L);
    vec<A> a0 = m0, a1 = m1;
    for (int64_t t = 0; t < keys; ++t) {
        a0 = max(load(s + t * ld), a0);
        a1 = max(load(s + t * ld + L), a1);
    }
    const vec<A> ref0 = select(a0 == none, zero<A>(), a0), ref1 = select(a1 == none, zero<A>(), a1);   // nothing seen yet: exp2(-inf)
    vec<A> sum0 = zero<A>(), sum1 = sum0;
    for (int64_t t = 0; t < keys; ++t) {
        const vec<A> e0 = exp2_of_difference(load(s + t * ld) - ref0), e1 = exp2_of_difference(load(s + t * ld + L) - ref1);
        store(s + t * ld, e0);
        store(s + t * ld + L, e1);
        sum0 = sum0 + e0;
        sum1 = sum1 + e1;
    }
    const vec<A> shrink0 = exp2_of_difference(m0 - ref0), shrink1 = exp2_of_difference(m1 - ref1);
    store(max_state, a0);
    store(max_state + L, a1);
    store(sum_state, fma(load(sum_state), shrink0, sum0));
    store(sum_state + L, fma(load(sum_state + L), shrink1, sum1));
    store(shrink, shrink0);
    store(shrink + L, shrink1);
}

template <class A> A log2_of_sum(A top, A total) {
    return total == 0 ? -kMinusInfinity<A> : fma(log(splat(total)), splat(A(kLog2e)), splat(top))[0];
}

template <class T, class A = acc_t<T>> void forward_block(const AttentionForward<T>& a, int64_t b, int64_t h, int64_t q0, A* memory) {
    const AttentionShape& s = a.shape;
    const ForwardScratch<A> x(memory, s);
    const int64_t hk = h / (s.heads / s.kv_heads), count = smaller(kForwardQueries, s.tq - q0), padded = round_up(count, W<A>);
    const int64_t last_key = s.causal ? smaller(s.tk, q0 + count) : s.tk;
    pack_panels(a.q.at(b, h, q0), a.q.row, count, s.dim, A(s.scale * kLog2e), x.q);
    for (int64_t i = 0; i < count * x.width; ++i) x.o[i] = 0;
    for (int64_t i = 0; i < padded; ++i) {
        x.max[i] = kMinusInfinity<A>;
        x.sum[i] = 0;
    }
    for (int64_t j = 0; j < last_key; j += kKeys) {
        const int64_t block = smaller(kKeys, last_key - j);
        const RowMajor<A> k = make_dense(a.k.at(b, hk, j), a.k.row, block, s.dim, s.dim, x.k);
        const RowMajor<A> v = make_dense(a.v.at(b, hk, j), a.v.row, block, s.dim_v, x.width, x.v);
        for (int64_t g = 0; g < count; g += kGroup<A>) {
            const int64_t queries = smaller(kGroup<A>, count - g), end = round_up(queries, W<A>), hidden = s.causal ? j - q0 - g : -s.tk;
            const int64_t keys = smaller(block, end - hidden);
            if (keys <= 0) continue;
            score_group(keys, s.dim, k, x.q + g * s.dim, end / W<A>, hidden, x.s);
            for (int64_t p = 0; p < end; p += W<A>) {
                const int64_t seen = larger(0, smaller(block, p + W<A> - hidden));
                const Panel panel{b, h, q0 + g + p, j, seen};
                A* scores = x.s + p;
                hide<T>(s, a.mask, panel, scores, kGroup<A>);
                softmax_panel(scores, seen, x.max + g + p, x.sum + g + p, x.shrink + g + p);
                if (a.dropout.probability > 0) drop_panel(s, a.dropout, panel, x.z, scores, kGroup<A>);
                for (int64_t t = seen; t < smaller(keys, seen + kTileRows<A>); ++t)       // a tile's rows may be of two panels
                    for (int64_t i = 0; i < W<A>; ++i) scores[t * kGroup<A> + i] = 0;
            }
            add_values(queries, keys, hidden, x.s, v, x.shrink + g, x.o + g * x.width, x.width);
        }
    }
    A* lse = a.lse + (b * s.heads + h) * s.tq + q0;
    for (int64_t i = 0; i < count; ++i) {
        lse[i] = log2_of_sum(x.max[i], x.sum[i]);
        const vec<A> factor = splat(x.sum[i] == 0 ? A(0) : 1 / x.sum[i]);                 // nothing seen: o = 0
        T* o = a.o.at(b, h, q0 + i);
        each_vec<A>(s.dim_v, [&](int64_t d, auto n) { store(o + d, load(x.o + i * x.width + d, n) * factor, n); });
    }
}

// ---- few queries, as in generation: a row at a time ---------------------------------------------------------------------
//
// The lanes are keys here, then columns of v, and every sum is taken in forward_block's order: the same bits.

template <class A> struct RowScratch {
    A *s, *o, *sum, *v, *q;
    static int64_t width(int64_t dim_v) { return round_up(dim_v, W<A>); }
    static int64_t size(const AttentionShape& a) { return round_up(kKeys + width(a.dim_v) * (kKeys + 2) + a.dim, 16); }
    RowScratch(A* p, const AttentionShape& a) : s(p) {
        o = s + kKeys;
        sum = o + width(a.dim_v);
        v = sum + width(a.dim_v);
        q = v + width(a.dim_v) * kKeys;
    }
};

// s[t] = q k[t, :] for `groups` registers of keys, the last with `keys` of them: chains of fma, as many as hide its latency.
template <int groups, class T, class A> LC_INLINE void dot_group(const A* q, int64_t dim, const T* k, int64_t row, int64_t keys, A* s) {
    constexpr int L = lanes<A>;
    vec<A> sum[size_t(groups)];
#pragma GCC unroll 4
    for (int g = 0; g < groups; ++g) sum[g] = zero<A>();
    auto block = [&](int64_t d, auto n, int depth) {
#pragma GCC unroll 4
        for (int g = 0; g < groups; ++g) {
            vec<A> r[size_t(L)];
#pragma GCC unroll 16
            for (int u = 0; u < L; ++u) r[u] = groups > 1 || u < keys ? load(k + (g * L + u) * row + d, n) : zero<A>();
            transpose(r);
#pragma GCC unroll 16
            for (int u = 0; u < L; ++u)
                if (u < depth) sum[g] = fma(splat(q[d + u]), r[u], sum[g]);
        }
    };
    int64_t d = 0;
    for (; d + L <= dim; d += L) block(d, full, L);
    if (d < dim) block(d, int(dim - d), int(dim - d));
#pragma GCC unroll 4
    for (int g = 0; g < groups; ++g) store(s + g * L, sum[g]);
}
template <class T, class A> void dot_keys(const A* q, int64_t dim, const T* k, int64_t row, int64_t keys, A* s) {
    constexpr int L = lanes<A>;
    int64_t t = 0;
    for (; t + 4 * L <= keys; t += 4 * L) dot_group<4>(q, dim, k + t * row, row, L, s + t);
    for (; t < keys; t += L) dot_group<1>(q, dim, k + t * row, row, keys - t, s + t);
}

template <class T, class A> void mask_row(const AttentionMask& m, int64_t b, int64_t h, int64_t i, int64_t j, int64_t keys, A* s) {
    const int64_t start = b * m.batch + h * m.head + i * m.row + j * m.col;
    for (int64_t t = 0; t < keys; ++t) {
        if (!m.boolean) s[t] += over_ln2(A(to_float(static_cast<const T*>(m.data)[start + t * m.col])));
        else if (!static_cast<const bool*>(m.data)[start + t * m.col]) s[t] = kMinusInfinity<A>;
    }
}

// softmax_panel of one row; returns shrink.
template <class A> A softmax_row(A* s, int64_t keys, A& top, A& total) {
    const A now = max_row(s, keys), before = top;
    top = now > before ? now : before;
    const vec<A> ref = splat(top == kMinusInfinity<A> ? A(0) : top), shrink = exp2_of_difference(splat(before) - ref);
    each_vec<A>(keys, [&](int64_t t, auto n) { store(s + t, exp2_of_difference(load(s + t, n) - ref), n); });
    A sum = 0;
    for (int64_t t = 0; t < keys; ++t) sum += s[t];
    total = fma(splat(total), shrink, splat(sum))[0];
    return shrink[0];
}

template <class T, class A = acc_t<T>> void forward_row(const AttentionForward<T>& a, int64_t b, int64_t h, int64_t i, A* memory) {
    const AttentionShape& s = a.shape;
    const RowScratch<A> x(memory, s);
    const int64_t hk = h / (s.heads / s.kv_heads), width = x.width(s.dim_v), last_key = s.causal ? smaller(s.tk, i + 1) : s.tk;
    const T* q = a.q.at(b, h, i);
    each_vec<A>(s.dim, [&](int64_t d, auto n) { store(x.q + d, load(q + d, n) * splat(A(s.scale * kLog2e)), n); });
    for (int64_t d = 0; d < width; ++d) x.o[d] = 0;
    A top = kMinusInfinity<A>, total = 0;
    for (int64_t j = 0; j < last_key; j += kKeys) {
        const int64_t keys = smaller(kKeys, last_key - j);
        dot_keys(x.q, s.dim, a.k.at(b, hk, j), a.k.row, keys, x.s);
        if (a.mask.data) mask_row<T>(a.mask, b, h, i, j, keys, x.s);
        const vec<A> shrink = splat(softmax_row(x.s, keys, top, total));
        const RowMajor<A> v = make_dense(a.v.at(b, hk, j), a.v.row, keys, s.dim_v, width, x.v);
        for (int64_t d = 0; d < width;) {
            const int64_t left = (width - d) / lanes<A>;
            const int vecs = left >= 8 ? 8 : left >= 4 ? 4
                                                       : 2;
            multiply_any_tile<A>(1, vecs, keys, {x.s, 0, 1}, v.p + d, v.ld, {x.sum + d, 0, vecs * lanes<A>, false});
            d += vecs * lanes<A>;
        }
        each_vec<A>(width, [&](int64_t d, auto n) { store(x.o + d, fma(load(x.o + d, n), shrink, load(x.sum + d, n)), n); });
    }
    a.lse[(b * s.heads + h) * s.tq + i] = log2_of_sum(top, total);
    const vec<A> factor = splat(total == 0 ? A(0) : 1 / total);
    T* out = a.o.at(b, h, i);
    each_vec<A>(s.dim_v, [&](int64_t d, auto n) { store(out + d, load(x.o + d, n) * factor, n); });
}

// ---- backward -----------------------------------------------------------------------------------------------------------

// Of some heads, beginning with head `first` of all: q and do as panels, their rows at full width, dq as panels (one set per strip).
template <class A> struct Prepared {
    int64_t first, rows, heads, q_width, do_width;    // rows: tq in whole blocks
    A *q_panels, *do_panels, *q_rows, *do_rows, *dq, *lse, *delta;

    static int64_t width(int64_t dim) { return round_up(dim, W<A>); }
    static int64_t size(const AttentionShape& s, int64_t heads, int64_t strips) {
        const int64_t rows = round_up(s.tq, kQueries) * heads;
        return rows * (s.dim + s.dim_v + width(s.dim) + width(s.dim_v) + strips * s.dim + 2);
    }
    Prepared(A* p, const AttentionShape& s, int64_t first, int64_t heads)
        : first(first), rows(round_up(s.tq, kQueries)), heads(heads), q_width(width(s.dim)), do_width(width(s.dim_v)), q_panels(p) {
        const int64_t all = rows * heads;
        do_panels = q_panels + all * s.dim;
        q_rows = do_panels + all * s.dim_v;
        do_rows = q_rows + all * q_width;
        lse = do_rows + all * do_width;
        delta = lse + all;
        dq = delta + all;
    }
    int64_t at(int64_t head, int64_t query) const { return (head - first) * rows + query; }
    // dq of one strip
    A* dq_panels(const AttentionShape& s, int64_t strip) const { return dq + strip * rows * heads * s.dim; }
};

template <class T, class A = acc_t<T>> void prepare_block(const AttentionBackward<T>& a, const Prepared<A>& x, int64_t strips, int64_t b, int64_t h, int64_t q0) {
    const AttentionShape& s = a.shape;
    const int64_t count = smaller(kQueries, s.tq - q0), at = x.at(b * s.heads + h, q0);
    pack_panels(a.q.at(b, h, q0), a.q.row, count, s.dim, A(s.scale * kLog2e), x.q_panels + at * s.dim);
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
            const vec<A> e = exp2_of_difference(load(p + at) - l);
            const vec<A> keep = z ? load(z + t * W<A> + half * lanes<A>) : splat(A(1));
            store(p + at, e * keep);
            store(ds + at, e * (load(ds + at) * keep - d));
        }
    }
}

// z p and ds of a panel of queries (x.q_panels .. + at * dim) and `keys` rows of k and v.
template <class T, class A>
LC_INLINE void score_gradients(const AttentionBackward<T>& a, const Prepared<A>& x, const BackwardScratch<A>& y, RowMajor<A> k, RowMajor<A> v, int64_t at, const Panel& panel, A* p, A* ds) {
    const AttentionShape& s = a.shape;
    multiply(panel.keys, s.dim, k, x.q_panels + at * s.dim, W<A>, p, kQueries, false);
    multiply(panel.keys, s.dim_v, v, x.do_panels + at * s.dim_v, W<A>, ds, kQueries, false);
    hide<T>(s, a.mask, panel, p, kQueries);
    const bool dropout = a.dropout.probability > 0;
    if (dropout) dropout_factors(s, a.dropout, panel, y.z);
    softmax_backward_panel(p, ds, dropout ? y.z : nullptr, panel.keys, x.lse + at, x.delta + at);
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
            const int64_t queries = smaller(kQueries, s.tq - q0), at = x.at(b * s.heads + h, q0);
            for (int64_t p = 0; p < queries; p += W<A>) {
                const int64_t q = q0 + p, seen = s.causal ? smaller(count, q + W<A> - j) : count;
                if (seen <= 0) continue;
                const int64_t keys = smaller(count, round_up(seen, kTileRows<A>));        // whole tiles: dk and dv read them
                score_gradients(a, x, y, k, v, at + p, Panel{b, h, q, j, keys}, y.p + p, y.ds + p);
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
    const int64_t count = smaller(kQueries, s.tq - q0), at = x.at(b * s.heads + h, q0);
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

// ---- the gradient of the mask ---------------------------------------------------------------------------------------------
//
// ds anew, tile by tile (4 dim flops a score more), for a mask's gradient is summed over other dimensions than dk and
// dq are. A tile of sums belongs to a block of mask elements; the blocks of scores it is broadcast to are added in order.

// sums[count, ld] += ds of keys j .. j + count and queries q0 .. q0 + ld.
template <class T, class A = acc_t<T>>
void add_score_gradients(const AttentionBackward<T>& a, const Prepared<A>& x, int64_t b, int64_t h, int64_t q0, int64_t j, A* memory, A* sums, int64_t ld) {
    const AttentionShape& s = a.shape;
    const BackwardScratch<A> y(memory, s);
    const int64_t hk = h / (s.heads / s.kv_heads), count = smaller(kBackwardKeys, s.tk - j), at = x.at(b * s.heads + h, q0);
    const RowMajor<A> k = make_dense(a.k.at(b, hk, j), a.k.row, count, s.dim, s.dim, y.k);
    const RowMajor<A> v = make_dense(a.v.at(b, hk, j), a.v.row, count, s.dim_v, s.dim_v, y.v);
    for (int64_t p = 0; p < smaller(kQueries, s.tq - q0); p += W<A>) {
        score_gradients(a, x, y, k, v, at + p, Panel{b, h, q0 + p, j, count}, y.p + p, y.ds + p);
        for (int64_t t = 0; t < count; ++t)
            each_vec<A>(W<A>, [&](int64_t i, auto n) {
                A* sum = sums + t * ld + p + i;
                store(sum, load(sum, n) + load(y.ds + t * kQueries + p + i, n), n);
            });
    }
}

// Sums to elements: along a dimension of size 1 the tile itself is summed too.
template <class T, class A> void write_mask_tile(const AttentionMaskGradient<T>& m, int64_t head, int64_t q0, int64_t j, const A* sums, int64_t keys, int64_t ld) {
    const int64_t rows = m.rows > 1 ? smaller(ld, m.rows - q0) : 1, cols = m.cols > 1 ? smaller(keys, m.cols - j) : 1;
    const int64_t each_row = m.rows > 1 ? 1 : ld, each_col = m.cols > 1 ? 1 : keys;
    for (int64_t r = 0; r < rows; ++r)
        for (int64_t c = 0; c < cols; ++c) {
            A sum = 0;
            for (int64_t t = 0; t < each_col; ++t)
                for (int64_t i = 0; i < each_row; ++i) sum += sums[(c + t) * ld + r + i];
            m.data[(head * m.rows + q0 + r) * m.cols + j + c] = from_float<T>(sum);
        }
}

template <class T, class A = acc_t<T>> void mask_backward(const AttentionBackward<T>& a, const Prepared<A>& x, const Buffer<A>& scratch, int64_t scratch_size) {
    const AttentionShape& s = a.shape;
    const AttentionMaskGradient<T>& m = a.dmask;
    const int64_t ld = smaller(kQueries, round_up(s.tq, W<A>)), keys = smaller(kBackwardKeys, s.tk);
    const int64_t q_blocks = ceil_div(s.tq, kQueries), k_blocks = ceil_div(s.tk, kBackwardKeys);
    const int64_t own_q = m.rows > 1 ? q_blocks : 1, own_k = m.cols > 1 ? k_blocks : 1, tiles = m.batch * m.heads * own_q * own_k;
    const Buffer<A> sums(tiles * ld * keys);
    for (int64_t i = 0; i < tiles * ld * keys; ++i) sums.data()[i] = 0;
    for (int64_t b = 0; b < s.batch / m.batch; ++b)                       // one step, or one for each sample ...
        for (int64_t h = 0; h < s.heads / m.heads; ++h)
            for (int64_t q = 0; q < q_blocks / own_q; ++q)
                for (int64_t k = 0; k < k_blocks / own_k; ++k)
                    parallel_for(tiles, tiles * ld * keys * (s.dim + s.dim_v) / 40, [&](int64_t tile, int worker) {
                        const int64_t tile_k = tile % own_k, tile_q = tile / own_k % own_q, head = tile / own_k / own_q;
                        add_score_gradients(a, x, b + head / m.heads, h + head % m.heads, (q + tile_q) * kQueries, (k + tile_k) * kBackwardKeys,
                                            scratch.data() + worker * scratch_size, sums.data() + tile * ld * keys, ld);
                    });
    parallel_for(tiles, tiles * ld * keys, [&](int64_t tile, int) {
        write_mask_tile(m, tile / own_k / own_q, tile / own_k % own_q * kQueries, tile % own_k * kBackwardKeys, sums.data() + tile * ld * keys, keys, ld);
    });
}

// ---- the split ------------------------------------------------------------------------------------------------------------

// f(b, h, q0, worker) over the query blocks of every head.
template <class F> void each_query_block(const AttentionShape& s, int64_t queries, int64_t work_ns, F&& f) {
    const int64_t blocks = (s.tq + queries - 1) / queries;
    parallel_for(s.batch * s.heads * blocks, work_ns, [&](int64_t task, int worker) {
        const int64_t head = task / blocks, block = blocks - 1 - task % blocks;          // causal: the longest first
        f(head / s.heads, head % s.heads, block * queries, worker);
    });
}

}  // namespace

template <class T> void attention_forward(const AttentionForward<T>& a) {
    using A = acc_t<T>;
    const AttentionShape& s = a.shape;
    if (attention_forward_plan(s, a.dropout.probability > 0).rows) {
        const int64_t size = RowScratch<A>::size(s);
        const Buffer<A> scratch(num_threads() * size);
        parallel_for(s.batch * s.heads * s.tq, s.batch * s.heads * s.tq * s.tk * (s.dim + s.dim_v) / 8, [&](int64_t task, int worker) {
            const int64_t head = task / s.tq;
            forward_row(a, head / s.heads, head % s.heads, task % s.tq, scratch.data() + worker * size);
        });
        return;
    }
    const int64_t size = ForwardScratch<A>::size(s);
    const Buffer<A> scratch(num_threads() * size);
    each_query_block(s, kForwardQueries, s.batch * s.heads * s.tq * s.tk * (s.dim + s.dim_v) / 40, [&](int64_t b, int64_t h, int64_t q0, int worker) {
        forward_block(a, b, h, q0, scratch.data() + worker * size);
    });
}

// A key head at a time, from its operands to its gradients, in a worker's own memory.
template <class T> void backward_by_heads(const AttentionBackward<T>& a) {
    using A = acc_t<T>;
    const AttentionShape& s = a.shape;
    const int64_t group = s.heads / s.kv_heads, prepared = round_up(Prepared<A>::size(s, group, 1), 16), size = round_up(BackwardScratch<A>::size(s), 16);
    const Buffer<A> memory(num_threads() * (prepared + size));
    parallel_for(s.batch * s.kv_heads, s.batch * s.heads * s.tq * s.tk * (s.dim + s.dim_v) / 16, [&](int64_t task, int worker) {
        const int64_t b = task / s.kv_heads, hk = task % s.kv_heads, first = hk * group;
        A* const own = memory.data() + worker * (prepared + size);
        const Prepared<A> x(own, s, b * s.heads + first, group);
        for (int64_t h = first; h < first + group; ++h)
            for (int64_t q0 = 0; q0 < s.tq; q0 += kQueries) prepare_block(a, x, 1, b, h, q0);
        for (int64_t j = 0; j < s.tk; j += kBackwardKeys) backward_block(a, x, 0, b, hk, j, smaller(kBackwardKeys, s.tk - j), own + prepared);
        for (int64_t h = first; h < first + group; ++h)
            for (int64_t q0 = 0; q0 < s.tq; q0 += kQueries) finish_dq(a, x, 1, b, h, q0);
    });
}

template <class T> void attention_backward(const AttentionBackward<T>& a) {
    using A = acc_t<T>;
    const AttentionShape& s = a.shape;
    if (s.batch * s.heads == 0) return;
    const AttentionBackwardPlan split = attention_backward_plan(s);
    if (split.strips * split.rounds == 1 && !a.dmask.data && Prepared<A>::size(s, s.heads / s.kv_heads, 1) * int64_t(sizeof(A)) <= kHeadBytes)
        return backward_by_heads(a);
    const Buffer<A> memory(Prepared<A>::size(s, s.batch * s.heads, split.strips));
    const Prepared<A> x(memory.data(), s, 0, s.batch * s.heads);
    const int64_t size = BackwardScratch<A>::size(s), scores = s.batch * s.heads * s.tq * s.tk, rows = s.batch * s.heads * s.tq;
    const Buffer<A> scratch(num_threads() * size);
    each_query_block(s, kQueries, rows * (s.dim + s.dim_v), [&](int64_t b, int64_t h, int64_t q0, int) { prepare_block(a, x, split.strips, b, h, q0); });
    for (int64_t round = 0; round < split.rounds; ++round)
        parallel_for(s.batch * s.kv_heads * split.strips, scores * (s.dim + s.dim_v) / 16 / split.rounds, [&](int64_t task, int worker) {
            const int64_t head = task / split.strips, strip = task % split.strips;
            const int64_t begin = (round * split.strips + strip) * split.keys, end = smaller(begin + split.keys, s.tk);
            for (int64_t j = begin; j < end; j += kBackwardKeys)
                backward_block(a, x, strip, head / s.kv_heads, head % s.kv_heads, j, smaller(kBackwardKeys, end - j), scratch.data() + worker * size);
        });
    each_query_block(s, kQueries, rows * s.dim, [&](int64_t b, int64_t h, int64_t q0, int) { finish_dq(a, x, split.strips, b, h, q0); });
    if (a.dmask.data && scores > 0) mask_backward(a, x, scratch, size);
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
