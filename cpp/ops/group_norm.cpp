#include "cpp/ops/group_norm.h"
#include "cpp/autograd/node.h"
#include "cpp/ops/copy.h"
#include "cpp/ops/norm_check.h"

namespace lc {
namespace {

struct Problem {
    int64_t n, c, s, groups;
    double eps;
};

Tensors backward(const Grads& dy, const Problem& p, const Tensor& x, const Tensor& w, const Tensor& statistics) {
    const int64_t count = p.n * p.groups;
    const Device d = x.device();
    const double* base = statistics.data_on<double>(d);
    const Tensor g = contiguous(dy[0]), dx = Tensor::empty_like(x);
    const Tensor dw = dy.needs(1) ? Tensor::empty({p.c}, x.dtype(), d) : Tensor(), db = dy.needs(2) ? Tensor::empty({p.c}, x.dtype(), d) : Tensor();
    visit_float_on(x.device(), x.dtype(), "group_norm", [&]<class T>() {
        on::group_norm_backward<T>(d, {p.n, p.c, p.s, p.groups, p.eps, g.data_on<T>(d), x.data_on<T>(d), optional_data_on<T>(w, d), base, base + count, base + 2 * count, dx.mutable_data_on<T>(d), optional_mutable_data_on<T>(dw, d), optional_mutable_data_on<T>(db, d)});
    });
    return {dx, dw, db};
}

}  // namespace

GroupNormResult group_norm_with_statistics(const char* op, const Tensor& x_any, int64_t groups, const Tensor& w_any, const Tensor& b_any, double eps) {
    LC_CHECK(x_any.dim() >= 2, ValueError, op, ": input needs at least 2 dimensions (n, c, ...), has shape ", x_any.sizes());
    const Problem p{x_any.size(0), x_any.size(1), elements_from(x_any, 2), groups, eps};
    LC_CHECK(groups > 0 && p.c % groups == 0, ValueError, op, ": ", p.c, " channels do not divide into ", groups, " groups");
    check_parameter(op, "weight", x_any, w_any, {p.c});
    check_parameter(op, "bias", x_any, b_any, {p.c});

    Tensor x, w, b, y, statistics;
    {
        NoGrad no_grad;
        x = contiguous(x_any);
        w = optional_contiguous(w_any);
        b = optional_contiguous(b_any);
        y = Tensor::empty_like(x);
        statistics = Tensor::empty({3, p.n, groups}, DType::float64, x.device());
        const Device d = x.device();
        double *const base = statistics.mutable_data_on<double>(d), *const rest = base + p.n * groups, *const var = rest + p.n * groups;
        visit_float_on(x.device(), x.dtype(), op, [&]<class T>() {
            on::group_norm_forward<T>(d, {p.n, p.c, p.s, groups, eps, x.data_on<T>(d), optional_data_on<T>(w, d), optional_data_on<T>(b, d), y.mutable_data_on<T>(d), base, rest, var});
        });
    }
    if (wants_grad({x_any, w_any, b_any}))
        record(op, {x_any, w_any, b_any}, {y}, [p, x = Saved(x), w = Saved(w), statistics](const Grads& dy) {
            return backward(dy, p, x(), w(), statistics);
        });
    return {y, statistics};
}

Tensor group_norm(const Tensor& x, int64_t num_groups, const Tensor& w, const Tensor& b, double eps) {
    return group_norm_with_statistics("group_norm", x, num_groups, w, b, eps).y;
}

}  // namespace lc
