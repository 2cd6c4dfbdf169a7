#include "cpp/ops/unary.h"

#include <cmath>

#include "cpp/autograd/node.h"
#include "cpp/ops/binary.h"
#include "cpp/ops/copy.h"

namespace lc {
namespace {

constexpr const char* kName[] = {"neg", "abs", "square", "relu", "sign", "clamp", "floor", "ceil", "round",
                                 "reciprocal", "sqrt", "rsqrt", "exp", "expm1", "log", "log1p", "sin", "cos", "erf", "tanh",
                                 "sigmoid", "leaky_relu", "elu", "silu", "gelu", "gelu", "softplus"};
const char* name(UnaryOp op) { return kName[int(op)]; }

// y = op(x); same shape and dtype.
void run(UnaryOp op, const Tensor& y, const Tensor& x, double p, double q) {
    if (y.numel() == 0) return;
    const Device d = x.device();
    const auto go = [&]<class T>(auto kernel) {
        kernel(d, UnaryForward<T>{op, p, q, x.data_on<T>(d), static_cast<T*>(const_cast<void*>(y.raw_on(d))), make_strided<2>(y.sizes(), {y.impl(), x.impl()})});
    };
    switch (x.dtype()) {
        case DType::int64: return go.operator()<int64_t>(on::unary_integer_forward<int64_t>);
        case DType::int32: return go.operator()<int32_t>(on::unary_integer_forward<int32_t>);
        case DType::uint8: return go.operator()<uint8_t>(on::unary_integer_forward<uint8_t>);
        default: visit_float_storage(x.dtype(), name(op), [&]<class T>() { go.template operator()<T>(on::unary_forward<T>); });
    }
}

Tensor unary_backward(UnaryOp op, const Tensor& dy, const Tensor& saved, double p, double q) {
    const Tensor dx = Tensor::empty(dy.sizes(), dy.dtype(), dy.device());
    if (dx.numel() == 0) return dx;
    visit_float_storage(dx.dtype(), name(op), [&]<class T>() {
        const Device d = dx.device();
        on::unary_backward<T>(d, {op, p, q, dy.data_on<T>(d), saved.data_on<T>(d), dx.mutable_data_on<T>(d), make_strided<3>(dx.sizes(), {dx.impl(), dy.impl(), saved.impl()})});
    });
    return dx;
}

Tensor unary(UnaryOp op, const Tensor& x, double p = 0, double q = 0) {
    if (LC_UNLIKELY(is_integral(x.dtype()))) {
        if (op > UnaryOp::round) return unary(op, detail::converted(x, DType::float32), p, q);
        if (x.dtype() == DType::bool_) throw_dtype(name(op), x.dtype(), "a number; convert with int() or float()");
    }
    const Tensor y = Tensor::empty_like(x);
    run(op, y, x, p, q);
    if (!wants_grad({x})) return y;
    const Saved saved(unary_saves_result(op) ? y : x);
    const auto backward = [op, p, q, saved](const Grads& dy) -> Tensors { return {unary_backward(op, dy[0], saved(), p, q)}; };
    if (unary_saves_result(op)) record(name(op), {x}, {y}, backward);
    else record(name(op), {x}, {y}, backward, [op, p, q, saved] { return unary(op, saved(), p, q); });
    return y;
}

Tensor test(TestOp op, const Tensor& x) {
    const Tensor y = Tensor::empty(x.sizes(), DType::bool_, x.device());
    if (is_integral(x.dtype())) {
        detail::copy_into(y, number(double(op == TestOp::isfinite)));
        return y;
    }
    const Tensor wide = x.dtype() == DType::float64 ? x : detail::converted(x, DType::float32);
    if (y.numel() > 0)
        visit_float(wide.dtype(), "isfinite", [&]<class T>() {
            const Device d = y.device();
            on::unary_test<T>(d, {op, wide.data_on<T>(d), y.mutable_data_on<bool>(d), make_strided<2>(y.sizes(), {y.impl(), wide.impl()})});
        });
    return y;
}

}  // namespace

Tensor neg(const Tensor& x) { return unary(UnaryOp::neg, x); }
Tensor abs(const Tensor& x) { return unary(UnaryOp::abs, x); }
Tensor square(const Tensor& x) { return unary(UnaryOp::square, x); }
Tensor reciprocal(const Tensor& x) { return unary(UnaryOp::reciprocal, x); }
Tensor sqrt(const Tensor& x) { return unary(UnaryOp::sqrt, x); }
Tensor rsqrt(const Tensor& x) { return unary(UnaryOp::rsqrt, x); }
Tensor exp(const Tensor& x) { return unary(UnaryOp::exp, x); }
Tensor expm1(const Tensor& x) { return unary(UnaryOp::expm1, x); }
Tensor log(const Tensor& x) { return unary(UnaryOp::log, x); }
Tensor log1p(const Tensor& x) { return unary(UnaryOp::log1p, x); }
Tensor sin(const Tensor& x) { return unary(UnaryOp::sin, x); }
Tensor cos(const Tensor& x) { return unary(UnaryOp::cos, x); }
Tensor erf(const Tensor& x) { return unary(UnaryOp::erf, x); }
Tensor tanh(const Tensor& x) { return unary(UnaryOp::tanh, x); }
Tensor sigmoid(const Tensor& x) { return unary(UnaryOp::sigmoid, x); }
Tensor sign(const Tensor& x) { return unary(UnaryOp::sign, x); }
Tensor floor(const Tensor& x) { return unary(UnaryOp::floor, x); }
Tensor ceil(const Tensor& x) { return unary(UnaryOp::ceil, x); }
Tensor round(const Tensor& x) { return unary(UnaryOp::round, x); }
Tensor relu(const Tensor& x) { return unary(UnaryOp::relu, x); }
Tensor leaky_relu(const Tensor& x, double negative_slope) { return unary(UnaryOp::leaky_relu, x, negative_slope); }
Tensor elu(const Tensor& x, double alpha) { return unary(UnaryOp::elu, x, alpha); }
Tensor silu(const Tensor& x) { return unary(UnaryOp::silu, x); }
Tensor gelu(const Tensor& x, bool tanh_approximation) { return unary(tanh_approximation ? UnaryOp::gelu_tanh : UnaryOp::gelu, x); }

Tensor softplus(const Tensor& x, double beta, double threshold) {
    LC_CHECK(beta != 0, ValueError, "softplus: beta must not be 0");
    return unary(UnaryOp::softplus, x, beta, threshold);
}

Tensor clamp(const Tensor& x, double min, double max) {
    LC_CHECK(!std::isnan(min) && !std::isnan(max), ValueError, "clamp: a bound is NaN: min=", min, ", max=", max);
    return unary(UnaryOp::clamp, x, min, max);
}

void clamp_(const Tensor& x, double min, double max) {
    check_inplace("clamp_", x);
    x.mutable_raw_on(x.device());                     // refuses read-only memory
    run(UnaryOp::clamp, x, x, min, max);
}

Tensor logical_not(const Tensor& x) { return eq(x, number(int64_t(0))); }
Tensor isnan(const Tensor& x) { return test(TestOp::isnan, x); }
Tensor isinf(const Tensor& x) { return test(TestOp::isinf, x); }
Tensor isfinite(const Tensor& x) { return test(TestOp::isfinite, x); }

}  // namespace lc
