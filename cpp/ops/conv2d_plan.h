// How a convolution is computed: a pure function of its shape without the batch, so that an image's result depends
// neither on the images beside it nor on the number of threads.
#pragma once
#include "cpp/ops/conv2d.h"

namespace lc {

// Winograd pays where its transforms are used by enough channels on either side, and where tiles of 4 x 4 do not hang far
// over the edge. bytes is an element's size; exact: LITTLECORE_EXACT.
constexpr ConvScheme conv2d_scheme(const Conv2dShape& s, size_t bytes, bool exact) {
    const bool fits = s.r == 3 && s.s == 3 && s.stride_h * s.stride_w * s.dilation_h * s.dilation_w == 1;
    if (exact || bytes != 4 || !fits) return ConvScheme::direct;
    return s.group_c() >= 32 && s.group_k() >= 32 && s.oh >= 7 && s.ow >= 7 ? ConvScheme::winograd : ConvScheme::direct;
}

}  // namespace lc
