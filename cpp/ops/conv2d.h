// conv2d: cross-correlation of images with filters. conv1d is the same on images of one row, conv_transpose2d its backward_data.
//
//   forward    y[n,k,i,j]  = b[k] + sum_(c,r,s) x[n, c, i*stride_h + r*dilation_h - pad_h, j*stride_w + s*dilation_w - pad_w] * w[k,c,r,s]
//              x is 0 outside; with groups, k and c run over the channels of the same group
//   backward   dx[n,c,h,w] = sum of dy[n,k,i,j] * w[k,c,r,s] over all (k,i,j,r,s) that read x[n,c,h,w]   (+ b[c], for conv_transpose2d)
//              dw[k,c,r,s] = sum_(n,i,j) dy[n,k,i,j] * x[n, c, i*stride_h + r*dilation_h - pad_h, ...]
//              db[k]       = sum_(n,i,j) dy[n,k,i,j]
//
// Saved: x, w. Sums are kept in T, in blocks of the depth (forward: c,r,s; backward: k,r,s) fixed by the shape without n,
// so an image's result does not depend on its batch. dw and db: images and rows are cut into parts by the shape, each
// part is summed on its own, and the parts are added in order.
//
// Where conv2d_plan.h chooses Winograd (3x3 with stride 1, float32, not under LITTLECORE_EXACT=1), tiles of 4 x 4 results,
// or 2 x 2 on small maps, are made from transformed pixels and filters: the median error is some 2.5 times (2 x 2: once)
// that of the plain sum, and a NaN or infinite pixel may reach all of a tile whose window holds it.
#pragma once
#include <optional>
#include <string>
#include "cpp/core/cpu_kernel.h"
#include "cpp/core/cuda_kernel.h"
#include "cpp/core/tensor.h"

namespace lc {

struct Conv2dShape {
    int64_t n, c, h, w;                               // x: [n, c, h, w]
    int64_t k, r, s;                                  // weight: [k, c / groups, r, s]; bias: [k]
    int64_t oh, ow;                                   // y: [n, k, oh, ow]
    int64_t stride_h, stride_w, pad_h, pad_w, dilation_h, dilation_w;   // pad: above and left; below and right follow from oh, ow
    int64_t groups;

    int64_t group_c() const { return c / groups; }
    int64_t group_k() const { return k / groups; }
    double flops() const { return 2.0 * double(n) * double(k) * double(oh * ow) * double(group_c() * r * s); }
    double bytes(size_t item) const { return double(item) * double(n * c * h * w + n * k * oh * ow + k * group_c() * r * s); }
};

// How the products are made; chosen by conv2d_plan.h.
enum class ConvScheme : uint8_t { direct,
                                  winograd2,         // by tiles of 2 x 2 results
                                  winograd4 };
inline const char* name(ConvScheme s) { return s == ConvScheme::direct ? "direct" : s == ConvScheme::winograd2 ? "winograd2"
                                                                                                               : "winograd4"; }

template <class T> struct Conv2dForward {
    Conv2dShape shape;
    ConvScheme scheme;
    const T *x, *w, *b;                               // in    b may be null
    T* y;                                             // out
};
template <class T> struct Conv2dBackwardData {
    Conv2dShape shape;
    ConvScheme scheme;
    const T *dy, *w, *b;                              // in    b: [c] added to dx, or null
    T* dx;                                            // out
};
template <class T> struct Conv2dBackwardWeight {
    Conv2dShape shape;
    ConvScheme scheme;
    const T *dy, *x;                                  // in
    T *dw, *db;                                       // out   either may be null
};

}  // namespace lc
LC_CPU_KERNEL(conv2d_forward, Conv2dForward)
LC_CPU_KERNEL(conv2d_backward_data, Conv2dBackwardData)
LC_CPU_KERNEL(conv2d_backward_weight, Conv2dBackwardWeight)
LC_CUDA_WIDER_KERNEL(conv2d_forward, Conv2dForward)
LC_CUDA_WIDER_KERNEL(conv2d_backward_data, Conv2dBackwardData)
LC_CUDA_WIDER_KERNEL(conv2d_backward_weight, Conv2dBackwardWeight)
namespace lc {

// A pair of ints given as one or two, as PyTorch takes them: stride=2 or stride=(2, 1).
struct Pair {
    int64_t h, w;
};
LC_API Pair to_pair(const char* op, const char* what, const Dims& given);

// Either so many zeros on each side, or "same" or "valid".
struct Padding {
    Dims amount;
    std::string mode;                                 // empty: amount counts
};

struct Convolution {
    Dims stride{1};
    Padding padding{{0}, ""};
    Dims dilation{1};
    int64_t groups = 1;
};

// x: [n, c, h, w] or [c, h, w]; bias may be undefined
LC_API Tensor conv2d(const Tensor& x, const Tensor& w, const Tensor& b, const Convolution& how);
// x: [n, c, l] or [c, l]; weight: [k, c / groups, taps]
LC_API Tensor conv1d(const Tensor& x, const Tensor& w, const Tensor& b, const Convolution& how);

namespace detail {
// The two halves of backward, which conv_transpose2d uses the other way round. All tensors contiguous.
LC_API Tensor conv2d_run(const Conv2dShape& s, const Tensor& x, const Tensor& w, const Tensor& b);
LC_API Tensor conv2d_run_backward_data(const Conv2dShape& s, const Tensor& dy, const Tensor& w, const Tensor& b);
LC_API Tensors conv2d_run_backward_weight(const Conv2dShape& s, const Tensor& dy, const Tensor& x, bool want_dw, bool want_db);
}  // namespace detail

}  // namespace lc
