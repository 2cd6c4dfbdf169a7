// Normalizations, softmax, attention and losses.
#include "cpp/bindings/bind.h"
#include "cpp/ops/batch_norm.h"
#include "cpp/ops/copy.h"
#include "cpp/ops/cross_entropy.h"
#include "cpp/ops/group_norm.h"
#include "cpp/ops/instance_norm.h"
#include "cpp/ops/layer_norm.h"
#include "cpp/ops/rms_norm.h"
#include "cpp/ops/softmax.h"

namespace lc::python {
namespace {

using OptionalDType = std::optional<DType>;

template <Tensor (*op)(const Tensor&, int64_t)> Tensor in_dtype(const Tensor& x, int64_t dim, OptionalDType dtype) {
    return op(dtype ? to(x, *dtype) : x, dim);
}

}  // namespace

void bind_norm(Module& m) {
    const py::object none = py::none();
    m.both("softmax", &in_dtype<softmax>, "exp(x) / sum(exp(x)) along dim.", "input"_a, "dim"_a, "dtype"_a = none);
    m.both("log_softmax", &in_dtype<log_softmax>, "x - log(sum(exp(x))) along dim.", "input"_a, "dim"_a, "dtype"_a = none);

    m.function("layer_norm", &layer_norm, "(x - mean) / sqrt(var + eps) * weight + bias over the last dims, whose sizes are normalized_shape.",
               "input"_a, "normalized_shape"_a, "weight"_a = none, "bias"_a = none, "eps"_a = 1e-5);
    m.function("rms_norm", &rms_norm, "x / sqrt(mean(x^2) + eps) * weight over the last dims. eps None: the spacing of the dtype at 1.",
               "input"_a, "normalized_shape"_a, "weight"_a = none, "eps"_a = none);
    m.function("batch_norm", &batch_norm, "(x - mean) / sqrt(var + eps) * weight + bias per channel (dim 1), over all other dims. Training updates the running statistics.",
               "input"_a, "running_mean"_a, "running_var"_a, "weight"_a = none, "bias"_a = none, "training"_a = false, "momentum"_a = 0.1, "eps"_a = 1e-5);
    m.function("group_norm", &group_norm, "(x - mean) / sqrt(var + eps) per sample and group of channels, then scaled and shifted per channel.",
               "input"_a, "num_groups"_a, "weight"_a = none, "bias"_a = none, "eps"_a = 1e-5);
    m.function("instance_norm", &instance_norm, "(x - mean) / sqrt(var + eps) * weight + bias per sample and channel.",
               "input"_a, "running_mean"_a = none, "running_var"_a = none, "weight"_a = none, "bias"_a = none, "use_input_stats"_a = true,
               "momentum"_a = 0.1, "eps"_a = 1e-5);

    m.function("cross_entropy", &cross_entropy, "-log softmax(input)[target] over dim 1, for class indices or class probabilities.",
               "input"_a, "target"_a, "weight"_a = none, "ignore_index"_a = -100, "reduction"_a = "mean", "label_smoothing"_a = 0.0);
}

}  // namespace lc::python
