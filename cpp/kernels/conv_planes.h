// Padded copies of an image, laid out so that every tap of a convolution is a plain shift of the pixel grid.
//
// A strided convolution reads each of step_h * step_w interleaved sub-images ("phases") with stride 1; those that any tap
// reads are stored apart, with the border of zeros the taps need. Pixel (i, j) of the result, seen through tap (r, s),
// then lies at i * pitch + j + shift(r, s): the padding, stride and dilation are in the table of shifts.
// One read and one write of the input, against r * s of each when windows are materialised.
#pragma once
#include "cpp/kernels/conv_tile.h"
#include "cpp/simd/transpose.h"

namespace lc::cpu::LC_ISA {
namespace {

struct Planes {
    int64_t step_h, step_w, top, left;                // plane (a, b) at (i, j): source row i * step_h + a - top, column j * step_w + b - left
    int64_t rows, pitch;                              // of a plane
    int64_t plane, channel, image;                    // elements from one plane, channel, image to the next
    int64_t phases;                                   // planes per channel
    const int64_t* phase;                             // [phases] a * step_w + b
};

// 64 * odd bytes apart, so that the same pixel of neighbouring channels falls into different cache sets; at least one
// register of slack behind the last row, which a full-width load may reach into.
template <class T> LC_INLINE int64_t spread(int64_t elements) {
    constexpr int64_t line = 64 / int64_t(sizeof(T));
    return (ceil_div(elements + lanes<T>, line) | 1) * line;
}

// dst[0, n) = src[0, n); writes up to a register beyond.
template <class T> LC_INLINE void copy_over(T* dst, const T* src, int64_t n) {
    each_vec<T>(n, [&](int64_t i, auto k) { store(dst + i, load(src + i, k)); });
}
template <class T> LC_INLINE void zero_over(T* dst, int64_t n) {
    for (int64_t i = 0; i < n; i += lanes<T>) store(dst + i, zero<T>());
}

// dst[0, n) = src[0], src[step], ...; reads before `end` only, writes up to a register beyond.
template <class T> LC_INLINE void copy_spaced(T* dst, const T* src, int64_t n, int64_t step, const T* end) {
    int64_t j = 0;
    if (step == 2)
        for (; j < n && src + 2 * (j + lanes<T>) <= end; j += lanes<T>) store(dst + j, evens(load(src + 2 * j), load(src + 2 * j + lanes<T>)));
    for (; j < n; ++j) dst[j] = src[j * step];
}

// All planes of one channel. Rows are written in order: each may spill into the next, which is written after it.
template <class T> LC_NOINLINE void fill_channel(const Planes& g, const T* src, int64_t h, int64_t w, T* dst) {
    for (int64_t f = 0; f < g.phases; ++f, dst += g.plane) {
        const int64_t a = g.phase[f] / g.step_w - g.top, b = g.phase[f] % g.step_w - g.left;
        // columns [first, last) of the plane lie inside the source
        int64_t first = b < 0 ? ceil_div(-b, g.step_w) : 0, last = w > b ? ceil_div(w - b, g.step_w) : 0;
        first = first < g.pitch ? first : g.pitch;
        last = last < first ? first : last < g.pitch ? last
                                                     : g.pitch;
        for (int64_t i = 0; i < g.rows; ++i) {
            T* row = dst + i * g.pitch;
            const int64_t y = i * g.step_h + a;
            if (y < 0 || y >= h) {
                zero_over(row, g.pitch);
                continue;
            }
            zero_over(row, first);
            const T* from = src + y * w + first * g.step_w + b;
            if (g.step_w == 1) copy_over(row + first, from, last - first);
            else copy_spaced(row + first, from, last - first, g.step_w, src + h * w);
            zero_over(row + last, g.pitch - last);
        }
    }
}

// ---- channels-last: a register of channels for every pixel --------------------------------------------------------------

// read_pixels where channels, or the pixels of a row, are fewer than lanes.
template <class T> LC_NOINLINE void read_edge(const T* src, int64_t plane, int64_t channels, int64_t count, T* dst) {
    for (int64_t j = 0; j < count; ++j)
        for (int l = 0; l < lanes<T>; ++l) dst[j * lanes<T> + l] = l < channels ? src[l * plane + j] : 0;
}

// Pixels of a plane for one register of channels, channels-last: dst[(i * width + j) * lanes<T> + l] is pixel (y + i, x + j) of
// channel l, zero outside the plane and from `channels` up.
template <class T> LC_NOINLINE void read_pixels(const T* src, int64_t plane, int64_t h, int64_t w, int64_t channels, int64_t y, int64_t x, int64_t rows, int64_t width, T* dst) {
    const int64_t first = x < 0 ? (-x < width ? -x : width) : 0, inside = w - x < width ? w - x : width, last = inside > first ? inside : first;
    for (int64_t i = 0; i < rows; ++i, dst += width * lanes<T>) {
        if (y + i < 0 || y + i >= h) {
            zero_over(dst, width * lanes<T>);
            continue;
        }
        zero_over(dst, first * lanes<T>);
        const T* row = src + (y + i) * w + x;
        for (int64_t j = first; j < last; j += lanes<T>) {
            const int64_t at = j + lanes<T> <= last ? j : last - lanes<T>;   // the last register overlaps the one before
            if (at >= first && channels >= lanes<T>) {
                vec<T> r[size_t(lanes<T>)];
                load_transposed(row + at, plane, r);
#pragma GCC unroll 16
                for (int l = 0; l < lanes<T>; ++l) store(dst + (at + l) * lanes<T>, r[l]);
            } else {
                read_edge(row + j, plane, channels, last - j < lanes<T> ? last - j : lanes<T>, dst + j * lanes<T>);
            }
        }
        zero_over(dst + last * lanes<T>, (width - last) * lanes<T>);
    }
}

// The way back, onto the bias: rows of pixels of one register of channels.
template <class T> LC_NOINLINE void write_pixels(const T* src, int64_t width, int64_t rows, int64_t cols, int64_t channels, const T* bias, T* dst, int64_t plane, int64_t w) {
    for (int64_t i = 0; i < rows; ++i, src += width * lanes<T>, dst += w)
        for (int64_t j = 0; j < cols; j += lanes<T>) {
            const int64_t at = j + lanes<T> <= cols ? j : cols - lanes<T>;
            if (at >= 0 && channels >= lanes<T>) {
                vec<T> r[size_t(lanes<T>)];
#pragma GCC unroll 16
                for (int l = 0; l < lanes<T>; ++l) r[l] = load(src + (at + l) * lanes<T>);
                transpose(r);
#pragma GCC unroll 16
                for (int l = 0; l < lanes<T>; ++l) store(dst + l * plane + at, bias ? r[l] + splat(bias[l]) : r[l]);
                continue;
            }
            for (int64_t d = j; d < cols && d < j + lanes<T>; ++d)
                for (int64_t l = 0; l < lanes<T> && l < channels; ++l) dst[l * plane + d] = bias ? src[d * lanes<T> + l] + bias[l] : src[d * lanes<T> + l];
        }
}

// ---- the pixels of a tile -----------------------------------------------------------------------------------------------

template <class T> LC_INLINE mask<T> first_lanes(int k) {
    typename mask<T>::native index;
    for (int l = 0; l < lanes<T>; ++l) index[l] = l;
    return {index < k};
}

// The grid of result pixels: (n, i, j) is at n * out_image + i * cols + j of a row of results.
struct Grid {
    int64_t images, rows, cols, out_image;
};

// Walks registers of neighbouring pixels of one row: the last of a row is partly empty.
template <class T> struct RowWalk {
    const Grid& grid;
    const Planes& planes;
    int64_t n, i, j;

    static LC_INLINE int64_t per_row(const Grid& g) { return ceil_div(g.cols, lanes<T>); }
    LC_INLINE RowWalk(const Grid& grid, const Planes& planes, int64_t at) : grid(grid), planes(planes) {
        const int64_t row = at / per_row(grid);
        n = row / grid.rows;
        i = row % grid.rows;
        j = at % per_row(grid) * lanes<T>;
    }
    // Register v of the tile, its columns read straight from the planes.
    LC_INLINE void next(const T* src, T* y, ConvTile<T>& t, int v) {
        t.b[v] = src + n * planes.image + i * planes.pitch + j;
        t.y[v] = y + n * grid.out_image + i * grid.cols + j;
        t.count[v] = int(grid.cols - j < lanes<T> ? grid.cols - j : lanes<T>);
        j += lanes<T>;
        if (j >= grid.cols) {
            j = 0;
            if (++i == grid.rows) i = 0, ++n;
        }
    }
};

// Registers filled with pixels across row and image ends: each is a few runs, copied side by side into a panel.
template <class T> struct PackedPixels {
    int runs = 0;
    int64_t from[lanes<T>];                           // source of the run, minus its first lane
    int end[lanes<T>];                                // its last lane + 1
    int64_t lane[lanes<T>];                           // where each lane goes in the output

    // Pixels at, at + 1, ... of the flat grid; returns how many there are and widens [first_row, last_row] to their rows.
    LC_INLINE int find(const Grid& g, const Planes& planes, int64_t at, int64_t& first_row, int64_t& last_row) {
        const int64_t per_image = g.rows * g.cols, left = g.images * per_image - at;
        const int count = int(left < lanes<T> ? left : lanes<T>);
        int64_t n = at / per_image, i = at % per_image / g.cols, j = at % g.cols;
        for (int l = 0; l < count;) {
            const int64_t here = g.cols - j < count - l ? g.cols - j : count - l;
            from[runs] = n * planes.image + i * planes.pitch + j - l;
            for (int64_t e = 0; e < here; ++e) lane[l + e] = n * g.out_image + i * g.cols + j + e;
            first_row = i < first_row ? i : first_row;
            last_row = i > last_row ? i : last_row;
            l += int(here);
            end[runs++] = l;
            j = 0;
            if (++i == g.rows) i = 0, ++n;
        }
        return count;
    }
    // Whether the lanes follow each other in the output.
    LC_INLINE bool contiguous(int count) const {
        for (int l = 1; l < count; ++l)
            if (lane[l] != lane[0] + l) return false;
        return true;
    }
    // panel[kk * width + lane] for kk < depth
    LC_INLINE void pack(const T* src, const int64_t* offset, int64_t depth, int64_t width, T* panel) const {
        const T* last = src + from[runs - 1];
        for (int64_t kk = 0; kk < depth; ++kk) store(panel + kk * width, load(last + offset[kk]));
        for (int r = runs - 2; r >= 0; --r) {         // earlier runs overwrite the lanes before their end
            const T* run = src + from[r];
            const mask<T> head = first_lanes<T>(end[r]);
            for (int64_t kk = 0; kk < depth; ++kk)
                store(panel + kk * width, select(head, load(run + offset[kk]), load(panel + kk * width)));
        }
    }
};

}  // namespace
}  // namespace lc::cpu::LC_ISA
