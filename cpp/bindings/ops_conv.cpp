#include <optional>
#include <variant>
#include <vector>
#include "cpp/bindings/bind.h"
#include "cpp/ops/conv2d.h"
#include "cpp/ops/pool2d.h"

namespace lc::python {
namespace {

using PaddingArgument = std::variant<Dims, std::string>;

Padding padding_of(const PaddingArgument& p) {
    if (const auto* mode = std::get_if<std::string>(&p)) return {{}, *mode};
    return {std::get<Dims>(p), ""};
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
    m.function(max, [max](const Tensor& x, const Dims& kernel, const std::optional<Dims>& stride, const Dims& padding, const Dims& dilation, bool ceil_mode, bool return_indices) {
        return pooled(max_pool(max, x, axes, {kernel, stride.value_or(Dims()), padding, dilation, ceil_mode}, return_indices), return_indices);
    }, "The largest element of each window; with return_indices also where it is in its plane.", "input"_a, "kernel_size"_a,
       "stride"_a = none, "padding"_a = 0, "dilation"_a = 1, "ceil_mode"_a = false, "return_indices"_a = false);
    if constexpr (axes == 1)
        m.function(avg, [avg](const Tensor& x, const Dims& kernel, const std::optional<Dims>& stride, const Dims& padding, bool ceil_mode, bool count_include_pad) {
            return avg_pool(avg, x, axes, {kernel, stride.value_or(Dims()), padding, {1}, ceil_mode}, count_include_pad, 0);
        }, "The mean of each window.", "input"_a, "kernel_size"_a, "stride"_a = none, "padding"_a = 0, "ceil_mode"_a = false, "count_include_pad"_a = true);
    else
        m.function(avg, [avg](const Tensor& x, const Dims& kernel, const std::optional<Dims>& stride, const Dims& padding, bool ceil_mode, bool count_include_pad, std::optional<int64_t> divisor) {
            return avg_pool(avg, x, axes, {kernel, stride.value_or(Dims()), padding, {1}, ceil_mode}, count_include_pad, divisor_of(avg, divisor));
        }, "The mean of each window, or its sum over divisor_override.", "input"_a, "kernel_size"_a, "stride"_a = none, "padding"_a = 0,
           "ceil_mode"_a = false, "count_include_pad"_a = true, "divisor_override"_a = none);
    m.function(adaptive_max, [adaptive_max](const Tensor& x, const AdaptiveSize& output_size, bool return_indices) {
        return pooled(adaptive_max_pool(adaptive_max, x, axes, size_of(output_size), return_indices), return_indices);
    }, "max over windows chosen so that the output has output_size.", "input"_a, "output_size"_a, "return_indices"_a = false);
    m.function(adaptive_avg, [adaptive_avg](const Tensor& x, const AdaptiveSize& output_size) {
        return adaptive_avg_pool(adaptive_avg, x, axes, size_of(output_size));
    }, "mean over windows chosen so that the output has output_size.", "input"_a, "output_size"_a);
}

}  // namespace

void bind_conv(Module& m) {
    m.function("conv2d", [](const Tensor& x, const Tensor& w, const Tensor& b, const Dims& stride, const PaddingArgument& padding, const Dims& dilation, int64_t groups) {
        return conv2d(x, w, b, stride, padding_of(padding), dilation, groups);
    }, "Cross-correlation of images [n, c, h, w] with filters [k, c / groups, r, s].",
       "input"_a, "weight"_a, "bias"_a = py::none(), "stride"_a = 1, "padding"_a = 0, "dilation"_a = 1, "groups"_a = 1);
    bind_pools<1>(m, "max_pool1d", "avg_pool1d", "adaptive_max_pool1d", "adaptive_avg_pool1d");
    bind_pools<2>(m, "max_pool2d", "avg_pool2d", "adaptive_max_pool2d", "adaptive_avg_pool2d");
}

}  // namespace lc::python
