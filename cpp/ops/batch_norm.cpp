#include "cpp/ops/batch_norm.h"
#include "cpp/autograd/node.h"
#include "cpp/ops/copy.h"
#include "cpp/ops/norm_check.h"
#include "cpp/ops/views.h"

namespace lc {
namespace {

struct Problem {
    int64_t n, c, s;
    double eps;
    bool training;
};

// statistics: float64, [3, c]: base, rest, var.
Tensors backward(const Grads& dy, const Problem& p, const Tensor& x, const Tensor& w, const Tensor& statistics) {
    const double* base = statistics.data<double>();
    const Tensor g = contiguous(dy[0]);
    const Tensor dx = dy.needs(0) ? Tensor::empty_like(x) : Tensor();
    const Tensor dw = dy.needs(1) ? Tensor::empty({p.c}, x.dtype()) : Tensor(), db = dy.needs(2) ? Tensor::empty({p.c}, x.dtype()) : Tensor();
    visit_float(x.dtype(), "batch_norm", [&]<class T>() {
        cpu::batch_norm_backward<T>({p.n, p.c, p.s, p.eps, p.training, g.data<T>(), x.data<T>(), optional_data<T>(w), base, base + p.c,
                                     base + 2 * p.c, optional_mutable_data<T>(dx), optional_mutable_data<T>(dw), optional_mutable_data<T>(db)});
    });
    return {dx, dw, db};
}

}  // namespace

Tensor batch_norm(const Tensor& x_any, const Tensor& running_mean, const Tensor& running_var, const Tensor& w_any, const Tensor& b_any,
                  bool training, double momentum, double eps) {
    LC_CHECK(x_any.dim() >= 2, ValueError, "batch_norm: input needs at least 2 dimensions (n, c, ...), has shape ", x_any.sizes());
    const Problem p{x_any.size(0), x_any.size(1), elements_from(x_any, 2), eps, training};
    LC_CHECK(training || (running_mean && running_var), ValueError, "batch_norm: evaluation needs running_mean and running_var");
    LC_CHECK(!training || p.n * p.s != 1, ValueError, "batch_norm: training needs more than one value per channel, input has shape ", x_any.sizes());
    check_parameter("batch_norm", "weight", x_any, w_any, {p.c});
    check_parameter("batch_norm", "bias", x_any, b_any, {p.c});
    check_running_statistics("batch_norm", running_mean, running_var, p.c);

    Tensor x, w, b, y, statistics;
    {
        NoGrad no_grad;
        x = contiguous(x_any);
        w = optional_contiguous(w_any);
        b = optional_contiguous(b_any);
        y = Tensor::empty_like(x);
        statistics = Tensor::zeros({3, p.c}, DType::float64);
        if (!training) {
            copy_(select(statistics, 0, 0), running_mean);
            copy_(select(statistics, 0, 2), running_var);
        }
        double *const base = statistics.mutable_data<double>(), *const rest = base + p.c, *const var = rest + p.c;
        visit_float(x.dtype(), "batch_norm", [&]<class T>() {
            if (x.numel() > 0)
                cpu::batch_norm_forward<T>({p.n, p.c, p.s, eps, training, x.data<T>(), optional_data<T>(w), optional_data<T>(b),
                                            base, rest, var, y.mutable_data<T>()});
        });
        if (training && running_mean && x.numel() > 0)
            update_running_statistics(running_mean, running_var, base, 1, double(p.n) * double(p.s), momentum);
    }
    if (wants_grad({x_any, w_any, b_any}))
        record("batch_norm", {x_any, w_any, b_any}, {y}, [p, x = Saved(x), w = Saved(w), statistics](const Grads& dy) {
            return backward(dy, p, x(), w(), statistics);
        });
    return y;
}

}  // namespace lc
