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
    const Device d = x.device();
    const double* base = statistics.data_on<double>(d);
    const Tensor g = contiguous(dy[0]);
    const Tensor dx = dy.needs(0) ? Tensor::empty_like(x) : Tensor();
    const Tensor dw = dy.needs(1) ? Tensor::empty({p.c}, x.dtype(), d) : Tensor(), db = dy.needs(2) ? Tensor::empty({p.c}, x.dtype(), d) : Tensor();
    visit_float_on(x.device(), x.dtype(), "batch_norm", [&]<class T>() {
        on::batch_norm_backward<T>(d, {p.n, p.c, p.s, p.eps, p.training, g.data_on<T>(d), x.data_on<T>(d), optional_data_on<T>(w, d), base, base + p.c, base + 2 * p.c, optional_mutable_data_on<T>(dx, d), optional_mutable_data_on<T>(dw, d), optional_mutable_data_on<T>(db, d)});
    });
    return {dx, dw, db};
}

void update_running(const Problem& p, const Tensor& running_mean, const Tensor& running_var, const double* base, double momentum, Device d) {
    const double count = double(p.n) * double(p.s);
    if (d.is_cpu()) return update_running_statistics(running_mean, running_var, base, 1, count, momentum);
    check_inplace("running statistics", running_mean);
    check_inplace("running statistics", running_var);
    LC_CHECK(running_mean.dtype() == running_var.dtype(), TypeError, "batch_norm: running_mean is ", running_mean.dtype(), ", running_var ", running_var.dtype());
    visit_float_storage(running_mean.dtype(), "batch_norm", [&]<class T>() {
        const BatchNormRunning<T> a{p.c, count, momentum, base, base + p.c, base + 2 * p.c, running_mean.mutable_data_on<T>(d), running_var.mutable_data_on<T>(d),
                                    running_mean.stride(0), running_var.stride(0)};
        replayable([d, a] {
            cuda::use(d);
            cuda::batch_norm_running<T>(a);
        });
    });
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
        statistics = Tensor::zeros({3, p.c}, DType::float64, x.device());
        if (!training) {
            copy_(select(statistics, 0, 0), running_mean);
            copy_(select(statistics, 0, 2), running_var);
        }
        const Device d = x.device();
        double *const base = statistics.mutable_data_on<double>(d), *const rest = base + p.c, *const var = rest + p.c;
        visit_float_on(x.device(), x.dtype(), "batch_norm", [&]<class T>() {
            if (x.numel() > 0)
                on::batch_norm_forward<T>(d, {p.n, p.c, p.s, eps, training, x.data_on<T>(d), optional_data_on<T>(w, d), optional_data_on<T>(b, d), base, rest, var, y.mutable_data_on<T>(d)});
        });
        if (training && running_mean && x.numel() > 0) update_running(p, running_mean, running_var, base, momentum, d);
    }
    if (wants_grad({x_any, w_any, b_any}))
        record("batch_norm", {x_any, w_any, b_any}, {y}, [p, x = Saved(x), w = Saved(w), statistics](const Grads& dy) {
            return backward(dy, p, x(), w(), statistics);
        });
    return y;
}

}  // namespace lc
