// Images in lanes: a register holds one pixel of as many images as it has lanes. For maps so small, or channels so few, that
// registers of neighbouring pixels would be partly empty or their windows copied: here every lane works, whatever the map's
// width and stride, and windows are read where they lie.
//
//   pixels[channel][padded pixel][lane], results[m][pixel][lane]; transposed on the way in and out, 4 bytes a pixel each
//
// A result's sum goes in the order of conv_correlate.h, so that its bits do not tell which of the two computed it.
// Compute bound: pixels, results and weights of a unit of images stay in L2, those of a tile in L1.
#pragma once
#include "cpp/kernels/conv_correlate.h"
#include "cpp/kernels/conv_weight.h"

namespace lc::cpu::LC_ISA {
namespace {

constexpr int64_t kLaneBytes = 384 * 1024;            // of a unit's pixels and results: they stay in L2
constexpr int64_t kLanePixels = 112;                  // depth of a weight gradient's tile: six rows of gradients and their pixels in L1

// At most a fifth of all lanes stay empty.
template <class T> LC_INLINE bool fills_lanes(int64_t images) { return images > 0 && ceil_div(images, lanes<T>) * lanes<T> * 4 <= 5 * images; }

// ---- forward and backward_data ------------------------------------------------------------------------------------------

// Where a tenth of conv_correlate.h's work would go to empty lanes or to copying windows.
template <class T> LC_INLINE bool fits_lanes(const Correlation<T>& c) {
    const Pass& p = c.passes[0];
    if (!fills_lanes<T>(c.images) || c.pass_count != 1 || c.planes.phases != 1 || c.planes.step_h * c.planes.step_w != 1 || c.in_place || c.weights_in_place()) return false;
    const int64_t units = ceil_div(c.images, lanes<T>), threads = num_threads(), pixels = p.grid.rows * p.grid.cols;
    return 10 * registers<T>(p, 1) * lanes<T> * (c.m + (p.packed ? 8 : 0)) >= 11 * pixels * c.m &&
        (c.channels * c.planes.channel + c.m * pixels) * lanes<T> * int64_t(sizeof(T)) <= kLaneBytes &&
        (units * c.groups >= 4 * threads || units * c.groups % threads == 0);
}

// All results of one unit. offset: [depth] as the pass has it, in lanes.
template <int vecs, class T>
void sum_in_lanes(const Correlation<T>& c, const Pass& p, const int64_t* offset, const T* weights, const T* bias, const T* pixels, T* results) {
    constexpr int64_t L = lanes<T>;
    const Panels panels = cut_panels<T>(c.m);
    const int64_t block = depth_block(p.depth), per_row = c.channels * p.tap_cols, count = p.grid.rows * p.grid.cols;
    ConvTile<T> t;
    t.row = count * L;
    t.scattered = false;
    int64_t i = 0, j = 0;
    for (int64_t at = 0; at < count; at += vecs) {
        int64_t first = p.tap_rows, last = 0;         // the tap rows that see more than padding
        for (int v = 0; v < vecs; ++v) {
            t.count[v] = at + v < count ? int(L) : 0;
            t.b[v] = at + v < count ? pixels + (i * c.planes.pitch + j) * L : t.b[0];
            t.y[v] = results + (at + v) * L;
            if (at + v >= count) continue;
            first = p.first_tap[i] < first ? p.first_tap[i] : first;
            last = p.last_tap[i] > last ? p.last_tap[i] : last;
            if (++j == p.grid.cols) j = 0, ++i;
        }
        for (int64_t k0 = 0; k0 == 0 || k0 < p.depth; k0 += block) {
            const int64_t begin = first * per_row > k0 ? first * per_row : k0, end = last * per_row < k0 + block ? last * per_row : k0 + block;
            t.add = k0 > 0;
            t.depth = end > begin ? end - begin : 0;
            t.offset = offset + begin;
            if (t.depth == 0 && t.add) continue;
            for (int64_t panel = 0; panel < panels.count; ++panel) {
                const int64_t m = panels.first(panel);
                run_tile_of<vecs>(panels.rows(panel), t, [&](auto rows) { return PackedRows<T, rows>{weights + m * p.depth + begin * rows}; }, m, bias);
            }
        }
    }
}

template <class T> void correlate_in_lanes(const Correlation<T>& c) {
    constexpr int64_t L = lanes<T>;
    const Pass& p = c.passes[0];
    const int64_t units = ceil_div(c.images, L), plane = c.h * c.width, results_of_image = c.m * p.grid.rows * p.grid.cols;
    const int64_t pixels_count = c.channels * c.planes.channel * L, each = pixels_count + results_of_image * L;
    const Buffer<T> weights(packed_weights(c)), scratch(num_threads() * each);
    const Buffer<int64_t> offset(p.depth);
    pack_weights(c, weights.data());
    for (int64_t kk = 0; kk < p.depth; ++kk) offset[kk] = p.offset[kk] * L;
    parallel_for(units * c.groups, int64_t(c.work_ns), [&](int64_t task, int worker) {
        const int64_t group = task % c.groups, image = task / c.groups * L, images = c.images - image < L ? c.images - image : L;
        T *pixels = scratch.data() + worker * each, *results = pixels + pixels_count;
        const T* x = c.x + (image * c.groups + group) * c.channels * plane;
        for (int64_t ch = 0; ch < c.channels; ++ch)
            read_pixels(x + ch * plane, c.groups * c.channels * plane, c.h, c.width, images, -c.planes.top, -c.planes.left, c.planes.rows,
                        c.planes.pitch, pixels + ch * c.planes.channel * L);
        const T* bias = c.bias ? c.bias + group * c.m : nullptr;
        with_tile_vecs<T>(c.m, [&](auto vecs) { sum_in_lanes<vecs>(c, p, offset.data(), weights.data() + group * c.m * p.depth, bias, pixels, results); });
        write_pixels(results, results_of_image, 1, results_of_image, images, static_cast<const T*>(nullptr),
                     c.out + (image * c.groups + group) * results_of_image, c.groups * results_of_image, 0);
    });
}

// ---- backward_weight ----------------------------------------------------------------------------------------------------

// One panel's rows of gradients, [row][pixel][lane].
template <class T> struct LaneRows {
    const T* p;
    int64_t row;
    LC_INLINE vec<T> at(int i, int64_t kk) const { return load(p + i * row + kk * lanes<T>); }
};

struct LaneWeights {
    int64_t height, width, channel;                   // of the padded pixels
    int64_t columns, rows, units, parts;              // (c, r, s); rows of a tile's pixels; units of images, and parts of those
    int64_t pixels, gradients, sums;                  // elements of a unit

    template <class T> static LaneWeights of(const Conv2dShape& s, T) {
        constexpr int64_t L = lanes<T>;
        LaneWeights p;
        p.height = (s.oh - 1) * s.stride_h + (s.r - 1) * s.dilation_h + 1;
        p.width = (s.ow - 1) * s.stride_w + (s.s - 1) * s.dilation_w + 1;
        p.channel = spread<T>(p.height * p.width) * L;
        p.columns = s.group_c() * s.r * s.s;
        p.rows = kLanePixels < s.ow ? 1 : kLanePixels / s.ow;
        p.units = ceil_div(s.n, L);
        p.parts = ceil_div(kWeightTasks, s.groups) < p.units ? ceil_div(kWeightTasks, s.groups) : p.units;
        p.pixels = s.group_c() * p.channel;
        p.gradients = s.group_k() * s.oh * s.ow * L;
        p.sums = (s.group_k() * p.columns + L) * L;   // a last register may reach beyond
        return p;
    }
    int64_t size() const { return pixels + gradients + sums; }
};

// Where a fifth of conv_weight.h's columns would be empty.
template <class T> LC_INLINE bool weights_fit_lanes(const Conv2dShape& s) {
    return fills_lanes<T>(s.n) && s.flops() > 0 && 4 * plan_weight<T>(s).vectors * lanes<T> >= 5 * s.group_c() * s.r * s.s &&
        LaneWeights::of(s, T()).size() * int64_t(sizeof(T)) <= kLaneBytes;
}

template <int vecs, class T>
void sum_in_lanes(const Conv2dShape& s, const LaneWeights& p, const int64_t* offset, const int64_t* column, const T* pixels, const T* gradients, bool add, T* sums) {
    constexpr int64_t L = lanes<T>;
    const Panels panels = cut_panels<T>(s.group_k());
    ConvTile<T> t;
    t.offset = offset;
    t.row = p.columns * L;
    t.scattered = false;
    for (int64_t row = 0; row < s.oh; row += p.rows) {
        t.depth = (s.oh - row < p.rows ? s.oh - row : p.rows) * s.ow;
        t.add = add || row > 0;
        for (int64_t panel = 0; panel < panels.count; ++panel) {
            const int64_t m = panels.first(panel), plane = s.oh * s.ow * L;
            const LaneRows<T> a{gradients + m * plane + row * s.ow * L, plane};
            for (int64_t c = 0; c < p.columns; c += vecs) {
                for (int v = 0; v < vecs; ++v) {
                    const bool exists = c + v < p.columns;
                    t.b[v] = pixels + row * s.stride_h * p.width * L + column[exists ? c + v : c];
                    t.y[v] = sums + (c + v) * L;
                    t.count[v] = exists ? int(L) : 0;
                }
                run_tile_of<vecs>(panels.rows(panel), t, [&](auto) { return a; }, m, static_cast<const T*>(nullptr));
            }
        }
    }
}

// y[i] = the sum of x[i][lanes], i < n; reads up to a register of sums beyond.
template <class T> LC_INLINE void add_lanes(const T* x, int64_t n, T* y) {
    constexpr int64_t L = lanes<T>;
    each_vec<T>(n, [&](int64_t i, auto k) {
        vec<T> r[size_t(L)];
        load_transposed(x + i * L, L, r);
#pragma GCC unroll 16
        for (int64_t half = L / 2; half > 0; half /= 2)
#pragma GCC unroll 16
            for (int64_t l = 0; l < half; ++l) r[l] = r[l] + r[l + half];
        store(y + i, r[0], k);
    });
}

template <class T> void weight_gradient_in_lanes(const Conv2dBackwardWeight<T>& a) {
    constexpr int64_t L = lanes<T>;
    const Conv2dShape& s = a.shape;
    const LaneWeights p = LaneWeights::of(s, T());
    const int64_t taps = s.r * s.s, group_size = s.group_k() * p.columns, in = s.group_c() * s.h * s.w, out = s.group_k() * s.oh * s.ow;
    const Buffer<int64_t> offset(p.rows * s.ow), column(p.columns);
    for (int64_t t = 0; t < p.rows * s.ow; ++t) offset[t] = (t / s.ow * s.stride_h * p.width + t % s.ow * s.stride_w) * L;
    for (int64_t t = 0; t < p.columns; ++t)
        column[t] = t / taps * p.channel + (t % taps / s.s * s.dilation_h * p.width + t % s.s * s.dilation_w) * L;

    const Buffer<T> scratch(num_threads() * p.size()), part_sums(p.parts * s.groups * group_size);
    parallel_for(s.groups * p.parts, int64_t(s.flops() / (sizeof(T) == 4 ? 60 : 30)), [&](int64_t task, int worker) {
        const int64_t group = task % s.groups, part = task / s.groups, begin = p.units * part / p.parts, end = p.units * (part + 1) / p.parts;
        T *pixels = scratch.data() + worker * p.size(), *gradients = pixels + p.pixels, *sums = gradients + p.gradients;
        for (int64_t unit = begin; unit < end; ++unit) {
            const int64_t image = unit * L, images = s.n - image < L ? s.n - image : L;
            for (int64_t ch = 0; ch < s.group_c(); ++ch)
                read_pixels(a.x + (image * s.groups + group) * in + ch * s.h * s.w, s.groups * in, s.h, s.w, images, -s.pad_h, -s.pad_w, p.height, p.width,
                            pixels + ch * p.channel);
            read_pixels(a.dy + (image * s.groups + group) * out, s.groups * out, int64_t(1), out, images, int64_t(0), int64_t(0), int64_t(1), out, gradients);
            with_tile_vecs<T>(s.group_k(), [&](auto vecs) { sum_in_lanes<vecs>(s, p, offset.data(), column.data(), pixels, gradients, unit > begin, sums); });
        }
        add_lanes(sums, group_size, part_sums.data() + (part * s.groups + group) * group_size);
    });
    const int64_t all = s.groups * group_size;
    each_vec<T>(all, [&](int64_t i, auto k) {
        vec<T> total = load(part_sums.data() + i, k);
        for (int64_t part = 1; part < p.parts; ++part) total = total + load(part_sums.data() + part * all + i, k);
        store(a.dw + i, total, k);
    });
}

}  // namespace
}  // namespace lc::cpu::LC_ISA
