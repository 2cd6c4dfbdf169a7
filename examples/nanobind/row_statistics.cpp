// A Python extension that takes and returns littlecore's tensors: the row means of a float32 matrix by a loop of its own,
// and the matrix normalized by littlecore's kernel.
#include <nanobind/nanobind.h>
#include <littlecore_python.hpp>

namespace nb = nanobind;
using littlecore::Tensor;

namespace {

Tensor row_means(const Tensor& x) {
    if (x.shape().size() != 2) throw nb::value_error("row_means needs a matrix");
    const int64_t rows = x.shape()[0], cols = x.shape()[1], down = x.strides()[0], along = x.strides()[1];
    const Tensor y = Tensor::empty({rows}, x.dtype());
    const float* from = x.data<float>();
    for (int64_t i = 0; i < rows; ++i) {
        double sum = 0;
        for (int64_t j = 0; j < cols; ++j) sum += from[i * down + j * along];
        y.data<float>()[i] = float(sum / double(cols));
    }
    return y;
}

Tensor normalized(const Tensor& x, double eps) {
    std::vector<int64_t> rows = x.shape();
    if (!rows.empty()) rows.pop_back();
    const Tensor y = Tensor::empty(x.shape(), x.dtype());
    const DLDataType wide = x.dtype().bits == 64 ? littlecore::type_of<double> : littlecore::type_of<float>;
    const Tensor base = Tensor::empty(rows, wide), rest = Tensor::empty(rows, wide), rstd = Tensor::empty(rows, wide);
    littlecore::layer_norm_forward({.x = x, .y = y, .base = base, .rest = rest, .rstd = rstd, .eps = eps});
    return y;
}

}  // namespace

NB_MODULE(row_statistics, m) {
    littlecore::check_abi();
    m.def("row_means", &row_means, nb::arg("x"));
    m.def("normalized", &normalized, nb::arg("x"), nb::arg("eps") = 1e-5);
}
