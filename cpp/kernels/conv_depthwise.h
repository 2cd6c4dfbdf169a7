// Depthwise convolution: one input channel for each filter, so there is nothing to reuse but the rows of one plane.
//
//   forward, and backward_data at stride 1 with the filter turned round:  y[k] = sum over taps of w[k, tap] * plane[pixel + shift(tap)]
//   backward_weight:  dw[k, tap] = sum over images and pixels of dy[k, pixel] * plane[pixel + shift(tap)]
//
// Memory bound: each plane is read once and written once. Four rows of results are made together; at 3x3 and stride 1
// every row loaded then serves three of them. Planes with a border of one zero are read where they are: the zeros come
// into the first and last register of a row by a shift of lanes. Others are copied with their padding, in L1 or L2.
#pragma once
#include "cpp/core/allocator.h"
#include "cpp/core/parallel.h"
#include "cpp/kernels/conv_planes.h"
#include "cpp/simd/shift.h"

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

    bool in_place() const { return dense_3x3 && planes.top == 1 && planes.left == 1 && rows == h && cols == width && cols >= lanes<T>; }
};

// f(j, k) over registers of n columns; where they are more than one, the last overlaps the one before, as a store of some
// lanes costs many of all.
template <class T, class F> LC_INLINE void each_register(int64_t n, F&& f) {
    for (int64_t j = 0; j + lanes<T> <= n; j += lanes<T>) f(j, full);
    if (n % lanes<T> == 0) return;
    if (n > lanes<T>) f(n - lanes<T>, full);
    else f(0, int(n));
}

// Which ends of its row a register holds, zeros following them.
constexpr int kFirst = 1, kLast = 2;

// A pixel's row seen from the tap before it, itself and the tap after it.
template <int ends, class T> LC_INLINE void load_taps(const T* row, vec<T> (&x)[3]) {
    x[1] = load(row);
    x[0] = ends & kFirst ? shift_up(x[1]) : load(row - 1);
    x[2] = ends & kLast ? shift_down(x[1]) : load(row + 1);
}

// f(j, ends) over registers of a row of at least one; the last overlaps the one before.
template <class T, class F> LC_INLINE void each_register_of_row(int64_t cols, F&& f) {
    if (cols == lanes<T>) return f(int64_t(0), std::integral_constant<int, kFirst | kLast>());
    f(int64_t(0), std::integral_constant<int, kFirst>());
    for (int64_t j = lanes<T>; j + lanes<T> < cols; j += lanes<T>) f(j, std::integral_constant<int, 0>());
    f(cols - lanes<T>, std::integral_constant<int, kLast>());
}

// row[i]: the pixels under the middle tap, from the row above the first result's on.
template <int rows, bool in_place, class T> LC_INLINE void dense_rows(const T* const* row, const vec<T>* filter, vec<T> bias, T* y, int64_t cols) {
    const auto registers = [&](int64_t j, auto k, auto ends) {
        vec<T> acc[size_t(rows)];
#pragma GCC unroll 4
        for (int o = 0; o < rows; ++o) acc[o] = zero<T>();
#pragma GCC unroll 6
        for (int i = 0; i < rows + 2; ++i) {
            vec<T> x[3];
            load_taps<ends>(row[i] + j, x);
#pragma GCC unroll 4
            for (int o = 0; o < rows; ++o) {
                if (i - o < 0 || i - o > 2) continue;
#pragma GCC unroll 3
                for (int t = 0; t < 3; ++t) acc[o] = fma(filter[(i - o) * 3 + t], x[t], acc[o]);
            }
        }
#pragma GCC unroll 4
        for (int o = 0; o < rows; ++o) store(y + o * cols + j, acc[o] + bias, k);
    };
    if constexpr (in_place) each_register_of_row<T>(cols, [&](int64_t j, auto ends) { registers(j, full, ends); });
    else each_register<T>(cols, [&](int64_t j, auto k) { registers(j, k, std::integral_constant<int, 0>()); });
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

// Row i of a plane read where it is, or of zeros above and below.
template <class T> LC_INLINE const T* row_of(const Depthwise<T>& d, const T* plane, const T* zeros, int64_t i) {
    return i < 0 || i >= d.h ? zeros : plane + i * d.width;
}

// f(i, rows) over the rows of a plane, four together while there are.
template <class F> LC_INLINE void each_rows(int64_t n, F&& f) {
    int64_t i = 0;
    for (; i + 4 <= n; i += 4) f(i, std::integral_constant<int, 4>());
    if (n - i == 3) f(i, std::integral_constant<int, 3>());
    else if (n - i == 2) f(i, std::integral_constant<int, 2>());
    else if (n - i == 1) f(i, std::integral_constant<int, 1>());
}

template <bool in_place, class T> LC_NOINLINE void dense_plane(const Depthwise<T>& d, const T* plane, const T* zeros, const T* w, T bias, T* y) {
    vec<T> filter[9];
#pragma GCC unroll 9
    for (int t = 0; t < 9; ++t) filter[t] = splat(w[t]);
    each_rows(d.rows, [&](int64_t i, auto rows) {
        const T* row[rows + 2];
        for (int e = 0; e < rows + 2; ++e) row[e] = in_place ? row_of(d, plane, zeros, i + e - 1) : plane + (i + e) * d.planes.pitch + 1;
        dense_rows<rows, in_place>(row, filter, splat(bias), y + i * d.cols, d.cols);
    });
}
template <class T> LC_NOINLINE void any_plane(const Depthwise<T>& d, const T* plane, const T* w, T bias, T* y) {
    each_rows(d.rows, [&](int64_t i, auto rows) { any_rows<rows>(d, plane + i * d.planes.pitch, w, bias, y + i * d.cols); });
}

// f(image * channels + channel, plane, zeros): every channel where it is, or padded in the thread's own scratch; a row of zeros
template <class T, class F> LC_INLINE void each_channel(const Depthwise<T>& d, int64_t tasks, double ns, F&& f) {
    const int64_t size = d.in_place() ? 0 : d.planes.channel, count = d.images * d.channels;
    if (count == 0) return;
    const Buffer<T> scratch(num_threads() * size), zeros(d.width + lanes<T>);
    zero_over(zeros.data(), d.width);
    parallel_for(tasks, int64_t(ns), [&](int64_t task, int worker) {
        for (int64_t at = count * task / tasks; at < count * (task + 1) / tasks; ++at) {
            const T* x = d.x + at * d.h * d.width;
            if (d.in_place()) {
                f(at, x, zeros.data());
                continue;
            }
            T* plane = scratch.data() + worker * size;
            fill_channel(d.planes, x, d.h, d.width, plane);
            f(at, static_cast<const T*>(plane), zeros.data());
        }
    });
}

template <class T> double depthwise_ns(const Depthwise<T>& d) {
    return double(d.images * d.channels) * double(d.h * d.width + d.multiplier * d.rows * d.cols * (1 + d.taps / 8)) * 0.3;
}

template <class T> void depthwise_forward(const Depthwise<T>& d) {
    const double ns = depthwise_ns(d);
    const int64_t count = d.images * d.channels, wanted = int64_t(ns / 50e3) + 1;      // tasks of about 50 us
    each_channel(d, count < wanted ? count : wanted, ns, [&](int64_t at, const T* plane, const T* zeros) {
        for (int64_t m = 0; m < d.multiplier; ++m) {
            const int64_t k = at % d.channels * d.multiplier + m;
            const T *w = d.w + k * d.taps, bias = d.bias ? d.bias[k] : T(0);
            T* y = d.y + (at * d.multiplier + m) * d.rows * d.cols;
            if (!d.dense_3x3) any_plane(d, plane, w, bias, y);
            else if (d.in_place()) dense_plane<true>(d, plane, zeros, w, bias, y);
            else dense_plane<false>(d, plane, zeros, w, bias, y);
        }
    });
}

// ---- backward_weight --------------------------------------------------------------------------------------------------------

constexpr int64_t kBandPixels = 2048;                 // of a plane and its gradient: half of L1
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

// The same for a plane read where it is: down a register's columns, each row of pixels serving three of gradients, in bands that
// stay in L1. What a register has in common with the one before is left out, pixels too: 0 * infinity is NaN.
template <class T> LC_NOINLINE void tap_sums_in_place(const Depthwise<T>& d, const T* dy, const T* plane, T* sums) {
    vec<T> acc[9];
#pragma GCC unroll 9
    for (int t = 0; t < 9; ++t) acc[t] = zero<T>();
    const int again = int(d.cols % lanes<T> ? lanes<T> - d.cols % lanes<T> : 0);
    const mask<T> seen = first_lanes<T>(again);
    const int64_t band = ceil_div(kBandPixels, d.cols);
    for (int64_t top = 0; top < d.rows; top += band)
        each_register_of_row<T>(d.cols, [&](int64_t j, auto ends) {
            const auto gradient = [&](int64_t i) {
                const vec<T> g = load(dy + i * d.cols + j);
                return ends == kLast ? select(seen, zero<T>(), g) : g;
            };
            vec<T> above = top > 0 ? gradient(top - 1) : zero<T>(), here = gradient(top), below = here;
            for (int64_t i = top; i < d.rows && i < top + band; ++i, above = here, here = below) {
                vec<T> x[3];
                load_taps<ends>(plane + i * d.width + j, x);
                if (top + band < d.rows) {            // the next band's: so far apart, they are no streams that the machine sees
                    __builtin_prefetch(plane + (i + band) * d.width + j);
                    __builtin_prefetch(dy + (i + band) * d.cols + j);
                }
#pragma GCC unroll 3
                for (int t = 0; t < 3; ++t) {
                    if constexpr (ends == kLast) x[t] = select(seen, zero<T>(), x[t]);
                    acc[3 + t] = fma(here, x[t], acc[3 + t]);
                }
                if (i + 1 < d.rows) {
                    below = gradient(i + 1);
#pragma GCC unroll 3
                    for (int t = 0; t < 3; ++t) acc[t] = fma(below, x[t], acc[t]);
                }
                if (i > 0)
#pragma GCC unroll 3
                    for (int t = 0; t < 3; ++t) acc[6 + t] = fma(above, x[t], acc[6 + t]);
            }
        });
#pragma GCC unroll 9
    for (int t = 0; t < 9; ++t) sums[t] = sum(acc[t]);
}

// d.y is not used; every plane's sums are made on their own and added in the order of the images.
template <class T> void depthwise_weight(const Depthwise<T>& d, const T* dy, T* dw) {
    const double ns = depthwise_ns(d) * 1.5;
    const int64_t count = d.images * d.channels, wanted = int64_t(ns / 50e3) + 1, filters = d.channels * d.multiplier;
    const Buffer<T> sums(d.images * filters * d.taps);
    each_channel(d, count < wanted ? count : wanted, ns, [&](int64_t at, const T* plane, const T*) {
        for (int64_t m = 0; m < d.multiplier; ++m) {
            const T* g = dy + (at * d.multiplier + m) * d.rows * d.cols;
            T* to = sums.data() + (at * d.multiplier + m) * d.taps;
            if (d.in_place()) {
                tap_sums_in_place(d, g, plane, to);
                continue;
            }
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
