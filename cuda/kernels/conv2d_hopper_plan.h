// The convolution on Hopper: which it takes, the windows it walks along either axis, and how its products are cut up.
//
// A slice of the depth is 64 channels of one tap, for as many windows as a tile has columns. The copy engine reads them from a
// copy with adjacent channels, [n, h, w, c], as one run of pixels; or, without a copy, from planes whose lines are whole 16
// bytes, as boxes of 64 pixels of a line by 64 channels. backward_data with a stride is a convolution of its own for each phase:
// the pixels of dx that meet the same taps.
//
//              rows (m)        columns (n)                  depth (k)
//   forward    filters         windows                      taps, then channels of x
//   data       channels of x   pixels of dx of one phase    taps, then filters
//   weight     filters         taps, then channels of x     windows, cut into parts whose sums are added in order
#pragma once
#include <utility>
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

// The images that windows read, [n, channels, rows, cols], and the windows along both axes.
struct ConvView {
    int64_t rows, cols;
    ConvLine h, w;
    bool planes;                                      // can be read as they lie, from a multiple of 16 bytes on

    constexpr int64_t padded() const { return planes ? (w.count + 63) / 64 * 64 : w.count; }    // windows of a line, in whole boxes
    constexpr int64_t windows() const { return h.count * padded(); }
};
constexpr ConvView conv_view(int64_t rows, int64_t cols, const ConvLine& h, const ConvLine& w) {
    const auto whole = [](const ConvLine& l, int64_t size) { return l.taps == 1 && l.stride == 1 && l.lower == 0 && l.count == size && l.result_step == 1; };
    ConvView v{rows, cols, h, w, false};
    if (whole(h, rows) && whole(w, cols)) v = {1, rows * cols, conv_line(1, 1, 1, 1, 0, 1), conv_line(rows * cols, rows * cols, 1, 1, 0, 1), false};    // a plane is one line
    v.planes = v.cols % 8 == 0 && h.stride == 1 && w.stride == 1 && v.w.count * 4 >= (v.w.count + 63) / 64 * 64 * 3;      // most of each box is needed
    return v;
}

// Tiles of two warpgroups: 64 rows each of the same columns, or, wide, the same 64 rows of `cols` columns each. A pair of
// blocks has tiles below each other, and each loads half of the columns for both.
struct ConvCut {
    bool wide, pair;
    int cols;                                         // of a warpgroup
    int tiles_m, tiles_n, parts, part;                // part: slices of depth; tiles_m is even for pairs

    constexpr int tile_m() const { return wide ? 64 : 128; }
    constexpr int tile_n() const { return wide ? 2 * cols : cols; }
    constexpr int64_t work() const { return int64_t(tiles_m) * tiles_n * parts; }
    // Nanoseconds a slice on an H100, estimated: what its products take, or its bytes from L2 at 8 TB/s.
    constexpr int slice() const {
        const int products = cols == 256 ? 700 : 385, bytes = (tile_m() + (tile_n() >> pair)) * 128 / 61;
        return products > bytes ? products : bytes;
    }
};

// The cut that is estimated to be the fastest; two and a half slices for a tile's ends.
constexpr ConvCut conv_cut(int64_t m, int64_t n, int64_t slices, bool weight, int multiprocessors) {
    const auto tiles = [](int64_t x, int64_t tile) { return (x + tile - 1) / tile; };
    ConvCut best{};
    int64_t least = 0;
    const auto consider = [&](ConvCut c) {
        const int64_t bytes = weight ? int64_t(c.parts) * c.tiles_m * c.tile_m() * c.tiles_n * c.tile_n() * 8 : 0;      // sums, written and read
        const int64_t rounds = tiles(c.work() >> c.pair, multiprocessors >> c.pair);
        const int64_t time = rounds * (2 * c.part + 5) * c.slice() / 2 + bytes / 3000;
        if (least == 0 || time < least) {
            least = time;
            best = c;
        }
    };
    for (const bool pair : {false, true})
        for (const auto& [wide, cols] : {std::pair{false, 256}, std::pair{false, 128}, std::pair{true, 128}}) {
            ConvCut c{wide, pair, cols, 0, int(tiles(n, wide ? 2 * cols : cols)), 1, int(slices)};
            c.tiles_m = int(tiles(m, c.tile_m()));
            if ((weight && cols == 256) || (pair && (c.tiles_m == 1 || multiprocessors < 2))) continue;       // there is no such kernel, or no pair
            c.tiles_m += pair && c.tiles_m % 2 == 1;
            consider(c);
            for (int64_t parts = 2; weight && parts <= 128 && slices / parts >= 8; ++parts) {
                c.part = int(tiles(slices, parts));
                c.parts = int(tiles(slices, c.part));
                consider(c);
            }
        }
    return best;
}

}  // namespace lc::cuda
