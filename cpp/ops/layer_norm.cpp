#include "cpp/ops/layer_norm.h"
#include "cpp/autograd/node.h"
#include "cpp/ops/copy.h"
#include "cpp/ops/norm_check.h"

namespace lc {
namespace {

DType statistics_dtype(DType t) { return t == DType::float64 ? t : DType::float32; }

Tensors backward(const Grads& dy, const Tensor& x, const Tensor& w, const Tensor& base, const Tensor& rest, const Tensor& rstd, int64_t rows, int64_t cols) {
    const Tensor g = contiguous(dy[0]), dx = Tensor::empty_like(x);
    const bool parameters = dy.needs(1) || dy.needs(2);
    // dw and db have w's shape even where only b exists.
    const Device d = x.device();
    const Tensor dw = parameters ? Tensor::empty({cols}, x.dtype(), d) : Tensor(), db = parameters ? Tensor::empty({cols}, x.dtype(), d) : Tensor();
    visit_float_storage(x.dtype(), "layer_norm", [&]<class T>() {
        using A = acc_t<T>;
        on::layer_norm_backward<T>(d, {rows, cols, g.data_on<T>(d), x.data_on<T>(d), optional_data_on<T>(w, d), base.data_on<A>(d), rest.data_on<A>(d), rstd.data_on<A>(d), dx.mutable_data_on<T>(d), optional_mutable_data_on<T>(dw, d), optional_mutable_data_on<T>(db, d)});
    });
    return {dx, dy.needs(1) ? dw : Tensor(), dy.needs(2) ? db : Tensor()};
}

}  // namespace

Tensor layer_norm(const Tensor& x_any, const Dims& normalized_shape, const Tensor& w_any, const Tensor& b_any, double eps) {
    const auto [rows, cols] = check_normalized_shape("layer_norm", x_any, normalized_shape);
    check_parameter("layer_norm", "weight", x_any, w_any, normalized_shape);
    check_parameter("layer_norm", "bias", x_any, b_any, normalized_shape);
    Tensor x, w, b, y, base, rest, rstd;
    {
        NoGrad no_grad;
        x = contiguous(x_any);
        w = optional_contiguous(w_any);
        b = optional_contiguous(b_any);
        y = Tensor::empty_like(x);
        base = Tensor::empty({rows}, statistics_dtype(x.dtype()), x.device());
        rest = Tensor::empty_like(base);
        rstd = Tensor::empty_like(base);
        visit_float_storage(x.dtype(), "layer_norm", [&]<class T>() {
            using A = acc_t<T>;
            const Device d = x.device();
            on::layer_norm_forward<T>(d, {rows, cols, A(eps), x.data_on<T>(d), optional_data_on<T>(w, d), optional_data_on<T>(b, d), y.mutable_data_on<T>(d), base.mutable_data_on<A>(d), rest.mutable_data_on<A>(d), rstd.mutable_data_on<A>(d)});
        });
    }
    if (!wants_grad({x_any, w_any, b_any})) return y;
    const Saved sx(x), sw(w);
    const auto gradients = [rows, cols, normalized_shape, sx, sw, base, rest, rstd](const Grads& dy) {
        Tensors d = backward(dy, sx(), sw(), base, rest, rstd, rows, cols);
        for (size_t i = 1; i < 3; ++i)
            if (d[i]) d[i] = Tensor::view_of(d[i], normalized_shape, contiguous_strides(normalized_shape), 0);
        return d;
    };
    const auto again = [normalized_shape, sx, sw, sb = Saved(b), eps] { return layer_norm(sx(), normalized_shape, sw(), sb(), eps); };
    record("layer_norm", {x_any, w_any, b_any}, {y}, gradients, again);
    return y;
}

}  // namespace lc
