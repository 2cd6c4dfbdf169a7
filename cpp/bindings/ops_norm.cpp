// Normalizations, softmax, attention and losses.
#include "cpp/bindings/autocast.h"
#include "cpp/bindings/bind.h"
#include "cpp/ops/attention.h"
#include "cpp/ops/batch_norm.h"
#include "cpp/ops/binary.h"
#include "cpp/ops/copy.h"
#include "cpp/ops/cosine_similarity.h"
#include "cpp/ops/cross_entropy.h"
#include "cpp/ops/group_norm.h"
#include "cpp/ops/instance_norm.h"
#include "cpp/ops/layer_norm.h"
#include "cpp/ops/nll_loss.h"
#include "cpp/ops/pointwise_loss.h"
#include "cpp/ops/rms_norm.h"
#include "cpp/ops/rotary_embedding.h"
#include "cpp/ops/softmax.h"
#include "cpp/ops/triplet_margin_loss.h"

namespace lc::python {
namespace {

using OptionalDType = std::optional<DType>;

template <Tensor (*op)(const Tensor&, int64_t)> Tensor in_dtype(const Tensor& x, int64_t dim, OptionalDType dtype) {
    return op(dtype ? to(x, *dtype) : x, dim);
}

// The statistics are written in place: they are no one's copies.
template <auto op> Tensor with_running_statistics(const Tensor& x, const Tensor& mean, const Tensor& var, const Tensor& w, const Tensor& b, bool training, double momentum, double eps) {
    if (!autocast::dtype()) return op(x, mean, var, w, b, training, momentum, eps);
    return op(autocast::raised(x), mean, var, autocast::raised(w), autocast::raised(b), training, momentum, eps);
}

Tensor in_float32_region(const Tensor& x) { return x && autocast::dtype() ? autocast::raised(x) : x; }

// A sum and its norm. In a region of autocast the sum keeps the type it has outside of one, and the norm is of float32.
template <class F> Tensors added(const Tensor& x, const Tensor& residual, F norm) {
    if (!autocast::dtype()) return norm(x, residual);
    const Tensor sum = residual ? add(x, residual) : x, wide = autocast::raised(sum);
    const Tensors both = norm(wide, {});
    return {sum.dtype() == wide.dtype() ? both[0] : sum, both[1]};
}

}  // namespace

void bind_norm(Module& m) {
    const py::object none = py::none();
    m.both("softmax", in_float32(&in_dtype<softmax>), "exp(x) / sum(exp(x)) along dim.", "input"_a, "dim"_a, "dtype"_a = none);
    m.both("log_softmax", in_float32(&in_dtype<log_softmax>), "x - log(sum(exp(x))) along dim.", "input"_a, "dim"_a, "dtype"_a = none);

    m.function("layer_norm", in_float32(&layer_norm), "(x - mean) / sqrt(var + eps) * weight + bias over the last dims, whose sizes are normalized_shape.",
               "input"_a, "normalized_shape"_a, "weight"_a = none, "bias"_a = none, "eps"_a = 1e-5);
    m.function("rms_norm", in_float32(&rms_norm), "x / sqrt(mean(x^2) + eps) * weight over the last dims. eps None: the spacing of the dtype at 1.",
               "input"_a, "normalized_shape"_a, "weight"_a = none, "eps"_a = none);
    m.internal("add_layer_norm", [](const Tensor& x, const Dims& shape, const Tensor& w, const Tensor& b, const Tensor& residual, double eps) { return tuple_of(added(x, residual, [&](const Tensor& x, const Tensor& residual) { return add_layer_norm(x, residual, shape, in_float32_region(w), in_float32_region(b), eps); })); }, "(s, layer_norm(s)) of s = input + residual, or of the input, whose other use's gradient is then added in the norm's: on CUDA one pass each way.", "input"_a, "normalized_shape"_a, "weight"_a = none, "bias"_a = none, "residual"_a = none, "eps"_a = 1e-5);
    m.internal("add_rms_norm", [](const Tensor& x, const Dims& shape, const Tensor& w, const Tensor& residual, std::optional<double> eps) { return tuple_of(added(x, residual, [&](const Tensor& x, const Tensor& residual) { return add_rms_norm(x, residual, shape, in_float32_region(w), eps); })); }, "(s, rms_norm(s)) of s = input + residual or the input, as add_layer_norm.", "input"_a, "normalized_shape"_a, "weight"_a = none, "residual"_a = none, "eps"_a = none);
    m.function("batch_norm", &with_running_statistics<batch_norm>, "(x - mean) / sqrt(var + eps) * weight + bias per channel (dim 1), over all other dims. Training updates the running statistics.",
               "input"_a, "running_mean"_a = none, "running_var"_a = none, "weight"_a = none, "bias"_a = none, "training"_a = false, "momentum"_a = 0.1, "eps"_a = 1e-5);
    m.function("group_norm", in_float32(&group_norm), "(x - mean) / sqrt(var + eps) per sample and group of channels, then scaled and shifted per channel.",
               "input"_a, "num_groups"_a, "weight"_a = none, "bias"_a = none, "eps"_a = 1e-5);
    m.function("instance_norm", &with_running_statistics<instance_norm>, "(x - mean) / sqrt(var + eps) * weight + bias per sample and channel.",
               "input"_a, "running_mean"_a = none, "running_var"_a = none, "weight"_a = none, "bias"_a = none, "use_input_stats"_a = true,
               "momentum"_a = 0.1, "eps"_a = 1e-5);

    m.internal("scaled_dot_product_attention", lowered(&scaled_dot_product_attention),
               "softmax(query key^T scale + attn_mask) value, in memory linear in the length. A row that sees no key gives 0.", "query"_a, "key"_a,
               "value"_a, "attn_mask"_a = none, "dropout_p"_a = 0.0, "is_causal"_a = false, "scale"_a = none, "enable_gqa"_a = false);

    m.internal("rotary_embedding", &rotary_embedding,
               "Turns feature pairs (x[2i], x[2i+1]) or, not interleaved, (x[i], x[i + pairs]) by the angles whose cos and sin are [positions, pairs].",
               "input"_a, "cos"_a, "sin"_a, "interleaved"_a = false);

    m.internal("cross_entropy", in_float32(&cross_entropy), "-log softmax(input)[target] over dim 1, for class indices or class probabilities.",
               "input"_a, "target"_a, "weight"_a = none, "ignore_index"_a = -100, "reduction"_a = "mean", "label_smoothing"_a = 0.0);
    m.internal("nll_loss", in_float32(&nll_loss), "-weight[target] * input[target] for log-probabilities over dim 1.", "input"_a, "target"_a, "weight"_a = none,
               "ignore_index"_a = -100, "reduction"_a = "mean");
    m.internal("mse_loss", in_float32(&mse_loss), "(input - target)^2", "input"_a, "target"_a, "reduction"_a = "mean");
    m.internal("l1_loss", in_float32(&l1_loss), "|input - target|", "input"_a, "target"_a, "reduction"_a = "mean");
    m.internal("smooth_l1_loss", in_float32(&smooth_l1_loss), "d^2 / (2 beta) where d = |input - target| < beta, else d - beta / 2", "input"_a, "target"_a,
               "reduction"_a = "mean", "beta"_a = 1.0);
    m.internal("huber_loss", in_float32(&huber_loss), "d^2 / 2 where d = |input - target| <= delta, else delta (d - delta / 2)", "input"_a, "target"_a,
               "reduction"_a = "mean", "delta"_a = 1.0);
    m.internal("binary_cross_entropy", in_float32(&binary_cross_entropy), "-target log(input) - (1 - target) log(1 - input), times weight.", "input"_a, "target"_a,
               "weight"_a = none, "reduction"_a = "mean");
    m.function("binary_cross_entropy_with_logits", in_float32(&binary_cross_entropy_with_logits), "binary_cross_entropy of sigmoid(input), positives times pos_weight.",
               "input"_a, "target"_a, "weight"_a = none, "reduction"_a = "mean", "pos_weight"_a = none);
    m.function("kl_div", in_float32(&kl_div), "target (log(target) - input) for log-probabilities input; reduction may be 'batchmean'.", "input"_a, "target"_a,
               "reduction"_a = "mean", "log_target"_a = false);
    m.function("cosine_similarity", in_float32(&cosine_similarity), "sum(x1 x2) / (max(|x1|, eps) max(|x2|, eps)) along dim.", "x1"_a, "x2"_a, "dim"_a = 1, "eps"_a = 1e-8);
    m.function("triplet_margin_loss", in_float32(&triplet_margin_loss), "max(0, margin + |anchor - positive|_p - |anchor - negative|_p) over the last dim.", "anchor"_a,
               "positive"_a, "negative"_a, "margin"_a = 1.0, "p"_a = 2.0, "eps"_a = 1e-6, "swap"_a = false, "reduction"_a = "mean");
}

}  // namespace lc::python
