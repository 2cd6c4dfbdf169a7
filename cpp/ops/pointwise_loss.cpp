#include "cpp/ops/pointwise_loss.h"
#include "cpp/autograd/node.h"
#include "cpp/ops/binary.h"
#include "cpp/ops/copy.h"
#include "cpp/ops/norm_check.h"
#include "cpp/ops/reduce.h"
#include "cpp/ops/reduction.h"
#include "cpp/ops/views.h"

namespace lc {
namespace {

struct Problem {
    const char* op;
    PointwiseLoss kind;
    double beta = 0, divisor = 1;                     // divisor of the sum: the mean's count, or 1
    Reduction reduction = Reduction::mean;
};

Tensor forward(const Problem& p, const Tensor& x, const Tensor& t, const Tensor& w, const Tensor& pos_weight) {
    const int64_t n = x.numel(), chunks = (n + kLossChunk - 1) / kLossChunk;
    const bool each = p.reduction == Reduction::none;
    const Device d = x.device();
    const Tensor y = each ? Tensor::empty_like(x) : Tensor(), sums = each ? Tensor() : Tensor::empty({chunks}, DType::float64, d);
    visit_float(x.dtype(), p.op, [&]<class T>() {
        on::pointwise_loss_forward<T>(d, {p.kind, n, T(p.beta), x.data_on<T>(d), t.data_on<T>(d), optional_data_on<T>(w, d), optional_data_on<T>(pos_weight, d), optional_mutable_data_on<T>(y, d), optional_mutable_data_on<double>(sums, d)});
    });
    if (each) return y;
    return to(d.is_cpu() ? sum_over_total(sums, p.divisor) : div(sum(sums), number(p.divisor)), x.dtype());
}

Tensors backward(const Grads& dy, const Problem& p, const Tensor& x, const Tensor& t, const Tensor& w, const Tensor& pos_weight) {
    const Tensor dx = dy.needs(0) ? Tensor::empty_like(x) : Tensor(), dt = dy.needs(1) ? Tensor::empty_like(t) : Tensor();
    const Device d = x.device();
    Tensor upstream = contiguous(dy[0]);
    const bool each = p.reduction == Reduction::none;
    if (!each && !d.is_cpu()) upstream = div(upstream.detach(), number(p.divisor));
    visit_float(x.dtype(), p.op, [&]<class T>() {
        const PointwiseLossBackward<T> a{p.kind, x.numel(), T(p.beta), x.data_on<T>(d), t.data_on<T>(d), optional_data_on<T>(w, d), optional_data_on<T>(pos_weight, d),
                                         upstream.data_on<T>(d), each ? 1 : 0, optional_mutable_data_on<T>(dx, d), optional_mutable_data_on<T>(dt, d)};
        if (each || !d.is_cpu()) return on::pointwise_loss_backward<T>(d, a);
        replayable([a, divisor = p.divisor] {
            const T scaled = T(double(*a.g) / divisor);
            PointwiseLossBackward<T> b = a;
            b.g = &scaled;
            cpu::pointwise_loss_backward<T>(b);
        });
    });
    return {dx, dt};
}

// x and t of one shape.
Tensor run(Problem p, const Tensor& x_any, const Tensor& t_any, const Tensor& w_any = {}, const Tensor& pos_weight_any = {}) {
    check_same_device(p.op, x_any.device(), t_any.device());
    LC_CHECK(x_any.dtype() == t_any.dtype(), TypeError, p.op, ": input is ", x_any.dtype(), ", target is ", t_any.dtype());
    for (const Tensor& w : {w_any, pos_weight_any}) {
        LC_CHECK(!w || w.dtype() == x_any.dtype(), TypeError, p.op, ": weight is ", w.dtype(), ", input is ", x_any.dtype());
        if (w) no_gradient(p.op, w);
    }
    Tensor x, t, w, pos_weight, y;
    {
        NoGrad no_grad;
        x = contiguous(x_any);
        t = contiguous(t_any);
        if (w_any) w = contiguous(broadcast_to(w_any, x.sizes()));
        if (pos_weight_any) pos_weight = contiguous(broadcast_to(pos_weight_any, x.sizes()));
        y = forward(p, x, t, w, pos_weight);
    }
    if (wants_grad({x_any, t_any}))
        record(p.op, {x_any, t_any}, {y}, [p, x = Saved(x), t = Saved(t), w = Saved(w), pos_weight = Saved(pos_weight)](const Grads& dy) {
            return backward(dy, p, x(), t(), w(), pos_weight());
        });
    return y;
}

Problem problem(const char* op, PointwiseLoss kind, const std::string& reduction, int64_t count, double beta = 0) {
    Problem p{op, kind, beta};
    p.reduction = parse_reduction(op, reduction);
    if (p.reduction == Reduction::mean) p.divisor = double(count);
    return p;
}

Tensor spread(const Tensor& x, const Dims& sizes) { return x.sizes() == sizes ? x : broadcast_to(x, sizes); }

// The losses whose input and target broadcast against each other.
Tensor broadcasting(const char* op, PointwiseLoss kind, const Tensor& x, const Tensor& t, const std::string& reduction, double beta = 0) {
    const Dims sizes = broadcast(op, x.sizes(), t.sizes());
    return run(problem(op, kind, reduction, element_count(sizes), beta), spread(x, sizes), spread(t, sizes));
}

void check_same_shape(const char* op, const Tensor& x, const Tensor& t) {
    LC_CHECK(x.sizes() == t.sizes(), ValueError, op, ": target has shape ", t.sizes(), ", input has shape ", x.sizes());
}

}  // namespace

Tensor mse_loss(const Tensor& x, const Tensor& t, const std::string& reduction) {
    return broadcasting("mse_loss", PointwiseLoss::mse, x, t, reduction);
}

Tensor l1_loss(const Tensor& x, const Tensor& t, const std::string& reduction) {
    return broadcasting("l1_loss", PointwiseLoss::l1, x, t, reduction);
}

Tensor smooth_l1_loss(const Tensor& x, const Tensor& t, const std::string& reduction, double beta) {
    LC_CHECK(beta >= 0, ValueError, "smooth_l1_loss: beta must not be negative, is ", beta);
    return broadcasting("smooth_l1_loss", PointwiseLoss::smooth_l1, x, t, reduction, beta);
}

Tensor huber_loss(const Tensor& x, const Tensor& t, const std::string& reduction, double delta) {
    LC_CHECK(delta > 0, ValueError, "huber_loss: delta must be positive, is ", delta);
    return broadcasting("huber_loss", PointwiseLoss::huber, x, t, reduction, delta);
}

Tensor binary_cross_entropy(const Tensor& x, const Tensor& t, const Tensor& weight, const std::string& reduction) {
    constexpr const char* op = "binary_cross_entropy";
    check_same_shape(op, x, t);
    const Tensor dense = contiguous(x.detach());
    if (x.device().is_cpu()) visit_float(x.dtype(), op, [&]<class T>() {
        replayable([op, p = dense.data<T>(), n = dense.numel()] {
            for (int64_t i = 0; i < n; ++i)
                LC_CHECK(!(p[i] < 0 || p[i] > 1), ValueError, op, ": input must lie in [0, 1], found ", p[i], "; for logits use binary_cross_entropy_with_logits");
        });
    });
    return run(problem(op, PointwiseLoss::binary_cross_entropy, reduction, x.numel()), x, t, weight);
}

Tensor binary_cross_entropy_with_logits(const Tensor& x, const Tensor& t, const Tensor& weight, const std::string& reduction, const Tensor& pos_weight) {
    constexpr const char* op = "binary_cross_entropy_with_logits";
    check_same_shape(op, x, t);
    return run(problem(op, PointwiseLoss::binary_cross_entropy_with_logits, reduction, x.numel()), x, t, weight, pos_weight);
}

Tensor kl_div(const Tensor& x, const Tensor& t, const std::string& reduction, bool log_target) {
    const PointwiseLoss kind = log_target ? PointwiseLoss::kl_div_log_target : PointwiseLoss::kl_div;
    if (reduction != "batchmean") return broadcasting("kl_div", kind, x, t, reduction);
    const Dims sizes = broadcast("kl_div", x.sizes(), t.sizes());
    LC_CHECK(!sizes.empty(), ValueError, "kl_div: reduction 'batchmean' needs a batch dimension, input is a scalar");
    Problem p = problem("kl_div", kind, "mean", sizes[0]);
    return run(p, spread(x, sizes), spread(t, sizes));
}

}  // namespace lc
