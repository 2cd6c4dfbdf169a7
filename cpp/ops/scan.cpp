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
        cpu::scan_backward<T>(ScanBackward<T>{dy.data<T>(), x ? x.data<T>() : nullptr, y ? y.data<T>() : nullptr, shape, dx.mutable_data<T>()});
    });
    return dx;
}

Tensor scan(const char* op, const Tensor& given, int64_t dim, bool product) {
    const int d = wrap_dim(op, dim, given.dim());
    const Tensor x = contiguous(is_integral(given.dtype()) ? to(given, DType::int64) : given), y = Tensor::empty_like(x);
    const ScanShape shape = shape_of(x, d, product);
    if (x.dtype() == DType::int64)
        cpu::scan_forward<int64_t>(ScanForward<int64_t>{x.data<int64_t>(), shape, y.mutable_data<int64_t>()});
    else
        visit_float_storage(x.dtype(), op, [&]<class T>() { cpu::scan_forward<T>(ScanForward<T>{x.data<T>(), shape, y.mutable_data<T>()}); });
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
