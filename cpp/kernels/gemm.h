// The register tile under every product: packed panels and the micro-kernel. Used by matmul, convolution, attention
// and the recurrent layers; shapes and threads are their business.
//
//   A panel holds kTileRows<T> rows of a, a B panel kTileCols<T> columns of b, both with k outermost and padded with
//   zeros to full width:
//
//       a_panels[(p * k + kk) * kTileRows + i] = a[p * kTileRows + i, kk]
//       b_panels[(p * k + kk) * kTileCols + j] = b[kk, p * kTileCols + j]
//
//   pack() writes either from strided memory of any storage type; a kernel with another source (convolution's
//   windows) writes the same layout itself. multiply_panels() then does c = a b or c += a b, and multiply_tile() is
//   one tile for kernels that keep their operands elsewhere.
//
// The order of every sum is part of the contract: c[i, j] = fma chain over kk = 0 .. k-1 from zero, in T. It does
// not depend on the tile, the ISA's width, packing or the neighbours, so any tile computes the same bits, and swapping
// a with b does too. Callers that split k in blocks and chains (cpp/ops/matmul_plan.h) add their sums in order.
#pragma once
#include "cpp/core/macros.h"
#include "cpp/simd/transpose.h"
#include "cpp/simd/vec.h"

namespace lc::cpu::LC_ISA {

// Accumulators fill the register file but for two of b and one broadcast of a: 6 x 16 floats on AVX2, 14 x 32 on
// AVX-512, 6 x 8 on SSE, 14 x 8 on NEON.
#if defined(__AVX512F__) || defined(__ARM_NEON)
inline constexpr int kTileRowCount = 14;
#else
inline constexpr int kTileRowCount = 6;
#endif
template <class T> inline constexpr int kTileRows = kTileRowCount;
template <class T> inline constexpr int kTileCols = 2 * lanes<T>;

LC_INLINE constexpr int64_t ceil_div(int64_t n, int64_t d) { return (n + d - 1) / d; }

// Elements that m rows of a, or n columns of b, take when packed with depth k.
template <class T> LC_INLINE int64_t packed_rows_size(int64_t m, int64_t k) { return ceil_div(m, kTileRows<T>) * kTileRows<T> * k; }
template <class T> LC_INLINE int64_t packed_cols_size(int64_t n, int64_t k) { return ceil_div(n, kTileCols<T>) * kTileCols<T> * k; }

// ---- packing ------------------------------------------------------------------------------------------------------

// Depths packed in order, or as chains: chain r has the depths r, r + chains, r + 2 chains, ... and panels of its own, which
// follow those of chain r - 1. `chains` is a power of two, at most as many as 16 bytes hold. Of adjacent lines only
// [from, to) are packed, whole rounds of the chains.
struct Depths {
    int64_t count;
    int chains = 1;
    int64_t from = 0, to = INT64_MAX;
    LC_INLINE int64_t length(int r) const { return (count - r + chains - 1) / chains; }
    LC_INLINE int64_t begin(int r) const { return count / chains * r + (count % chains < r ? count % chains : r); }
};

// Depths of adjacent lines that are packed before the next panel's: as many as L1 has ways, as rows of a matrix often share sets.
constexpr int64_t kPackedDepths = 8;

namespace detail {

// One panel from lines along their depth, `count` <= width of them present: src[i * line + kk] is element i of the place
// kk / chains of chain kk % chains, which begins at chain[kk % chains]; places are ld apart. Where width is not a multiple
// of the lanes, ld is width.
template <int width, class T, class S>
LC_INLINE void pack_lines(const S* src, int64_t line, int count, Depths depths, T* const* chain, int64_t ld) {
    constexpr int L = lanes<T>;
    const int64_t k = depths.count, step = L / depths.chains * ld;
    T* at[L];
    for (int d = 0; d < L; ++d) at[d] = chain[d & (depths.chains - 1)] + d / depths.chains * ld;
    // Groups of L lines from the last: a store wider than the panel is put right by later ones, of the group before or of
    // the chain's next place; a chain's last is not wider.
    constexpr int groups = (width + L - 1) / L;
#pragma GCC unroll 4
    for (int group = groups - 1; group >= 0; --group) {
        const int g = group * L, have = count - g, keep = width - g < L ? width - g : L;
        int64_t out = g;
        for (int64_t kk = 0; kk < k; kk += L, out += step) {          // transpose blocks of L lines x L depths
            const bool whole = kk + L <= k;
            const int here = whole ? L : int(k - kk);
            vec<T> r[size_t(L)];
            if (keep == L && whole && have >= L) {
                load_transposed(src + g * line + kk, line, r);
            } else {
                if (whole && have >= keep) {
#pragma GCC unroll 16
                    for (int i = 0; i < L; ++i) r[i] = i < keep ? load(src + (g + i) * line + kk) : zero<T>();
                } else {
#pragma GCC unroll 16
                    for (int i = 0; i < L; ++i)
                        r[i] = i < keep && i < have ? load(src + (g + i) * line + kk, here) : zero<T>();
                }
                transpose(r);
            }
            const int64_t wide = keep == L ? here : k - depths.chains - kk;          // so many may be wider
            if (wide >= L) {
#pragma GCC unroll 16
                for (int d = 0; d < L; ++d) store(at[d] + out, r[d]);
            } else {
#pragma GCC unroll 16
                for (int d = 0; d < L; ++d)
                    if (d < wide) store(at[d] + out, r[d]);
                    else if (d < here) store(at[d] + out, r[d], keep);
            }
        }
    }
}

// The same from lines of any stride, in order: src[i * line + kk * depth] goes to dst[kk * ld + i]. With `more`, another
// depth of the panel is packed after these.
template <int width, class T, class S>
LC_INLINE void pack_panel(const S* src, int64_t line, int64_t depth, int count, int64_t k, T* dst, int64_t ld, bool more = false) {
    constexpr int L = lanes<T>;
    if (line == 1 && count == width && depth >= L && k > 0) {     // copy; the next depth is where a register overlaps it
        const int64_t whole = more || width % L == 0 ? k : k - 1;
        for (int64_t kk = 0; kk < whole; ++kk)
#pragma GCC unroll 16
            for (int g = 0; g < width; g += L) store(dst + kk * ld + g, load(src + kk * depth + g));
        if (whole == k) return;
#pragma GCC unroll 16
        for (int g = 0; g < width; g += L) {
            const int keep = width - g < L ? width - g : L;
            store(dst + whole * ld + g, load(src + whole * depth + g, keep), keep);
        }
    } else if (line == 1) {
        for (int64_t kk = 0; kk < k; ++kk)
#pragma GCC unroll 16
            for (int g = 0; g < width; g += L) {
                const int have = count - g, keep = width - g < L ? width - g : L, n = have < keep ? have : keep;
                const vec<T> r = n > 0 ? load(src + kk * depth + g, n) : zero<T>();
                if (keep == L) store(dst + kk * ld + g, r);
                else store(dst + kk * ld + g, r, keep);
            }
    } else {
        for (int64_t kk = 0; kk < k; ++kk)
            for (int i = 0; i < width; ++i)
                dst[kk * ld + i] = i < count ? T(to_float(src[i * line + kk * depth])) : T(0);
    }
}

}  // namespace detail

// Panels of `width` lines from `lines` x `depths` elements; line and depth are strides in elements of S. With chains,
// dst holds the panels of `all` lines (in whole panels) in each chain, and these come after `before` of them. Each call writes
// exactly ceil(lines / width) * width * depths elements, so panels may be packed by different threads.
template <int width, class T, class S>
LC_INLINE void pack(const S* src, int64_t line, int64_t depth, int64_t lines, Depths depths, T* dst, int64_t before = 0, int64_t all = 0) {
    if (depth == 1) {
        for (int64_t i = 0; i < lines; i += width) {
            T* chain[16 / sizeof(T)];
            for (int r = 0; r < depths.chains; ++r) chain[r] = dst + depths.begin(r) * all + (before + i) * depths.length(r);
            detail::pack_lines<width>(src + i * line, line, lines - i < width ? int(lines - i) : width, depths, chain, width);
        }
        return;
    }
    for (int r = 0; r < depths.chains; ++r) {
        const int64_t k = depths.length(r), step = line == 1 ? kPackedDepths : k;         // adjacent lines share cache lines
        const int64_t end = line != 1 || depths.to >= depths.count ? k : depths.to / depths.chains;
        T* panels = dst + depths.begin(r) * all + before * k;
        for (int64_t kk = line == 1 ? depths.from / depths.chains : 0; kk < end; kk += step)
            for (int64_t i = 0; i < lines; i += width)
                detail::pack_panel<width>(src + i * line + (kk * depths.chains + r) * depth, line, depths.chains * depth,
                                          lines - i < width ? int(lines - i) : width, end - kk < step ? end - kk : step,
                                          panels + i * k + kk * width, width, kk + step < end);
    }
}

// a[m, k] with strides (row, depth) -> A panels; b[k, n] with strides (depth, column) -> B panels.
template <class T, class S>
LC_INLINE void pack_a(const S* a, int64_t row, int64_t depth, int64_t m, Depths k, T* panels, int64_t before = 0, int64_t all = 0) {
    pack<kTileRows<T>>(a, row, depth, m, k, panels, before, all);
}
template <class T, class S>
LC_INLINE void pack_b(const S* b, int64_t depth, int64_t column, int64_t n, Depths k, T* panels, int64_t before = 0, int64_t all = 0) {
    pack<kTileCols<T>>(b, column, depth, n, k, panels, before, all);
}

// ---- micro-kernel -------------------------------------------------------------------------------------------------

// Where the tile's rows of a come from: one packed panel, or strided memory.
template <class T> struct PanelRows {
    const T* p;
    LC_INLINE T at(int i, int64_t kk) const { return p[kk * kTileRows<T> + i]; }
};
template <class T> struct StridedRows {
    const T* p;
    int64_t row, depth;
    LC_INLINE T at(int i, int64_t kk) const { return p[i * row + kk * depth]; }
};

// acc[i][v] += sum over kk of a[i, kk] * b[kk, v]; b's rows are `ldb` apart and full registers long.
template <int rows, int vecs, class T, class Rows>
LC_INLINE void accumulate_tile(int64_t k, Rows a, const T* b, int64_t ldb, vec<T> (&acc)[size_t(rows)][size_t(vecs)]) {
#pragma GCC unroll 4
    for (int64_t kk = 0; kk < k; ++kk) {
        vec<T> bv[size_t(vecs)];
#pragma GCC unroll 8
        for (int v = 0; v < vecs; ++v) bv[v] = load(b + kk * ldb + v * lanes<T>);
#pragma GCC unroll 16
        for (int i = 0; i < rows; ++i) {
            const vec<T> s = splat(a.at(i, kk));
#pragma GCC unroll 8
            for (int v = 0; v < vecs; ++v) acc[i][v] = fma(s, bv[v], acc[i][v]);
        }
    }
}

// Where a tile's result goes: c[rows, cols] with rows ldc apart, cols <= vecs * lanes; stored, or added to.
template <class T> struct TileOut {
    T* c;
    int64_t ldc;
    int cols;
    bool add;
};

template <int rows, int vecs, class T, class Rows>
LC_INLINE void multiply_tile(int64_t k, Rows a, const T* b, int64_t ldb, TileOut<T> out) {
    vec<T> acc[size_t(rows)][size_t(vecs)];
#pragma GCC unroll 16
    for (int i = 0; i < rows; ++i)
#pragma GCC unroll 8
        for (int v = 0; v < vecs; ++v) acc[i][v] = zero<T>();
    accumulate_tile<rows, vecs>(k, a, b, ldb, acc);

    if (LC_LIKELY(out.cols == vecs * lanes<T>)) {
#pragma GCC unroll 16
        for (int i = 0; i < rows; ++i)
#pragma GCC unroll 8
            for (int v = 0; v < vecs; ++v) {
                T* p = out.c + i * out.ldc + v * lanes<T>;
                store(p, out.add ? load(p) + acc[i][v] : acc[i][v]);
            }
    } else {
#pragma GCC unroll 16
        for (int i = 0; i < rows; ++i)
#pragma GCC unroll 8
            for (int v = 0; v < vecs; ++v) {
                const int left = out.cols - v * lanes<T>, n = left < lanes<T> ? left : lanes<T>;
                T* p = out.c + i * out.ldc + v * lanes<T>;
                if (n > 0) store(p, out.add ? load(p, n) + acc[i][v] : acc[i][v], n);
            }
    }
}

// multiply_tile for any height up to kTileRows and the widths that fit the register file beside it: vecs is 1 or 2, 4 up
// to three rows, 8 for one. Compiled in cpp/kernels/matmul.cpp, as is multiply_panels, for float and double.
template <class T> void multiply_any_tile(int rows, int vecs, int64_t k, StridedRows<T> a, const T* b, int64_t ldb, TileOut<T> out);

// A panel for it: b[k, n] with strides (depth, col), zeros from n to `width` columns; chains one after the other. Compiled
// there for elements as they are.
template <class A, class T>
void pack_columns(const T* b, int64_t depth, int64_t col, int64_t n, Depths k, A* panel, int64_t width);

// Memory that is read next: rows of `length` elements. Asked for a few rows at a time beside a product, all their misses
// are hidden.
template <class T> struct Ahead {
    const T* p;
    int64_t row, rows, length;

    LC_INLINE void ask(int64_t count) {
        for (count = count < rows ? count : rows, rows -= count; count > 0; --count, p += row)
            for (int64_t x = 0; x < length; x += 64 / int64_t(sizeof(T))) __builtin_prefetch(p + x, 0, 2);
    }
};

// c[m, n] = a b, or c += a b, from panels of depth k; rows of c are ldc apart. b's panel stays in L1 while the panels
// of a pass by: keep m * k within half of L2. What is ahead is asked for, if nothing is the next panel.
template <class T> struct PanelProduct {
    const T *a, *b;
    T* c;
    int64_t ldc, m, n, k;
    bool add;
    Ahead<T> ahead{};
};
template <class T> void multiply_panels(const PanelProduct<T>& p);

}  // namespace lc::cpu::LC_ISA
