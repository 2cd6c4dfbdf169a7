// A convolution and its gradients as products of matrices, and how those are cut up: pure functions of the shape.
//
//              rows (m)        columns (n)           depth (k)
//   forward    filters         (n, i, j)             (c, r, s)     of one group each
//   data       channels of x   (n, h, w)             (k, r, s)
//   weight     filters         (c, r, s)             (n, i, j)     cut into parts, whose sums are added in order
#pragma once
#include "cpp/ops/conv2d.h"
#include "cuda/kernels/divider.h"

namespace lc::cuda {

enum class ConvProduct : uint8_t { forward,
                                   data,
                                   weight };

constexpr int kConvThreads = 256;
// Tiles: on tensor cores, of 16-bit elements and of floats as tf32; of floats and doubles by multiply-adds.
constexpr int conv_tile_m = 64;
constexpr int conv_tile_n(bool tensor) { return tensor ? 128 : 64; }
constexpr int conv_depth(bool tensor) { return tensor ? 32 : 16; }

// What the kernels know of the problem: all that is counted fits into 31 bits.
struct ConvWalk {
    int m, n, k;                                      // of one group
    int groups, tiles_m, tiles_n, parts, part_k;      // part_k: depth of a part
    int rows, cols, plane;                            // of the image gathered from: x, or dy for data
    int64_t image, group_image;                       // its elements, those of a group
    Divider positions, line;                          // columns (weight: depth) are positions in planes of lines
    Divider taps, tap_line;                           // r * s, s
    int stride_h, stride_w, pad_h, pad_w, dilation_h, dilation_w;
    Divider by_stride_h, by_stride_w;
    // The other operand, element (i, d) of group g: g * a_group + i * a_row + d + d / a_period * a_jump; the result alike.
    int64_t a_group, a_jump, y_group, y_part, y_jump;
    int a_row, y_row;
    Divider a_period;

    constexpr int64_t blocks() const { return int64_t(tiles_m) * tiles_n * groups * parts; }
};

constexpr bool conv_fits(const Conv2dShape& s) {
    constexpr int64_t kMost = int64_t(1) << 30;
    const auto fits = [](int64_t v) { return v < kMost; };
    return fits(s.n * s.h * s.w) && fits(s.n * s.oh * s.ow) && fits(s.c * s.h * s.w) && fits(s.k * s.oh * s.ow) && fits(s.k * (s.c / s.groups) * s.r * s.s) &&
        fits(s.h + s.pad_h) && fits(s.w + s.pad_w) && fits(s.r * s.dilation_h) && fits(s.s * s.dilation_w) && fits(s.oh * s.stride_h) && fits(s.ow * s.stride_w);
}

constexpr ConvWalk conv_walk(const Conv2dShape& s, ConvProduct product, bool tensor) {
    const auto tiles = [](int64_t n, int64_t tile) { return (n + tile - 1) / tile; };
    const int64_t gc = s.c / s.groups, gk = s.k / s.groups, taps = s.r * s.s, in = s.h * s.w, out = s.oh * s.ow;
    const bool data = product == ConvProduct::data, weight = product == ConvProduct::weight;
    ConvWalk w{};
    w.m = int(data ? gc : gk);
    w.n = int(data ? s.n * in : weight ? gc * taps
                                       : s.n * out);
    w.k = int(data ? gk * taps : weight ? s.n * out
                                        : gc * taps);
    w.groups = int(s.groups);
    w.tiles_m = int(tiles(w.m, conv_tile_m));
    w.tiles_n = int(tiles(w.n, conv_tile_n(tensor)));
    w.rows = int(data ? s.oh : s.h);
    w.cols = int(data ? s.ow : s.w);
    w.plane = w.rows * w.cols;
    w.group_image = (data ? gk : gc) * w.plane;
    w.image = w.group_image * s.groups;
    const int64_t positions = data ? in : out;
    w.positions = positions > 0 ? positions : 1;
    w.line = positions > 0 ? (data ? s.w : s.ow) : 1;
    w.taps = taps;
    w.tap_line = s.s;
    w.stride_h = int(s.stride_h), w.stride_w = int(s.stride_w);
    w.pad_h = int(s.pad_h), w.pad_w = int(s.pad_w);
    w.dilation_h = int(s.dilation_h), w.dilation_w = int(s.dilation_w);
    w.by_stride_h = s.stride_h, w.by_stride_w = s.stride_w;
    if (weight) {                                     // dy: [n, k, positions]
        w.a_group = gk * out, w.a_row = int(out), w.a_period = w.positions, w.a_jump = (s.k - 1) * out;
        w.y_group = gk * gc * taps, w.y_row = w.n, w.y_part = w.y_group * s.groups;
    } else {                                          // the filters: [k, c, taps]
        w.a_group = gk * gc * taps, w.a_row = int(data ? taps : gc * taps), w.a_period = w.taps, w.a_jump = data ? (gc - 1) * taps : 0;
        w.y_group = w.m * positions, w.y_row = int(positions), w.y_jump = (w.m * s.groups - 1) * positions;
    }
    // Parts fill the chip, two blocks for each multiprocessor of the largest, as long as each has a few slices of depth.
    const int64_t depth = conv_depth(tensor), slices = tiles(w.k, depth), all = int64_t(w.tiles_m) * w.tiles_n * s.groups;
    int64_t parts = weight && all > 0 ? 264 / all : 1;
    if (parts > slices / 8) parts = slices / 8;
    if (parts < 1) parts = 1;
    w.part_k = int(tiles(slices, parts) * depth);
    if (w.part_k == 0) w.part_k = int(depth);
    w.parts = int(weight && w.k > 0 ? tiles(w.k, w.part_k) : 1);
    return w;
}

}  // namespace lc::cuda
