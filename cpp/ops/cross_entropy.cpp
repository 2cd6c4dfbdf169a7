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
    Tensor device_total;                              // the same, where the host should not wait for it
    bool indices = true;
    Reduction reduction = Reduction::mean;

    template <class T> CrossEntropyProblem<T> arguments(const Tensor& x, const Tensor& target, const Tensor& weight) const {
        const Device d = x.device();
        return {rows.outer, rows.n, rows.inner, x.data_on<T>(d), indices ? target.data_on<int64_t>(d) : nullptr, indices ? nullptr : target.data_on<T>(d),
                weight ? weight.data_on<T>(d) : nullptr, ignore_index, acc_t<T>(smoothing)};
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

// On CUDA: the scalar loss, and its divisor left there for backward.
template <class T> Tensor reduced_there(Problem& p, const Tensor& losses, const Tensor& target, const Tensor& weight, DType dtype) {
    const Device d = losses.device();
    p.device_total = Tensor::empty({}, DType::float64, d);
    const Tensor y = Tensor::empty({}, dtype, d);
    const CrossEntropyTotal<T> a{losses.data_on<acc_t<T>>(d), losses.numel(), p.indices ? target.data_on<int64_t>(d) : nullptr, weight ? weight.data_on<T>(d) : nullptr,
                                 p.ignore_index, p.reduction == Reduction::mean, p.device_total.mutable_data_on<double>(d), y.mutable_data_on<T>(d)};
    replayable([a, d] {
        cuda::use(d);
        cuda::cross_entropy_total<T>(a);
    });
    return y;
}

Tensors backward(const Grads& dy, const Problem& p, const Tensor& x, const Tensor& target, const Tensor& weight, const Tensor& max, const Tensor& sum) {
    const Tensor dx = dy.needs(0) ? Tensor::empty_like(x) : Tensor();
    const Tensor dtarget = !p.indices && dy.needs(1) ? Tensor::empty_like(target) : Tensor();
    const Tensor upstream = contiguous(dy[0]);
    visit_float_on(x.device(), x.dtype(), "cross_entropy", [&]<class T>() {
        using A = acc_t<T>;
        const Device d = x.device();
        const bool each = p.reduction == Reduction::none;
        const CrossEntropyBackward<T> a{p.arguments<T>(x, target, weight), max.data_on<A>(d), sum.data_on<A>(d), upstream.data_on<T>(d), each ? 1 : 0,
                                        dx ? dx.mutable_data_on<T>(d) : nullptr, dtarget ? dtarget.mutable_data_on<T>(d) : nullptr,
                                        p.device_total ? p.device_total.data_on<double>(d) : nullptr};
        if (each || !d.is_cpu()) return on::cross_entropy_backward<T>(d, a);
        if constexpr (sizeof(T) > 2)
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
        const Device d = x.device();
        const DType statistics = x.dtype() == DType::float64 ? DType::float64 : DType::float32;
        const Tensor losses = Tensor::empty(rows, statistics, d);
        max = Tensor::empty(rows, statistics, d);
        sum = Tensor::empty(rows, statistics, d);
        p.total = shared_total();
        visit_float_on(x.device(), x.dtype(), "cross_entropy", [&]<class T>() {
            if constexpr (sizeof(T) > 2)              // on CUDA a class that is none shows in the kernel
                if (d.is_cpu() && p.indices)
                    replayable([total = p.total, mean = p.reduction == Reduction::mean, t = target.data<int64_t>(), rows = target.numel(),
                                w = weight ? weight.data<T>() : nullptr, n = p.rows.n, ignore_index] {
                        const double counted = counted_weight<T>("cross_entropy", t, rows, w, n, ignore_index);
                        if (mean) *total = counted;
                    });
            if (!p.indices && p.reduction == Reduction::mean) *p.total = double(losses.numel());
            using A = acc_t<T>;
            on::cross_entropy_forward<T>(d, {p.arguments<T>(x, target, weight), max.mutable_data_on<A>(d), sum.mutable_data_on<A>(d), losses.mutable_data_on<A>(d)});
            if (p.reduction == Reduction::none) loss = detail::converted(losses, x.dtype());
            else if (!d.is_cpu()) loss = reduced_there<T>(p, losses, target, weight, x.dtype());
        });
        if (!loss) loss = sum_over_total(losses, p.total);
    }
    if (wants_grad({x_any, target_any}))
        record("cross_entropy", {x_any, target_any}, {loss},
               [p, x = Saved(x), target = Saved(target), weight = Saved(weight), max, sum](const Grads& dy) {
                   return backward(dy, p, x(), target(), weight(), max, sum);
               });
    return loss;
}

}  // namespace lc
