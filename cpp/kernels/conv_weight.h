// Backward_weight: dw[k, (tap, c)] = sum over pixels of dy[k, pixel] * x[pixel + shift(tap), c], the same register tile
// with pixels as the depth.
//
// A few rows of x are transposed to channels-last with their border of zeros; then the columns of one tap are plain
// loads at an address that moves with the pixel, and no window is copied. Few channels are combined with the s axis,
// along which they are contiguous, so that registers are full. dy is read as it stands.
// Work is cut by the shape into (group, rows of k, block of c, part of the pixels); parts are added in order.
#pragma once
#include "cpp/core/allocator.h"
#include "cpp/core/parallel.h"
#include "cpp/kernels/conv_planes.h"
#include "cpp/ops/conv2d.h"

namespace lc::cpu::LC_ISA {
namespace {

constexpr int64_t kChunkPixels = 256;                 // depth of a tile: two registers of this many pixels fill half of L1
constexpr int64_t kBlockRows = 256;                   // rows of k that share the transposed x
constexpr int64_t kBlockColumns = 288;                // columns (tap, c) of a block: with kBlockRows, their sums stay in L2
constexpr int64_t kWeightTasks = 16;                  // enough parts that many threads have work

struct WeightPlan {
    bool runs;                                        // columns of a row of taps are one run (s, c); else each tap has its own
    int64_t k_blocks, c_block, c_blocks, parts;
    int64_t images, rows, row_chunks, chunks;         // a chunk is `rows` rows of y, or all rows of several images
    int64_t row_step, col_step;                       // x rows and columns no tap reads are left out where r or s is 1
    int64_t stride_h, stride_w;                       // ... and then neighbours in the copy
    int64_t height, width, pixel, image;              // the channels-last copy: pixels, elements of one pixel and image
    int64_t per_tap, vectors, pitch;                  // registers of columns of a run or tap, of all, a multiple of the tile's; elements of a row of sums
};

template <class T> WeightPlan plan_weight(const Conv2dShape& s) {
    constexpr int64_t L = lanes<T>, line = 64 / int64_t(sizeof(T));
    WeightPlan p;
    const int64_t c = s.group_c(), k = s.group_k(), taps = s.r * s.s, vecs = tile_vecs<T>(k);
    p.row_step = s.r == 1 ? s.stride_h : 1;
    p.col_step = s.s == 1 ? s.stride_w : 1;
    p.stride_h = s.stride_h / p.row_step;
    p.stride_w = s.stride_w / p.col_step;

    p.runs = c < 4 * L && s.dilation_w == 1 && ceil_div(s.s * c, L) < s.s * ceil_div(c, L);
    p.c_block = ceil_div(kBlockColumns, taps * 2 * L) * 2 * L;
    p.c_block = p.c_block > 128 ? 128 : p.c_block;
    if (p.runs || p.c_block > c) p.c_block = c;
    p.c_blocks = ceil_div(c, p.c_block);
    p.c_block = p.runs ? c : ceil_div(ceil_div(c, p.c_blocks), L) * L;
    p.c_blocks = ceil_div(c, p.c_block);
    p.k_blocks = ceil_div(k, kBlockRows);

    const int64_t pixels = s.oh * s.ow;
    p.images = pixels <= kChunkPixels / 2 ? kChunkPixels / pixels : 1;
    if (p.images > s.n) p.images = s.n;
    p.rows = s.oh;
    if (p.images == 1 && pixels > kChunkPixels) p.rows = kChunkPixels / s.ow ? kChunkPixels / s.ow : 1;
    p.row_chunks = ceil_div(s.oh, p.rows);
    p.rows = ceil_div(s.oh, p.row_chunks);
    p.row_chunks = ceil_div(s.oh, p.rows);
    p.chunks = ceil_div(s.n, p.images) * p.row_chunks;

    const int64_t tasks = s.groups * p.k_blocks * p.c_blocks;
    p.parts = ceil_div(kWeightTasks, tasks);
    if (p.parts > p.chunks) p.parts = p.chunks;

    p.height = (p.rows - 1) * p.stride_h + (s.r - 1) * s.dilation_h + 1;
    p.width = (s.ow - 1) * p.stride_w + (s.s - 1) * s.dilation_w + 1;
    p.pixel = p.runs ? c : (ceil_div(p.c_block, line) | 1) * line;   // an odd number of lines: neighbours in different sets
    p.image = p.height * p.width * p.pixel;
    p.per_tap = ceil_div(p.runs ? s.s * c : p.c_block, L);
    p.vectors = ceil_div((p.runs ? s.r : taps) * p.per_tap, vecs) * vecs;
    p.pitch = p.vectors * L;
    return p;
}

// Channels-last copy of one row: dst[j * pixel + i] = src[i * plane + j * col_step - pad], zero outside [0, w).
template <class T>
LC_NOINLINE void transpose_row(const T* src, int64_t plane, int64_t w, int64_t pad, const WeightPlan& p, int64_t channels, T* dst) {
    constexpr int64_t L = lanes<T>;
    int64_t first = ceil_div(pad, p.col_step), last = ceil_div(w + pad, p.col_step);
    first = first < p.width ? first : p.width;
    last = last < first ? first : last < p.width ? last
                                                 : p.width;
    for (int64_t i = 0; i < first * p.pixel; ++i) dst[i] = 0;
    for (int64_t i = last * p.pixel; i < p.width * p.pixel; ++i) dst[i] = 0;
    const int64_t first_column = first * p.col_step - pad;
    src += first_column;
    dst += first * p.pixel;
    const int64_t count = last - first;
    if (p.runs) {
        for (int64_t i = 0; i < channels; ++i)
            for (int64_t j = 0; j < count; ++j) dst[j * p.pixel + i] = src[i * plane + j * p.col_step];
        return;
    }
    for (int64_t i = 0; i < channels; i += L)
        for (int64_t j = 0; j < count; j += L) {
            const int here = int(count - j < L ? count - j : L);
            vec<T> r[size_t(L)];
#pragma GCC unroll 16
            for (int d = 0; d < L; ++d) {
                const T* from = src + (i + d) * plane + j * p.col_step;
                if (i + d >= channels) {
                    r[d] = zero<T>();
                } else if (p.col_step == 1) {
                    r[d] = here == L ? load(from) : load(from, here);
                } else if (p.col_step == 2 && here == L && from + 2 * L <= src + (i + d) * plane + (w - first_column)) {
                    r[d] = evens(load(from), load(from + L));
                } else {
                    T lane[L] = {};
                    for (int e = 0; e < here; ++e) lane[e] = from[e * p.col_step];
                    r[d] = load(lane);
                }
            }
            transpose(r);
#pragma GCC unroll 16
            for (int d = 0; d < L; ++d)
                if (d < here) store(dst + (j + d) * p.pixel + i, r[d]);
        }
}

// dy[m + i, pixel of the images] -> panels [pixel][rows]; needed where a chunk's pixels are not one run in memory.
template <class T> void pack_gradient(const T* dy, int64_t image, int64_t pixels, int64_t images, const Panels& panels, int64_t first, int64_t last, T* dst) {
    for (int64_t p = first; p < last; ++p) {
        const int rows = panels.rows(p);
        for (int64_t n = 0; n < images; ++n, dst += rows * pixels)
            for (int i = 0; i < rows; ++i) {
                const T* from = dy + n * image + (panels.first(p) + i) * pixels;
                for (int64_t t = 0; t < pixels; ++t) dst[t * rows + i] = from[t];
            }
    }
}

template <class T, int vecs>
void sum_part(const Conv2dBackwardWeight<T>& a, const WeightPlan& p, int64_t task, const int64_t* offset, const int64_t* column, T* copy, T* packed, T* sums) {
    constexpr int64_t L = lanes<T>;
    const Conv2dShape& s = a.shape;
    const Panels panels = cut_panels<T>(s.group_k());
    const int64_t part = task % p.parts, block = task / p.parts, c_first = block % p.c_blocks * p.c_block;
    const int64_t k_block = block / p.c_blocks % p.k_blocks, group = block / p.c_blocks / p.k_blocks;
    const int64_t channels = s.group_c() - c_first < p.c_block ? s.group_c() - c_first : p.c_block;
    const int64_t panel0 = panels.count * k_block / p.k_blocks, panel1 = panels.count * (k_block + 1) / p.k_blocks;
    const int64_t pixels = s.oh * s.ow, plane = s.h * s.w, m0 = panels.first(panel0);

    bool add = false;
    for (int64_t chunk = p.chunks * part / p.parts; chunk < p.chunks * (part + 1) / p.parts; ++chunk, add = true) {
        const int64_t image = chunk / p.row_chunks * p.images, images = s.n - image < p.images ? s.n - image : p.images;
        const int64_t row = chunk % p.row_chunks * p.rows, rows = s.oh - row < p.rows ? s.oh - row : p.rows;
        for (int64_t n = 0; n < images; ++n) {
            const T* x = a.x + ((image + n) * s.c + group * s.group_c() + c_first) * plane;
            for (int64_t i = 0; i < (rows - 1) * p.stride_h + (s.r - 1) * s.dilation_h + 1; ++i) {
                const int64_t y = row * s.stride_h - s.pad_h + i * p.row_step;
                T* dst = copy + n * p.image + i * p.width * p.pixel;
                if (y < 0 || y >= s.h) zero_over(dst, p.width * p.pixel);
                else transpose_row(x + y * s.w, plane, s.w, s.pad_w, p, channels, dst);
            }
        }
        const T* dy = a.dy + (image * s.k + group * s.group_k()) * pixels + row * s.ow;
        if (p.images > 1) pack_gradient(dy, s.k * pixels, pixels, images, panels, panel0, panel1, packed);

        ConvTile<T> t;
        t.depth = images * rows * s.ow;
        t.offset = offset;
        t.row = p.pitch;
        t.scattered = false;
        t.add = add;
        for (int64_t v0 = 0; v0 < p.vectors; v0 += vecs) {
            for (int v = 0; v < vecs; ++v) {
                t.b[v] = copy + column[v0 + v];
                t.y[v] = sums + (v0 + v) * L;
                t.count[v] = int(L);
            }
            for (int64_t i = panel0; i < panel1; ++i) {
                const int64_t m = panels.first(i);
                if (p.images > 1)
                    run_tile_of<vecs>(panels.rows(i), t, [&](auto n) { return PackedRows<T, n>{packed + (m - m0) * t.depth}; }, m - m0, static_cast<const T*>(nullptr));
                else
                    run_tile_of<vecs>(panels.rows(i), t, [&](auto) { return MatrixRows<T>{dy + m * pixels, pixels}; }, m - m0, static_cast<const T*>(nullptr));
            }
        }
    }
}

// The finished sums of a block: parts in order, then (tap, c) -> (c, tap).
template <class T> void write_block(const Conv2dBackwardWeight<T>& a, const WeightPlan& p, int64_t block, T* sums, int64_t sums_size) {
    constexpr int64_t L = lanes<T>;
    const Conv2dShape& s = a.shape;
    const Panels panels = cut_panels<T>(s.group_k());
    const int64_t c = s.group_c(), taps = s.r * s.s, c0 = block % p.c_blocks * p.c_block, channels = c - c0 < p.c_block ? c - c0 : p.c_block;
    const int64_t k_block = block / p.c_blocks % p.k_blocks, group = block / p.c_blocks / p.k_blocks;
    const int64_t k0 = panels.first(panels.count * k_block / p.k_blocks), k1 = panels.first(panels.count * (k_block + 1) / p.k_blocks);
    const int64_t next_x = p.runs ? c : p.per_tap * L, next_r = p.runs ? p.per_tap * L : s.s * next_x;
    for (int64_t m = 0; m < k1 - k0; ++m) {
        T* row = sums + m * p.pitch;
        for (int64_t part = 1; part < p.parts; ++part)
            each_vec<T>(p.pitch, [&](int64_t i, auto n) { store(row + i, load(row + i, n) + load(row + part * sums_size + i, n), n); });
        T* dw = a.dw + ((group * s.group_k() + k0 + m) * c + c0) * taps;
        if (taps == 1) {
            each_vec<T>(channels, [&](int64_t i, auto n) { store(dw + i, load(row + i, n), n); });
            continue;
        }
        if (!p.runs && taps <= 9) {                   // by registers of channels: tap by tap to filter by filter
            alignas(64) T block[9 * L];
            for (int64_t i = 0; i < channels; i += L) {
                for (int64_t t = 0; t < taps; ++t) store(block + t * L, load(row + t * next_x + i));
                write_pixels<T>(block, taps, 1, taps, channels - i, nullptr, dw + i * taps, taps, taps);
            }
            continue;
        }
        for (int64_t i = 0; i < channels; ++i)
            for (int64_t r = 0; r < s.r; ++r)
                for (int64_t x = 0; x < s.s; ++x) *dw++ = row[r * next_r + x * next_x + i];
    }
}

// Few pixels: their windows are written out, so that the sums are one product that lands where dw lies.
//   windows[panel][pixel][kTileCols], columns (c, r, s) as in dw; gradients[k][pixel]
constexpr int64_t kFewPixels = 64;
template <class T> LC_NOINLINE void write_windows(const Conv2dShape& s, const T* x, int64_t panel, int64_t columns, T* dst) {
    constexpr int64_t width = kTileCols<T>;
    for (int64_t j = 0; j < width; ++j) {
        const int64_t column = panel * width + j, c = column / (s.r * s.s), t = column % (s.r * s.s);
        const int64_t top = t / s.s * s.dilation_h - s.pad_h, left = t % s.s * s.dilation_w - s.pad_w;
        T* to = dst + j;
        for (int64_t n = 0; n < s.n; ++n)
            for (int64_t i = 0; i < s.oh; ++i)
                for (int64_t e = 0; e < s.ow; ++e, to += width) {
                    const int64_t y = i * s.stride_h + top, z = e * s.stride_w + left;
                    const bool inside = column < columns && y >= 0 && y < s.h && z >= 0 && z < s.w;
                    *to = inside ? x[(n * s.c + c) * s.h * s.w + y * s.w + z] : T(0);
                }
    }
}
template <class T> void weight_gradient_of_few(const Conv2dBackwardWeight<T>& a) {
    constexpr int64_t width = kTileCols<T>;
    const Conv2dShape& s = a.shape;
    constexpr int64_t together = 8;                   // panels: rows of dw are written in runs of as many
    const int64_t k = s.group_k(), columns = s.group_c() * s.r * s.s, pixels = s.oh * s.ow, depth = s.n * pixels, panels = ceil_div(columns, width), panel_size = depth * width;
    const Buffer<T> gradients(k * depth), windows(num_threads() * together * panel_size);
    for (int64_t group = 0; group < s.groups; ++group) {
        for (int64_t m = 0; m < k; ++m)
            for (int64_t n = 0; n < s.n; ++n)
                each_vec<T>(pixels, [&](int64_t i, auto p) { store(gradients.data() + m * depth + n * pixels + i, load(a.dy + (n * s.k + group * k + m) * pixels + i, p), p); });
        parallel_for(ceil_div(panels, together), int64_t(s.flops() / double(s.groups) / (sizeof(T) == 4 ? 60 : 30)), [&](int64_t task, int worker) {
            T* b = windows.data() + worker * together * panel_size;
            const int64_t first = task * together, last = first + together < panels ? first + together : panels;
            for (int64_t panel = first; panel < last; ++panel) write_windows(s, a.x + group * s.group_c() * s.h * s.w, panel, columns, b + (panel - first) * panel_size);
            for (int64_t m = 0; m < k; m += kTileRows<T>)
                for (int64_t panel = first; panel < last; ++panel) {
                    const int64_t left = columns - panel * width, rows = k - m < kTileRows<T> ? k - m : kTileRows<T>;
                    multiply_any_tile(int(rows), 2, depth, StridedRows<T>{gradients.data() + m * depth, depth, 1}, b + (panel - first) * panel_size, width,
                                      TileOut<T>{a.dw + (group * k + m) * columns + panel * width, columns, int(left < width ? left : width), false});
                }
        });
    }
}

template <class T> void weight_gradient(const Conv2dBackwardWeight<T>& a) {
    constexpr int64_t L = lanes<T>;
    const Conv2dShape& s = a.shape;
    const int64_t c = s.group_c(), k = s.group_k(), taps = s.r * s.s, pixels = s.oh * s.ow;
    if (s.k * c * taps == 0) return;
    if (s.n * pixels == 0) {
        for (int64_t i = 0; i < s.k * c * taps; ++i) a.dw[i] = 0;
        return;
    }
    if (s.n * pixels <= kFewPixels) return weight_gradient_of_few(a);
    const WeightPlan p = plan_weight<T>(s);

    // Where a pixel of a chunk, and a register of columns, lies in the copy.
    const Buffer<int64_t> offset(p.images * p.rows * s.ow), column(p.vectors);
    for (int64_t t = 0; t < p.images * p.rows * s.ow; ++t)
        offset[t] = t / (p.rows * s.ow) * p.image + (t / s.ow % p.rows * p.stride_h * p.width + t % s.ow * p.stride_w) * p.pixel;
    const int64_t groups_of = p.runs ? s.r : taps;
    for (int64_t v = 0; v < p.vectors; ++v) {
        const int64_t tap = v / p.per_tap < groups_of ? v / p.per_tap : 0;           // beyond the last: computed, never read
        const int64_t r = p.runs ? tap : tap / s.s, x = p.runs ? 0 : tap % s.s;
        column[v] = (r * s.dilation_h * p.width + x * s.dilation_w) * p.pixel + v % p.per_tap * L;
    }

    const Panels panels = cut_panels<T>(k);
    const int64_t blocks = s.groups * p.k_blocks * p.c_blocks, tasks = blocks * p.parts;
    const int64_t rows = (ceil_div(panels.count, p.k_blocks)) * kTileRows<T>, sums_size = rows * p.pitch;
    const int64_t copy_size = spread<T>(p.images * p.image), packed_size = p.images > 1 ? rows * p.images * pixels : 0;
    const int64_t work = int64_t(s.flops() / (sizeof(T) == 4 ? 60 : 30));
    const bool whole = p.parts == 1;                  // sums are finished while in L2, and memory for them used again
    const Buffer<T> scratch(num_threads() * (copy_size + packed_size)), sums((whole ? num_threads() : tasks) * sums_size);
    parallel_for(tasks, work, [&](int64_t task, int worker) {
        T *copy = scratch.data() + worker * (copy_size + packed_size), *to = sums.data() + (whole ? worker : task) * sums_size;
        with_tile_vecs<T>(k, [&](auto vecs) { sum_part<T, vecs>(a, p, task, offset.data(), column.data(), copy, copy + copy_size, to); });
        if (whole) write_block(a, p, task, to, sums_size);
    });
    if (whole) return;
    parallel_for(blocks, s.k * c * taps * p.parts, [&](int64_t block, int) { write_block(a, p, block, sums.data() + block * p.parts * sums_size, sums_size); });
}

// db[k]: every row on its own, then the images in order.
template <class T> void bias_gradient(const Conv2dBackwardWeight<T>& a) {
    const Conv2dShape& s = a.shape;
    const int64_t pixels = s.oh * s.ow, rows = s.n * s.k;
    const Buffer<T> row_sum(rows);
    parallel_ranges(rows, 16, rows * pixels / 8, [&](int64_t begin, int64_t end) {
        for (int64_t r = begin; r < end; ++r) {
            const T* dy = a.dy + r * pixels;
            vec<T> part[4] = {zero<T>(), zero<T>(), zero<T>(), zero<T>()};
            int64_t i = 0;
            for (; i + 4 * lanes<T> <= pixels; i += 4 * lanes<T>)
                for (int v = 0; v < 4; ++v) part[v] = part[v] + load(dy + i + v * lanes<T>);
            each_vec<T>(pixels - i, [&](int64_t j, auto n) { part[0] = part[0] + load(dy + i + j, n); });
            row_sum[r] = sum((part[0] + part[1]) + (part[2] + part[3]));
        }
    });
    for (int64_t k = 0; k < s.k; ++k) {
        T total = 0;
        for (int64_t n = 0; n < s.n; ++n) total += row_sum[n * s.k + k];
        a.db[k] = total;
    }
}

}  // namespace
}  // namespace lc::cpu::LC_ISA
