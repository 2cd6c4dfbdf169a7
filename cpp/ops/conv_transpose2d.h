// conv_transpose2d: the adjoint of conv2d as a forward op; conv_transpose1d is the same on images of one row.
//
//   forward    y = conv2d's backward_data of x, + b[c]:  y[n, c, i*stride + r*dilation - pad, ...] += x[n,k,i,j] * w[k,c,r,s]
//   backward   dx = conv2d's forward of dy;  dw = conv2d's backward_weight with dy as its image and x as its gradient
//              db[c] = sum of dy[n,c,h,w] over n, h, w
//
// Size: (size - 1) * stride - 2 * padding + dilation * (kernel - 1) + output_padding + 1. Saved: x, w.
#pragma once
#include "cpp/ops/conv2d.h"

namespace lc {

struct TransposedConvolution {
    Dims stride{1}, padding{0}, output_padding{0}, dilation{1};
    int64_t groups = 1;
};

// x: [n, k, h, w] or [k, h, w]; weight: [k, c / groups, r, s]; bias: [c]
LC_API Tensor conv_transpose2d(const Tensor& x, const Tensor& w, const Tensor& b, const TransposedConvolution& how);
// x: [n, k, l] or [k, l]; weight: [k, c / groups, r]
LC_API Tensor conv_transpose1d(const Tensor& x, const Tensor& w, const Tensor& b, const TransposedConvolution& how);

}  // namespace lc
