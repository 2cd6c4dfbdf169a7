// create: full, arange, linspace, eye. Contract: cpp/ops/create.h
#include "cpp/ops/create.h"
#include <cmath>
#include "cpp/autograd/node.h"
#include "cpp/core/parallel.h"
#include "cpp/ops/copy.h"
#include "cpp/ops/views.h"

namespace lc {
namespace {

template <class T> Tensor range(T start, T step, int64_t n, DType dtype, Device d) {
    const Tensor y = Tensor::empty({n}, dtype_of<T>, d);
    on::create_range<T>(d, {start, step, n, y.mutable_data_on<T>(d)});
    return detail::converted(y, dtype);
}

}  // namespace

Tensor full(const Dims& sizes, const Tensor& value, DType dtype, Device device) {
    LC_CHECK(value.numel() == 1, ValueError, "full: the value must be one number, got shape ", value.sizes());
    no_gradient("full", value);
    const Tensor y = Tensor::empty(sizes, dtype, device);
    const Tensor number = detail::converted(value, dtype);
    detail::copy_into(y, Tensor::view_of(number, {}, {}, number.offset()));
    return y;
}

Tensor full(const Dims& sizes, double value, DType dtype, Device device) {
    const Tensor number = Tensor::empty({}, DType::float64);
    *number.mutable_data<double>() = value;
    host_wrote(number.mutable_raw(), sizeof value);
    return full(sizes, number, dtype, device);
}

Tensor ones(const Dims& sizes, DType dtype, Device device) { return full(sizes, 1.0, dtype, device); }

Tensor arange(int64_t start, int64_t end, int64_t step, DType dtype, Device device) {
    LC_CHECK(step != 0, ValueError, "arange: step is 0");
    LC_CHECK(step > 0 ? start <= end : start >= end, ValueError, "arange: a step of ", step, " does not lead from ", start, " to ", end);
    const uint64_t span = step > 0 ? uint64_t(end) - uint64_t(start) : uint64_t(start) - uint64_t(end);
    const uint64_t stride = step > 0 ? uint64_t(step) : -uint64_t(step), count = span / stride + (span % stride != 0);
    LC_CHECK(count <= uint64_t(1) << 58, ValueError, "arange: ", count, " elements are more than memory can hold");
    return range(start, step, int64_t(count), dtype, device);
}

Tensor arange(double start, double end, double step, DType dtype, Device device) {
    LC_CHECK(step != 0 && std::isfinite(start) && std::isfinite(end) && !std::isnan(step), ValueError, "arange: start ", start, ", end ", end, " and step ", step,
             " must be finite, and step not 0");
    LC_CHECK(step > 0 ? start <= end : start >= end, ValueError, "arange: a step of ", step, " does not lead from ", start, " to ", end);
    const double count = std::ceil((end - start) / step);
    LC_CHECK(count <= 0x1p58, ValueError, "arange: ", count, " elements are more than memory can hold");
    return range(start, step, int64_t(count), dtype, device);
}

Tensor linspace(double start, double end, int64_t steps, DType dtype) {
    LC_CHECK(steps >= 0, ValueError, "linspace: steps must not be negative, got ", steps);
    const double step = steps > 1 ? (end - start) / double(steps - 1) : 0;
    const Tensor y = Tensor::empty({steps}, DType::float64);
    double* out = y.mutable_data<double>();
    replayable([=] {
        parallel_ranges(steps, 32 * 1024, steps / 2, [&](int64_t first, int64_t last) {
            for (int64_t i = first; i < last; ++i) out[i] = i < steps - i ? start + double(i) * step : end - double(steps - 1 - i) * step;
        });
    });
    return detail::converted(y, dtype);
}

Tensor eye(int64_t rows, int64_t cols, DType dtype, Device device) {
    LC_CHECK(rows >= 0 && cols >= 0, ValueError, "eye: sizes must not be negative, got ", rows, " and ", cols);
    const Tensor y = Tensor::zeros({rows, cols}, dtype, device);
    fill_(diagonal(y), 1);
    return y;
}

}  // namespace lc
