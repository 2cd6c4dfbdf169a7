// Winograd's F(4x4, 3x3) on tiles of results: 36 multiplications where the windows of 4 x 4 pixels hold 144.
//
//   y = A^T [ (G w G^T) .* (B^T x B) ] A      x: 6 x 6 pixels, 4 apart from tile to tile; summed over channels before A
//
// The points are 0, +-3/4, +-3/2 and infinity: the usual 1 and 2 scaled so that powers stay near one, which halves the
// error, and exact in binary. Every transform works on one register of channels; a source row is brought to
// channels-last once. The 36 products are GEMMs over tiles and channels from filters packed as gemm.h's panels.
// A quarter of the direct kernel's flops; the transforms read and write 36 values per 16 pixels from L2.
#pragma once
#include "cpp/core/allocator.h"
#include "cpp/core/parallel.h"
#include "cpp/kernels/conv_planes.h"
#include "cpp/ops/matmul_plan.h"

namespace lc::cpu::LC_ISA {
namespace {

constexpr int kOut = 4, kIn = 6, kPoints = kIn * kIn;
constexpr int64_t kL = lanes<float>, kPanel = kTileCols<float>;

// ---- transforms of one axis: y[] from x[] --------------------------------------------------------------------------------

constexpr float kA = 0.75f, kA2 = kA * kA, kA3 = kA2 * kA, kB = 1.5f, kB2 = kB * kB, kB3 = kB2 * kB;
// 1 / the product of a point's distances to the others
constexpr float kG0 = 1 / (kA2 * kB2), kGa = 1 / (2 * kA2 * (kA2 - kB2)), kGb = 1 / (2 * kB2 * (kB2 - kA2));

using Lane = vec<float>;
LC_INLINE Lane fma(float a, Lane b, Lane c) { return fma(splat(a), b, c); }
LC_INLINE Lane operator*(float a, Lane b) { return splat(a) * b; }

struct InputTransform {                               // B^T: 6 -> 6
    static LC_INLINE void apply(const Lane* x, Lane* y) {
        const Lane even_a = fma(-kB2, x[2], x[4]), odd_a = fma(-kB2, x[1], x[3]);
        const Lane even_b = fma(-kA2, x[2], x[4]), odd_b = fma(-kA2, x[1], x[3]);
        y[0] = fma(kA2 * kB2, x[0], fma(-(kA2 + kB2), x[2], x[4]));
        y[1] = fma(kA, odd_a, even_a);
        y[2] = fma(-kA, odd_a, even_a);
        y[3] = fma(kB, odd_b, even_b);
        y[4] = fma(-kB, odd_b, even_b);
        y[5] = fma(kA2 * kB2, x[1], fma(-(kA2 + kB2), x[3], x[5]));
    }
};
struct FilterTransform {                              // G: 3 -> 6
    static LC_INLINE void apply(const Lane* x, Lane* y) {
        const Lane even_a = fma(kA2, x[2], x[0]), even_b = fma(kB2, x[2], x[0]);
        y[0] = kG0 * x[0];
        y[1] = kGa * fma(kA, x[1], even_a);
        y[2] = kGa * fma(-kA, x[1], even_a);
        y[3] = kGb * fma(kB, x[1], even_b);
        y[4] = kGb * fma(-kB, x[1], even_b);
        y[5] = x[2];
    }
};
struct OutputTransform {                              // A^T: 6 -> 4
    static LC_INLINE void apply(const Lane* x, Lane* y) {
        const Lane sum_a = x[1] + x[2], sum_b = x[3] + x[4], diff_a = x[1] - x[2], diff_b = x[3] - x[4];
        y[0] = x[0] + (sum_a + sum_b);
        y[1] = fma(kB, diff_b, kA * diff_a);
        y[2] = fma(kB2, sum_b, kA2 * sum_a);
        y[3] = fma(kB3, diff_b, fma(kA3, diff_a, x[5]));
    }
};

// Both axes of a block of registers, rows and columns of it `row` and `col` elements apart.
struct Block {
    int64_t row, col;
};
template <class F, int in, int out> LC_INLINE void transform(const float* src, Block from, float* dst, Block to) {
    alignas(64) float half[out * in * kL];
    for (int j = 0; j < in; ++j) {
        Lane x[in], y[out];
#pragma GCC unroll 6
        for (int i = 0; i < in; ++i) x[i] = load(src + i * from.row + j * from.col);
        F::apply(x, y);
#pragma GCC unroll 6
        for (int i = 0; i < out; ++i) store(half + (i * in + j) * kL, y[i]);
    }
    for (int i = 0; i < out; ++i) {
        Lane x[in], y[out];
#pragma GCC unroll 6
        for (int j = 0; j < in; ++j) x[j] = load(half + (i * in + j) * kL);
        F::apply(x, y);
#pragma GCC unroll 6
        for (int j = 0; j < out; ++j) store(dst + i * to.row + j * to.col, y[j]);
    }
}

// ---- tiles of the results -------------------------------------------------------------------------------------------------

struct Tiling {
    int64_t rows, cols;                               // of tiles in an image
    int64_t per_image() const { return rows * cols; }
};
LC_INLINE Tiling tiles_of(int64_t h, int64_t w) { return {ceil_div(h, kOut), ceil_div(w, kOut)}; }

struct Run {
    int64_t image, row, col, count;                   // neighbouring tiles of one row
};
template <class F> LC_INLINE void each_run(const Tiling& t, int64_t first, int64_t last, F&& f) {
    for (int64_t at = first; at < last;) {
        Run run{at / t.per_image(), at % t.per_image() / t.cols, at % t.cols, 0};
        run.count = t.cols - run.col < last - at ? t.cols - run.col : last - at;
        f(run, at - first);
        at += run.count;
    }
}

// Pixels of a plane for one register of channels, channels-last: dst[(i * width + j) * kL + l] is pixel (y + i, x + j) of
// channel l, zero outside the plane and from `channels` up. Writes up to a register of pixels beyond a row.
LC_NOINLINE void read_pixels(const float* src, int64_t plane, int64_t h, int64_t w, int64_t channels, int64_t y, int64_t x, int64_t rows, int64_t width, float* dst) {
    const int64_t first = x < 0 ? (-x < width ? -x : width) : 0, inside = w - x < width ? w - x : width, last = inside > first ? inside : first;
    for (int64_t i = 0; i < rows; ++i, dst += width * kL) {
        if (y + i < 0 || y + i >= h) {
            zero_over(dst, width * kL);
            continue;
        }
        zero_over(dst, first * kL);
        const float* row = src + (y + i) * w + x;
        for (int64_t j = first; j < last; j += kL) {
            const int count = int(last - j < kL ? last - j : kL);
            Lane r[size_t(kL)];
            if (count == kL && channels >= kL) {
#pragma GCC unroll 16
                for (int l = 0; l < kL; ++l) r[l] = load(row + l * plane + j);
            } else {
                for (int l = 0; l < kL; ++l) r[l] = l < channels ? load(row + l * plane + j, count) : zero<float>();
            }
            transpose(r);
#pragma GCC unroll 16
            for (int l = 0; l < kL; ++l) store(dst + (j + l) * kL, r[l]);
        }
        zero_over(dst + last * kL, (width - last) * kL);
    }
}
LC_INLINE int64_t pixels_size(int64_t rows, int64_t width) { return (rows * width + kL) * kL; }

// The way back, onto the bias: rows of pixels of one register of channels.
LC_NOINLINE void write_pixels(const float* src, int64_t width, int64_t rows, int64_t cols, int64_t channels, const float* bias, float* dst, int64_t plane, int64_t w) {
    for (int64_t i = 0; i < rows; ++i, src += width * kL, dst += w)
        for (int64_t j = 0; j < cols; j += kL) {
            const int count = int(cols - j < kL ? cols - j : kL);
            Lane r[size_t(kL)];
#pragma GCC unroll 16
            for (int l = 0; l < kL; ++l) r[l] = load(src + (j + l) * kL);
            transpose(r);
            if (count == kL && channels >= kL) {
#pragma GCC unroll 16
                for (int l = 0; l < kL; ++l) store(dst + l * plane + j, bias ? r[l] + splat(bias[l]) : r[l]);
            } else {
                for (int l = 0; l < kL && l < channels; ++l) store(dst + l * plane + j, bias ? r[l] + splat(bias[l]) : r[l], count);
            }
        }
}

// One register of channels of tiles [first, last), from the pixels each tile reads (pad to their left and above) to its
// 36 points: dst[point * points + tile * step].
template <class F, int in> void transform_tiles(const Tiling& tiling, const float* src, int64_t image, int64_t h, int64_t w, int64_t channels, int64_t pad_h, int64_t pad_w,
                                                int64_t first, int64_t last, float* dst, int64_t step, int64_t points, float* pixels) {
    each_run(tiling, first, last, [&](const Run& run, int64_t at) {
        const int64_t width = kOut * run.count + in - kOut;
        read_pixels(src + run.image * image, h * w, h, w, channels, run.row * kOut - pad_h, run.col * kOut - pad_w, in, width, pixels);
        for (int64_t t = 0; t < run.count; ++t)
            transform<F, in, kIn>(pixels + t * kOut * kL, {width * kL, kL}, dst + (at + t) * step, {kIn * points, points});
    });
}

// An odd number of lines: the same place at neighbouring points falls into different cache sets.
LC_INLINE int64_t odd_lines(int64_t elements) { return (ceil_div(elements, 16) | 1) * 16; }

// ---- the correlation -----------------------------------------------------------------------------------------------------

struct Winograd {
    const float *x, *w, *bias;
    float* out;
    int64_t images, groups, channels, h, width;       // channels of a group
    int64_t m, oh, ow, pad_h, pad_w;                  // m: results of a group
    int64_t w_group, w_row, w_channel;                // strides of w
    bool turned;                                      // taps in reverse order
    double work_ns;

    int64_t points_filter() const { return odd_lines(channels * kPanel); }                 // from one point to the next
    int64_t panels() const { return ceil_div(m, kPanel); }
    int64_t pitch() const { return ceil_div(channels, kL) * kL; }                          // of a tile's transformed pixels
};

constexpr int64_t kTiles = 48;                        // results of a task: a panel's filters are read once for so many tiles
constexpr int64_t kPanels = 32 / kPanel > 1 ? 32 / kPanel : 1;   // ... and so many filters: the products stay in L2

// Filters of one panel: u[(point * channels + c) * kPanel + i], points spread. Taps come to one register for each of kL
// filters as pixels do; channels whose taps are neighbours in memory come together.
LC_NOINLINE void transform_filters(const Winograd& a, int64_t group, int64_t panel, float* u) {
    constexpr int64_t together = 8;
    alignas(64) float taps[(9 * together + kL) * kL];
    const Block from{a.turned ? -3 * kL : 3 * kL, a.turned ? -kL : kL}, to{kIn * a.points_filter(), a.points_filter()};
    const int64_t step = a.w_channel == 9 ? together : 1;
    for (int64_t c = 0; c < a.channels; c += step) {
        const int64_t count = a.channels - c < step ? a.channels - c : step;
        for (int64_t i = 0; i < kPanel; i += kL) {
            const int64_t m = panel * kPanel + i;
            read_pixels(a.w + group * a.w_group + m * a.w_row + c * a.w_channel, a.w_row, 1, 9 * count, a.m - m, 0, 0, 1, 9 * count, taps);
            for (int64_t d = 0; d < count; ++d)
                transform<FilterTransform, 3, kIn>(taps + (d * 9 + (a.turned ? 8 : 0)) * kL, from, u + (c + d) * kPanel + i, to);
        }
    }
}

void transform_input(const Winograd& a, const Tiling& tiling, int64_t group, int64_t c, int64_t first, int64_t last, float* v, int64_t points, float* pixels) {
    transform_tiles<InputTransform, kIn>(tiling, a.x + (group * a.channels + c) * a.h * a.width, a.groups * a.channels * a.h * a.width, a.h, a.width, a.channels - c, a.pad_h,
                                         a.pad_w, first, last, v + c, a.pitch(), points, pixels);
}

// Products of `count` tiles with panels [first, last): product[point * points + tile * pitch + column]
template <int rows> LC_INLINE void multiply_rows(int count, int64_t k, StridedRows<float> a, const float* b, TileOut<float> out) {
    if constexpr (rows > 0) {
        if (count == rows) multiply_tile<rows, 2>(k, a, b, kPanel, out);
        else multiply_rows<rows - 1>(count, k, a, b, out);
    }
}
LC_NOINLINE void multiply_points(const Winograd& a, const float* v, int64_t v_points, int64_t count, const float* u, int64_t first, int64_t last, float* product,
                                 int64_t points, int64_t pitch) {
    const int64_t block = k_block(a.channels);
    for (int64_t point = 0; point < kPoints; ++point)
        for (int64_t panel = first; panel < last; ++panel)
            for (int64_t k0 = 0; k0 < a.channels; k0 += block) {
                const int64_t depth = a.channels - k0 < block ? a.channels - k0 : block;
                const float* b = u + (panel * kPoints + point) * a.points_filter() + k0 * kPanel;
                for (int64_t t = 0; t < count; t += kTileRows<float>)
                    multiply_rows<kTileRowCount>(int(count - t < kTileRowCount ? count - t : kTileRowCount), depth, {v + point * v_points + t * a.pitch() + k0, a.pitch(), 1}, b,
                                                 {product + point * points + t * pitch + (panel - first) * kPanel, pitch, int(kPanel), k0 > 0});
            }
}

void transform_output(const Winograd& a, const Tiling& tiling, int64_t group, int64_t first, int64_t last, int64_t m0, int64_t m1, const float* product, int64_t points,
                      int64_t pitch, float* pixels) {
    each_run(tiling, first, last, [&](const Run& run, int64_t at) {
        const int64_t width = kOut * run.count, y = run.row * kOut, x = run.col * kOut;
        for (int64_t m = m0; m < m1; m += kL) {
            for (int64_t t = 0; t < run.count; ++t)
                transform<OutputTransform, kIn, kOut>(product + (at + t) * pitch + m - m0, {kIn * points, points}, pixels + t * kOut * kL, {width * kL, kL});
            write_pixels(pixels, width, a.oh - y < kOut ? a.oh - y : kOut, a.ow - x < width ? a.ow - x : width, a.m - m, a.bias ? a.bias + group * a.m + m : nullptr,
                         a.out + ((run.image * a.groups + group) * a.m + m) * a.oh * a.ow + y * a.ow + x, a.oh * a.ow, a.ow);
        }
    });
}

// Results of tiles [first, last) and panels [first_panel, last_panel), from v of `first` on.
void finish_tiles(const Winograd& a, const Tiling& tiling, int64_t group, int64_t first, int64_t last, int64_t first_panel, int64_t last_panel, const float* v, int64_t v_points,
                  const float* u, float* product, float* pixels) {
    const int64_t pitch = kPanels * kPanel, points = odd_lines((last - first) * pitch);
    for (int64_t p = first_panel; p < last_panel; p += kPanels) {
        const int64_t end = p + kPanels < last_panel ? p + kPanels : last_panel;
        multiply_points(a, v, v_points, last - first, u, p, end, product, points, pitch);
        transform_output(a, tiling, group, first, last, p * kPanel, end * kPanel < a.m ? end * kPanel : a.m, product, points, pitch, pixels);
    }
}

void correlate(const Winograd& a) {
    if (a.images * a.m * a.oh * a.ow == 0) return;
    const Tiling tiling = tiles_of(a.oh, a.ow);
    const int64_t tiles = a.images * tiling.per_image(), threads = num_threads(), panels = a.panels(), registers = ceil_div(a.channels, kL);
    // Many tiles: a task makes all results of some, from transformed pixels of its own. Few: a task makes some results of
    // all, from filters of its own where there are panels enough, so that most of these never leave its cache.
    const int64_t blocks = ceil_div(tiles, kTiles), rounded = ceil_div(blocks, threads) * threads;
    const bool many = blocks >= 2 * threads, own_filters = !many && panels >= 4 * threads;
    const int64_t block = many ? ceil_div(tiles, rounded * kTileRows<float>) * kTileRows<float> : kTiles, tasks = ceil_div(tiles, block);
    const int64_t product_size = kPoints * odd_lines(block * kPanels * kPanel);
    const int64_t pixel_size = pixels_size(kIn, kOut * (tiling.cols < block ? tiling.cols : block) + 2);
    const int64_t v_points = odd_lines((many ? block : tiles) * a.pitch()), v_size = kPoints * v_points;
    const int64_t panel_size = kPoints * a.points_filter(), parts = ceil_div(panels, kPanels);
    const Buffer<float> u((own_filters ? threads * kPanels : panels) * panel_size), v((many ? threads : 1) * v_size), scratch(threads * (product_size + pixel_size));
    const auto product = [&](int worker) { return scratch.data() + worker * (product_size + pixel_size); };
    const int64_t work = int64_t(a.work_ns), filter_work = panels * kPanel * a.channels * 5;

    for (int64_t group = 0; group < a.groups; ++group) {
        if (!own_filters)
            parallel_for(panels, filter_work, [&](int64_t panel, int) { transform_filters(a, group, panel, u.data() + panel * panel_size); });
        if (many) {
            parallel_for(tasks, work, [&](int64_t task, int worker) {
                const int64_t first = task * block, last = first + block < tiles ? first + block : tiles;
                float *mine = v.data() + worker * v_size, *pixels = product(worker) + product_size;
                for (int64_t c = 0; c < a.channels; c += kL) transform_input(a, tiling, group, c, first, last, mine, v_points, pixels);
                finish_tiles(a, tiling, group, first, last, 0, panels, mine, v_points, u.data(), product(worker), pixels);
            });
            continue;
        }
        parallel_for(registers, tiles * a.channels * 16, [&](int64_t r, int worker) {
            transform_input(a, tiling, group, r * kL, 0, tiles, v.data(), v_points, product(worker) + product_size);
        });
        const auto finish = [&](int64_t task, int64_t part, const float* filters, int worker) {
            const int64_t first = task * block, last = first + block < tiles ? first + block : tiles, p = part * kPanels;
            finish_tiles(a, tiling, group, first, last, p, p + kPanels < panels ? p + kPanels : panels, v.data() + first * a.pitch(), v_points, filters, product(worker),
                         product(worker) + product_size);
        };
        if (own_filters)
            parallel_for(parts, work + filter_work, [&](int64_t part, int worker) {
                float* mine = u.data() + worker * kPanels * panel_size;
                for (int64_t p = 0; p < kPanels && part * kPanels + p < panels; ++p) transform_filters(a, group, part * kPanels + p, mine + p * panel_size);
                for (int64_t task = 0; task < tasks; ++task) finish(task, part, mine - part * kPanels * panel_size, worker);
            });
        else
            parallel_for(tasks * parts, work, [&](int64_t task, int worker) { finish(task / parts, task % parts, u.data(), worker); });
    }
}

}  // namespace
}  // namespace lc::cpu::LC_ISA
