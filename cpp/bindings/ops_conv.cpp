#include <variant>
#include "cpp/bindings/bind.h"
#include "cpp/ops/conv2d.h"

namespace lc::python {
namespace {

using PaddingArgument = std::variant<Dims, std::string>;

Padding padding_of(const PaddingArgument& p) {
    if (const auto* mode = std::get_if<std::string>(&p)) return {{}, *mode};
    return {std::get<Dims>(p), ""};
}

}  // namespace

void bind_conv(Module& m) {
    m.function("conv2d", [](const Tensor& x, const Tensor& w, const Tensor& b, const Dims& stride, const PaddingArgument& padding, const Dims& dilation, int64_t groups) {
        return conv2d(x, w, b, stride, padding_of(padding), dilation, groups);
    }, "Cross-correlation of images [n, c, h, w] with filters [k, c / groups, r, s].",
       "input"_a, "weight"_a, "bias"_a = py::none(), "stride"_a = 1, "padding"_a = 0, "dilation"_a = 1, "groups"_a = 1);
}

}  // namespace lc::python
