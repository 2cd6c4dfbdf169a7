// softmax, the norms, attention and the losses on the memory of a call.
#include <cmath>
#include "cpp/c_api/run.h"
#include "cpp/ops/attention.h"
#include "cpp/ops/cross_entropy.h"
#include "cpp/ops/layer_norm.h"
#include "cpp/ops/pointwise_loss.h"
#include "cpp/ops/reduction.h"
#include "cpp/ops/rms_norm.h"
#include "cpp/ops/softmax.h"

namespace lc::c_api {
namespace {

// x as [outer, n, inner] around the dim.
struct Around {
    int64_t outer = 1, n = 1, inner = 1;
};

Around around(const Call& c, const View& x, int64_t dim) {
    const int d = wrap_dim(c.name(), dim, x.shape.size());
    Around r;
    for (int i = 0; i < x.shape.size(); ++i) (i < d ? r.outer : i == d ? r.n
                                                                       : r.inner) *= x.size(i);
    return r;
}

}  // namespace

void softmax_forward(const Call& c) {
    const Around r = around(c, c[0], c.integer(0));
    visit_float(c.dtype, "softmax", [&]<class T>() { on::softmax_forward<T>(c.device, {r.outer, r.n, r.inner, c.integer(1) != 0, c[0].at<T>(), c[1].at<T>()}); });
}

void softmax_backward(const Call& c) {
    const Around r = around(c, c[0], c.integer(0));
    visit_float(c.dtype, "softmax", [&]<class T>() {
        on::softmax_backward<T>(c.device, {r.outer, r.n, r.inner, c.integer(1) != 0, c[0].at<T>(), c[1].at<T>(), c[2].at<T>()});
    });
}

void layer_norm_forward(const Call& c) {
    const auto [rows, cols] = rows_and_cols(c[0]);
    visit_float_storage(c.dtype, "layer_norm", [&, rows = rows, cols = cols]<class T>() {
        using A = acc_t<T>;
        on::layer_norm_forward<T>(c.device, {rows, cols, A(c.real(0)), c[0].at<T>(), c[1].at<T>(), c[2].at<T>(), c[3].at<T>(), c[4].at<A>(), c[5].at<A>(), c[6].at<A>()});
    });
}

void layer_norm_backward(const Call& c) {
    const auto [rows, cols] = rows_and_cols(c[0]);
    visit_float_storage(c.dtype, "layer_norm", [&, rows = rows, cols = cols]<class T>() {
        using A = acc_t<T>;
        T *dw = c[7].at<T>(), *db = c[8].at<T>();
        const Scratch<T> other(c, !dw != !db ? cols : 0);         // the kernel makes both or neither
        if (db && !dw) dw = other.data();
        if (dw && !db) db = other.data();
        on::layer_norm_backward<T>(c.device, {rows, cols, c[0].at<T>(), c[1].at<T>(), c[2].at<T>(), c[3].at<A>(), c[4].at<A>(), c[5].at<A>(), c[6].at<T>(), dw, db});
    });
}

void rms_norm_forward(const Call& c) {
    const auto [rows, cols] = rows_and_cols(c[0]);
    visit_float_storage(c.dtype, "rms_norm", [&, rows = rows, cols = cols]<class T>() {
        using A = acc_t<T>;
        on::rms_norm_forward<T>(c.device, {rows, cols, A(c.real(0)), c[0].at<T>(), c[1].at<T>(), c[2].at<T>(), c[3].at<A>()});
    });
}

void rms_norm_backward(const Call& c) {
    const auto [rows, cols] = rows_and_cols(c[0]);
    visit_float_storage(c.dtype, "rms_norm", [&, rows = rows, cols = cols]<class T>() {
        on::rms_norm_backward<T>(c.device, {rows, cols, c[0].at<T>(), c[1].at<T>(), c[2].at<T>(), c[3].at<acc_t<T>>(), c[4].at<T>(), c[5].at<T>()});
    });
}

// ---- attention ------------------------------------------------------------------------------------------------------

namespace {

AttentionShape shape_of(const Call& c, const View& q, const View& k, const View& v) {
    const double scale = c.real(0);
    return {q.size(0), q.size(1), k.size(1), q.size(2), k.size(2), q.size(3), v.size(3), scale != 0 ? scale : 1 / std::sqrt(double(q.size(3))), c.integer(1) != 0};
}

template <class T> AttentionMatrix<T> matrix(const View& x) { return {x.at<std::remove_const_t<T>>(), x.stride(0), x.stride(1), x.stride(2)}; }

AttentionMask mask_of(const View& m) {
    const auto stride = [&](int i) { return m.size(i) == 1 ? 0 : m.stride(i); };
    if (!m.given) return {nullptr, false, 0, 0, 0, 0};
    return {m.data, m.dtype == DType::bool_, stride(0), stride(1), stride(2), stride(3)};
}

void check(const Call& c, const View& q, const View& k) {
    LC_CHECK(k.size(1) > 0 && q.size(1) > 0 && q.size(1) % k.size(1) == 0, ValueError, c.name(), ": the ", q.size(1), " heads of q ", q.shape,
             " must be a multiple of the ", k.size(1), " of k ", k.shape);
}

}  // namespace

void settle_attention_forward(Call& c) { check(c, c[0], c[1]); }

void settle_attention_backward(Call& c) {
    check(c, c[1], c[2]);
    if (c[6].given && c[6].dtype == DType::bool_) c.skipped |= 1u << 10;
}

void attention_forward(const Call& c) {
    visit_float_storage(c.dtype, "attention", [&]<class T>() {
        on::attention_forward<T>(c.device, {shape_of(c, c[0], c[1], c[2]), matrix<const T>(c[0]), matrix<const T>(c[1]), matrix<const T>(c[2]), mask_of(c[3]), {0, {}}, matrix<T>(c[4]), c[5].at<acc_t<T>>()});
    });
}

void attention_backward(const Call& c) {
    const View& dmask = c[10];
    if (dmask.given) zero(c, dmask.data, size_t(dmask.numel()) * item_size(c.dtype));
    visit_float_storage(c.dtype, "attention", [&]<class T>() {
        AttentionMaskGradient<T> dm{nullptr, 0, 0, 0, 0};
        if (dmask.given) dm = {dmask.at<T>(), dmask.size(0), dmask.size(1), dmask.size(2), dmask.size(3)};
        on::attention_backward<T>(c.device, {shape_of(c, c[1], c[2], c[3]), matrix<const T>(c[0]), matrix<const T>(c[1]), matrix<const T>(c[2]), matrix<const T>(c[3]), matrix<const T>(c[4]), mask_of(c[6]), {0, {}}, c[5].at<acc_t<T>>(), matrix<T>(c[7]), matrix<T>(c[8]), matrix<T>(c[9]), dm});
    });
}

// ---- cross_entropy --------------------------------------------------------------------------------------------------

namespace {

template <class T> CrossEntropyProblem<T> problem(const Call& c, const View& x, const View& target, const View& weight) {
    const Around r = around(c, x, 1);
    const double smoothing = c.real(1);
    LC_CHECK(r.n > 0, ValueError, c.name(), ": x of shape ", x.shape, " has no classes");
    LC_CHECK(smoothing >= 0 && smoothing <= 1, ValueError, c.name(), ": smoothing must lie in [0, 1], is ", smoothing);
    if (c.device.is_cpu()) counted_weight<T>(c.name(), target.at<int64_t>(), target.numel(), nullptr, r.n, c.integer(0));             // refuses what is no class, as a device's kernel does
    return {r.outer, r.n, r.inner, x.at<T>(), target.at<int64_t>(), nullptr, weight.at<T>(), c.integer(0), T(smoothing)};
}

// 1 for gradients one behind the other, 0 for one that stands for all.
int64_t gradient_stride(const Call& c, const View& g) {
    bool dense = true, single = true;
    int64_t expected = 1;
    for (int i = g.shape.size() - 1; i >= 0; --i) {
        if (g.size(i) == 1) continue;
        dense = dense && g.stride(i) == expected;
        single = single && g.stride(i) == 0;
        expected *= g.size(i);
    }
    LC_CHECK(dense || single, ValueError, c.name(), ": ", c.signature.arguments[0].name, " of shape ", g.shape, " has strides ", g.strides,
             ", must be contiguous, or one number expanded");
    return dense ? 1 : 0;
}

}  // namespace

void cross_entropy_forward(const Call& c) {
    visit_float(c.dtype, "cross_entropy", [&]<class T>() {
        on::cross_entropy_forward<T>(c.device, {problem<T>(c, c[0], c[1], c[2]), c[4].at<T>(), c[5].at<T>(), c[3].at<T>()});
    });
}

void cross_entropy_backward(const Call& c) {
    visit_float(c.dtype, "cross_entropy", [&]<class T>() {
        on::cross_entropy_backward<T>(c.device, {problem<T>(c, c[1], c[2], c[3]), c[4].at<T>(), c[5].at<T>(), c[0].at<T>(), gradient_stride(c, c[0]), c[6].at<T>(), nullptr});
    });
}

// ---- losses of one element against one ------------------------------------------------------------------------------

namespace {

// Weights stand behind x and target.
void loss(const Call& c, PointwiseLoss kind, double beta = 0) {
    const bool weighted = c.signature.inputs == 4;
    const View none{}, &w = weighted ? c[2] : none, &pos_weight = weighted ? c[3] : none, &y = c[c.signature.inputs];
    if (y.numel() == 0) return;
    visit_float(c.dtype, c.name(), [&]<class T>() {
        on::pointwise_loss_forward<T>(c.device, {kind, y.numel(), T(beta), c[0].at<T>(), c[1].at<T>(), w.at<T>(), pos_weight.at<T>(), y.at<T>(), nullptr});
    });
}

void loss_gradients(const Call& c, PointwiseLoss kind, double beta = 0) {
    const bool weighted = c.signature.inputs == 5;
    const View none{}, &dloss = c[0], &w = weighted ? c[3] : none, &pos_weight = weighted ? c[4] : none, &dx = c[c.signature.inputs], &dt = c[c.signature.inputs + 1];
    const int64_t stride = gradient_stride(c, dloss);
    if (dloss.numel() == 0 || !(dx.given || dt.given)) return;
    visit_float(c.dtype, c.name(), [&]<class T>() {
        on::pointwise_loss_backward<T>(c.device, {kind, dloss.numel(), T(beta), c[1].at<T>(), c[2].at<T>(), w.at<T>(), pos_weight.at<T>(), dloss.at<T>(), stride, dx.at<T>(), dt.at<T>()});
    });
}

double beta_of(const Call& c) {
    const double beta = c.real(0);
    LC_CHECK(beta >= 0, ValueError, c.name(), ": beta must not be negative, is ", beta);
    return beta;
}

double delta_of(const Call& c) {
    const double delta = c.real(0);
    LC_CHECK(delta > 0, ValueError, c.name(), ": delta must be positive, is ", delta);
    return delta;
}

PointwiseLoss divergence(const Call& c) { return c.integer(0) ? PointwiseLoss::kl_div_log_target : PointwiseLoss::kl_div; }

}  // namespace

void mse_loss_forward(const Call& c) { loss(c, PointwiseLoss::mse); }
void mse_loss_backward(const Call& c) { loss_gradients(c, PointwiseLoss::mse); }
void smooth_l1_loss_forward(const Call& c) { loss(c, PointwiseLoss::smooth_l1, beta_of(c)); }
void smooth_l1_loss_backward(const Call& c) { loss_gradients(c, PointwiseLoss::smooth_l1, beta_of(c)); }
void huber_loss_forward(const Call& c) { loss(c, PointwiseLoss::huber, delta_of(c)); }
void huber_loss_backward(const Call& c) { loss_gradients(c, PointwiseLoss::huber, delta_of(c)); }
void binary_cross_entropy_with_logits_forward(const Call& c) { loss(c, PointwiseLoss::binary_cross_entropy_with_logits); }
void binary_cross_entropy_with_logits_backward(const Call& c) { loss_gradients(c, PointwiseLoss::binary_cross_entropy_with_logits); }
void kl_div_forward(const Call& c) { loss(c, divergence(c)); }
void kl_div_backward(const Call& c) { loss_gradients(c, divergence(c)); }

}  // namespace lc::c_api
