// Depthwise convolution: one input channel for each filter, so there is nothing to reuse but the rows of one plane.
//
//   forward, and backward_data at stride 1 with the filter turned round:  y[k] = sum over taps of w[k, tap] * plane[pixel + shift(tap)]
//   backward_weight:  dw[k, tap] = sum over images and pixels of dy[k, pixel] * plane[pixel + shift(tap)]
//
// Memory bound: each plane is read once into its padded copy in L1 or L2 and written once. Four rows of results are made
// together; at 3x3 and stride 1 every row loaded then serves three of them.
#pragma once
#include "cpp/core/allocator.h"
#include "cpp/core/parallel.h"
#include "cpp/kernels/conv_planes.h"

namespace lc::cpu::LC_ISA {
namespace {

template <class T> struct Depthwise {
    const T *x, *w, *bias;
    T* y;
    int64_t images, channels, multiplier, h, width;   // filters: channels * multiplier
    int64_t rows, cols;                               // of y
    int64_t taps;
    const int64_t* shift;                             // [taps]
    bool dense_3x3;                                   // shift is r * pitch + s
    Planes planes;
};

// f(j, k) over registers of n columns; where they are more than one, the last overlaps the one before, as a store of some
// lanes costs many of all.
template <class T, class F> LC_INLINE void each_register(int64_t n, F&& f) {
    for (int64_t j = 0; j + lanes<T> <= n; j += lanes<T>) f(j, full);
    if (n % lanes<T> == 0) return;
    if (n > lanes<T>) f(n - lanes<T>, full);
    else f(0, int(n));
}

template <int rows, class T> LC_INLINE void dense_rows(const T* plane, int64_t pitch, const T* w, T bias, T* y, int64_t cols) {
    vec<T> filter[9];
#pragma GCC unroll 9
    for (int t = 0; t < 9; ++t) filter[t] = splat(w[t]);
    each_register<T>(cols, [&](int64_t j, auto k) {
        vec<T> acc[size_t(rows)];
#pragma GCC unroll 4
        for (int o = 0; o < rows; ++o) acc[o] = zero<T>();
#pragma GCC unroll 6
        for (int i = 0; i < rows + 2; ++i) {
            const T* row = plane + i * pitch + j;
            const vec<T> left = load(row), middle = load(row + 1), right = load(row + 2);
#pragma GCC unroll 4
            for (int o = 0; o < rows; ++o) {
                if (i - o < 0 || i - o > 2) continue;
                acc[o] = fma(filter[(i - o) * 3], left, acc[o]);
                acc[o] = fma(filter[(i - o) * 3 + 1], middle, acc[o]);
                acc[o] = fma(filter[(i - o) * 3 + 2], right, acc[o]);
            }
        }
#pragma GCC unroll 4
        for (int o = 0; o < rows; ++o) store(y + o * cols + j, acc[o] + splat(bias), k);
    });
}

template <int rows, class T> LC_INLINE void any_rows(const Depthwise<T>& d, const T* plane, const T* w, T bias, T* y) {
    each_vec<T>(d.cols, [&](int64_t j, auto k) {
        vec<T> acc[size_t(rows)];
#pragma GCC unroll 4
        for (int o = 0; o < rows; ++o) acc[o] = zero<T>();
        for (int64_t t = 0; t < d.taps; ++t) {
            const T* from = plane + d.shift[t] + j;
            const vec<T> filter = splat(w[t]);
#pragma GCC unroll 4
            for (int o = 0; o < rows; ++o) acc[o] = fma(filter, load(from + o * d.planes.pitch), acc[o]);
        }
#pragma GCC unroll 4
        for (int o = 0; o < rows; ++o) store(y + o * d.cols + j, acc[o] + splat(bias), k);
    });
}

template <int rows, class T> LC_NOINLINE void some_rows(const Depthwise<T>& d, const T* plane, const T* w, T bias, T* y) {
    if (d.dense_3x3) dense_rows<rows>(plane, d.planes.pitch, w, bias, y, d.cols);
    else any_rows<rows>(d, plane, w, bias, y);
}

// f(image * channels + channel, plane): the padded planes of every channel, in the thread's own scratch
template <class T, class F> LC_INLINE void each_channel(const Depthwise<T>& d, int64_t tasks, double ns, F&& f) {
    const int64_t size = d.planes.channel, count = d.images * d.channels;
    if (count == 0) return;
    const Buffer<T> scratch(num_threads() * size);
    parallel_for(tasks, int64_t(ns), [&](int64_t task, int worker) {
        T* plane = scratch.data() + worker * size;
        for (int64_t at = count * task / tasks; at < count * (task + 1) / tasks; ++at) {
            fill_channel(d.planes, d.x + at * d.h * d.width, d.h, d.width, plane);
            f(at, plane);
        }
    });
}

template <class T> double depthwise_ns(const Depthwise<T>& d) {
    return double(d.images * d.channels) * double(d.h * d.width + d.multiplier * d.rows * d.cols * (1 + d.taps / 8)) * 0.3;
}

template <class T> void depthwise_forward(const Depthwise<T>& d) {
    const double ns = depthwise_ns(d);
    const int64_t count = d.images * d.channels, wanted = int64_t(ns / 50e3) + 1;      // tasks of about 50 us
    each_channel(d, count < wanted ? count : wanted, ns, [&](int64_t at, const T* plane) {
        for (int64_t m = 0; m < d.multiplier; ++m) {
            const int64_t k = at % d.channels * d.multiplier + m;
            const T *w = d.w + k * d.taps, bias = d.bias ? d.bias[k] : T(0);
            T* y = d.y + (at * d.multiplier + m) * d.rows * d.cols;
            int64_t i = 0;
            for (; i + 4 <= d.rows; i += 4) some_rows<4>(d, plane + i * d.planes.pitch, w, bias, y + i * d.cols);
            const T* rest = plane + i * d.planes.pitch;
            if (d.rows - i == 3) some_rows<3>(d, rest, w, bias, y + i * d.cols);
            else if (d.rows - i == 2) some_rows<2>(d, rest, w, bias, y + i * d.cols);
            else if (d.rows - i == 1) some_rows<1>(d, rest, w, bias, y + i * d.cols);
        }
    });
}

// ---- backward_weight --------------------------------------------------------------------------------------------------------

constexpr int kTapGroup = 9;                          // sums kept in registers in one pass over the pixels

// sums[t] = sum over pixels of dy * plane[pixel + shift[t]] for t < taps
template <int taps, class T> LC_NOINLINE void tap_sums(const Depthwise<T>& d, const T* dy, const T* plane, const int64_t* shift, T* sums) {
    vec<T> acc[size_t(taps)];
#pragma GCC unroll 9
    for (int t = 0; t < taps; ++t) acc[t] = zero<T>();
    for (int64_t i = 0; i < d.rows; ++i)
        each_vec<T>(d.cols, [&](int64_t j, auto k) {
            const vec<T> g = load(dy + i * d.cols + j, k);
            const T* from = plane + i * d.planes.pitch + j;
#pragma GCC unroll 9
            for (int t = 0; t < taps; ++t) acc[t] = fma(g, load(from + shift[t], k), acc[t]);   // k lanes: 0 * NaN is NaN
        });
#pragma GCC unroll 9
    for (int t = 0; t < taps; ++t) sums[t] = sum(acc[t]);
}

template <int taps = kTapGroup, class T> LC_INLINE void tap_sums_of(int64_t count, const Depthwise<T>& d, const T* dy, const T* plane, const int64_t* shift, T* sums) {
    if constexpr (taps > 0) {
        if (count == taps) tap_sums<taps>(d, dy, plane, shift, sums);
        else tap_sums_of<taps - 1>(count, d, dy, plane, shift, sums);
    }
}

// d.y is not used; every plane's sums are made on their own and added in the order of the images.
template <class T> void depthwise_weight(const Depthwise<T>& d, const T* dy, T* dw) {
    const double ns = depthwise_ns(d) * 1.5;
    const int64_t count = d.images * d.channels, wanted = int64_t(ns / 50e3) + 1, filters = d.channels * d.multiplier;
    const Buffer<T> sums(d.images * filters * d.taps);
    each_channel(d, count < wanted ? count : wanted, ns, [&](int64_t at, const T* plane) {
        for (int64_t m = 0; m < d.multiplier; ++m) {
            const T* g = dy + (at * d.multiplier + m) * d.rows * d.cols;
            T* to = sums.data() + (at * d.multiplier + m) * d.taps;
            for (int64_t t = 0; t < d.taps; t += kTapGroup)
                tap_sums_of(d.taps - t < kTapGroup ? d.taps - t : kTapGroup, d, g, plane, d.shift + t, to + t);
        }
    });
    for (int64_t i = 0; i < filters * d.taps; ++i) dw[i] = 0;
    for (int64_t n = 0; n < d.images; ++n)
        for (int64_t i = 0; i < filters * d.taps; ++i) dw[i] += sums[n * filters * d.taps + i];
}

}  // namespace
}  // namespace lc::cpu::LC_ISA
