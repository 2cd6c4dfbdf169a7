// reduce on CPU. Contract: cpp/ops/reduce.h. Memory bound: x is read once.
//
// Two shapes of loop: along rows (inner = 1), where registers run along the reduced elements, and down columns, where they
// run along the kept ones. Either way a block of fixed size is reduced by one task, then the blocks are combined pairwise.
#include "cpp/ops/reduce.h"

#include "cpp/core/parallel.h"
#include "cpp/simd/row.h"

namespace lc::cpu::LC_ISA {
namespace {

constexpr int64_t kBlock = 4096;                      // elements of a row reduced at once
constexpr int kTogether = 4;                          // blocks read at once
constexpr int64_t kRows = 64, kColumns = 1024;        // of a block of columns; its accumulators take 4 or 8 KiB of L1

template <class T> constexpr T lowest() {
    if constexpr (std::is_integral_v<T>) return std::is_signed_v<T> ? T(T(1) << (8 * sizeof(T) - 1)) : T(0);
    else return -T(__builtin_inf());
}
template <class T> constexpr T highest() {
    if constexpr (std::is_integral_v<T>) return T(~lowest<T>());
    else return T(__builtin_inf());
}

// ---- what is reduced: map, then combine; for vectors and for single elements ------------------------------------------------

struct Sum {
    using combiner = Sum;                              // of it and what derives from it
    static constexpr bool kExtreme = false;
    template <class T> static constexpr T identity() { return T(0); }
    template <class V> static LC_INLINE V map(V x, V) { return x; }
    template <class V> static LC_INLINE V combine(V a, V b) { return a + b; }
};
struct Prod {
    using combiner = Prod;
    static constexpr bool kExtreme = false;
    template <class T> static constexpr T identity() { return T(1); }
    template <class V> static LC_INLINE V map(V x, V) { return x; }
    template <class V> static LC_INLINE V combine(V a, V b) { return a * b; }
};
struct Max {
    using combiner = Max;
    static constexpr bool kExtreme = true;
    template <class T> static LC_INLINE vec<T> better(vec<T> x, vec<T> best) { return max(x, best); }             // a NaN x is not
    template <class T> static constexpr T identity() { return lowest<T>(); }
    template <class V> static LC_INLINE V map(V x, V) { return x; }
    template <class T> static LC_INLINE vec<T> combine(vec<T> a, vec<T> b) { return max_nan(a, b); }
    template <class T> static LC_INLINE T combine(T a, T b) { return ((a > b) | (a != a)) ? a : b; }
};
struct Min {
    using combiner = Min;
    static constexpr bool kExtreme = true;
    template <class T> static LC_INLINE vec<T> better(vec<T> x, vec<T> best) { return min(x, best); }             // a NaN x is not
    template <class T> static constexpr T identity() { return highest<T>(); }
    template <class V> static LC_INLINE V map(V x, V) { return x; }
    template <class T> static LC_INLINE vec<T> combine(vec<T> a, vec<T> b) { return min_nan(a, b); }
    template <class T> static LC_INLINE T combine(T a, T b) { return ((a < b) | (a != a)) ? a : b; }
};
struct SumShifted : Sum {
    template <class V> static LC_INLINE V map(V x, V shift) { return x - shift; }
};
struct SumSquares : Sum {
    template <class V> static LC_INLINE V map(V x, V shift) { return (x - shift) * (x - shift); }
};
struct SumAbs : Sum {
    template <class V> static LC_INLINE V map(V x, V) { return abs(x); }
};
struct MaxAbs : Max {
    template <class V> static LC_INLINE V map(V x, V) { return abs(x); }
};
struct SumExp : Sum {
    template <class V> static LC_INLINE V map(V x, V shift) { return exp(x - shift); }
};

// The tree over n partial results, in index order: x[0] holds the result. Elements lie `step` apart.
template <class F, class A> A combine_pairwise(const A* x, int64_t n) {
    if (n == 1) return x[0];
    const int64_t half = n / 2;
    return F::combine(combine_pairwise<F>(x, half), combine_pairwise<F>(x + half, n - half));
}

// 16-bit floats are widened a block at a time, so that the loops below exist for float, double and integers alone.
constexpr int64_t kPiece = kBlock / kRows;            // columns of a block that fit the buffer

template <class T> constexpr bool is_wide = std::is_same_v<T, acc_t<T>>;

template <class T> struct Widened {
    alignas(64) acc_t<T> block[is_wide<T> ? 1 : kBlock];

    // rows of `columns` elements `stride` apart; the result's are kPiece apart if they are several.
    LC_INLINE const acc_t<T>* operator()(const T* x, int64_t rows, int64_t stride, int64_t columns) {
        if constexpr (is_wide<T>) {
            return x;
        } else {
            for (int64_t r = 0; r < rows; ++r)
                each_vec<float>(columns, [&](int64_t i, auto k) { store(block + r * kPiece + i, load(x + r * stride + i, k), k); });
            return block;
        }
    }
};

// ---- along rows ---------------------------------------------------------------------------------------------------------

// A register's lanes of a running result.
template <class F, class A> struct Running {
    vec<A> value = splat(F::template identity<A>());
    LC_INLINE void add(vec<A> x) { value = F::combine(value, x); }
    LC_INLINE vec<A> result() const { return value; }
};
// The largest or smallest, NaN kept apart: one instruction of latency where combine() has three.
template <class F, class A>
    requires(F::kExtreme)
struct Running<F, A> {
    vec<A> value = splat(F::template identity<A>());
    mask<A> number = value == value;
    LC_INLINE void add(vec<A> x) {
        value = F::better(x, value);
        number = number & (x == x);
    }
    LC_INLINE vec<A> result() const { return select(number, value, splat(A(__builtin_nan("")))); }
};

// y[r] = the result over x[r * apart ..][0..n) for `rows` blocks: several streams are read faster than one, 45 GB/s against
// 31 from L3. A block has the same bits alone.
template <class F, int rows, class A> LC_INLINE void reduce_together(const A* x, int64_t apart, int64_t n, const A* shift, A* y) {
    constexpr int w = lanes<A>;
    vec<A> s[size_t(rows)];
    Running<F, A> even[size_t(rows)], odd[size_t(rows)];
    for (int r = 0; r < rows; ++r) s[r] = splat(shift[r]);
    int64_t i = 0;
    for (; i + 2 * w <= n; i += 2 * w) {
#pragma GCC unroll 4
        for (int r = 0; r < rows; ++r) {
            even[r].add(F::map(load(x + r * apart + i), s[r]));
            odd[r].add(F::map(load(x + r * apart + i + w), s[r]));
        }
    }
    for (int r = 0; r < rows; ++r) {
        const A* from = x + r * apart;
        int64_t j = i;
        if (j + w <= n) even[r].add(F::map(load(from + j), s[r])), j += w;
        if (j < n) odd[r].add(first(F::map(load(from + j, int(n - j)), s[r]), int(n - j), splat(F::template identity<A>())));
        y[r] = fold_halves(F::combine(even[r].result(), odd[r].result()), [](auto a, auto b) { return F::combine(a, b); });
    }
}

// y[0..4) or y[0] for blocks `apart` from each other.
template <class F, class A> void reduce_blocks(const A* x, int64_t apart, int count, int64_t n, const A* shift, A* y) {
    if constexpr (std::is_integral_v<A>) {
        for (int r = 0; r < count; ++r) {
            A total = F::template identity<A>();
            for (int64_t i = 0; i < n; ++i) total = F::combine(total, x[r * apart + i]);
            y[r] = total;
        }
    } else if (count == kTogether) {
        reduce_together<F, kTogether>(x, apart, n, shift, y);
    } else {
        for (int r = 0; r < count; ++r) reduce_together<F, 1>(x + r * apart, apart, n, shift + r, y + r);
    }
}

// ---- down columns ---------------------------------------------------------------------------------------------------------

// acc[0..columns) = rows r of x[r * stride + 0..columns), combined: four at a time, so that acc is touched once for four.
template <class F, class A>
void reduce_strip(const A* x, int64_t rows, int64_t stride, int64_t columns, const A* shift, A* acc) {
    if constexpr (std::is_integral_v<A>) {
        for (int64_t i = 0; i < columns; ++i) acc[i] = x[i];
        for (int64_t r = 1; r < rows; ++r)
            for (int64_t i = 0; i < columns; ++i) acc[i] = F::combine(acc[i], x[r * stride + i]);
    } else {
        const auto at = [&](int64_t r, int64_t i, auto k) {
            return F::map(load(x + r * stride + i, k), shift ? load(shift + i, k) : zero<A>());
        };
        each_vec<A>(columns, [&](int64_t i, auto k) { store(acc + i, at(0, i, k), k); });
        int64_t r = 1;
        for (; r + 4 <= rows; r += 4)
            each_vec<A>(columns, [&](int64_t i, auto k) {
                const vec<A> four = F::combine(F::combine(at(r, i, k), at(r + 1, i, k)), F::combine(at(r + 2, i, k), at(r + 3, i, k)));
                store(acc + i, F::combine(load(acc + i, k), four), k);
            });
        for (; r < rows; ++r)
            each_vec<A>(columns, [&](int64_t i, auto k) { store(acc + i, F::combine(load(acc + i, k), at(r, i, k)), k); });
    }
}

// Partial rows parts[0..n) of `stride` elements combined pairwise into parts[0], in place.
template <class F, class A> void combine_strips(A* parts, int64_t n, int64_t stride, int64_t columns) {
    for (int64_t step = 1; step < n; step *= 2)
        for (int64_t b = 0; b + step < n; b += 2 * step) {
            A *to = parts + b * stride, *from = to + step * stride;
            for (int64_t i = 0; i < columns; ++i) to[i] = F::combine(to[i], from[i]);
        }
}

// ---- any of them, in either direction: compiled once a dtype -------------------------------------------------------------

template <class A> struct Loops {
    void (*blocks)(const A*, int64_t apart, int count, int64_t n, const A* shift, A* y);
    void (*strip)(const A*, int64_t rows, int64_t stride, int64_t columns, const A* shift, A* acc);
    A (*pairwise)(const A*, int64_t n);
    void (*strips)(A* parts, int64_t n, int64_t stride, int64_t columns);
};
template <class F, class A> constexpr Loops<A> loops_of() {
    using C = typename F::combiner;
    return {reduce_blocks<F, A>, reduce_strip<F, A>, combine_pairwise<C, A>, combine_strips<C, A>};
}
template <class A> Loops<A> loops_for(ReduceOp op) {
    if (op == ReduceOp::max) return loops_of<Max, A>();
    if (op == ReduceOp::min) return loops_of<Min, A>();
    if constexpr (sizeof(A) == 8 || !std::is_integral_v<A>) {
        if (op == ReduceOp::sum) return loops_of<Sum, A>();
        if (op == ReduceOp::prod) return loops_of<Prod, A>();
    }
    if constexpr (!std::is_integral_v<A>) {
        switch (op) {
            case ReduceOp::sum_shifted: return loops_of<SumShifted, A>();
            case ReduceOp::sum_squares: return loops_of<SumSquares, A>();
            case ReduceOp::sum_abs: return loops_of<SumAbs, A>();
            case ReduceOp::max_abs: return loops_of<MaxAbs, A>();
            default: return loops_of<SumExp, A>();
        }
    }
    __builtin_unreachable();
}

template <class T> void reduce_rows(const ReduceForward<T>& a, const Loops<acc_t<T>>& loops, int64_t work_ns) {
    using A = acc_t<T>;
    const int64_t blocks = (a.n + kBlock - 1) / kBlock;
    const int64_t grain = a.n < kBlock ? 1 + kBlock / a.n : 1;      // short rows: several to a task
    Buffer<A> parts(blocks > 1 ? a.outer * blocks : 0);
    parallel_ranges(a.outer * blocks, 8 * grain, work_ns, [&](int64_t begin, int64_t end) {
        Widened<T> wide;
        for (int64_t b = begin, count; b < end; b += count) {
            const int64_t row = b / blocks, from = b % blocks * kBlock, left = a.n - from;
            const int64_t n = left < kBlock ? left : kBlock, apart = blocks > 1 ? kBlock : a.n;
            const bool alike = blocks == 1 || left >= kTogether * kBlock;         // whole blocks of a row, or whole rows
            count = is_wide<T> && alike && end - b >= kTogether ? kTogether : 1;
            A shift[kTogether] = {};
            for (int r = 0; r < count && a.shift; ++r) shift[r] = a.shift[blocks > 1 ? row : row + r];
            loops.blocks(wide(a.x + row * a.n + from, 1, 0, n), apart, int(count), n, shift, (blocks > 1 ? parts.data() : a.y) + b);
        }
    });
    if (blocks > 1)
        for (int64_t o = 0; o < a.outer; ++o) a.y[o] = loops.pairwise(parts.data() + o * blocks, blocks);
}

template <class T> void reduce_columns(const ReduceForward<T>& a, const Loops<acc_t<T>>& loops, int64_t work_ns) {
    using A = acc_t<T>;
    const int64_t blocks = (a.n + kRows - 1) / kRows, strips = (a.inner + kColumns - 1) / kColumns;
    Buffer<A> parts(blocks > 1 ? a.outer * blocks * a.inner : 0);
    A* out = blocks > 1 ? parts.data() : a.y;
    const int64_t unit = (a.n < kRows ? a.n : kRows) * (a.inner < kColumns ? a.inner : kColumns);
    parallel_ranges(a.outer * blocks * strips, 1 + 32 * 1024 / unit, work_ns, [&](int64_t begin, int64_t end) {
        Widened<T> wide;
        for (int64_t task = begin; task < end; ++task) {
            const int64_t o = task / (blocks * strips), b = task / strips % blocks, from = task % strips * kColumns;
            const int64_t rows = a.n - b * kRows < kRows ? a.n - b * kRows : kRows;
            const int64_t columns = a.inner - from < kColumns ? a.inner - from : kColumns;
            constexpr int64_t most = is_wide<T> ? kColumns : kPiece;
            for (int64_t c = from; c < from + columns; c += most) {
                const int64_t width = from + columns - c < most ? from + columns - c : most;
                loops.strip(wide(a.x + (o * a.n + b * kRows) * a.inner + c, rows, a.inner, width), rows, is_wide<T> ? a.inner : kPiece,
                            width, a.shift ? a.shift + o * a.inner + c : nullptr, out + (o * blocks + b) * a.inner + c);
            }
        }
    });
    if (blocks == 1) return;
    parallel_ranges(a.outer * strips, 1, work_ns / kRows, [&](int64_t begin, int64_t end) {
        for (int64_t task = begin; task < end; ++task) {
            const int64_t o = task / strips, from = task % strips * kColumns;
            const int64_t columns = a.inner - from < kColumns ? a.inner - from : kColumns;
            A* part = out + o * blocks * a.inner + from;
            loops.strips(part, blocks, a.inner, columns);
            for (int64_t i = 0; i < columns; ++i) a.y[o * a.inner + from + i] = part[i];
        }
    });
}

// ---- where the largest is ---------------------------------------------------------------------------------------------------

// a goes before b: NaN goes before everything, and of equals the earlier stays.
template <class T> LC_INLINE bool goes_before(bool largest, T a, T b) {
    if (b != b) return false;
    return (largest ? a > b : a < b) || a != a;
}

// Whether any of x[0..n) goes before `best`, which is not NaN.
template <class T> LC_INLINE bool improves(bool largest, const T* x, int64_t n, T best) {
    if constexpr (sizeof(T) < 4) {
        return true;
    } else {
        const vec<T> b = splat(best);
        mask<T> none = b == b;
        if (largest) each_vec<T>(n, [&](int64_t i, auto k) { none = none & (first(load(x + i, k), k, b) <= b); });
        else each_vec<T>(n, [&](int64_t i, auto k) { none = none & (first(load(x + i, k), k, b) >= b); });
        return max_of(select(none, zero<T>(), splat(T(1)))) > 0;
    }
}

template <class T> void index_row(const ReduceIndexForward<T>& a, const T* x, int64_t row) {
    constexpr int64_t kStep = 128;                    // looked at one by one only where something improves
    int64_t at = 0;
    T best = x[0];
    for (int64_t from = 1; from < a.n && best == best; from += kStep) {
        const int64_t end = a.n - from < kStep ? a.n : from + kStep;
        if (!improves(a.largest, x + from, end - from, best)) continue;
        for (int64_t i = from; i < end; ++i)
            if (goes_before(a.largest, x[i], best)) {
                best = x[i];
                at = i;
            }
    }
    a.values[row] = best;
    a.indices[row] = at;
}

template <class T> void index_columns(const ReduceIndexForward<T>& a, const T* x, int64_t columns, int64_t to) {
    T* best = a.values + to;
    int64_t* at = a.indices + to;
    for (int64_t i = 0; i < columns; ++i) {
        best[i] = x[i];
        at[i] = 0;
    }
    for (int64_t r = 1; r < a.n; ++r)
        for (int64_t i = 0; i < columns; ++i) {
            const T v = x[r * a.inner + i];
            const bool better = goes_before(a.largest, v, best[i]);
            best[i] = better ? v : best[i];
            at[i] = better ? r : at[i];
        }
}

}  // namespace

template <class T> void reduce_forward(const ReduceForward<T>& a) {
    const int64_t work_ns = a.outer * a.n * a.inner / (a.op == ReduceOp::sum_exp ? 2 : 8) * int64_t(sizeof(T)) / 2;
    const Loops<acc_t<T>> loops = loops_for<acc_t<T>>(a.op);
    if (a.inner == 1) reduce_rows(a, loops, work_ns);
    else reduce_columns(a, loops, work_ns);
}

template <class T> void reduce_index_forward(const ReduceIndexForward<T>& a) {
    constexpr int64_t kStrip = 256;
    const int64_t strips = (a.inner + kStrip - 1) / kStrip, work = a.outer * a.n * a.inner;
    parallel_ranges(a.outer * strips, 1 + 32 * 1024 / (a.n * (a.inner < kStrip ? a.inner : kStrip)), work, [&](int64_t begin, int64_t end) {
        for (int64_t task = begin; task < end; ++task) {
            const int64_t o = task / strips, from = task % strips * kStrip;
            if (a.inner == 1) index_row(a, a.x + o * a.n, o);
            else index_columns(a, a.x + o * a.n * a.inner + from, a.inner - from < kStrip ? a.inner - from : kStrip, o * a.inner + from);
        }
    });
}

template <class T> void reduce_index_backward(const ReduceIndexBackward<T>& a) {
    for (int64_t o = 0; o < a.outer; ++o)
        for (int64_t i = 0; i < a.inner; ++i)
            a.dx[(o * a.n + a.indices[o * a.inner + i]) * a.inner + i] = a.dy[o * a.inner + i];
}

template void reduce_forward(const ReduceForward<float>&);
template void reduce_forward(const ReduceForward<double>&);
template void reduce_forward(const ReduceForward<bfloat16>&);
template void reduce_forward(const ReduceForward<float16>&);
template void reduce_forward(const ReduceForward<int64_t>&);
template void reduce_forward(const ReduceForward<int32_t>&);
template void reduce_forward(const ReduceForward<uint8_t>&);
template void reduce_index_forward(const ReduceIndexForward<float>&);
template void reduce_index_forward(const ReduceIndexForward<double>&);
template void reduce_index_forward(const ReduceIndexForward<int64_t>&);
template void reduce_index_forward(const ReduceIndexForward<int32_t>&);
template void reduce_index_forward(const ReduceIndexForward<uint8_t>&);
template void reduce_index_backward(const ReduceIndexBackward<float>&);
template void reduce_index_backward(const ReduceIndexBackward<double>&);
template void reduce_index_backward(const ReduceIndexBackward<bfloat16>&);
template void reduce_index_backward(const ReduceIndexBackward<float16>&);

}  // namespace lc::cpu::LC_ISA
