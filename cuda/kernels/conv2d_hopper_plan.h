// The convolution on Hopper: which it takes, the windows it walks along either axis, and how its products are cut up.
//
// Images have adjacent channels here, [n, h, w, c], so that a tap of a run of windows is a box of pixels for the copy engine,
// and a slice of the depth 64 channels of one tap. backward_data with a stride is a convolution of its own for each phase:
// the pixels of dx that meet the same taps.
//
//              rows (m)        columns (n)                  depth (k)
//   forward    filters         windows                      taps, then channels of x
//   data       channels of x   pixels of dx of one phase    taps, then filters
//   weight     filters         taps, then channels of x     windows, cut into parts whose sums are added in order
#pragma once
#include "cuda/kernels/conv2d_plan.h"

namespace lc::cuda {

constexpr int kConvSlice = 64;                        // of depth, and the elements that are swizzled together

// One axis: windows whose first pixels lie `stride` apart from lower on, and the taps that each has.
struct ConvLine {
    int count, stride, lower, upper;                  // upper: of the last window, from the image's end
    int taps, offset, offset_step;                    // where the taps lie, from the first pixel
    int filter, filter_step;                          // which taps of the filter they are
    int result, result_step;                          // where the windows' results lie
};

constexpr ConvLine conv_line(int64_t size, int64_t out, int64_t taps, int64_t stride, int64_t pad, int64_t dilation) {
    return {int(out), int(stride), int(-pad), int((out - 1) * stride - pad - (size - 1)), int(taps), 0, int(dilation), 0, 1, 0, 1};
}
// Of dx[phase], dx[phase + stride], ...: it is read under every stride-th tap, by windows of dy that come before one another.
constexpr ConvLine conv_data_line(int64_t size, int64_t out, int64_t taps, int64_t stride, int64_t pad, int64_t dilation, int64_t phase) {
    const int64_t first = (phase + pad) % stride, met = first < taps ? (taps - first + stride - 1) / stride : 0, count = phase < size ? (size - phase + stride - 1) / stride : 0;
    const int64_t reach = met > 0 ? (met - 1) * dilation : 0, lower = (phase + pad - first) / stride - reach;
    return {int(count), 1, int(lower), int(lower + count - 1 - (out - 1)), int(met), int(reach), int(-dilation), int(first), int(stride), int(phase), int(stride)};
}

constexpr bool conv_line_fits(const ConvLine& l) {
    const auto corner = [](int x) { return x >= -128 && x <= 127; };
    return l.count == 0 || (corner(l.lower) && corner(l.upper) && l.stride <= 8 && (l.taps - 1) * (l.offset_step < 0 ? -l.offset_step : l.offset_step) <= 255);
}

// What the copy engine can read, and where 64 channels at a time do not mean that most of them are none.
constexpr bool conv_takes_hopper(const Conv2dShape& s, ConvProduct product) {
    const auto channels = [](int64_t c) { return c % 8 == 0 && c >= 32; };
    if (s.groups != 1 || s.n == 0 || s.c == 0 || s.k == 0 || s.h == 0 || s.w == 0 || s.oh == 0 || s.ow == 0 || !conv_fits(s)) return false;
    if (product != ConvProduct::data)
        return channels(s.c) && (product == ConvProduct::forward || s.k % 8 == 0) && conv_line_fits(conv_line(s.h, s.oh, s.r, s.stride_h, s.pad_h, s.dilation_h)) &&
            conv_line_fits(conv_line(s.w, s.ow, s.s, s.stride_w, s.pad_w, s.dilation_w));
    if (!channels(s.k) || s.stride_h * s.stride_w > 16 || (s.stride_h > 1 && s.dilation_h > 1) || (s.stride_w > 1 && s.dilation_w > 1)) return false;
    for (int64_t i = 0; i < s.stride_h; ++i)
        if (!conv_line_fits(conv_data_line(s.h, s.oh, s.r, s.stride_h, s.pad_h, s.dilation_h, i))) return false;
    for (int64_t j = 0; j < s.stride_w; ++j)
        if (!conv_line_fits(conv_data_line(s.w, s.ow, s.s, s.stride_w, s.pad_w, s.dilation_w, j))) return false;
    return true;
}

// Tiles of two warpgroups: 64 rows each of the same columns, or, wide, the same 64 rows of `cols` columns each.
struct ConvCut {
    bool wide;
    int cols;                                         // of a warpgroup
    int tiles_m, tiles_n, parts, part;                // part: slices of depth

    constexpr int tile_m() const { return wide ? 64 : 128; }
    constexpr int tile_n() const { return wide ? 2 * cols : cols; }
    constexpr int64_t work() const { return int64_t(tiles_m) * tiles_n * parts; }
};

// The cut that is estimated to be the fastest on an H100: nanoseconds a slice, two and a half of them for a tile's ends.
constexpr ConvCut conv_cut(int64_t m, int64_t n, int64_t slices, bool weight, int multiprocessors) {
    const auto tiles = [](int64_t x, int64_t tile) { return (x + tile - 1) / tile; };
    struct {
        bool wide;
        int cols, slice;
    } const shapes[] = {{false, 256, 700}, {false, 128, 385}, {true, 128, 440}};
    ConvCut best{};
    int64_t least = 0;
    for (const auto& shape : shapes) {
        if (weight && shape.cols == 256) continue;    // no such kernel
        ConvCut c{shape.wide, shape.cols, 0, 0, 1, int(slices)};
        c.tiles_m = int(tiles(m, c.tile_m()));
        c.tiles_n = int(tiles(n, c.tile_n()));
        for (int64_t parts = 1; parts == 1 || (weight && parts <= 128 && slices / parts >= 8); ++parts) {
            c.part = int(tiles(slices, parts));
            c.parts = slices > 0 ? int(tiles(slices, c.part)) : 1;
            const int64_t bytes = weight ? int64_t(c.parts) * c.tiles_m * c.tile_m() * c.tiles_n * c.tile_n() * 8 : 0;        // sums, written and read
            const int64_t time = tiles(c.work(), multiprocessors) * (c.part * shape.slice + 5 * shape.slice / 2) + bytes / 3000;
            if (least == 0 || time < least) {
                least = time;
                best = c;
            }
        }
    }
    return best;
}

}  // namespace lc::cuda
