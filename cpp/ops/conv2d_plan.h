// How a convolution is computed: a pure function of its shape without the batch, so that an image's result depends
// neither on the images beside it nor on the number of threads.
#pragma once
#include "cpp/ops/conv2d.h"

namespace lc {

// Whether Winograd's transforms are used by enough channels on either side. bytes is an element's size; exact: LITTLECORE_EXACT.
constexpr bool winograd_fits(const Conv2dShape& s, size_t bytes, bool exact) {
    const bool small_window = s.r == 3 && s.s == 3 && s.stride_h * s.stride_w * s.dilation_h * s.dilation_w == 1;
    return !exact && bytes == 4 && small_window && s.group_c() >= 16 && s.group_k() >= 16;
}

// Forward and backward_data: in images of a few tiles, the larger tile's filters would not repay their transform at batch 1.
constexpr ConvScheme conv2d_scheme(const Conv2dShape& s, size_t bytes, bool exact) {
    const int64_t side = s.oh < s.ow ? s.oh : s.ow;
    if (!winograd_fits(s, bytes, exact) || side < 4) return ConvScheme::direct;
    return side < 7 ? ConvScheme::winograd2 : ConvScheme::winograd4;
}

// Backward_weight sums over the batch and so may look at it: a tile costs as much as 4 pixels, the last transform as 48.
constexpr ConvScheme conv2d_weight_scheme(const Conv2dShape& s, size_t bytes, bool exact) {
    const int64_t tiles = ((s.oh + 3) / 4) * ((s.ow + 3) / 4);
    return winograd_fits(s, bytes, exact) && s.n * (s.oh * s.ow - 4 * tiles) >= 48 ? ConvScheme::winograd4 : ConvScheme::direct;
}

}  // namespace lc
