// Checks and small conveniences the normalizations share.
#pragma once
#include <tuple>
#include "cpp/autograd/node.h"
#include "cpp/core/tensor.h"
#include "cpp/ops/copy.h"

namespace lc {

template <class T> const T* optional_data(const Tensor& x) { return x ? x.data<T>() : nullptr; }
template <class T> const T* optional_data_on(const Tensor& x, Device d) { return x ? x.data_on<T>(d) : nullptr; }
template <class T> T* optional_mutable_data_on(const Tensor& x, Device d) { return x ? x.mutable_data_on<T>(d) : nullptr; }
template <class T> T* optional_mutable_data(const Tensor& x) { return x ? x.mutable_data<T>() : nullptr; }
inline Tensor optional_contiguous(const Tensor& x) { return x ? contiguous(x) : Tensor(); }

// Whether a norm of x + residual (or of x, passed through) is a kernel of its own: on CUDA, with operands alike.
inline bool one_pass(const Tensor& x, const Tensor& residual) {
    return !x.device().is_cpu() && (!residual || (residual.device() == x.device() && residual.dtype() == x.dtype() && residual.sizes() == x.sizes()));
}

// record() of a sum and its norm, which `rebuild` makes again.
template <class F, class R>
void record_sum_and_norm(const char* op, std::initializer_list<std::reference_wrapper<const Tensor>> inputs, const Tensor& sum, const Tensor& y, F backward, R rebuild) {
    const auto node = make<detail::RebuildingNode<F, R>>(op, std::move(backward), std::move(rebuild));
    node->outputs = 2;
    detail::attach(node, inputs, {sum, y});
}

struct RowsCols {
    int64_t rows, cols;
};

// x seen as [rows, cols], cols being the elements of normalized_shape.
inline RowsCols check_normalized_shape(const char* op, const Tensor& x, const Dims& shape) {
    const int lead = x.dim() - shape.size();
    bool fits = !shape.empty() && lead >= 0;
    for (int i = 0; fits && i < shape.size(); ++i) fits = x.size(lead + i) == shape[i];
    LC_CHECK(fits, ValueError, op, ": normalized_shape ", shape, " is not the tail of the input's shape ", x.sizes());
    RowsCols r{1, 1};
    for (int i = 0; i < x.dim(); ++i) (i < lead ? r.rows : r.cols) *= x.size(i);
    return r;
}

inline void check_parameter(const char* op, const char* what, const Tensor& x, const Tensor& p, const Dims& shape) {
    if (!p) return;
    LC_CHECK(p.sizes() == shape, ValueError, op, ": ", what, " has shape ", p.sizes(), ", needs ", shape, " for input of shape ", x.sizes());
    LC_CHECK(p.dtype() == x.dtype(), TypeError, op, ": ", what, " is ", p.dtype(), ", input is ", x.dtype());
}

// Elements of dims `first` and after.
inline int64_t elements_from(const Tensor& x, int first) {
    int64_t n = 1;
    for (int i = first; i < x.dim(); ++i) n *= x.size(i);
    return n;
}

inline void check_running_statistics(const char* op, const Tensor& mean, const Tensor& var, int64_t channels) {
    LC_CHECK(bool(mean) == bool(var), ValueError, op, ": running_mean and running_var belong together, only one is given");
    for (const Tensor& r : {mean, var})
        LC_CHECK(!r || r.sizes() == Dims{channels}, ValueError, op, ": running statistics have shape ", r.sizes(), ", need [", channels, "]");
}

// base, rest and var of every sample and channel, in a row; the mean is base + rest. running = (1 - momentum) running +
// momentum * the mean over samples of the mean, and of the variance made unbiased; each came from `count` elements.
inline void update_running_statistics(const Tensor& running_mean, const Tensor& running_var, const double* statistics, int64_t samples,
                                      double count, double momentum) {
    const int64_t channels = running_mean.numel();
    check_inplace("running statistics", running_mean);
    check_inplace("running statistics", running_var);
    const double *base = statistics, *rest = base + samples * channels, *var = rest + samples * channels;
    const auto update = [&](const Tensor& running, double factor, auto value) {
        visit_float(running.dtype(), "running statistics", [&]<class R>() {
            replayable([=, r = running.mutable_data<R>(), stride = running.stride(0)] {
                for (int64_t c = 0; c < channels; ++c) {
                    double total = 0;
                    for (int64_t i = c; i < samples * channels; i += channels) total += value(i);
                    R& old = r[c * stride];
                    old = R((1 - momentum) * double(old) + momentum * factor * total / double(samples));
                }
            });
        });
    };
    // From an infinite base nothing can be subtracted: rest is NaN.
    update(running_mean, 1, [=](int64_t i) { return rest[i] - rest[i] == 0 ? base[i] + rest[i] : base[i]; });
    update(running_var, count / (count - 1), [=](int64_t i) { return var[i]; });
}

}  // namespace lc
