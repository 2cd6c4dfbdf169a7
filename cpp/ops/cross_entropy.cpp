#include "cpp/ops/cross_entropy.h"
#include "cpp/autograd/node.h"
#include "cpp/ops/copy.h"
#include "cpp/ops/reduction.h"

namespace lc {
namespace {

// What both directions need; x, target and weight contiguous.
struct Problem {
    ClassRows rows;
    int64_t ignore_index = -100;
    double smoothing = 0;
    SharedTotal total;                                // the divisor of the mean
    bool indices = true;
    Reduction reduction = Reduction::mean;

    template <class T> CrossEntropyProblem<T> arguments(const Tensor& x, const Tensor& target, const Tensor& weight) const {
        return {rows.outer, rows.n, rows.inner, x.data<T>(), indices ? target.data<int64_t>() : nullptr, indices ? nullptr : target.data<T>(),
                weight ? weight.data<T>() : nullptr, ignore_index, T(smoothing)};
    }
};

Problem check(const Tensor& x, const Tensor& target, const Tensor& weight, int64_t ignore_index, const std::string& reduction, double smoothing) {
    Problem p;
    p.reduction = parse_reduction("cross_entropy", reduction);
    p.ignore_index = ignore_index;
    p.smoothing = smoothing;
    p.indices = is_integral(target.dtype());
    LC_CHECK(smoothing >= 0 && smoothing <= 1, ValueError, "cross_entropy: label_smoothing must lie in [0, 1], is ", smoothing);
    p.rows = class_rows("cross_entropy", x);
    if (p.indices) {
        check_class_indices("cross_entropy", x, target);
    } else {
        LC_CHECK(target.sizes() == x.sizes(), ValueError, "cross_entropy: class probabilities have shape ", target.sizes(), ", input has shape ", x.sizes());
        LC_CHECK(target.dtype() == x.dtype(), TypeError, "cross_entropy: class probabilities are ", target.dtype(), ", input is ", x.dtype());
    }
    check_class_weight("cross_entropy", x, weight, p.rows.n);
    return p;
}

Tensors backward(const Grads& dy, const Problem& p, const Tensor& x, const Tensor& target, const Tensor& weight, const Tensor& max, const Tensor& sum) {
    const Tensor dx = dy.needs(0) ? Tensor::empty_like(x) : Tensor();
    const Tensor dtarget = !p.indices && dy.needs(1) ? Tensor::empty_like(target) : Tensor();
    const Tensor upstream = contiguous(dy[0]);
    visit_float(x.dtype(), "cross_entropy", [&]<class T>() {
        const bool each = p.reduction == Reduction::none;
        const CrossEntropyBackward<T> a{p.arguments<T>(x, target, weight), max.data<T>(), sum.data<T>(), upstream.data<T>(),
                                        each ? 1 : 0, dx ? dx.mutable_data<T>() : nullptr, dtarget ? dtarget.mutable_data<T>() : nullptr};
        if (each) return cpu::cross_entropy_backward<T>(a);
        replayable([a, total = p.total] {
            const T scaled = T(double(*a.g) / *total);
            CrossEntropyBackward<T> b = a;
            b.g = &scaled;
            cpu::cross_entropy_backward<T>(b);
        });
    });
    return {dx, dtarget};
}

}  // namespace

Tensor cross_entropy(const Tensor& x_any, const Tensor& target_any, const Tensor& weight_any, int64_t ignore_index,
                     const std::string& reduction, double label_smoothing) {
    Problem p = check(x_any, target_any, weight_any, ignore_index, reduction, label_smoothing);
    Tensor loss, x, target, weight, max, sum;
    {
        NoGrad no_grad;
        x = contiguous(x_any);
        target = contiguous(p.indices ? to(target_any, DType::int64) : target_any);
        if (weight_any) weight = contiguous(weight_any);
        Dims rows = x.sizes();
        rows.erase(class_dim(x));
        const Tensor losses = Tensor::empty(rows, x.dtype());
        max = Tensor::empty(rows, x.dtype());
        sum = Tensor::empty(rows, x.dtype());
        p.total = shared_total();
        visit_float(x.dtype(), "cross_entropy", [&]<class T>() {
            if (p.indices)
                replayable([total = p.total, mean = p.reduction == Reduction::mean, t = target.data<int64_t>(), rows = target.numel(),
                            w = weight ? weight.data<T>() : nullptr, n = p.rows.n, ignore_index] {
                    const double counted = counted_weight<T>("cross_entropy", t, rows, w, n, ignore_index);
                    if (mean) *total = counted;
                });
            else if (p.reduction == Reduction::mean) *p.total = double(losses.numel());
            cpu::cross_entropy_forward<T>({p.arguments<T>(x, target, weight), max.mutable_data<T>(), sum.mutable_data<T>(), losses.mutable_data<T>()});
        });
        loss = p.reduction == Reduction::none ? losses : sum_over_total(losses, p.total);
    }
    if (wants_grad({x_any, target_any}))
        record("cross_entropy", {x_any, target_any}, {loss},
               [p, x = Saved(x), target = Saved(target), weight = Saved(weight), max, sum](const Grads& dy) {
                   return backward(dy, p, x(), target(), weight(), max, sum);
               });
    return loss;
}

}  // namespace lc
