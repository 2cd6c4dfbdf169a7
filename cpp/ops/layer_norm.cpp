#include "cpp/ops/layer_norm.h"
#include "cpp/autograd/node.h"
#include "cpp/ops/binary.h"
#include "cpp/ops/copy.h"
#include "cpp/ops/norm_check.h"

namespace lc {
namespace {

DType statistics_dtype(DType t) { return t == DType::float64 ? t : DType::float32; }

// What forward leaves. x: what was normalized, with a residual the sum that the kernel made.
struct Normed {
    int64_t rows, cols;
    Tensor x, w, b, y, base, rest, rstd;
};

Normed normalize(const Tensor& x_any, const Tensor& residual, const Dims& normalized_shape, const Tensor& w_any, const Tensor& b_any, double eps) {
    const auto [rows, cols] = check_normalized_shape("layer_norm", x_any, normalized_shape);
    check_parameter("layer_norm", "weight", x_any, w_any, normalized_shape);
    check_parameter("layer_norm", "bias", x_any, b_any, normalized_shape);
    NoGrad no_grad;
    const Tensor from = contiguous(x_any), beside = optional_contiguous(residual);
    Normed n{rows, cols, beside ? Tensor::empty_like(from) : from, optional_contiguous(w_any), optional_contiguous(b_any), Tensor::empty_like(from), {}, {}, {}};
    n.base = Tensor::empty({rows}, statistics_dtype(from.dtype()), from.device());
    n.rest = Tensor::empty_like(n.base);
    n.rstd = Tensor::empty_like(n.base);
    visit_float_storage(from.dtype(), "layer_norm", [&]<class T>() {
        using A = acc_t<T>;
        const Device d = from.device();
        LayerNormForward<T> a{rows, cols, A(eps), from.data_on<T>(d), optional_data_on<T>(n.w, d), optional_data_on<T>(n.b, d), n.y.mutable_data_on<T>(d), n.base.mutable_data_on<A>(d), n.rest.mutable_data_on<A>(d), n.rstd.mutable_data_on<A>(d)};
        a.residual = optional_data_on<T>(beside, d);
        if (beside) a.sum = n.x.mutable_data_on<T>(d);
        on::layer_norm_forward<T>(d, a);
    });
    return n;
}

// Saved for backward: what was normalized and its parameters, in `normalized_shape`.
struct Kept {
    Kept(const Normed& n, const Dims& shape) : rows(n.rows), cols(n.cols), shape(shape), x(n.x), w(n.w), base(n.base), rest(n.rest), rstd(n.rstd) {}

    // dx, dw, db. dsum: undefined, or added to dx.
    Tensors gradients(const Tensor& dy, const Tensor& dsum, bool parameters) const {
        const Tensor x = this->x(), w = this->w(), g = contiguous(dy), add = optional_contiguous(dsum), dx = Tensor::empty_like(x);
        const Device d = x.device();
        // dw and db have w's shape even where only b exists.
        const Tensor dw = parameters ? Tensor::empty(shape, x.dtype(), d) : Tensor(), db = parameters ? Tensor::empty(shape, x.dtype(), d) : Tensor();
        visit_float_storage(x.dtype(), "layer_norm", [&]<class T>() {
            using A = acc_t<T>;
            LayerNormBackward<T> a{rows, cols, g.data_on<T>(d), x.data_on<T>(d), optional_data_on<T>(w, d), base.data_on<A>(d), rest.data_on<A>(d), rstd.data_on<A>(d), dx.mutable_data_on<T>(d), optional_mutable_data_on<T>(dw, d), optional_mutable_data_on<T>(db, d)};
            a.dsum = optional_data_on<T>(add, d);
            on::layer_norm_backward<T>(d, a);
        });
        return {dx, dw, db};
    }

    int64_t rows, cols;
    Dims shape;
    Saved x, w;
    Tensor base, rest, rstd;
};

}  // namespace

Tensor layer_norm(const Tensor& x, const Dims& normalized_shape, const Tensor& w, const Tensor& b, double eps) {
    const Normed n = normalize(x, {}, normalized_shape, w, b, eps);
    if (!wants_grad({x, w, b})) return n.y;
    const Kept kept(n, normalized_shape);
    const auto gradients = [kept](const Grads& dy) {
        const Tensors d = kept.gradients(dy[0], {}, dy.needs(1) || dy.needs(2));
        return Tensors{d[0], dy.needs(1) ? d[1] : Tensor(), dy.needs(2) ? d[2] : Tensor()};
    };
    record("layer_norm", {x, w, b}, {n.y}, gradients, [kept, b = Saved(n.b), eps] { return layer_norm(kept.x(), kept.shape, kept.w(), b(), eps); });
    return n.y;
}

Tensors add_layer_norm(const Tensor& x, const Tensor& residual, const Dims& normalized_shape, const Tensor& w, const Tensor& b, double eps) {
    if (!one_pass(x, residual)) {
        const Tensor sum = residual ? add(x, residual) : x;
        return {sum, layer_norm(sum, normalized_shape, w, b, eps)};
    }
    const Normed n = normalize(x, residual, normalized_shape, w, b, eps);
    const Tensor sum = residual ? n.x : Tensor::view_of(n.x, n.x.sizes(), n.x.strides(), n.x.offset());
    if (!wants_grad({x, residual, w, b})) return {sum, n.y};
    const Kept kept(n, normalized_shape);
    const auto gradients = [kept](const Grads& dy) {
        const Tensors d = kept.gradients(dy[1] ? dy[1] : Tensor::zeros(dy[0].sizes(), dy[0].dtype(), dy[0].device()), dy[0], dy.needs(2) || dy.needs(3));
        return Tensors{d[0], d[0], dy.needs(2) ? d[1] : Tensor(), dy.needs(3) ? d[2] : Tensor()};
    };
    record_sum_and_norm("add_layer_norm", {x, residual, w, b}, sum, n.y, gradients, [kept, b = Saved(n.b), eps] { return layer_norm(kept.x(), kept.shape, kept.w(), b(), eps); });
    return {sum, n.y};
}

}  // namespace lc
