// The register tile of convolution: gemm.h's, but column vectors are found by address instead of in a packed panel.
//
//   y[i, v] (+)= sum over kk of a[i, kk] * b[v][offset[kk] ...]           i < rows, v < vecs, each v one register wide
//
// With offset[] = where channel and tap kk of a padded image lie, a window is never copied. The order of every sum is
// gemm.h's: one fma chain over kk from zero, whatever the tile, so any tiling gives the same bits.
#pragma once
#include "cpp/kernels/gemm.h"

namespace lc::cpu::LC_ISA {
namespace {

// Rows are cut into panels of nearly equal height, so that 16 rows are 6 + 5 + 5 and none is multiplied for nothing.
struct Panels {
    int64_t count, height, taller;                    // the first `taller` panels have height + 1 rows

    LC_INLINE int64_t first(int64_t p) const { return p * height + (p < taller ? p : taller); }
    LC_INLINE int rows(int64_t p) const { return int(height + (p < taller)); }
};
template <class T> LC_INLINE Panels cut_panels(int64_t m) {
    const int64_t count = ceil_div(m, kTileRows<T>);
    return count ? Panels{count, m / count, m % count} : Panels{0, 0, 0};
}

// Few rows leave registers free: then a tile is twice as wide. Not for float64, whose speed nobody waits for.
constexpr int kNarrow = 2, kWide = 4;
template <class T> inline constexpr int kWideRows = kTileRows<T> / 2;
template <class T> LC_INLINE int tile_vecs(int64_t m) { return sizeof(T) == 4 && m <= kWideRows<T> ? kWide : kNarrow; }

// f(std::integral_constant<int, tile_vecs<T>(m)>())
template <class T, class F> LC_INLINE void with_tile_vecs(int64_t m, F&& f) {
    if constexpr (sizeof(T) == 4)
        if (tile_vecs<T>(m) == kWide) return f(std::integral_constant<int, kWide>());
    f(std::integral_constant<int, kNarrow>());
}

template <class T> struct ConvTile {
    int64_t depth;
    const int64_t* offset;                            // [depth]
    const T* b[kWide];
    T* y[kWide];                                      // row 0, lane 0
    int count[kWide];                                 // lanes that exist, 0..lanes<T>
    int64_t row;                                      // from one row of y to the next
    bool scattered;                                   // lane l is at y[v][lane[v][l]], else at y[v][l]
    const int64_t* lane[kWide];
    bool add;                                         // to what is there; else to bias
};

// One panel's rows of a: packed as [kk][rows], or rows of a matrix whose depth is contiguous.
template <class T, int rows> struct PackedRows {
    const T* p;
    LC_INLINE vec<T> at(int i, int64_t kk) const { return splat(p[kk * rows + i]); }
};
template <class T> struct MatrixRows {
    const T* p;
    int64_t row;
    LC_INLINE vec<T> at(int i, int64_t kk) const { return splat(p[i * row + kk]); }
};

// Where lanes do not follow each other in y. sums: [rows][vecs][lanes]
template <class T> LC_NOINLINE void scatter(const ConvTile<T>& t, int rows, int vecs, int64_t m, const T* bias, const T* sums) {
    for (int i = 0; i < rows; ++i)
        for (int v = 0; v < vecs; ++v, sums += lanes<T>) {
            T* y = t.y[v] + (m + i) * t.row;
            for (int l = 0; l < t.count[v]; ++l) {
                T& out = y[t.lane[v][l]];
                out = (t.add ? out : bias ? bias[m + i]
                                          : T(0)) +
                    sums[l];
            }
        }
}

// Rows m .. m + rows - 1 of the result.
template <int rows, int vecs, class T, class Rows> LC_NOINLINE void run_tile(const ConvTile<T>& t, Rows a, int64_t m, const T* bias) {
    vec<T> acc[size_t(rows)][size_t(vecs)];
#pragma GCC unroll 16
    for (int i = 0; i < rows; ++i)
#pragma GCC unroll 4
        for (int v = 0; v < vecs; ++v) acc[i][v] = zero<T>();

    const T* b[size_t(vecs)];
#pragma GCC unroll 4
    for (int v = 0; v < vecs; ++v) b[v] = t.b[v];
    const int64_t* offset = t.offset;
    for (int64_t kk = 0; kk < t.depth; ++kk) {
        if constexpr (rows < vecs) {                  // 12 sums, 3 rows, 1 column: four columns beside a row are a register too many
            vec<T> s[size_t(rows)];
#pragma GCC unroll 16
            for (int i = 0; i < rows; ++i) s[i] = a.at(i, kk);
#pragma GCC unroll 4
            for (int v = 0; v < vecs; ++v) {
                const vec<T> column = load(b[v] + offset[kk]);
#pragma GCC unroll 16
                for (int i = 0; i < rows; ++i) acc[i][v] = fma(s[i], column, acc[i][v]);
            }
        } else {
            vec<T> column[size_t(vecs)];
#pragma GCC unroll 4
            for (int v = 0; v < vecs; ++v) column[v] = load(b[v] + offset[kk]);
#pragma GCC unroll 16
            for (int i = 0; i < rows; ++i) {
                const vec<T> s = a.at(i, kk);
#pragma GCC unroll 4
                for (int v = 0; v < vecs; ++v) acc[i][v] = fma(s, column[v], acc[i][v]);
            }
        }
    }

    if (t.scattered) {
        T sums[rows * vecs * lanes<T>];
#pragma GCC unroll 16
        for (int i = 0; i < rows; ++i)
#pragma GCC unroll 4
            for (int v = 0; v < vecs; ++v) store(sums + (i * vecs + v) * lanes<T>, acc[i][v]);
        return scatter(t, rows, vecs, m, bias, sums);
    }
    // Nothing is decided between the rows: with a few branches each, 12 stores took 70 cycles.
    static constexpr T kNone[size_t(rows)] = {};
    const T* onto = bias ? bias + m : kNone;
    const int64_t row = t.row;
    const bool add = t.add;
#pragma GCC unroll 4
    for (int v = 0; v < vecs; ++v) {
        const int count = t.count[v];
        if (count == 0) continue;
        T* y = t.y[v] + m * row;
        if (count == lanes<T> && add)
#pragma GCC unroll 16
            for (int i = 0; i < rows; ++i) store(y + i * row, load(y + i * row) + acc[i][v]);
        else if (count == lanes<T>)
#pragma GCC unroll 16
            for (int i = 0; i < rows; ++i) store(y + i * row, splat(onto[i]) + acc[i][v]);
        else
#pragma GCC unroll 16
            for (int i = 0; i < rows; ++i) store(y + i * row, (add ? load(y + i * row, count) : splat(onto[i])) + acc[i][v], count);
    }
}

// The same for a row count known at run time: rows_of(std::integral_constant<int, rows>) gives a's rows.
template <int vecs, int rows = vecs == kWide ? kTileRowCount / 2 : kTileRowCount, class T, class RowsOf>
LC_INLINE void run_tile_of(int count, const ConvTile<T>& t, RowsOf rows_of, int64_t m, const T* bias) {
    if constexpr (rows > 0) {
        if (count == rows) run_tile<rows, vecs>(t, rows_of(std::integral_constant<int, rows>()), m, bias);
        else run_tile_of<vecs, rows - 1>(count, t, rows_of, m, bias);
    }
}

}  // namespace
}  // namespace lc::cpu::LC_ISA
