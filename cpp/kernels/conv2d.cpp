// conv2d on CPU. Math and shapes: cpp/ops/conv2d.h. Compute bound except where the filters are few or depthwise.
// This file turns a shape into taps, padded planes and grids of pixels; the products are in conv_correlate.h (forward,
// backward_data), conv_weight.h (backward_weight) and conv_depthwise.h.
#include "cpp/ops/conv2d.h"
#include "cpp/kernels/conv_correlate.h"
#include "cpp/kernels/conv_depthwise.h"
#include "cpp/kernels/conv_lanes.h"
#include "cpp/kernels/conv_weight.h"
#include "cpp/kernels/conv_weight_taps.h"
#include "cpp/kernels/conv_winograd.h"
#include "cpp/kernels/conv_winograd_weight.h"

namespace lc::cpu::LC_ISA {
namespace {

// Forward of one axis: tap r reads plane residue[r] at index shift[r] from the pixel.
LC_INLINE int64_t used_residues(int64_t taps, int64_t dilation, int64_t stride, int64_t* residues) {
    int64_t count = 0;
    for (int64_t r = 0; r < taps; ++r) {
        int64_t i = 0;
        while (i < count && residues[i] != r * dilation % stride) ++i;
        if (i == count) residues[count++] = r * dilation % stride;
    }
    return count;
}
LC_INLINE int64_t index_of(const int64_t* list, int64_t x) {
    int64_t i = 0;
    while (list[i] != x) ++i;
    return i;
}

template <class T> double work_ns(const Conv2dShape& s) { return s.flops() / (sizeof(T) == 4 ? 60 : 30); }

// 1x1 with stride 1 and no padding reads x where it is, as one long row an image, if no register reaches over its end.
template <class T> bool reads_in_place(const Conv2dShape& s) {
    return s.r * s.s == 1 && s.stride_h * s.stride_w == 1 && s.pad_h == 0 && s.pad_w == 0 && s.oh == s.h && s.ow == s.w &&
        s.h * s.w % lanes<T> == 0;
}

template <class T> void set_in_place(Correlation<T>& c, Pass& p, int64_t channels) {
    c.in_place = true;
    c.planes = {1, 1, 0, 0, 1, c.h * c.width, c.h * c.width, c.h * c.width, c.groups * channels * c.h * c.width, 1, nullptr};
    p.grid.cols *= p.grid.rows;
    p.grid.rows = 1;
}

// The taps r whose row(r) lies in [0, size): a range, since rows move one way with r.
template <class Row> LC_INLINE void find_taps(int64_t taps, Row row, int64_t size, int64_t& first, int64_t& last) {
    first = taps;
    last = 0;
    for (int64_t r = 0; r < taps; ++r) {
        if (row(r) < 0 || row(r) >= size) continue;
        first = r < first ? r : first;
        last = r + 1;
    }
}

// Rows of taps are kept apart only where leaving out those that see padding saves a twentieth; else depth is (c, r, s),
// as weights lie in memory.
LC_INLINE void join_tap_rows(Pass& p, int64_t* first, int64_t* last) {
    int64_t seen = 0;
    for (int64_t i = 0; i < p.grid.rows; ++i) seen += last[i] > first[i] ? last[i] - first[i] : 0;
    if (p.tap_rows == 0 || (!p.packed && 20 * seen < 19 * p.tap_rows * p.grid.rows)) return;
    p.tap_cols *= p.tap_rows;
    p.tap_rows = 1;
    for (int64_t i = 0; i < p.grid.rows; ++i) first[i] = 0, last[i] = 1;
}

void fill_offsets(const Pass& p, int64_t channels, int64_t channel, const int64_t* shift, int64_t* offset) {
    for (int64_t r = 0; r < p.tap_rows; ++r)
        for (int64_t c = 0; c < channels; ++c)
            for (int64_t t = r * p.tap_cols; t < (r + 1) * p.tap_cols; ++t) *offset++ = c * channel + shift[t];
}

void correlate(const Winograd& a, ConvScheme scheme) {
    if (scheme == ConvScheme::winograd2) correlate<Tile2>(a);
    else correlate<Tile4>(a);
}

bool is_depthwise(const Conv2dShape& s) { return s.group_c() == 1 && s.groups > 1; }

// The padded phase planes of x, and where in them every tap looks.
template <class T> struct ForwardPlanes {
    int64_t taps;
    Buffer<int64_t> table;
    int64_t *phase, *tap, *shift;                     // [taps]
    Planes planes;
    bool dense_3x3;

    explicit ForwardPlanes(const Conv2dShape& s) : taps(s.r * s.s), table(s.r + s.s + 3 * taps) {
        int64_t *row_residue = table.data(), *col_residue = row_residue + s.r;
        phase = col_residue + s.s;
        tap = phase + taps;
        shift = tap + taps;
        const int64_t row_count = used_residues(s.r, s.dilation_h, s.stride_h, row_residue);
        const int64_t col_count = used_residues(s.s, s.dilation_w, s.stride_w, col_residue);
        for (int64_t i = 0; i < row_count * col_count; ++i) phase[i] = row_residue[i / col_count] * s.stride_w + col_residue[i % col_count];

        planes = {s.stride_h, s.stride_w, s.pad_h, s.pad_w, s.oh + (s.r - 1) * s.dilation_h / s.stride_h,
                  s.ow + (s.s - 1) * s.dilation_w / s.stride_w, 0, 0, 0, row_count * col_count, phase};
        planes.plane = spread<T>(planes.rows * planes.pitch);
        planes.channel = planes.phases * planes.plane;
        planes.image = s.group_c() * planes.channel;
        for (int64_t t = 0; t < taps; ++t) {
            const int64_t y = t / s.s * s.dilation_h, x = t % s.s * s.dilation_w;
            tap[t] = t;
            shift[t] = (index_of(row_residue, y % s.stride_h) * col_count + index_of(col_residue, x % s.stride_w)) * planes.plane +
                y / s.stride_h * planes.pitch + x / s.stride_w;
        }
        dense_3x3 = s.r == 3 && s.s == 3 && s.stride_h * s.stride_w * s.dilation_h * s.dilation_w == 1;
    }
};

// dx of a depthwise convolution with stride 1: the same with the filters turned round and the padding that remains.
template <class T> void depthwise_backward_data(const Conv2dBackwardData<T>& a) {
    const Conv2dShape& s = a.shape;
    Conv2dShape turned = s;
    turned.h = s.oh;
    turned.w = s.ow;
    turned.oh = s.h;
    turned.ow = s.w;
    turned.pad_h = (s.r - 1) * s.dilation_h - s.pad_h;
    turned.pad_w = (s.s - 1) * s.dilation_w - s.pad_w;
    const ForwardPlanes<T> g(turned);
    const Buffer<T> w(s.k * g.taps);
    for (int64_t k = 0; k < s.k; ++k)
        for (int64_t t = 0; t < g.taps; ++t) w[k * g.taps + t] = a.w[k * g.taps + g.taps - 1 - t];
    depthwise_forward<T>({a.dy, w.data(), a.b, a.dx, s.n, s.c, 1, s.oh, s.ow, s.h, s.w, g.taps, g.shift, g.dense_3x3, g.planes});
}

}  // namespace

template <class T> void conv2d_forward(const Conv2dForward<T>& a) {
    const Conv2dShape& s = a.shape;
    if constexpr (sizeof(T) == 4)
        if (a.scheme != ConvScheme::direct)
            return correlate(Winograd{a.x, a.w, a.b, a.y, s.n, s.groups, s.group_c(), s.h, s.w, s.group_k(), s.oh, s.ow, s.pad_h, s.pad_w,
                                      s.group_k() * s.group_c() * 9, s.group_c() * 9, 9, false, work_ns<T>(s) / 3},
                             a.scheme);
    const ForwardPlanes<T> g(s);
    if (is_depthwise(s)) {
        depthwise_forward<T>({a.x, a.w, a.b, a.y, s.n, s.c, s.group_k(), s.h, s.w, s.oh, s.ow, g.taps, g.shift, g.dense_3x3, g.planes});
        return;
    }
    const int64_t channels = s.group_c(), depth = channels * g.taps;
    const Buffer<int64_t> offset(depth), seen(2 * s.oh);
    for (int64_t i = 0; i < s.oh; ++i)
        find_taps(s.r, [&](int64_t r) { return i * s.stride_h + r * s.dilation_h - s.pad_h; }, s.h, seen[i], seen[s.oh + i]);
    Pass p{{1, s.oh, s.ow, 0}, s.r, s.s, depth, g.tap, seen.data(), seen.data() + s.oh, offset.data(), 0, false};
    Correlation<T> c{a.x, a.w, a.b, a.y, s.n, s.groups, channels, s.h, s.w, s.group_k(), s.oh, s.ow, 1, 1,
                     s.group_k() * depth, depth, g.taps, g.planes, false, &p, 1, work_ns<T>(s)};
    if (reads_in_place<T>(s)) set_in_place(c, p, channels);
    p.packed = should_pack<T>(p.grid, c.planes, c.m);
    join_tap_rows(p, seen.data(), seen.data() + s.oh);
    fill_offsets(p, channels, c.planes.channel, g.shift, offset.data());
    if (fits_lanes(c)) correlate_in_lanes(c);
    else correlate(c);
}

template <class T> void conv2d_backward_data(const Conv2dBackwardData<T>& a) {
    const Conv2dShape& s = a.shape;
    if (s.n * s.c * s.h * s.w == 0) return;
    if constexpr (sizeof(T) == 4)
        if (a.scheme != ConvScheme::direct)           // dx is dy correlated with the filters turned round
            return correlate(Winograd{a.dy, a.w, a.b, a.dx, s.n, s.groups, s.group_k(), s.oh, s.ow, s.group_c(), s.h, s.w, 2 - s.pad_h, 2 - s.pad_w,
                                      s.group_k() * s.group_c() * 9, 9, s.group_c() * 9, true, work_ns<T>(s) / 3},
                             a.scheme);
    if (is_depthwise(s) && s.group_k() == 1 && s.stride_h * s.stride_w == 1) return depthwise_backward_data(a);
    const int64_t taps = s.r * s.s, channels = s.group_k(), residues_h = s.stride_h < s.h ? s.stride_h : s.h,
                  residues_w = s.stride_w < s.w ? s.stride_w : s.w, passes = residues_h * residues_w;
    const Buffer<int64_t> table(2 * taps + channels * taps), seen(2 * residues_w * s.h);
    const Buffer<Pass> pass(passes);
    int64_t *tap = table.data(), *shift = tap + taps, *offset = shift + taps;
    // Pixel h = i * stride + residue is reached by tap r from row i + (residue + pad - r * dilation) / stride of dy.
    int64_t top = 0, left = 0, rows = 1, pitch = 1, used = 0;
    for (int64_t residue = 0; residue < residues_h; ++residue)
        for (int64_t r = 0; r < s.r; ++r) {
            const int64_t from = residue + s.pad_h - r * s.dilation_h;
            if (from % s.stride_h == 0 && -from / s.stride_h > top) top = -from / s.stride_h;
        }
    for (int64_t residue = 0; residue < residues_w; ++residue)
        for (int64_t r = 0; r < s.s; ++r) {
            const int64_t from = residue + s.pad_w - r * s.dilation_w;
            if (from % s.stride_w == 0 && -from / s.stride_w > left) left = -from / s.stride_w;
        }
    // ... which bounds the planes: the last pixel's largest shift.
    rows = ceil_div(s.h, s.stride_h) + (s.stride_h - 1 + s.pad_h) / s.stride_h + top;
    pitch = ceil_div(s.w, s.stride_w) + (s.stride_w - 1 + s.pad_w) / s.stride_w + left;
    const int64_t phase = 0;
    Planes g{1, 1, top, left, rows, pitch, spread<T>(rows * pitch), 0, 0, 1, &phase};
    g.channel = g.plane;
    g.image = channels * g.channel;

    Correlation<T> c{a.dy, a.w, a.b, a.dx, s.n, s.groups, channels, s.oh, s.ow, s.group_c(), s.h, s.w, s.stride_h, s.stride_w,
                     channels * s.group_c() * taps, taps, s.group_c() * taps, g, false, pass.data(), 0, work_ns<T>(s)};
    int64_t weights = 0, used_rows = 0;
    for (int64_t i = 0; i < passes; ++i) {
        const int64_t y = i / residues_w, x = i % residues_w;
        Pass& p = pass[c.pass_count++];
        p = {{1, ceil_div(s.h - y, s.stride_h), ceil_div(s.w - x, s.stride_w), 0},
             0,
             0,
             0,
             tap + used,
             seen.data() + used_rows,
             nullptr,
             offset + channels * used,
             weights,
             false};
        if (reads_in_place<T>(s)) set_in_place(c, p, channels);
        int64_t row[2] = {0, 0};                      // source row of the first pixel through the first tap row; from one tap row to the next
        for (int64_t r = 0; r < s.r; ++r) {
            const int64_t from_y = y + s.pad_h - r * s.dilation_h;
            if (from_y % s.stride_h != 0) continue;
            if (p.tap_rows == 0) row[0] = from_y / s.stride_h;
            if (p.tap_rows == 1) row[1] = from_y / s.stride_h - row[0];
            ++p.tap_rows;
            p.tap_cols = 0;
            for (int64_t t = r * s.s; t < (r + 1) * s.s; ++t) {
                const int64_t from_x = x + s.pad_w - t % s.s * s.dilation_w;
                if (from_x % s.stride_w != 0) continue;
                tap[used] = t;
                shift[used++] = (from_y / s.stride_h + top) * c.planes.pitch + from_x / s.stride_w + left;
                ++p.tap_cols;
            }
        }
        p.depth = channels * p.tap_rows * p.tap_cols;
        int64_t *first = seen.data() + used_rows, *last = first + p.grid.rows;
        for (int64_t j = 0; j < p.grid.rows; ++j) find_taps(p.tap_rows, [&](int64_t r) { return j + row[0] + r * row[1]; }, s.oh, first[j], last[j]);
        p.last_tap = last;
        used_rows += 2 * p.grid.rows;
        p.packed = should_pack<T>(p.grid, c.planes, c.m);
        join_tap_rows(p, first, last);
        fill_offsets(p, channels, c.planes.channel, shift + (p.tap - tap), offset + channels * (p.tap - tap));
        weights += s.groups * c.m * p.depth;
    }
    if (fits_lanes(c)) correlate_in_lanes(c);
    else correlate(c);
}

template <class T> void conv2d_backward_weight(const Conv2dBackwardWeight<T>& a) {
    const Conv2dShape& s = a.shape;
    if (a.dw && is_depthwise(s)) {
        const ForwardPlanes<T> g(s);
        depthwise_weight<T>({a.x, nullptr, nullptr, nullptr, s.n, s.c, s.group_k(), s.h, s.w, s.oh, s.ow, g.taps, g.shift, g.dense_3x3, g.planes}, a.dy, a.dw);
    } else if (a.dw) {
        bool done = false;
        if constexpr (sizeof(T) == 4)
            if (a.scheme != ConvScheme::direct && s.n > 0) winograd_weight(a), done = true;
        if (!done && weights_fit_lanes<T>(s)) weight_gradient_in_lanes(a);
        else if (!done && taps_fit_rows<T>(s)) weight_gradient_by_taps(a);
        else if (!done) weight_gradient(a);
    }
    if (a.db) bias_gradient(a);
}

template void conv2d_forward(const Conv2dForward<float>&);
template void conv2d_forward(const Conv2dForward<double>&);
template void conv2d_backward_data(const Conv2dBackwardData<float>&);
template void conv2d_backward_data(const Conv2dBackwardData<double>&);
template void conv2d_backward_weight(const Conv2dBackwardWeight<float>&);
template void conv2d_backward_weight(const Conv2dBackwardWeight<double>&);

}  // namespace lc::cpu::LC_ISA
