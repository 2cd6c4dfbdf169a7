// cross_entropy on CPU. Math and shapes: cpp/ops/cross_entropy.h
// Large vocabularies are memory bound: forward reads x once (each chunk a second time from L1), backward reads x and writes dx.
// inner == 1: one row at a time, along it. Otherwise a block of neighbouring columns at a time, one lane per column.
#include "cpp/ops/cross_entropy.h"
#include "cpp/core/parallel.h"
#include "cpp/simd/reduce.h"
#include "cpp/simd/row.h"

namespace lc::cpu::LC_ISA {
namespace {

constexpr int64_t kChunk = 2048;                      // 8 KB: read from memory for the maximum, from L1 for the sum
template <class T> constexpr int kBlock = 8 * lanes<T>;

template <class T> LC_INLINE T exp_of(T x) { return exp(splat(x))[0]; }
template <class T> LC_INLINE T log_of(T x) { return log(splat(x))[0]; }

// What the rows of one problem have in common.
template <class T> struct Rows {
    CrossEntropyProblem<T> p;
    T keep, spread;                                   // 1 - eps, eps / n
    T weight_sum;                                     // sum_c w[c]
    bool soft;                                        // every class has its share of the loss

    Rows(const CrossEntropyProblem<T>& problem) : p(problem) {
        keep = 1 - p.smoothing;
        spread = p.smoothing / T(p.n);
        soft = p.probability || p.smoothing > 0;
        weight_sum = p.weight ? sum_row<T>(p.n, [&](int64_t i, auto k) { return load(p.weight + i, k); }) : T(p.n);
    }
    template <class K> LC_INLINE vec<T> weight(int64_t c, K k) const { return p.weight ? load(p.weight + c, k) : splat(T(1)); }
    LC_INLINE T weight(int64_t c) const { return p.weight ? p.weight[c] : T(1); }
    // The factor of L[c] that does not come from a class index.
    LC_INLINE vec<T> share(vec<T> w, vec<T> t) const { return p.probability ? w * fma(splat(keep), t, splat(spread)) : w * splat(spread); }
};

// ---- one row, along it ------------------------------------------------------------------------------------------------

// sum of e^(x - m) over a chunk whose smallest element is `low`. beside(i, k) is called once for every register.
template <class T, class Beside> LC_INLINE T chunk_sum(const T* x, int64_t n, T m, T low, Beside&& beside) {
    const vec<T> shift = splat(m == T(-__builtin_inf()) ? T(0) : m);            // a chunk of -inf adds nothing
    if (m - low <= T(detail::kExpRange))
        return sum_row<T>(n, [&](int64_t i, auto k) {
            beside(i, k);
            return first(exp_in_range(load(x + i, k) - shift), k, zero<T>());
        });
    return sum_row<T>(n, [&](int64_t i, auto k) {
        beside(i, k);
        return first(exp(load(x + i, k) - shift), k, zero<T>());
    });
}

// The extremes of a whole chunk are found while the one before it is summed, which hides its misses.
template <class T> void row_statistics(const T* x, int64_t n, T* max, T* sum) {
    T m = T(-__builtin_inf()), s = 0;
    Extremes<T> e = extremes_row(x, n < kChunk ? n : kChunk);
    for (int64_t begin = 0; begin < n; begin += kChunk) {
        const int64_t count = n - begin < kChunk ? n - begin : kChunk, left = n - begin - count;
        const T *const chunk = x + begin, *const next = chunk + count;
        if (e.high > m) {
            if (s != 0) s *= exp_of(m - e.high);      // NaN stays so
            m = e.high;
        }
        if (left >= kChunk) {
            RunningExtremes<T> running;
            s += chunk_sum(chunk, count, m, e.low, [&](int64_t i, auto k) { running.add(load(next + i, k), k); });
            e = running.folded();
        } else {
            s += chunk_sum(chunk, count, m, e.low, Nothing());
            if (left > 0) e = extremes_row(next, left);
        }
    }
    *max = m;
    *sum = s;
}

template <class T> T row_loss(const Rows<T>& rows, const T* x, const int64_t* index, const T* probability, T m, T log_s) {
    const auto& p = rows.p;
    if (index && *index == p.ignore_index) return 0;
    T loss = 0;
    if (rows.soft) {
        const vec<T> vm = splat(m), vlog = splat(log_s);
        loss = sum_row<T>(p.n, [&](int64_t i, auto k) {
            const vec<T> t = probability ? load(probability + i, k) : zero<T>();
            return first(rows.share(rows.weight(i, k), t) * (vlog - (load(x + i, k) - vm)), k, zero<T>());
        });
    }
    if (index) loss += rows.keep * rows.weight(*index) * (log_s - (x[*index] - m));
    return loss;
}

// `count` <= kBlock rows; their logarithms together.
template <class T>
void forward_rows(const Rows<T>& rows, const T* x, const int64_t* index, const T* probability, T* max, T* sum, T* loss, int64_t count) {
    const int64_t n = rows.p.n;
    T log_s[kBlock<T>];
    for (int64_t r = 0; r < count; ++r) row_statistics(x + r * n, n, max + r, sum + r);
    each_vec<T>(count, [&](int64_t r, auto k) { store(log_s + r, log(load(sum + r, k)), k); });
    for (int64_t r = 0; r < count; ++r)
        loss[r] = row_loss(rows, x + r * n, index ? index + r : nullptr, probability ? probability + r * n : nullptr, max[r], log_s[r]);
}

template <class T>
void backward_row(const Rows<T>& rows, const T* x, const int64_t* index, const T* probability, T m, T s, T g, T* dx, T* dprobability) {
    const auto& p = rows.p;
    const bool ignored = index && *index == p.ignore_index;
    if (ignored) {
        each_vec<T>(p.n, [&](int64_t i, auto k) { store(dx + i, zero<T>(), k); });
        return;
    }
    const T hard = index ? rows.keep * rows.weight(*index) : T(0);
    T total = hard + rows.spread * rows.weight_sum;                         // A
    if (probability)
        total = sum_row<T>(p.n, [&](int64_t i, auto k) { return first(rows.share(rows.weight(i, k), load(probability + i, k)), k, zero<T>()); });

    const vec<T> vm = splat(m), vg = splat(g), scale = splat(g * total / s);
    if (dx && !rows.soft) {
        each_vec<T>(p.n, [&](int64_t i, auto k) { store(dx + i, exp_of_difference(load(x + i, k) - vm) * scale, k); });
    } else if (dx) {
        each_vec<T>(p.n, [&](int64_t i, auto k) {
            const vec<T> t = probability ? load(probability + i, k) : zero<T>();
            store(dx + i, exp_of_difference(load(x + i, k) - vm) * scale - vg * rows.share(rows.weight(i, k), t), k);
        });
    }
    if (dx && index) dx[*index] -= g * hard;
    if (dprobability) {
        const vec<T> vlog = splat(log_of(s)), outer = splat(g * rows.keep);
        each_vec<T>(p.n, [&](int64_t i, auto k) {
            store(dprobability + i, outer * rows.weight(i, k) * (vlog - (load(x + i, k) - vm)), k);
        });
    }
}

// ---- `width` columns at once, one lane per column, their classes `stride` apart ------------------------------------------

template <class T>
void forward_block(const Rows<T>& rows, const T* x, const int64_t* index, const T* probability, T* max, T* sum, T* loss, int64_t width) {
    const auto& p = rows.p;
    T m[kBlock<T>], s[kBlock<T>], log_s[kBlock<T>], l[kBlock<T>], low[kBlock<T>] = {}, lost[kBlock<T>] = {};
    each_vec<T>(width, [&](int64_t j, auto) {
        store(m + j, splat(T(-__builtin_inf())));
        store(s + j, zero<T>());
        store(l + j, zero<T>());
    });
    for (int64_t c = 0; c < p.n; ++c)
        each_vec<T>(width, [&](int64_t j, auto k) { store(m + j, lc::cpu::LC_ISA::max(load(x + c * p.inner + j, k), load(m + j))); });
    for (int64_t c = 0; c < p.n; ++c)
        each_vec<T>(width, [&](int64_t j, auto k) { add_compensated(s + j, low + j, exp(load(x + c * p.inner + j, k) - load(m + j))); });
    each_vec<T>(width, [&](int64_t j, auto) { store(log_s + j, log(load(s + j))); });
    if (rows.soft)
        for (int64_t c = 0; c < p.n; ++c) {
            const vec<T> w = splat(rows.weight(c));
            each_vec<T>(width, [&](int64_t j, auto k) {
                const int64_t at = c * p.inner + j;
                const vec<T> t = probability ? load(probability + at, k) : zero<T>();
                add_compensated(l + j, lost + j, rows.share(w, t) * (load(log_s + j) - (load(x + at, k) - load(m + j))));
            });
        }
    for (int64_t j = 0; j < width; ++j) {
        max[j] = m[j];
        sum[j] = s[j];
        loss[j] = l[j];
        if (!index) continue;
        const int64_t t = index[j];
        loss[j] = t == p.ignore_index ? T(0) : l[j] + rows.keep * rows.weight(t) * (log_s[j] - (x[t * p.inner + j] - m[j]));
    }
}

template <class T>
void backward_block(const Rows<T>& rows, const T* x, const int64_t* index, const T* probability, const T* max, const T* sum,
                    const T* g, int64_t g_stride, T* dx, T* dprobability, int64_t width) {
    const auto& p = rows.p;
    T m[kBlock<T>], log_s[kBlock<T>], scale[kBlock<T>], grad[kBlock<T>], total[kBlock<T>] = {};
    if (probability)
        for (int64_t c = 0; c < p.n; ++c) {
            const vec<T> w = splat(rows.weight(c));
            each_vec<T>(width, [&](int64_t j, auto k) {
                store(total + j, load(total + j) + rows.share(w, load(probability + c * p.inner + j, k)));
            });
        }
    for (int64_t j = 0; j < width; ++j) {
        const bool ignored = index && index[j] == p.ignore_index;
        grad[j] = ignored ? T(0) : g[j * g_stride];
        if (index && !ignored) total[j] = rows.keep * rows.weight(index[j]) + rows.spread * rows.weight_sum;
        m[j] = max[j];
        scale[j] = ignored ? T(0) : grad[j] * total[j] / sum[j];
        log_s[j] = log_of(sum[j]);
    }
    for (int64_t c = 0; c < p.n; ++c) {
        const vec<T> w = splat(rows.weight(c));
        each_vec<T>(width, [&](int64_t j, auto k) {
            const int64_t at = c * p.inner + j;
            const vec<T> shifted = load(x + at, k) - load(m + j, k), vg = load(grad + j, k);
            if (dx) {
                const vec<T> t = probability ? load(probability + at, k) : zero<T>(), e = exp(shifted) * load(scale + j, k);
                store(dx + at, rows.soft ? e - vg * rows.share(w, t) : e, k);
            }
            if (dprobability) store(dprobability + at, vg * splat(rows.keep) * w * (load(log_s + j, k) - shifted), k);
        });
    }
    if (dx && index)
        for (int64_t j = 0; j < width; ++j)
            if (index[j] != p.ignore_index) dx[index[j] * p.inner + j] -= grad[j] * rows.keep * rows.weight(index[j]);
}

// ---- splitting the work -------------------------------------------------------------------------------------------------

// f(o, j, width): columns j .. j + width of outer index o; for inner == 1 the rows o .. o + width, at most `rows` of them.
template <class T, class F> LC_INLINE void each_block(const CrossEntropyProblem<T>& p, int64_t rows, F&& f) {
    if (p.outer * p.inner == 0) return;
    const int64_t width = p.inner == 1 ? 1 : kBlock<T>, blocks = (p.inner + width - 1) / width;
    const int64_t grain = 16384 / (p.n * width) + 1;
    parallel_ranges(p.outer * blocks, grain, p.outer * p.n * p.inner / 2, [&](int64_t begin, int64_t end) {
        if (p.inner == 1) {
            for (int64_t o = begin; o < end; o += rows) f(o, 0, end - o < rows ? end - o : rows);
            return;
        }
        for (int64_t t = begin; t < end; ++t) {
            const int64_t j = t % blocks * width;
            f(t / blocks, j, p.inner - j < width ? p.inner - j : width);
        }
    });
}

}  // namespace

template <class T> void cross_entropy_forward(const CrossEntropyForward<T>& a) {
    const auto& p = a.problem;
    const Rows<T> rows(p);
    each_block(p, kBlock<T>, [&](int64_t o, int64_t j, int64_t width) {
        const int64_t at = o * p.n * p.inner + j, r = o * p.inner + j;
        const int64_t* index = p.index ? p.index + r : nullptr;
        const T* probability = p.probability ? p.probability + at : nullptr;
        if (p.inner == 1) forward_rows(rows, p.x + at, index, probability, a.max + r, a.sum + r, a.loss + r, width);
        else forward_block(rows, p.x + at, index, probability, a.max + r, a.sum + r, a.loss + r, width);
    });
}

template <class T> void cross_entropy_backward(const CrossEntropyBackward<T>& a) {
    const auto& p = a.problem;
    const Rows<T> rows(p);
    each_block(p, 1, [&](int64_t o, int64_t j, int64_t width) {
        const int64_t at = o * p.n * p.inner + j, r = o * p.inner + j;
        const int64_t* index = p.index ? p.index + r : nullptr;
        const T* probability = p.probability ? p.probability + at : nullptr;
        const T* g = a.g + r * a.g_stride;
        T* dx = a.dx ? a.dx + at : nullptr;
        T* dprobability = a.dprobability ? a.dprobability + at : nullptr;
        if (p.inner == 1) backward_row(rows, p.x + at, index, probability, a.max[r], a.sum[r], *g, dx, dprobability);
        else backward_block(rows, p.x + at, index, probability, a.max + r, a.sum + r, g, a.g_stride, dx, dprobability, width);
    });
}

template void cross_entropy_forward(const CrossEntropyForward<float>&);
template void cross_entropy_forward(const CrossEntropyForward<double>&);
template void cross_entropy_backward(const CrossEntropyBackward<float>&);
template void cross_entropy_backward(const CrossEntropyBackward<double>&);

}  // namespace lc::cpu::LC_ISA
