#include "cpp/ops/rms_norm.h"
#include "cpp/autograd/node.h"
#include "cpp/ops/binary.h"
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

// What forward leaves. x: what was normalized, with a residual the sum that the kernel made.
struct Normed {
    int64_t rows, cols;
    Tensor x, w, y, rstd;
};

Normed normalize(const Tensor& x_any, const Tensor& residual, const Dims& normalized_shape, const Tensor& w_any, std::optional<double> eps) {
    const auto [rows, cols] = check_normalized_shape("rms_norm", x_any, normalized_shape);
    check_parameter("rms_norm", "weight", x_any, w_any, normalized_shape);
    NoGrad no_grad;
    const Tensor from = contiguous(x_any), beside = optional_contiguous(residual);
    Normed n{rows, cols, beside ? Tensor::empty_like(from) : from, optional_contiguous(w_any), Tensor::empty_like(from), {}};
    n.rstd = Tensor::empty({rows}, from.dtype() == DType::float64 ? DType::float64 : DType::float32, from.device());
    visit_float_storage(from.dtype(), "rms_norm", [&]<class T>() {
        using A = acc_t<T>;
        const Device d = from.device();
        RmsNormForward<T> a{rows, cols, A(eps.value_or(spacing_at_one(from.dtype()))), from.data_on<T>(d), optional_data_on<T>(n.w, d), n.y.mutable_data_on<T>(d), n.rstd.mutable_data_on<A>(d)};
        a.residual = optional_data_on<T>(beside, d);
        if (beside) a.sum = n.x.mutable_data_on<T>(d);
        on::rms_norm_forward<T>(d, a);
    });
    return n;
}

// Saved for backward: what was normalized and its weight.
struct Kept {
    explicit Kept(const Normed& n) : rows(n.rows), cols(n.cols), x(n.x), w(n.w), rstd(n.rstd) {}

    // dx, dw. dsum: undefined, or added to dx.
    Tensors gradients(const Tensor& dy, const Tensor& dsum, bool weight) const {
        const Tensor x = this->x(), w = this->w(), g = contiguous(dy), add = optional_contiguous(dsum);
        const Tensor dx = Tensor::empty_like(x), dw = weight ? Tensor::empty_like(w) : Tensor();
        visit_float_storage(x.dtype(), "rms_norm", [&]<class T>() {
            const Device d = x.device();
            RmsNormBackward<T> a{rows, cols, g.data_on<T>(d), x.data_on<T>(d), optional_data_on<T>(w, d), rstd.data_on<acc_t<T>>(d), dx.mutable_data_on<T>(d), optional_mutable_data_on<T>(dw, d)};
            a.dsum = optional_data_on<T>(add, d);
            on::rms_norm_backward<T>(d, a);
        });
        return {dx, dw};
    }

    int64_t rows, cols;
    Saved x, w;
    Tensor rstd;
};

}  // namespace

Tensor rms_norm(const Tensor& x, const Dims& normalized_shape, const Tensor& w, std::optional<double> eps) {
    const Normed n = normalize(x, {}, normalized_shape, w, eps);
    if (!wants_grad({x, w})) return n.y;
    const Kept kept(n);
    record("rms_norm", {x, w}, {n.y}, [kept](const Grads& dy) { return kept.gradients(dy[0], {}, dy.needs(1)); }, [kept, normalized_shape, eps] { return rms_norm(kept.x(), normalized_shape, kept.w(), eps); });
    return n.y;
}

Tensors add_rms_norm(const Tensor& x, const Tensor& residual, const Dims& normalized_shape, const Tensor& w, std::optional<double> eps) {
    if (!one_pass(x, residual)) {
        const Tensor sum = residual ? add(x, residual) : x;
        return {sum, rms_norm(sum, normalized_shape, w, eps)};
    }
    const Normed n = normalize(x, residual, normalized_shape, w, eps);
    const Tensor sum = residual ? n.x : Tensor::view_of(n.x, n.x.sizes(), n.x.strides(), n.x.offset());
    if (!wants_grad({x, residual, w})) return {sum, n.y};
    const Kept kept(n);
    const auto gradients = [kept](const Grads& dy) {
        const Tensors d = kept.gradients(dy[1] ? dy[1] : Tensor::zeros(dy[0].sizes(), dy[0].dtype(), dy[0].device()), dy[0], dy.needs(2));
        return Tensors{d[0], d[0], d[1]};
    };
    record_sum_and_norm("add_rms_norm", {x, residual, w}, sum, n.y, gradients, [kept, normalized_shape, eps] { return rms_norm(kept.x(), normalized_shape, kept.w(), eps); });
    return {sum, n.y};
}

}  // namespace lc
