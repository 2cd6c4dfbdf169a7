// linear. Contract: cpp/ops/linear.h
#include "cpp/ops/linear.h"
#include "cpp/autograd/node.h"
#include "cpp/ops/copy.h"
#include "cpp/ops/unary.h"

namespace lc {
namespace {

constexpr const char* kActivations[] = {"none", "relu", "gelu", "gelu_tanh", "silu", "sigmoid", "tanh"};

// x[..., in] as rows, one stride apart; copied only where no stride walks them.
detail::Matrix rows_of(Tensor& x) {
    const int n = x.dim();
    bool even = true;
    int64_t row = 0, span = 1;
    for (int i = n - 2; i >= 0; --i) {
        if (x.size(i) == 1) continue;
        if (span == 1) row = x.stride(i);
        even = even && x.stride(i) == span * row;
        span *= x.size(i);
    }
    if (!even) {
        x = contiguous(x);
        row = x.size(-1);
    }
    return {x.address(), row, x.stride(-1)};
}

detail::Matrix matrix_of(const Tensor& x) { return {x.address(), x.stride(0), x.stride(1)}; }
detail::Matrix transposed(detail::Matrix a) { return {a.data, a.col, a.row}; }

// ---- forward ------------------------------------------------------------------------------------------------------

struct Forward {
    Tensor y, saved;
};

Forward linear_forward(Tensor x, const Tensor& w, const Tensor& b, Activation activation, bool save) {
    LC_CHECK(x.dim() >= 1 && w.dim() == 2, ValueError, "linear: wants input [..., in] and weight [out, in], got ", x.sizes(), " and ", w.sizes());
    LC_CHECK(x.size(-1) == w.size(1), ValueError, "linear: input has ", x.size(-1), " features, weight takes ", w.size(1),
             " (input ", x.sizes(), ", weight ", w.sizes(), ")");
    LC_CHECK(x.dtype() == w.dtype() && (!b || b.dtype() == w.dtype()), TypeError, "linear: dtypes differ: input ", x.dtype(), ", weight ",
             w.dtype(), b ? text(", bias ", b.dtype()) : "");
    LC_CHECK(!b || (b.dim() == 1 && b.size(0) == w.size(0)), ValueError, "linear: bias must be [", w.size(0), "], got ", b.sizes());

    const Device device = x.device();
    check_same_device("linear", device, w.device());
    if (b) check_same_device("linear", device, b.device());
    Dims sizes = x.sizes();
    sizes[sizes.size() - 1] = w.size(0);
    Forward f;
    f.y = Tensor::empty(sizes, x.dtype(), x.device());
    if (save && activation != Activation::none) f.saved = activation_saves_result(activation) ? f.y : Tensor::empty_like(f.y);
    if (f.y.numel() == 0) return f;

    const Tensor bias = b ? contiguous(b) : b;
    const int64_t out = w.size(0);
    detail::Product p{rows_of(x), transposed(matrix_of(w)), f.y.mutable_raw_on(device), out, f.y.numel() / out, out, w.size(1)};
    p.bias = bias ? bias.raw_on(device) : nullptr;
    p.activation = activation;
    if (f.saved && !activation_saves_result(activation)) p.before = f.saved.mutable_raw_on(device);
    detail::multiply(x.dtype(), p, device);
    return f;
}

// ---- backward -----------------------------------------------------------------------------------------------------

struct Gradients {
    Tensor dz, db;
};

Gradients activation_backward(const Tensor& dy, const Tensor& saved, Activation activation, bool bias) {
    const bool act = activation != Activation::none;
    if (!act && !bias) return {dy, {}};
    const int64_t cols = dy.size(-1);
    Gradients g{act ? Tensor::empty_like(dy) : dy, bias ? Tensor::empty({cols}, dy.dtype(), dy.device()) : Tensor()};
    visit_float_storage(dy.dtype(), "linear", [&]<class T>() {
        const Device d = dy.device();
        on::linear_backward<T>(d, {dy.data_on<T>(d), act ? saved.data_on<T>(d) : nullptr, act ? g.dz.mutable_data_on<T>(d) : nullptr, bias ? g.db.mutable_data_on<T>(d) : nullptr, cols ? dy.numel() / cols : 0, cols, activation});
    });
    return g;
}

Tensors linear_backward(const Grads& g, Tensor x, const Tensor& w, const Tensor& saved, Activation activation) {
    const Gradients up = activation_backward(contiguous(g[0]), saved, activation, g.needs(2));
    const int64_t out = w.size(0), in = w.size(1), rows = out ? up.dz.numel() / out : 0;
    const Device device = x.device();
    const detail::Matrix dz{up.dz.raw_on(device), out, 1};
    Tensor dx, dw;
    if (g.needs(0)) {
        dx = Tensor::empty_like(x);
        detail::multiply(x.dtype(), {dz, matrix_of(w), dx.mutable_raw_on(device), in, in ? x.numel() / in : 0, in, out}, device);
    }
    if (g.needs(1)) {
        dw = Tensor::empty_like(w);
        detail::multiply(x.dtype(), {transposed(dz), rows_of(x), dw.mutable_raw_on(device), in, out, in, rows}, device);
    }
    return {dx, dw, up.db};
}

}  // namespace

Activation parse_activation(const char* op, const std::string& name) {
    for (size_t i = 0; i < std::size(kActivations); ++i)
        if (name == kActivations[i]) return Activation(i);
    std::string known;
    for (const char* a : kActivations) known += text(known.empty() ? "" : ", ", a);
    throw ValueError(text(op, ": no activation '", name, "'; there are ", known));
}

Tensor linear(const Tensor& x, const Tensor& w, const Tensor& b, Activation activation) {
    const bool wanted = wants_grad({x, w, b});
    Forward f = linear_forward(x, w, b, activation, wanted);
    if (!wanted) return f.y;
    const Saved saved(f.saved);
    const auto backward = [x = Saved(x), w = Saved(w), saved, activation](const Grads& dy) {
        return linear_backward(dy, x(), w(), saved(), activation);
    };
    if (activation == Activation::none || activation_saves_result(activation)) record("linear", {x, w, b}, {f.y}, backward);
    else record("linear", {x, w, b}, {f.y}, backward, [saved, activation] {
        return activation == Activation::silu ? silu(saved()) : gelu(saved(), activation == Activation::gelu_tanh);
    });
    return f.y;
}

}  // namespace lc
