// Products of few rows with columns of b that lie along their depth, read where they are. Bound by reading b.
#pragma once
#include "cpp/kernels/gemm.h"
#include "cpp/ops/matmul.h"

namespace lc::cpu::LC_ISA {
namespace {

LC_INLINE int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

// c[rows, n] from columns b[.., n] along their depth and rows of a, over all of k; lane r of a part sums chain r. Columns of
// a register beyond n repeat others.
template <int rows, int vecs, class T>
LC_NOINLINE void dot_tile(const MatmulForward<T>& p, const acc_t<T>* a, int64_t a_row, const T* b, int64_t n, const TileOut<acc_t<T>>& out) {
    using A = acc_t<T>;
    constexpr int per = parts<A>, C = part_lanes<A>, line = 64 / int(sizeof(T));
    const int64_t col = p.b_col;
    const T *column[vecs], *next = b + vecs * per * col;          // the next tile's columns, as they lie in memory
    int64_t at[vecs];
    for (int v = 0; v < vecs; ++v) {
        at[v] = smaller(v * per, n - per);
        column[v] = b + at[v] * col;
    }
    for (int64_t kk = 0; kk < p.k;) {
        const bool add = out.add || kk > 0;
        const int64_t end = smaller(kk + p.plan.k_block, p.k);
        vec<A> acc[size_t(rows)][size_t(vecs)];
#pragma GCC unroll 16
        for (int i = 0; i < rows; ++i)
#pragma GCC unroll 8
            for (int v = 0; v < vecs; ++v) acc[i][v] = zero<A>();
        const auto add_part = [&](int64_t at) {
            vec<A> x[size_t(vecs)];
#pragma GCC unroll 8
            for (int v = 0; v < vecs; ++v) x[v] = load_parts(column[v] + at, col);
#pragma GCC unroll 16
            for (int i = 0; i < rows; ++i) {
                const vec<A> s = splat_part(a + i * a_row + at);
#pragma GCC unroll 8
                for (int v = 0; v < vecs; ++v) acc[i][v] = fma(s, x[v], acc[i][v]);
            }
        };
        for (; kk + line <= end; kk += line, next += vecs * per * line) {
            if constexpr (rows > 1)                               // one row is bound by reading, and prefetching slows it
#pragma GCC unroll 8
                for (int j = 0; j < vecs * per; ++j) __builtin_prefetch(next + j * line, 0, 2);
#pragma GCC unroll 8
            for (int part = 0; part < line; part += C) add_part(kk + part);
        }
        for (; kk + C <= end; kk += C) add_part(kk);
        A chain[rows][vecs * per][C], y[rows][vecs * per];
#pragma GCC unroll 16
        for (int i = 0; i < rows; ++i)
#pragma GCC unroll 8
            for (int v = 0; v < vecs; ++v) store(chain[i][v * per], acc[i][v]);
        for (int r = 0; kk + r < end; ++r)                        // depths that fill no part
            for (int i = 0; i < rows; ++i)
                for (int j = 0; j < vecs * per; ++j) {
                    const vec<A> x = splat(A(to_float(column[j / per][j % per * col + kk + r])));
                    chain[i][j][r] = fma(splat(a[i * a_row + kk + r]), x, splat(chain[i][j][r]))[0];
                }
        for (int i = 0; i < rows; ++i)
#pragma GCC unroll 16
            for (int j = 0; j < vecs * per; ++j) {
                const A before = add ? out.c[i * out.ldc + at[j / per] + j % per] : A(0);
                y[i][j] = add ? before + chain[i][j][0] : chain[i][j][0];
#pragma GCC unroll 4
                for (int r = 1; r < C; ++r) y[i][j] += chain[i][j][r];
            }
        for (int i = 0; i < rows; ++i)                            // after all of c is read: columns may be repeated
#pragma GCC unroll 16
            for (int j = 0; j < vecs * per; ++j) out.c[i * out.ldc + at[j / per] + j % per] = y[i][j];
        kk = end;
    }
}

// c[rows, n], rows <= kDotRows and n >= parts; returns n.
template <class T>
int64_t dot_columns(const MatmulForward<T>& p, int64_t rows, const acc_t<T>* a, int64_t a_row, const T* b, int64_t n, const TileOut<acc_t<T>>& out) {
    using A = acc_t<T>;
    using Tile = void (*)(const MatmulForward<T>&, const A*, int64_t, const T*, int64_t, const TileOut<A>&);
    // Columns 12 KB apart share few sets of L1: 8 at once are as many as it keeps apart, 16 run at a third of the speed.
    constexpr int most = parts<A> >= 4 ? 2 : 8 / parts<A>;
    static constexpr Tile tiles[kDotRows] = {&dot_tile<1, most, T>, &dot_tile<2, 2, T>, &dot_tile<3, 2, T>, &dot_tile<4, 2, T>};
    const int64_t width = (rows == 1 ? most : 2) * parts<A>;
    int64_t j = 0;
    while (j < n) {                                               // a last tile of less than a register's columns is joined to the one before
        const int64_t left = n - j, here = left <= width ? left : left - width < parts<A> ? width - parts<A>
                                                                                          : width;
        tiles[rows - 1](p, a, a_row, b + j * p.b_col, here, {out.c + j, out.ldc, int(here), out.add});
        j += here;
    }
    return n;
}

// c[n] from as many whole pairs of registers of columns b[.., n] as there are, turned in registers and used at once; returns
// how many columns. For one row and one chain, where packing takes twice the time.
template <class T> int64_t turn_columns(const MatmulForward<T>& p, const acc_t<T>* a, const T* b, int64_t n, const TileOut<acc_t<T>>& out) {
    using A = acc_t<T>;
    constexpr int L = lanes<A>;
    int64_t j = 0;
    for (; j + 2 * L <= n; j += 2 * L, b += 2 * L * p.b_col) {
        int64_t kk = 0;
        do {                                                      // once for k = 0, which gives zeros
            const bool add = out.add || kk > 0;
            const int64_t end = smaller(kk + p.plan.k_block, p.k);
            vec<A> low = zero<A>(), high = zero<A>();
            for (; kk + L <= end; kk += L) {
                vec<A> x[size_t(L)], z[size_t(L)];
                load_transposed(b + kk, p.b_col, x);
                load_transposed(b + L * p.b_col + kk, p.b_col, z);
#pragma GCC unroll 16
                for (int d = 0; d < L; ++d) {
                    low = fma(splat(a[kk + d]), x[d], low);
                    high = fma(splat(a[kk + d]), z[d], high);
                }
            }
            for (; kk < end; ++kk) {
                A x[2 * L];
                for (int i = 0; i < 2 * L; ++i) x[i] = to_float(b[i * p.b_col + kk]);
                low = fma(splat(a[kk]), load(x), low);
                high = fma(splat(a[kk]), load(x + L), high);
            }
            store(out.c + j, add ? load(out.c + j) + low : low);
            store(out.c + j + L, add ? load(out.c + j + L) + high : high);
        } while (kk < p.k);
    }
    return j;
}

}  // namespace
}  // namespace lc::cpu::LC_ISA
