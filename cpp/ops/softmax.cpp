#include "cpp/ops/softmax.h"
#include "cpp/autograd/node.h"
#include "cpp/ops/copy.h"

namespace lc {
namespace {

struct Rows {
    int64_t outer = 1, n = 1, inner = 1;
};

Rows rows_along(const char* op, const Tensor& x, int64_t dim) {
    const int d = wrap_dim(op, dim, x.dim());
    Rows r;
    for (int i = 0; i < x.dim(); ++i) (i < d ? r.outer : i == d ? r.n
                                                                : r.inner) *= x.size(i);
    return r;
}

Tensor backward(const char* op, const Tensor& dy_any, const Tensor& y, const Rows& r, bool log) {
    const Tensor dy = contiguous(dy_any), dx = Tensor::empty_like(y);
    visit_float(y.dtype(), op, [&]<class T>() {
        const Device d = y.device();
        on::softmax_backward<T>(d, {r.outer, r.n, r.inner, log, dy.data_on<T>(d), y.data_on<T>(d), dx.mutable_data_on<T>(d)});
    });
    return dx;
}

Tensor forward(const char* op, const Tensor& x_any, int64_t dim, bool log) {
    const Rows r = rows_along(op, x_any, dim);
    NoGrad no_grad;
    const Tensor x = contiguous(x_any), y = Tensor::empty_like(x);
    visit_float(x.dtype(), op, [&]<class T>() {
        const Device d = x.device();
        on::softmax_forward<T>(d, {r.outer, r.n, r.inner, log, x.data_on<T>(d), y.mutable_data_on<T>(d)});
    });
    return y;
}

Tensor run(const char* op, const Tensor& x, int64_t dim, bool log) {
    const Tensor y = forward(op, x, dim, log);
    if (wants_grad({x}))
        record(op, {x}, {y}, [op, log, r = rows_along(op, x, dim), y = Saved(y)](const Grads& dy) -> Tensors {
            return {backward(op, dy[0], y(), r, log)};
        });
    return y;
}

}  // namespace

Tensor softmax(const Tensor& x, int64_t dim) { return run("softmax", x, dim, false); }
Tensor log_softmax(const Tensor& x, int64_t dim) { return run("log_softmax", x, dim, true); }

}  // namespace lc
