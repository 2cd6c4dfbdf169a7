// Hopper's kernels of the convolution, of 16-bit T, for cuda/kernels/conv2d.cu.
#pragma once
#include "cuda/kernels/conv2d_hopper_plan.h"

namespace lc::cuda {

// a: the filters, or dy for weight; x: the images read by windows. bias may be null.
template <class T> void conv2d_hopper(const Conv2dShape& s, ConvProduct product, const T* a, const T* x, const T* bias, T* y);

// y[n, p, c] = x[n, c, p]; c is a multiple of 8.
template <class T> void channels_last(const T* x, int64_t n, int64_t c, int64_t plane, T* y);
// y[tap, k, c] = w[k, c, tap], or y[tap, c, k].
template <class T> void taps_first(const T* w, int64_t k, int64_t c, int64_t taps, bool swapped, T* y);
// w[k, c, tap] = the sum over parts of sums[part, k, tap, c], in order; sums have `rows` rows, and `channels` for each tap.
template <class T> void add_filter_parts(const float* sums, int64_t parts, int64_t rows, int64_t cols, int64_t channels, int64_t k, int64_t c, int64_t taps, T* w);

}  // namespace lc::cuda
