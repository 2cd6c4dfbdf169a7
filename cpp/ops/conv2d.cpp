// conv2d. Contract: cpp/ops/conv2d.h
#include "cpp/ops/conv2d.h"
#include "cpp/autograd/node.h"
#include "cpp/core/exact.h"
#include "cpp/core/log.h"
#include "cpp/ops/conv2d_plan.h"
#include "cpp/ops/copy.h"
#include "cpp/ops/norm_check.h"
#include "cpp/ops/views.h"

namespace lc {

Pair to_pair(const char* op, const char* what, const Dims& given) {
    LC_CHECK(given.size() == 1 || given.size() == 2, ValueError, op, ": ", what, " takes one int or two, got ", given);
    for (const int64_t v : given)
        LC_CHECK(v >= INT32_MIN && v <= INT32_MAX, ValueError, op, ": ", what, " ", given, " is out of range");
    return {given[0], given.back()};
}

namespace {

// How often a window of `kernel` taps fits into `size` elements between `before` and `after` zeros.
int64_t windows(const char* op, const char* axis, int64_t size, int64_t before, int64_t after, int64_t kernel, int64_t dilation, int64_t stride) {
    const int64_t reach = dilation * (kernel - 1) + 1, padded = size + before + after;
    LC_CHECK(padded >= reach, ValueError, op, ": the kernel is larger than the input: ", reach, " > ", padded, " in ", axis,
             " (", kernel, " taps with dilation ", dilation, "; ", size, " elements with padding ", before, " + ", after, ")");
    return (padded - reach) / stride + 1;
}

Conv2dShape check(const char* op, const Tensor& x, const Tensor& w, const Tensor& b, Pair stride, const Padding& padding, Pair dilation, int64_t groups) {
    LC_CHECK(x.dim() == 4, ValueError, op, ": input must have channels, the axes of the kernel, and a batch or none, got shape ", x.sizes());
    LC_CHECK(w.dim() == 4, ValueError, op, ": weight must be [out channels, in channels / groups, kernel], got shape ", w.sizes());
    LC_CHECK(x.dtype() == w.dtype() && (!b || b.dtype() == x.dtype()), TypeError, op, ": input is ", x.dtype(), ", weight ",
             w.dtype(), b ? text(", bias ", b.dtype()) : "", "; they must be the same");
    LC_CHECK(groups > 0 && x.size(1) % groups == 0 && w.size(0) % groups == 0, ValueError, op, ": groups = ", groups,
             " must divide the channels of the input, ", x.size(1), ", and of the output, ", w.size(0));
    LC_CHECK(x.size(1) / groups == w.size(1), ValueError, op, ": weight of shape ", w.sizes(), " wants ", w.size(1) * groups,
             " input channels in ", groups, groups == 1 ? " group" : " groups", ", input has ", x.size(1), " (shape ", x.sizes(), ")");
    LC_CHECK(!b || (b.dim() == 1 && b.size(0) == w.size(0)), ValueError, op, ": bias must be [", w.size(0), "], got shape ", b.sizes());
    LC_CHECK(w.size(2) > 0 && w.size(3) > 0 && w.size(2) <= INT32_MAX && w.size(3) <= INT32_MAX, ValueError,
             op, ": weight of shape ", w.sizes(), " has no taps");
    LC_CHECK(stride.h > 0 && stride.w > 0, ValueError, op, ": stride must be positive, got [", stride.h, ", ", stride.w, "]");
    LC_CHECK(dilation.h > 0 && dilation.w > 0, ValueError, op, ": dilation must be positive, got [", dilation.h, ", ", dilation.w, "]");

    Pair before, after;
    if (padding.mode.empty()) {
        before = after = to_pair(op, "padding", padding.amount);
        LC_CHECK(before.h >= 0 && before.w >= 0, ValueError, op, ": padding must not be negative, got ", padding.amount);
    } else {
        LC_CHECK(padding.mode == "same" || padding.mode == "valid", ValueError, op, ": padding is a number, 'same' or 'valid', got '", padding.mode, "'");
        const bool same = padding.mode == "same";
        LC_CHECK(!same || (stride.h == 1 && stride.w == 1), ValueError, op, ": padding='same' needs stride 1, got [", stride.h, ", ", stride.w, "]");
        const Pair total{same ? dilation.h * (w.size(2) - 1) : 0, same ? dilation.w * (w.size(3) - 1) : 0};
        before = {total.h / 2, total.w / 2};
        after = {total.h - before.h, total.w - before.w};
    }
    Conv2dShape s{x.size(0), x.size(1), x.size(2), x.size(3), w.size(0), w.size(2), w.size(3), 0, 0,
                  stride.h, stride.w, before.h, before.w, dilation.h, dilation.w, groups};
    s.oh = windows(op, "height", s.h, before.h, after.h, s.r, s.dilation_h, s.stride_h);
    s.ow = windows(op, "width", s.w, before.w, after.w, s.s, s.dilation_w, s.stride_w);
    return s;
}

using Plan = ConvScheme(const Conv2dShape&, size_t bytes, bool exact);
ConvScheme choose(Device device, Plan plan, const char* what, const Conv2dShape& s, DType dtype) {
    if (!device.is_cpu()) return ConvScheme::direct;
    const ConvScheme scheme = plan(s, item_size(dtype), exact());
    if (LC_UNLIKELY(log_enabled()))
        log(text("[conv2d] ", what, " ", name(scheme), " ", name(isa()), " ", dtype, " n=", s.n, " c=", s.c, " ", s.h, "x", s.w, " k=", s.k, " taps=", s.r, "x", s.s,
                 " stride=", s.stride_h, "x", s.stride_w, " groups=", s.groups, " -> ", s.oh, "x", s.ow));
    return scheme;
}

}  // namespace

namespace detail {

Tensor conv2d_run(const Conv2dShape& s, const Tensor& x, const Tensor& w, const Tensor& b) {
    const Device d = x.device();
    const ConvScheme scheme = choose(d, conv2d_scheme, "forward", s, x.dtype());
    const Tensor y = Tensor::empty({s.n, s.k, s.oh, s.ow}, x.dtype(), d);
    visit_float_on(x.device(), x.dtype(), "conv2d", [&]<class T>() {
        on::conv2d_forward<T>(d, {s, scheme, x.data_on<T>(d), w.data_on<T>(d), optional_data_on<T>(b, d), y.mutable_data_on<T>(d)});
    });
    return y;
}

Tensor conv2d_run_backward_data(const Conv2dShape& s, const Tensor& dy, const Tensor& w, const Tensor& b) {
    const Device d = dy.device();
    const ConvScheme scheme = choose(d, conv2d_scheme, "backward_data", s, dy.dtype());
    const Tensor dx = Tensor::empty({s.n, s.c, s.h, s.w}, dy.dtype(), d);
    visit_float_on(dy.device(), dy.dtype(), "conv2d", [&]<class T>() {
        on::conv2d_backward_data<T>(d, {s, scheme, dy.data_on<T>(d), w.data_on<T>(d), optional_data_on<T>(b, d), dx.mutable_data_on<T>(d)});
    });
    return dx;
}

Tensors conv2d_run_backward_weight(const Conv2dShape& s, const Tensor& dy, const Tensor& x, bool want_dw, bool want_db) {
    const Device d = dy.device();
    const ConvScheme scheme = choose(d, conv2d_weight_scheme, "backward_weight", s, dy.dtype());
    const Tensor dw = want_dw ? Tensor::empty({s.k, s.group_c(), s.r, s.s}, dy.dtype(), d) : Tensor();
    const Tensor db = want_db ? Tensor::empty({s.k}, dy.dtype(), d) : Tensor();
    visit_float_on(dy.device(), dy.dtype(), "conv2d", [&]<class T>() {
        on::conv2d_backward_weight<T>(d, {s, scheme, dy.data_on<T>(d), x.data_on<T>(d), optional_mutable_data_on<T>(dw, d), optional_mutable_data_on<T>(db, d)});
    });
    return {dw, db};
}

}  // namespace detail

namespace {

Tensor convolve(const char* op, const Tensor& x, const Tensor& w, const Tensor& b, const Convolution& how) {
    const Conv2dShape s = check(op, x, w, b, to_pair(op, "stride", how.stride), how.padding, to_pair(op, "dilation", how.dilation), how.groups);
    const Tensor dense_x = contiguous(x.detach()), dense_w = contiguous(w.detach());
    const Tensor y = detail::conv2d_run(s, dense_x, dense_w, b ? contiguous(b.detach()) : b);
    if (wants_grad({x, w, b}))
        record(op, {x, w, b}, {y}, [s, x = Saved(dense_x), w = Saved(dense_w)](const Grads& g) -> Tensors {
            const Tensor dy = contiguous(g[0]);
            const Tensor dx = g.needs(0) ? detail::conv2d_run_backward_data(s, dy, w(), Tensor()) : Tensor();
            const Tensors dw = g.needs(1) || g.needs(2) ? detail::conv2d_run_backward_weight(s, dy, x(), g.needs(1), g.needs(2)) : Tensors(2);
            return {dx, dw[0], dw[1]};
        });
    return y;
}

}  // namespace

Tensor conv2d(const Tensor& x, const Tensor& w, const Tensor& b, const Convolution& how) {
    if (x.dim() == 3) return squeeze(convolve("conv2d", unsqueeze(x, 0), w, b, how), Dims{0});
    return convolve("conv2d", x, w, b, how);
}

Tensor conv1d(const Tensor& x, const Tensor& w, const Tensor& b, const Convolution& how) {
    LC_CHECK((x.dim() == 2 || x.dim() == 3) && w.dim() == 3, ValueError,
             "conv1d: input must be [n, c, l] or [c, l] and weight [k, c / groups, taps], got shapes ", x.sizes(), " and ", w.sizes());
    if (x.dim() == 2) return squeeze(conv1d(unsqueeze(x, 0), w, b, how), Dims{0});
    LC_CHECK(how.stride.size() == 1 && how.dilation.size() == 1 && (how.padding.amount.size() == 1 || !how.padding.mode.empty()), ValueError,
             "conv1d: stride, padding and dilation take one int, got ", how.stride, ", ", how.padding.amount, " and ", how.dilation);
    Convolution rows = how;                           // an image of one row
    rows.stride = {1, how.stride[0]};
    rows.dilation = {1, how.dilation[0]};
    if (how.padding.mode.empty()) rows.padding.amount = {0, how.padding.amount[0]};
    return squeeze(convolve("conv1d", unsqueeze(x, 2), unsqueeze(w, 2), b, rows), Dims{2});
}

}  // namespace lc
