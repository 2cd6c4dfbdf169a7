// A Python extension that takes and returns littlecore's tensors: gelu(x w' + b) by two kernels in one call.
#include <pybind11/pybind11.h>
#include <littlecore_python.hpp>

namespace py = pybind11;
using littlecore::Tensor;

namespace {

Tensor linear_gelu(const Tensor& x, const Tensor& w, const Tensor& b) {
    if (x.requires_grad() || w.requires_grad() || b.requires_grad()) throw py::value_error("linear_gelu records no gradients: detach() its arguments");
    std::vector<int64_t> shape = x.shape();
    if (shape.empty() || w.shape().empty()) throw py::value_error("linear_gelu needs x[*, in] and w[out, in]");
    shape.back() = w.shape()[0];
    const Tensor h = Tensor::empty(shape, x.dtype()), y = Tensor::empty(shape, x.dtype());
    {
        const py::gil_scoped_release others_may_run;
        littlecore::linear_forward({.x = x, .w = w, .b = b, .y = h});
        littlecore::gelu_forward({.x = h, .y = y});
    }
    return y;
}

}  // namespace

PYBIND11_MODULE(fused, m) {
    littlecore::check_abi();
    m.def("linear_gelu", &linear_gelu, py::arg("x"), py::arg("w"), py::arg("b"));
}
