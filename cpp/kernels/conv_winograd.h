// Winograd's F(4x4, 3x3) on tiles of results: 36 multiplications where the windows of 4 x 4 pixels hold 144; and, for maps
// of a tile or two, F(2x2, 3x3): 16 for 36, with filters that take half the time to transform.
//
//   y = A^T [ (G w G^T) .* (B^T x B) ] A      x: 6 x 6 pixels, 4 apart from tile to tile; summed over channels before A
//
// The points are 0, +-3/4, +-3/2 and infinity: the usual 1 and 2 scaled so that powers stay near one, which halves the
// error, and exact in binary. For F(2x2): 0, +-1 and infinity. Every transform works on one register of channels; a source row is brought to
// channels-last once. The 36 products are GEMMs over tiles and channels from filters packed as gemm.h's panels.
// A quarter of the direct kernel's flops; the transforms read and write 36 values for 16 pixels from L2.
#pragma once
#include "cpp/core/allocator.h"
#include "cpp/core/parallel.h"
#include "cpp/kernels/conv_planes.h"
#include "cpp/ops/matmul_plan.h"

namespace lc::cpu::LC_ISA {
namespace {

constexpr int64_t kL = lanes<float>, kPanel = kTileCols<float>;

// ---- transforms of one axis: y[] from x[] ------------------------------------------------------------------------------

constexpr float kA = 0.75f, kA2 = kA * kA, kA3 = kA2 * kA, kB = 1.5f, kB2 = kB * kB, kB3 = kB2 * kB;
// 1 / the product of a point's distances to the others. G leaves them out, A^T has them: where they cost one product more,
// in G five.
constexpr float kG0 = 1 / (kA2 * kB2), kGa = 1 / (2 * kA2 * (kA2 - kB2)), kGb = 1 / (2 * kB2 * (kB2 - kA2));

using Lane = vec<float>;
LC_INLINE Lane fma(float a, Lane b, Lane c) { return fma(splat(a), b, c); }
LC_INLINE Lane operator*(float a, Lane b) { return splat(a) * b; }

struct Tile4 {
    static constexpr int out = 4, in = 6, points = in * in;
    static LC_INLINE void input(const Lane* x, Lane* y) {
        const Lane even_a = fma(-kB2, x[2], x[4]), odd_a = fma(-kB2, x[1], x[3]);
        const Lane even_b = fma(-kA2, x[2], x[4]), odd_b = fma(-kA2, x[1], x[3]);
        y[0] = fma(kA2 * kB2, x[0], fma(-(kA2 + kB2), x[2], x[4]));
        y[1] = fma(kA, odd_a, even_a);
        y[2] = fma(-kA, odd_a, even_a);
        y[3] = fma(kB, odd_b, even_b);
        y[4] = fma(-kB, odd_b, even_b);
        y[5] = fma(kA2 * kB2, x[1], fma(-(kA2 + kB2), x[3], x[5]));
    }
    static LC_INLINE void filter(const Lane* x, Lane* y) {
        const Lane even_a = fma(kA2, x[2], x[0]), even_b = fma(kB2, x[2], x[0]);
        y[0] = x[0];
        y[1] = fma(kA, x[1], even_a);
        y[2] = fma(-kA, x[1], even_a);
        y[3] = fma(kB, x[1], even_b);
        y[4] = fma(-kB, x[1], even_b);
        y[5] = x[2];
    }
    static LC_INLINE void output(const Lane* x, Lane* y) {
        const Lane sum_a = x[1] + x[2], sum_b = x[3] + x[4], diff_a = x[1] - x[2], diff_b = x[3] - x[4];
        y[0] = fma(kG0, x[0], fma(kGa, sum_a, kGb * sum_b));
        y[1] = fma(kGb * kB, diff_b, kGa * kA * diff_a);
        y[2] = fma(kGb * kB2, sum_b, kGa * kA2 * sum_a);
        y[3] = fma(kGb * kB3, diff_b, fma(kGa * kA3, diff_a, x[5]));
    }
};

struct Tile2 {
    static constexpr int out = 2, in = 4, points = in * in;
    static LC_INLINE void input(const Lane* x, Lane* y) {
        y[0] = x[0] - x[2];
        y[1] = x[1] + x[2];
        y[2] = x[2] - x[1];
        y[3] = x[3] - x[1];
    }
    static LC_INLINE void filter(const Lane* x, Lane* y) {
        const Lane even = x[0] + x[2];
        y[0] = x[0];
        y[1] = even + x[1];
        y[2] = even - x[1];
        y[3] = x[2];
    }
    static LC_INLINE void output(const Lane* x, Lane* y) {
        y[0] = fma(0.5f, x[1] + x[2], x[0]);
        y[1] = fma(0.5f, x[1] - x[2], x[3]);
    }
};

// One of the functions above as a type.
template <class W> struct InputTransform {            // B^T
    static LC_INLINE void apply(const Lane* x, Lane* y) { W::input(x, y); }
};
template <class W> struct OutputTransform {           // A^T
    static LC_INLINE void apply(const Lane* x, Lane* y) { W::output(x, y); }
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

// The same for G's 9 taps, which registers hold: no half-transformed values in memory.
template <class W> LC_INLINE void transform_taps(const float* src, Block from, float* dst, Block to) {
    Lane half[3][W::in];
#pragma GCC unroll 3
    for (int j = 0; j < 3; ++j) {
        Lane x[3];
#pragma GCC unroll 3
        for (int i = 0; i < 3; ++i) x[i] = load(src + i * from.row + j * from.col);
        W::filter(x, half[j]);
    }
#pragma GCC unroll 6
    for (int i = 0; i < W::in; ++i) {
        const Lane x[3] = {half[0][i], half[1][i], half[2][i]};
        Lane y[W::in];
        W::filter(x, y);
#pragma GCC unroll 6
        for (int j = 0; j < W::in; ++j) store(dst + i * to.row + j * to.col, y[j]);
    }
}

// ---- tiles of the results -------------------------------------------------------------------------------------------------

struct Tiling {
    int64_t rows, cols, out;                          // of tiles in an image; pixels of a tile's side
    int64_t per_image() const { return rows * cols; }
};
template <class W> LC_INLINE Tiling tiles_of(int64_t h, int64_t w) { return {ceil_div(h, W::out), ceil_div(w, W::out), W::out}; }

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

LC_INLINE int64_t pixels_size(int64_t rows, int64_t width) { return rows * width * kL; }

// One register of channels of tiles [first, last), from the pixels each tile reads (pad to their left and above) to its
// points: dst[point * points + tile * step].
template <class F, int in, int out> void transform_tiles(const Tiling& tiling, const float* src, int64_t image, int64_t h, int64_t w, int64_t channels, int64_t pad_h, int64_t pad_w,
                                                         int64_t first, int64_t last, float* dst, int64_t step, int64_t points, float* pixels) {
    each_run(tiling, first, last, [&](const Run& run, int64_t at) {
        const int64_t width = tiling.out * (run.count - 1) + in;
        read_pixels(src + run.image * image, h * w, h, w, channels, run.row * tiling.out - pad_h, run.col * tiling.out - pad_w, in, width, pixels);
        for (int64_t t = 0; t < run.count; ++t)
            transform<F, in, out>(pixels + t * tiling.out * kL, {width * kL, kL}, dst + (at + t) * step, {out * points, points});
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
constexpr int64_t kPanels = 32 / kPanel > 1 ? 32 / kPanel : 1;   // ... and so many panels: the products stay in L2

// Channels [from, to) of one panel's filters: u[point * points + (c - from) * kPanel + i]. Taps come to one register for each
// of kL filters as pixels do; channels whose taps are neighbours in memory come together.
constexpr int64_t kChannels = 8;
template <class W> LC_NOINLINE void transform_filters(const Winograd& a, int64_t group, int64_t panel, int64_t from, int64_t to, float* u, int64_t points) {
    alignas(64) float taps[9 * kChannels * kL];
    const Block src{a.turned ? -3 * kL : 3 * kL, a.turned ? -kL : kL}, dst{W::in * points, points};
    const int64_t step = a.w_channel == 9 ? kChannels : 1;
    const float* w = a.w + group * a.w_group + panel * kPanel * a.w_row;
    for (int64_t c = from; c < to; c += step) {
        const int64_t count = to - c < step ? to - c : step;
        const int64_t next = c + kChannels;           // asked for ahead: a line or few of each row are no streams that the machine sees
        for (int64_t i = 0; next < a.channels && i < kPanel && panel * kPanel + i < a.m; ++i)
            for (int64_t at = 0; at < 9 * step; at += 16) __builtin_prefetch(w + i * a.w_row + next * a.w_channel + at);
        for (int64_t i = 0; i < kPanel; i += kL) {
            const int64_t m = panel * kPanel + i;
            read_pixels(w + i * a.w_row + c * a.w_channel, a.w_row, 1, 9 * count, a.m - m, 0, 0, 1, 9 * count, taps);
            for (int64_t d = 0; d < count; ++d) transform_taps<W>(taps + (d * 9 + (a.turned ? 8 : 0)) * kL, src, u + (c - from + d) * kPanel + i, dst);
        }
    }
}

template <class W> void transform_input(const Winograd& a, const Tiling& tiling, int64_t group, int64_t c, int64_t first, int64_t last, float* v, int64_t points, float* pixels) {
    transform_tiles<InputTransform<W>, W::in, W::in>(tiling, a.x + (group * a.channels + c) * a.h * a.width, a.groups * a.channels * a.h * a.width, a.h, a.width, a.channels - c, a.pad_h,
                                                     a.pad_w, first, last, v + c, a.pitch(), points, pixels);
}

// Products of `count` tiles with panels [first, last): product[point * points + tile * pitch + column]
template <class W> LC_NOINLINE void multiply_points(const Winograd& a, const float* v, int64_t v_points, int64_t count, const float* u, int64_t first, int64_t last, float* product,
                                                    int64_t points, int64_t pitch) {
    const int64_t block = k_block(a.channels);
    for (int64_t point = 0; point < W::points; ++point)
        for (int64_t panel = first; panel < last; ++panel)
            for (int64_t k0 = 0; k0 < a.channels; k0 += block) {
                const int64_t depth = a.channels - k0 < block ? a.channels - k0 : block;
                const float* b = u + (panel * W::points + point) * a.points_filter() + k0 * kPanel;
                for (int64_t t = 0; t < count; t += kTileRowCount) {
                    const StridedRows<float> rows{v + point * v_points + t * a.pitch() + k0, a.pitch(), 1};
                    const TileOut<float> out{product + point * points + t * pitch + (panel - first) * kPanel, pitch, int(kPanel), k0 > 0};
                    if (count - t >= kTileRowCount) multiply_tile<kTileRowCount, 2>(depth, rows, b, kPanel, out);
                    else multiply_any_tile(int(count - t), 2, depth, rows, b, kPanel, out);
                }
            }
}

template <class W> void transform_output(const Winograd& a, const Tiling& tiling, int64_t group, int64_t first, int64_t last, int64_t m0, int64_t m1, const float* product, int64_t points,
                                         int64_t pitch, float* pixels) {
    each_run(tiling, first, last, [&](const Run& run, int64_t at) {
        const int64_t width = W::out * run.count, y = run.row * W::out, x = run.col * W::out;
        for (int64_t m = m0; m < m1; m += kL) {
            for (int64_t t = 0; t < run.count; ++t)
                transform<OutputTransform<W>, W::in, W::out>(product + (at + t) * pitch + m - m0, {W::in * points, points}, pixels + t * W::out * kL, {width * kL, kL});
            write_pixels(pixels, width, a.oh - y < W::out ? a.oh - y : W::out, a.ow - x < width ? a.ow - x : width, a.m - m, a.bias ? a.bias + group * a.m + m : nullptr,
                         a.out + ((run.image * a.groups + group) * a.m + m) * a.oh * a.ow + y * a.ow + x, a.oh * a.ow, a.ow);
        }
    });
}

// Results of tiles [first, last) and panels [first_panel, last_panel), from v of `first` on.
template <class W> void finish_tiles(const Winograd& a, const Tiling& tiling, int64_t group, int64_t first, int64_t last, int64_t first_panel, int64_t last_panel, const float* v, int64_t v_points,
                                     const float* u, float* product, float* pixels) {
    const int64_t pitch = kPanels * kPanel, points = odd_lines((last - first) * pitch);
    for (int64_t p = first_panel; p < last_panel; p += kPanels) {
        const int64_t end = p + kPanels < last_panel ? p + kPanels : last_panel;
        multiply_points<W>(a, v, v_points, last - first, u, p, end, product, points, pitch);
        transform_output<W>(a, tiling, group, first, last, p * kPanel, end * kPanel < a.m ? end * kPanel : a.m, product, points, pitch, pixels);
    }
}

// Products of `rows` tiles with some channels of a panel, going on from product unless these are the first.
template <class W, int rows> LC_NOINLINE void extend_points(const float* v, int64_t v_points, int64_t pitch, int64_t depth, const float* u, float* product, int64_t points, bool first) {
    for (int64_t point = 0; point < W::points; ++point) {
        Lane acc[rows][2];
        float* sums = product + point * points;
#pragma GCC unroll 16
        for (int i = 0; i < rows; ++i)
#pragma GCC unroll 2
            for (int j = 0; j < 2; ++j) acc[i][j] = first ? zero<float>() : load(sums + i * kPanel + j * kL);
        accumulate_tile<rows, 2>(depth, StridedRows<float>{v + point * v_points, pitch, 1}, u + point * kChannels * kPanel, kPanel, acc);
#pragma GCC unroll 16
        for (int i = 0; i < rows; ++i)
#pragma GCC unroll 2
            for (int j = 0; j < 2; ++j) store(sums + i * kPanel + j * kL, acc[i][j]);
    }
}
template <class W, int... lower> LC_INLINE auto extension(int64_t tiles, std::integer_sequence<int, lower...>) {
    using Extend = void (*)(const float*, int64_t, int64_t, int64_t, const float*, float*, int64_t, bool);
    static constexpr Extend heights[] = {&extend_points<W, lower + 1>...};
    return heights[tiles - 1];
}

// Results of one panel for so few tiles that a few channels of its filters, transformed, and all sums stay in L1: from L2, where
// each filter is 4 times as large, they would take a tenth longer.
template <class W> void finish_few_tiles(const Winograd& a, const Tiling& tiling, int64_t group, int64_t tiles, int64_t panel, const float* v, int64_t v_points, float* u, float* product, float* pixels) {
    const int64_t points = odd_lines(tiles * kPanel), end = (panel + 1) * kPanel;
    const auto extend = extension<W>(tiles, std::make_integer_sequence<int, kTileRowCount>());
    for (int64_t c = 0; c < a.channels; c += kChannels) {
        const int64_t last = a.channels - c < kChannels ? a.channels : c + kChannels;
        transform_filters<W>(a, group, panel, c, last, u, kChannels * kPanel);
        extend(v + c, v_points, a.pitch(), last - c, u, product, points, c == 0);
    }
    transform_output<W>(a, tiling, group, 0, tiles, panel * kPanel, end < a.m ? end : a.m, product, points, kPanel, pixels);
}

template <class W> void correlate(const Winograd& a) {
    if (a.images * a.m * a.oh * a.ow == 0) return;
    const Tiling tiling = tiles_of<W>(a.oh, a.ow);
    const int64_t tiles = a.images * tiling.per_image(), threads = num_threads(), panels = a.panels(), registers = ceil_div(a.channels, kL);
    // Many tiles: a task makes all results of some, from transformed pixels of its own. Few: a task makes some results of
    // all, from filters of its own where there are panels enough, so that most of these never leave its cache.
    const int64_t blocks = ceil_div(tiles, kTiles), rounded = ceil_div(blocks, threads) * threads, even = ceil_div(tiles, rounded);
    const bool small = panels < 4 * threads;          // the filters
    const bool many = blocks >= 2 * threads || (small && tiles >= kTiles / 2 * threads), own_filters = !many && !small;
    const bool apart = many && small && rounded == threads && threads <= 2;      // each transforms all filters: writing where the other has read takes 2.5 times as long
    const bool few = own_filters && tiles <= kTileRowCount && k_block(a.channels) >= a.channels;           // sums are one chain
    const int64_t block = !many ? kTiles : apart ? even
                                                 : ceil_div(even, int64_t(kTileRowCount)) * kTileRowCount,
                  tasks = ceil_div(tiles, block);
    const int64_t product_size = W::points * odd_lines(block * kPanels * kPanel);
    const int64_t pixel_size = pixels_size(W::in, W::out * (tiling.cols < block ? tiling.cols : block) + 2);
    const int64_t v_points = odd_lines((many ? block : tiles) * a.pitch()), v_size = W::points * v_points;
    const int64_t panel_size = W::points * a.points_filter(), together = own_filters && tiles <= kTiles / 2 ? 1 : kPanels, parts = ceil_div(panels, together);
    const Buffer<float> u((own_filters ? threads * together : apart ? threads * panels
                                                                    : panels) *
                          panel_size),
        v((many ? threads : 1) * v_size), scratch(threads * (product_size + pixel_size));
    const auto product = [&](int worker) { return scratch.data() + worker * (product_size + pixel_size); };
    const int64_t work = int64_t(a.work_ns), filter_work = panels * kPanel * a.channels * 5;

    for (int64_t group = 0; group < a.groups; ++group) {
        const auto transform_panel = [&](int64_t panel, float* to) { transform_filters<W>(a, group, panel, 0, a.channels, to, a.points_filter()); };
        if (!own_filters && !apart) parallel_for(panels, filter_work, [&](int64_t panel, int) { transform_panel(panel, u.data() + panel * panel_size); });
        if (many) {
            parallel_for(tasks, work, [&](int64_t task, int worker) {
                const int64_t first = task * block, last = first + block < tiles ? first + block : tiles;
                float *mine = v.data() + worker * v_size, *pixels = product(worker) + product_size, *filters = u.data() + (apart ? worker * panels * panel_size : 0);
                for (int64_t panel = 0; apart && panel < panels; ++panel) transform_panel(panel, filters + panel * panel_size);
                for (int64_t c = 0; c < a.channels; c += kL) transform_input<W>(a, tiling, group, c, first, last, mine, v_points, pixels);
                finish_tiles<W>(a, tiling, group, first, last, 0, panels, mine, v_points, filters, product(worker), pixels);
            });
            continue;
        }
        parallel_for(registers, tiles * a.channels * 16, [&](int64_t r, int worker) {
            transform_input<W>(a, tiling, group, r * kL, 0, tiles, v.data(), v_points, product(worker) + product_size);
        });
        const auto finish = [&](int64_t task, int64_t part, const float* filters, int worker) {
            const int64_t first = task * block, last = first + block < tiles ? first + block : tiles, p = part * together;
            finish_tiles<W>(a, tiling, group, first, last, p, p + together < panels ? p + together : panels, v.data() + first * a.pitch(), v_points, filters, product(worker),
                            product(worker) + product_size);
        };
        if (own_filters)
            parallel_for(parts, work + filter_work, [&](int64_t part, int worker) {
                float* mine = u.data() + worker * together * panel_size;
                if (few) return finish_few_tiles<W>(a, tiling, group, tiles, part, v.data(), v_points, mine, product(worker), product(worker) + product_size);
                for (int64_t p = 0; p < together && part * together + p < panels; ++p) transform_panel(part * together + p, mine + p * panel_size);
                for (int64_t task = 0; task < tasks; ++task) finish(task, part, mine - part * together * panel_size, worker);
            });
        else
            parallel_for(tasks * parts, work, [&](int64_t task, int worker) { finish(task / parts, task % parts, u.data(), worker); });
    }
}

}  // namespace
}  // namespace lc::cpu::LC_ISA
