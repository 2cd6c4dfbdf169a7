// scan: cumsum, cumprod. Contract: cpp/ops/scan.h
#include "cpp/ops/scan.h"
#include "cpp/autograd/node.h"
#include "cpp/ops/copy.h"

namespace lc {
namespace {

ScanShape shape_of(const Tensor& x, int dim, bool product) {
    ScanShape s{1, 1, 1, product};
    for (int d = 0; d < x.dim(); ++d) (d < dim ? s.lead : d == dim ? s.n
                                                                   : s.tail) *= x.size(d);
    return s;
}

Tensor scan_backward(const Tensor& gradient, const Tensor& x, const Tensor& y, const ScanShape& shape) {
    const Tensor dy = contiguous(gradient), dx = Tensor::empty_like(dy);
    visit_float_storage(dy.dtype(), "scan", [&]<class T>() {
        const Device d = dy.device();
        on::scan_backward<T>(d, {dy.data_on<T>(d), x ? x.data_on<T>(d) : nullptr, y ? y.data_on<T>(d) : nullptr, shape, dx.mutable_data_on<T>(d)});
    });
    return dx;
}

Tensor scan(const char* op, const Tensor& given, int64_t dim, bool product) {
    const int d = wrap_dim(op, dim, given.dim());
    const Tensor x = contiguous(is_integral(given.dtype()) ? to(given, DType::int64) : given), y = Tensor::empty_like(x);
    const ScanShape shape = shape_of(x, d, product);
    const auto go = [&]<class T>() { on::scan_forward<T>(x.device(), {x.data_on<T>(x.device()), shape, y.mutable_data_on<T>(x.device())}); };
    if (x.dtype() == DType::int64) go.operator()<int64_t>();
    else visit_float_storage(x.dtype(), op, go);
    if (wants_grad({x})) {
        if (product)
            record(op, {x}, {y}, [shape, x = Saved(x), y = Saved(y)](const Grads& dy) -> Tensors { return {scan_backward(dy[0], x(), y(), shape)}; });
        else
            record(op, {x}, {y}, [shape](const Grads& dy) -> Tensors { return {scan_backward(dy[0], {}, {}, shape)}; });
    }
    return y;
}

}  // namespace

Tensor cumsum(const Tensor& x, int64_t dim) { return scan("cumsum", x, dim, false); }
Tensor cumprod(const Tensor& x, int64_t dim) { return scan("cumprod", x, dim, true); }

}  // namespace lc
