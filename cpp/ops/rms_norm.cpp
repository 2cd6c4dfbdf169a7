#include "cpp/ops/rms_norm.h"
#include "cpp/autograd/node.h"
#include "cpp/ops/copy.h"
#include "cpp/ops/norm_check.h"

namespace lc {
namespace {

double spacing_at_one(DType t) {
    switch (t) {
        case DType::float64: return 0x1p-52;
        case DType::bfloat16: return 0x1p-7;
        case DType::float16: return 0x1p-10;
        default: return 0x1p-23;
    }
}

Tensors backward(const Grads& dy, const Tensor& x, const Tensor& w, const Tensor& rstd, int64_t rows, int64_t cols) {
    const Tensor g = contiguous(dy[0]), dx = Tensor::empty_like(x), dw = dy.needs(1) ? Tensor::empty_like(w) : Tensor();
    visit_float_storage(x.dtype(), "rms_norm", [&]<class T>() {
        const Device d = x.device();
        on::rms_norm_backward<T>(d, {rows, cols, g.data_on<T>(d), x.data_on<T>(d), optional_data_on<T>(w, d), rstd.data_on<acc_t<T>>(d), dx.mutable_data_on<T>(d), optional_mutable_data_on<T>(dw, d)});
    });
    return {dx, dw};
}

}  // namespace

Tensor rms_norm(const Tensor& x_any, const Dims& normalized_shape, const Tensor& w_any, std::optional<double> eps) {
    const auto [rows, cols] = check_normalized_shape("rms_norm", x_any, normalized_shape);
    check_parameter("rms_norm", "weight", x_any, w_any, normalized_shape);
    Tensor x, w, y, rstd;
    {
        NoGrad no_grad;
        x = contiguous(x_any);
        w = optional_contiguous(w_any);
        y = Tensor::empty_like(x);
        rstd = Tensor::empty({rows}, x.dtype() == DType::float64 ? DType::float64 : DType::float32, x.device());
        visit_float_storage(x.dtype(), "rms_norm", [&]<class T>() {
            using A = acc_t<T>;
            const Device d = x.device();
            on::rms_norm_forward<T>(d, {rows, cols, A(eps.value_or(spacing_at_one(x.dtype()))), x.data_on<T>(d), optional_data_on<T>(w, d), y.mutable_data_on<T>(d), rstd.mutable_data_on<A>(d)});
        });
    }
    if (!wants_grad({x_any, w_any})) return y;
    const Saved sx(x), sw(w);
    const auto gradients = [rows, cols, sx, sw, rstd](const Grads& dy) { return backward(dy, sx(), sw(), rstd, rows, cols); };
    const auto again = [normalized_shape, sx, sw, eps] { return rms_norm(sx(), normalized_shape, sw(), eps); };
    record("rms_norm", {x_any, w_any}, {y}, gradients, again);
    return y;
}

}  // namespace lc
