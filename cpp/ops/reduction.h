// The reduction argument of the losses.
#pragma once
#include <string>
#include "cpp/core/tensor.h"

namespace lc {

enum class Reduction : uint8_t { none, mean, sum };

inline Reduction parse_reduction(const char* op, const std::string& name) {
    if (name == "none") return Reduction::none;
    if (name == "mean") return Reduction::mean;
    LC_CHECK(name == "sum", ValueError, op, ": reduction must be 'none', 'mean' or 'sum', is '", name, "'");
    return Reduction::sum;
}

// A scalar: the sum of the rows' losses (contiguous; in index order, in float64) over total.
inline Tensor sum_over_total(const Tensor& losses, double total) {
    const Tensor y = Tensor::empty({}, losses.dtype());
    visit_float(losses.dtype(), "loss", [&]<class T>() {
        const T* l = losses.data<T>();
        double sum = 0;
        for (int64_t i = 0; i < losses.numel(); ++i) sum += double(l[i]);
        *y.mutable_data<T>() = T(sum / total);
    });
    return y;
}

}  // namespace lc
