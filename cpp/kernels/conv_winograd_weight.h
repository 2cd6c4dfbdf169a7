// Backward_weight in Winograd's domain: the transpose of conv_winograd.h's forward, by the same 36 products.
//
//   dw = G^T [ sum over tiles of (A dy A^T) .* (B^T x B) ] G        dy: 4 x 4 pixels of a tile, x: its 6 x 6
//
// Tiles are taken in chunks by the shape; all threads transform a chunk, then add its products, each point's sum one chain
// of fma over the chunk. Sums lie in memory tile by tile of the register file, which is the order they are added to.
#pragma once
#include <numeric>
#include "cpp/kernels/conv_winograd.h"

namespace lc::cpu::LC_ISA {
namespace {

struct GradientTransform {                            // A: 4 -> 6
    static LC_INLINE void apply(const Lane* x, Lane* y) {
        const Lane even_a = fma(kA2, x[2], x[0]), odd_a = fma(kA3, x[3], kA * x[1]);
        const Lane even_b = fma(kB2, x[2], x[0]), odd_b = fma(kB3, x[3], kB * x[1]);
        y[0] = x[0];
        y[1] = even_a + odd_a;
        y[2] = even_a - odd_a;
        y[3] = even_b + odd_b;
        y[4] = even_b - odd_b;
        y[5] = x[3];
    }
};
struct WeightTransform {                              // G^T: 6 -> 3
    static LC_INLINE void apply(const Lane* x, Lane* y) {
        const Lane sum_a = x[1] + x[2], sum_b = x[3] + x[4], diff_a = x[1] - x[2], diff_b = x[3] - x[4];
        y[0] = fma(kG0, x[0], fma(kGa, sum_a, kGb * sum_b));
        y[1] = fma(kGa * kA, diff_a, kGb * kB * diff_b);
        y[2] = fma(kGa * kA2, sum_a, fma(kGb * kB2, sum_b, x[5]));
    }
};

constexpr int kIn = Tile4::in, kPoints = Tile4::points;

// Columns of gradients that lie together: whole registers, and whole tiles of rows.
constexpr int64_t kGradients = std::lcm(kL, int64_t(kTileRowCount)), kTileSize = kTileRowCount * kPanel;

struct WinogradWeight {
    const Conv2dShape& s;
    Tiling tiling;
    int64_t chunk, chunks;                            // tiles
    int64_t x_panels, dy_blocks, row_tiles;
    int64_t v_points, e_points, sum_points;           // from one point to the next: pixels, gradients, sums

    explicit WinogradWeight(const Conv2dShape& s) : s(s), tiling(tiles_of<Tile4>(s.oh, s.ow)) {
        const int64_t tiles = s.n * tiling.per_image();
        chunks = ceil_div(tiles, s.group_c() + s.group_k() <= 576 ? 192 : 96);       // pixels and gradients in some 14 MB of L3
        chunk = ceil_div(tiles, chunks);
        x_panels = ceil_div(s.group_c(), kPanel);
        dy_blocks = ceil_div(s.group_k(), kGradients);
        row_tiles = ceil_div(s.group_k(), int64_t(kTileRowCount));
        v_points = odd_lines(x_panels * chunk * kPanel);
        e_points = odd_lines(dy_blocks * chunk * kGradients);
        sum_points = odd_lines((chunks == 1 ? kGradients / kTileRowCount : row_tiles) * x_panels * kTileSize);
    }
};

// sums[point][row tile - first][panel] (+)= gradients x pixels of a chunk, for row tiles [first, last)
LC_NOINLINE void add_products(const WinogradWeight& p, int64_t tiles, const float* e, const float* v, int64_t first, int64_t last, float* sums, bool add) {
    for (int64_t panel = 0; panel < p.x_panels; ++panel)
        for (int64_t t = first; t < last; ++t) {
            const int64_t m = t * kTileRowCount, left = p.s.group_k() - m;
            const StridedRows<float> rows{e + m / kGradients * p.chunk * kGradients + m % kGradients, 1, kGradients};
            multiply_any_tile<float>(int(left < kTileRowCount ? left : kTileRowCount), 2, tiles, rows, v + panel * p.chunk * kPanel, kPanel,
                                     {sums + ((t - first) * p.x_panels + panel) * kTileSize, kPanel, int(kPanel), add});
        }
}

// Filters [first, last) of a group, dw: [channels][9] each, from sums whose first row is filter `first`.
LC_NOINLINE void write_filters(const WinogradWeight& p, int64_t first, int64_t last, const float* sums, float* dw) {
    alignas(64) float taps[9 * kL];
    const int64_t channels = p.s.group_c();
    for (int64_t m = first; m < last; ++m)
        for (int64_t c = 0; c < channels; c += kL) {
            const int64_t row = m - first;
            const float* from = sums + (row / kTileRowCount * p.x_panels + c / kPanel) * kTileSize + row % kTileRowCount * kPanel + c % kPanel;
            transform<WeightTransform, kIn, 3>(from, {kIn * p.sum_points, p.sum_points}, taps, {3 * kL, kL});
            write_pixels<float>(taps, 9, 1, 9, channels - c, nullptr, dw + (m * channels + c) * 9, 9, 9);
        }
}

void winograd_weight(const Conv2dBackwardWeight<float>& a) {
    const Conv2dShape& s = a.shape;
    const WinogradWeight p(s);
    const int64_t channels = s.group_c(), k = s.group_k(), tiles = s.n * p.tiling.per_image(), work = int64_t(s.flops() / 240 / double(p.chunks * s.groups));
    const int64_t pixel_size = pixels_size(kIn, Tile4::out * p.tiling.cols + 2), x_registers = ceil_div(channels, kL), dy_registers = ceil_div(k, kL);
    const bool whole = p.chunks == 1;                 // sums are finished while in cache, and memory for them used again
    const int64_t sums_size = kPoints * p.sum_points;
    const Buffer<float> v(kPoints * p.v_points), e(kPoints * p.e_points), sums((whole ? num_threads() : 1) * sums_size), scratch(num_threads() * pixel_size);
    const auto add = [&](int64_t point, int64_t count, int64_t first, int64_t last, float* to, bool onto) {
        add_products(p, count, e.data() + point * p.e_points, v.data() + point * p.v_points, first, last, to + point * p.sum_points, onto);
    };
    for (int64_t group = 0; group < s.groups; ++group) {
        float* dw = a.dw + group * k * channels * 9;
        for (int64_t i = 0; i < p.chunks; ++i) {
            const int64_t first = i * p.chunk, last = first + p.chunk < tiles ? first + p.chunk : tiles;
            parallel_for(x_registers + dy_registers, (channels + k) * (last - first) * 16, [&](int64_t task, int worker) {
                float* pixels = scratch.data() + worker * pixel_size;
                if (task < x_registers) {
                    const int64_t c = task * kL;
                    transform_tiles<InputTransform<Tile4>, kIn, kIn>(p.tiling, a.x + (group * channels + c) * s.h * s.w, s.c * s.h * s.w, s.h, s.w, channels - c, s.pad_h, s.pad_w, first, last,
                                                                     v.data() + c / kPanel * p.chunk * kPanel + c % kPanel, kPanel, p.v_points, pixels);
                } else {
                    const int64_t m = (task - x_registers) * kL;
                    transform_tiles<GradientTransform, Tile4::out, kIn>(p.tiling, a.dy + (group * k + m) * s.oh * s.ow, s.k * s.oh * s.ow, s.oh, s.ow, k - m, 0, 0, first, last,
                                                                        e.data() + m / kGradients * p.chunk * kGradients + m % kGradients, kGradients, p.e_points, pixels);
                }
            });
            if (whole) break;
            const int64_t parts = ceil_div(p.row_tiles, 16);
            parallel_for(kPoints * parts, work, [&](int64_t task, int) {
                const int64_t part = task % parts, from = p.row_tiles * part / parts;
                add(task / parts, last - first, from, p.row_tiles * (part + 1) / parts, sums.data() + from * p.x_panels * kTileSize, i > 0);
            });
        }
        if (whole)
            parallel_for(p.dy_blocks, work, [&](int64_t block, int worker) {
                float* mine = sums.data() + worker * sums_size;
                const int64_t first = block * kGradients, last = first + kGradients < k ? first + kGradients : k;
                for (int64_t point = 0; point < kPoints; ++point) add(point, tiles, first / kTileRowCount, ceil_div(last, kTileRowCount), mine, false);
                write_filters(p, first, last, mine, dw);
            });
        else
            parallel_for(p.row_tiles, k * channels * 8, [&](int64_t t, int) {
                const int64_t first = t * kTileRowCount;
                write_filters(p, first, first + kTileRowCount < k ? first + kTileRowCount : k, sums.data() + t * p.x_panels * kTileSize, dw);
            });
    }
}

}  // namespace
}  // namespace lc::cpu::LC_ISA
