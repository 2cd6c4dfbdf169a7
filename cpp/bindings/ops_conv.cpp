#include <optional>
#include <variant>
#include <vector>
#include "cpp/bindings/autocast.h"
#include "cpp/bindings/bind.h"
#include "cpp/ops/conv2d.h"
#include "cpp/ops/conv_transpose2d.h"
#include "cpp/ops/pool2d.h"
#include "cpp/ops/resample.h"

namespace lc::python {
namespace {

using PaddingArgument = std::variant<Dims, std::string>;

Padding padding_of(const PaddingArgument& p) {
    if (const auto* mode = std::get_if<std::string>(&p)) return {{}, *mode};
    return {std::get<Dims>(p), ""};
}

void bind_convolution(Module& m, const char* name, Tensor (*op)(const Tensor&, const Tensor&, const Tensor&, const Convolution&), const char* doc) {
    m.function(name, lowered([op](const Tensor& x, const Tensor& w, const Tensor& b, const Dims& stride, const PaddingArgument& padding, const Dims& dilation, int64_t groups) { return op(x, w, b, {stride, padding_of(padding), dilation, groups}); }), doc, "input"_a, "weight"_a, "bias"_a = py::none(), "stride"_a = 1, "padding"_a = 0, "dilation"_a = 1, "groups"_a = 1);
}

void bind_transposed(Module& m, const char* name, Tensor (*op)(const Tensor&, const Tensor&, const Tensor&, const TransposedConvolution&), const char* doc) {
    m.function(name, lowered([op](const Tensor& x, const Tensor& w, const Tensor& b, const Dims& stride, const Dims& padding, const Dims& output_padding, int64_t groups, const Dims& dilation) { return op(x, w, b, {stride, padding, output_padding, dilation, groups}); }), doc, "input"_a, "weight"_a, "bias"_a = py::none(), "stride"_a = 1, "padding"_a = 0, "output_padding"_a = 0, "groups"_a = 1, "dilation"_a = 1);
}

// y, or (y, index) where the index was asked for.
py::object pooled(const Tensors& y, bool with_index) {
    return with_index ? py::object(py::make_tuple(y[0], y[1])) : py::cast(y[0]);
}

int64_t divisor_of(const char* op, std::optional<int64_t> divisor) {
    LC_CHECK(divisor != 0, ValueError, op, ": divisor_override must not be 0");
    return divisor.value_or(0);
}

// (7, None) keeps the size of the last axis.
using AdaptiveSize = std::variant<int64_t, std::vector<std::optional<int64_t>>>;

Dims size_of(const AdaptiveSize& size) {
    if (const auto* one = std::get_if<int64_t>(&size)) return {*one};
    Dims dims;
    for (const auto& s : std::get<1>(size)) dims.push_back(s.value_or(-1));
    return dims;
}

template <int axes> void bind_pools(Module& m, const char* max, const char* avg, const char* adaptive_max, const char* adaptive_avg) {
    const py::object none = py::none();
    m.internal(max, [max](const Tensor& x, const Dims& kernel, const std::optional<Dims>& stride, const Dims& padding, const Dims& dilation, bool ceil_mode, bool return_indices) { return pooled(max_pool(max, x, axes, {kernel, stride.value_or(Dims()), padding, dilation, ceil_mode}, return_indices), return_indices); }, "The largest element of each window; with return_indices also where it is in its plane.", "input"_a, "kernel_size"_a, "stride"_a = none, "padding"_a = 0, "dilation"_a = 1, "ceil_mode"_a = false, "return_indices"_a = false);
    if constexpr (axes == 1)
        m.internal(avg, [avg](const Tensor& x, const Dims& kernel, const std::optional<Dims>& stride, const Dims& padding, bool ceil_mode, bool count_include_pad) { return avg_pool(avg, x, axes, {kernel, stride.value_or(Dims()), padding, {1}, ceil_mode}, count_include_pad, 0); }, "The mean of each window.", "input"_a, "kernel_size"_a, "stride"_a = none, "padding"_a = 0, "ceil_mode"_a = false, "count_include_pad"_a = true);
    else
        m.internal(avg, [avg](const Tensor& x, const Dims& kernel, const std::optional<Dims>& stride, const Dims& padding, bool ceil_mode, bool count_include_pad, std::optional<int64_t> divisor) { return avg_pool(avg, x, axes, {kernel, stride.value_or(Dims()), padding, {1}, ceil_mode}, count_include_pad, divisor_of(avg, divisor)); }, "The mean of each window, or its sum over divisor_override.", "input"_a, "kernel_size"_a, "stride"_a = none, "padding"_a = 0, "ceil_mode"_a = false, "count_include_pad"_a = true, "divisor_override"_a = none);
    m.internal(adaptive_max, [adaptive_max](const Tensor& x, const AdaptiveSize& output_size, bool return_indices) { return pooled(adaptive_max_pool(adaptive_max, x, axes, size_of(output_size), return_indices), return_indices); }, "max over windows chosen so that the output has output_size.", "input"_a, "output_size"_a, "return_indices"_a = false);
    m.internal(adaptive_avg, [adaptive_avg](const Tensor& x, const AdaptiveSize& output_size) { return adaptive_avg_pool(adaptive_avg, x, axes, size_of(output_size)); }, "mean over windows chosen so that the output has output_size.", "input"_a, "output_size"_a);
}

}  // namespace

void bind_conv(Module& m) {
    bind_convolution(m, "conv1d", &conv1d, "Cross-correlation of sequences [n, c, l] with filters [k, c / groups, taps].");
    bind_convolution(m, "conv2d", &conv2d, "Cross-correlation of images [n, c, h, w] with filters [k, c / groups, r, s].");
    bind_transposed(m, "conv_transpose1d", &conv_transpose1d, "The adjoint of conv1d: sequences [n, k, l], filters [k, c / groups, taps].");
    bind_transposed(m, "conv_transpose2d", &conv_transpose2d, "The adjoint of conv2d: images [n, k, h, w], filters [k, c / groups, r, s].");
    bind_pools<1>(m, "max_pool1d", "avg_pool1d", "adaptive_max_pool1d", "adaptive_avg_pool1d");
    bind_pools<2>(m, "max_pool2d", "avg_pool2d", "adaptive_max_pool2d", "adaptive_avg_pool2d");

    m.internal("pad", [](const Tensor& x, const Dims& pad, const std::string& mode, std::optional<double> value) { return lc::pad(x, pad, mode, value.value_or(0)); }, "Adds pad = (before, after, ...) elements around the last dims, last dim first: constant, reflect, replicate or circular.", "input"_a, "pad"_a, "mode"_a = "constant", "value"_a = py::none());
    m.internal("interpolate", [](const Tensor& x, const std::optional<Dims>& size, const std::optional<std::variant<double, std::vector<double>>>& scale, const std::string& mode, std::optional<bool> align_corners, std::optional<bool> recompute, bool antialias) {
        LC_CHECK(!antialias, NotImplemented, "interpolate: antialias is not supported; smooth the input first");
        Interpolation how{size, {}, mode, align_corners.value_or(false), recompute.value_or(false)};
        if (scale) how.scale = scale->index() == 0 ? std::vector<double>{std::get<0>(*scale)} : std::get<1>(*scale);
        return interpolate(x, how); }, "Resizes all dims after the first two.", "input"_a, "size"_a = py::none(), "scale_factor"_a = py::none(), "mode"_a = "nearest", "align_corners"_a = py::none(), "recompute_scale_factor"_a = py::none(), "antialias"_a = false);
    m.internal("unfold", [](const Tensor& x, const Dims& kernel, const Dims& dilation, const Dims& padding, const Dims& stride) { return unfold(x, {kernel, dilation, padding, stride}); }, "The windows of images [n, c, h, w] as columns: [n, c * r * s, windows].", "input"_a, "kernel_size"_a, "dilation"_a = 1, "padding"_a = 0, "stride"_a = 1);
    m.method("unfold", [](const Tensor& x, int64_t dim, int64_t size, int64_t step) { return unfold(x, dim, size, step); }, "dimension"_a, "size"_a, "step"_a, "A view with every window of `size` elements, `step` apart, along a dim; the elements become the last dim.");
    m.internal("fold", [](const Tensor& x, const Dims& output_size, const Dims& kernel, const Dims& dilation, const Dims& padding, const Dims& stride) { return fold(x, output_size, {kernel, dilation, padding, stride}); }, "Sums windows [n, c * r * s, windows] back into images: the adjoint of unfold.", "input"_a, "output_size"_a, "kernel_size"_a, "dilation"_a = 1, "padding"_a = 0, "stride"_a = 1);
}

}  // namespace lc::python
