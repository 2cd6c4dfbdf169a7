// conv_transpose2d. Contract: cpp/ops/conv_transpose2d.h
#include "cpp/ops/conv_transpose2d.h"
#include <algorithm>
#include "cpp/autograd/node.h"
#include "cpp/ops/copy.h"
#include "cpp/ops/views.h"

namespace lc {
namespace {

int64_t output_size(const char* op, int64_t size, int64_t kernel, int64_t stride, int64_t pad, int64_t extra, int64_t dilation) {
    LC_CHECK(kernel > 0 && stride > 0 && dilation > 0 && pad >= 0, ValueError, op, ": kernel, stride and dilation must be positive, padding not negative, got ",
             kernel, ", ", stride, ", ", dilation, " and ", pad);
    LC_CHECK(extra >= 0 && extra < std::max(stride, dilation), ValueError, op, ": output_padding must be smaller than stride or dilation, got ", extra);
    const int64_t out = (size - 1) * stride - 2 * pad + dilation * (kernel - 1) + extra + 1;
    LC_CHECK(size > 0 && out > 0, ValueError, op, ": an input of ", size, " elements gives an output of ", out);
    return out;
}

// The convolution this is the adjoint of.
Conv2dShape check(const char* op, const Tensor& x, const Tensor& w, const Tensor& b, const TransposedConvolution& how) {
    LC_CHECK(x.dim() == 4 && w.dim() == 4, ValueError, op, ": input of shape ", x.sizes(), " and weight of shape ", w.sizes(),
             " must have a batch or none, channels, and one dim per axis of the kernel");
    LC_CHECK(x.dtype() == w.dtype() && (!b || b.dtype() == x.dtype()), TypeError, op, ": input is ", x.dtype(), ", weight ", w.dtype(),
             b ? text(", bias ", b.dtype()) : "", "; they must be the same");
    LC_CHECK(x.size(1) == w.size(0), ValueError, op, ": weight of shape ", w.sizes(), " wants ", w.size(0), " input channels, input has ",
             x.size(1), " (shape ", x.sizes(), ")");
    LC_CHECK(how.groups > 0 && x.size(1) % how.groups == 0, ValueError, op, ": groups = ", how.groups, " must divide the channels of the input, ", x.size(1));
    const int64_t c = w.size(1) * how.groups;
    LC_CHECK(!b || (b.dim() == 1 && b.size(0) == c), ValueError, op, ": bias must be [", c, "], got shape ", b.sizes());
    const Pair stride = to_pair(op, "stride", how.stride), pad = to_pair(op, "padding", how.padding);
    const Pair extra = to_pair(op, "output_padding", how.output_padding), dilation = to_pair(op, "dilation", how.dilation);
    return {x.size(0), c, output_size(op, x.size(2), w.size(2), stride.h, pad.h, extra.h, dilation.h),
            output_size(op, x.size(3), w.size(3), stride.w, pad.w, extra.w, dilation.w), x.size(1), w.size(2), w.size(3), x.size(2), x.size(3),
            stride.h, stride.w, pad.h, pad.w, dilation.h, dilation.w, how.groups};
}

Tensor run(const char* op, const Tensor& x, const Tensor& w, const Tensor& b, const TransposedConvolution& how) {
    const Conv2dShape s = check(op, x, w, b, how);
    const Tensor dense_x = contiguous(x.detach()), dense_w = contiguous(w.detach());
    const Tensor y = detail::conv2d_run_backward_data(s, dense_x, dense_w, b ? contiguous(b.detach()) : b);
    if (wants_grad({x, w, b}))
        record(op, {x, w, b}, {y}, [s, x = Saved(dense_x), w = Saved(dense_w)](const Grads& g) -> Tensors {
            const Tensor dy = contiguous(g[0]);
            const Tensor dx = g.needs(0) ? detail::conv2d_run(s, dy, w(), Tensor()) : Tensor();
            const Tensor dw = g.needs(1) ? detail::conv2d_run_backward_weight(s, x(), dy, true, false)[0] : Tensor();
            Conv2dShape out = s;                      // of a convolution whose result is y: its bias gradient
            out.k = s.c;
            out.oh = s.h;
            out.ow = s.w;
            const Tensor db = g.needs(2) ? detail::conv2d_run_backward_weight(out, dy, dy, false, true)[1] : Tensor();
            return {dx, dw, db};
        });
    return y;
}

Dims with_row(const Dims& one, int64_t neutral) { return one.size() == 1 ? Dims{neutral, one[0]} : one; }

}  // namespace

Tensor conv_transpose2d(const Tensor& x, const Tensor& w, const Tensor& b, const TransposedConvolution& how) {
    if (x.dim() == 3) return squeeze(run("conv_transpose2d", unsqueeze(x, 0), w, b, how), Dims{0});
    return run("conv_transpose2d", x, w, b, how);
}

Tensor conv_transpose1d(const Tensor& x, const Tensor& w, const Tensor& b, const TransposedConvolution& how) {
    LC_CHECK((x.dim() == 2 || x.dim() == 3) && w.dim() == 3, ValueError, "conv_transpose1d: input must be [n, k, l] or [k, l] and weight [k, c / groups, taps], got shapes ",
             x.sizes(), " and ", w.sizes());
    if (x.dim() == 2) return squeeze(conv_transpose1d(unsqueeze(x, 0), w, b, how), Dims{0});
    for (const Dims* d : {&how.stride, &how.padding, &how.output_padding, &how.dilation})
        LC_CHECK(d->size() == 1, ValueError, "conv_transpose1d: stride, padding, output_padding and dilation take one int, got ", *d);
    return squeeze(run("conv_transpose1d", unsqueeze(x, 2), unsqueeze(w, 2), b,
                       {with_row(how.stride, 1), with_row(how.padding, 0), with_row(how.output_padding, 0), with_row(how.dilation, 1), how.groups}),
                   Dims{2});
}

}  // namespace lc
