// Backward_weight where input channels are few: taps are the rows of the register tile and output channels its lanes, which
// conv_weight.h would leave partly empty.
//
//   sums[(c, r, s)][k] = sum over pixels of x[pixel + shift(c, r, s)] * gradients[pixel][k]
//
// Gradients of a chunk of pixels are brought to channels-last, a few rows of x are copied with their border of zeros.
// Compute bound: transposing costs as much as 5 taps.
#pragma once
#include "cpp/kernels/conv_weight.h"

namespace lc::cpu::LC_ISA {
namespace {

// Rows of taps: a pixel of x, splat.
template <class T, int rows> struct TapRows {
    const T* tap[size_t(rows)];
    const int64_t* pixel;
    LC_INLINE vec<T> at(int i, int64_t kk) const { return splat(tap[i][pixel[kk]]); }
};

struct TapPlan {
    int64_t rows, row_chunks, chunks, parts;          // rows of y in a chunk; chunks of an image, of all; parts that are summed apart
    int64_t height, width, channel;                   // of the copy of x
    int64_t taps, registers, pitch;                   // (c, r, s); registers of output channels; elements of a row of sums

    template <class T> static TapPlan of(const Conv2dShape& s, T) {
        TapPlan p;
        p.row_chunks = ceil_div(s.oh, kChunkPixels / s.ow > 1 ? kChunkPixels / s.ow : 1);
        p.rows = ceil_div(s.oh, p.row_chunks);
        p.row_chunks = ceil_div(s.oh, p.rows);
        p.chunks = s.n * p.row_chunks;
        const int64_t wanted = ceil_div(kWeightTasks, s.groups);
        p.parts = wanted < p.chunks ? wanted : p.chunks;
        p.height = (p.rows - 1) * s.stride_h + (s.r - 1) * s.dilation_h + 1;
        p.width = (s.ow - 1) * s.stride_w + (s.s - 1) * s.dilation_w + 1;
        p.channel = spread<T>(p.height * p.width);
        p.taps = s.group_c() * s.r * s.s;
        p.registers = ceil_div(s.group_k(), int64_t(lanes<T>));
        p.pitch = p.registers * lanes<T>;
        return p;
    }
    int64_t copy_size(const Conv2dShape& s) const { return s.group_c() * channel; }
    int64_t gradient_size(const Conv2dShape& s) const { return pitch * rows * s.ow; }
    int64_t sums_size() const { return taps * pitch; }
};

// Where that is a tenth less work.
template <class T> LC_INLINE bool taps_fit_rows(const Conv2dShape& s) {
    if (s.flops() == 0 || s.n * s.oh * s.ow <= kFewPixels || s.group_c() >= 4 * lanes<T>) return false;
    const TapPlan p = TapPlan::of(s, T());
    return 10 * p.registers * (p.taps + 5) <= 9 * plan_weight<T>(s).vectors * s.group_k() && p.copy_size(s) * int64_t(sizeof(T)) <= 128 * 1024;
}

template <int vecs, int rows, class T> void sum_taps(const ConvTile<T>& t, const T* copy, const int64_t* tap, const int64_t* pixel, int64_t m) {
    TapRows<T, rows> a;
    for (int i = 0; i < rows; ++i) a.tap[i] = copy + tap[m + i];
    a.pixel = pixel;
    run_tile<rows, vecs>(t, a, m, static_cast<const T*>(nullptr));
}

// Sums of one chunk for `vecs` registers of output channels.
template <int vecs, class T, int... lower>
void sum_taps(const TapPlan& p, ConvTile<T> t, const T* gradients, int64_t first, const T* copy, const int64_t* tap, const int64_t* pixel, T* sums, std::integer_sequence<int, lower...>) {
    using Sum = void (*)(const ConvTile<T>&, const T*, const int64_t*, const int64_t*, int64_t);
    static constexpr Sum heights[] = {&sum_taps<vecs, lower + 1, T>...};
    for (int v = 0; v < vecs; ++v) {
        t.b[v] = gradients + (first + v) * t.depth * lanes<T>;
        t.y[v] = sums + (first + v) * lanes<T>;
        t.count[v] = int(lanes<T>);
    }
    const Panels panels = cut_panels<T>(p.taps);
    for (int64_t i = 0; i < panels.count; ++i) heights[panels.rows(i) - 1](t, copy, tap, pixel, panels.first(i));
}

template <class T> void sum_part(const Conv2dBackwardWeight<T>& a, const TapPlan& p, int64_t group, int64_t part, const int64_t* offset, const int64_t* tap, const int64_t* pixel, T* copy, T* gradients, T* sums) {
    constexpr int64_t L = lanes<T>;
    constexpr auto heights = std::make_integer_sequence<int, kTileRows<T>>();
    const Conv2dShape& s = a.shape;
    const int64_t first = p.chunks * part / p.parts, plane = s.oh * s.ow;
    for (int64_t chunk = first; chunk < p.chunks * (part + 1) / p.parts; ++chunk) {
        const int64_t image = chunk / p.row_chunks, row = chunk % p.row_chunks * p.rows, rows = s.oh - row < p.rows ? s.oh - row : p.rows, phase = 0;
        const int64_t height = (rows - 1) * s.stride_h + (s.r - 1) * s.dilation_h + 1, pixels = rows * s.ow;
        const Planes window{1, 1, s.pad_h - row * s.stride_h, s.pad_w, height, p.width, 0, 0, 0, 1, &phase};
        for (int64_t c = 0; c < s.group_c(); ++c)
            fill_channel(window, a.x + ((image * s.groups + group) * s.group_c() + c) * s.h * s.w, s.h, s.w, copy + c * p.channel);
        const T* dy = a.dy + (image * s.groups + group) * s.group_k() * plane + row * s.ow;
        for (int64_t k = 0; k < s.group_k(); k += L)
            read_pixels(dy + k * plane, plane, int64_t(1), pixels, s.group_k() - k, int64_t(0), int64_t(0), int64_t(1), pixels, gradients + k * pixels);

        ConvTile<T> t;
        t.depth = pixels;
        t.offset = offset;
        t.row = p.pitch;
        t.scattered = false;
        t.add = chunk > first;
        int64_t v = 0;
        for (; v + 2 <= p.registers; v += 2) sum_taps<2>(p, t, gradients, v, copy, tap, pixel, sums, heights);
        if (v < p.registers) sum_taps<1>(p, t, gradients, v, copy, tap, pixel, sums, heights);
    }
}

template <class T> void weight_gradient_by_taps(const Conv2dBackwardWeight<T>& a) {
    const Conv2dShape& s = a.shape;
    const TapPlan p = TapPlan::of(s, T());
    const int64_t window = s.r * s.s, pixels = p.rows * s.ow, k = s.group_k(), each = p.copy_size(s) + p.gradient_size(s);
    const Buffer<int64_t> table(2 * pixels + p.taps);
    int64_t *offset = table.data(), *pixel = offset + pixels, *tap = pixel + pixels;
    for (int64_t t = 0; t < pixels; ++t) {
        offset[t] = t * lanes<T>;
        pixel[t] = t / s.ow * s.stride_h * p.width + t % s.ow * s.stride_w;
    }
    for (int64_t t = 0; t < p.taps; ++t) tap[t] = t / window * p.channel + t % window / s.s * s.dilation_h * p.width + t % s.s * s.dilation_w;

    const Buffer<T> scratch(num_threads() * each), sums(s.groups * p.parts * p.sums_size());
    parallel_for(s.groups * p.parts, int64_t(s.flops() / (sizeof(T) == 4 ? 60 : 30)), [&](int64_t task, int worker) {
        T* copy = scratch.data() + worker * each;
        sum_part(a, p, task / p.parts, task % p.parts, offset, tap, pixel, copy, copy + p.copy_size(s), sums.data() + task * p.sums_size());
    });
    for (int64_t group = 0; group < s.groups; ++group) {
        T* total = sums.data() + group * p.parts * p.sums_size();
        for (int64_t part = 1; part < p.parts; ++part)
            each_vec<T>(p.sums_size(), [&](int64_t i, auto n) { store(total + i, load(total + i, n) + load(total + part * p.sums_size() + i, n), n); });
        for (int64_t t = 0; t < p.taps; ++t)
            for (int64_t i = 0; i < k; ++i) a.dw[(group * k + i) * p.taps + t] = total[t * p.pitch + i];
    }
}

}  // namespace
}  // namespace lc::cpu::LC_ISA
