// linear. Contract: cpp/ops/linear.h
#include "cpp/ops/linear.h"
#include "cpp/autograd/node.h"
#include "cpp/ops/binary.h"
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

Forward linear_forward(Tensor x, const Tensor& w, const Tensor& b, Activation activation, bool save, const Tensor& residual = {}) {
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
    const Tensor beside = residual ? contiguous(residual) : residual;
    if (beside) p.residual = beside.raw_on(device);
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

// dz w; with an activation that times its slope.
Tensor input_gradient(const Tensor& dz, const Tensor& w, const Tensor& like, const Tensor& slope_of = {}, Activation activation = Activation::none) {
    const Tensor dx = Tensor::empty_like(like);
    const Device device = like.device();
    const int64_t out = w.size(0), in = w.size(1);
    detail::Product p{{dz.raw_on(device), out, 1}, matrix_of(w), dx.mutable_raw_on(device), in, in ? like.numel() / in : 0, in, out};
    p.slope_of = slope_of ? slope_of.raw_on(device) : nullptr;
    p.activation = activation;
    detail::multiply(like.dtype(), p, device);
    return dx;
}

// dz' x
Tensor weight_gradient(const Tensor& dz, Tensor x, const Tensor& w) {
    const Tensor dw = Tensor::empty_like(w);
    const Device device = x.device();
    const int64_t out = w.size(0), in = w.size(1);
    detail::multiply(x.dtype(), {{dz.raw_on(device), 1, out}, rows_of(x), dw.mutable_raw_on(device), in, out, in, out ? dz.numel() / out : 0}, device);
    return dw;
}

Tensors linear_backward(const Grads& g, const Tensor& x, const Tensor& w, const Tensor& saved, Activation activation) {
    const Gradients up = activation_backward(contiguous(g[0]), saved, activation, g.needs(2));
    return {g.needs(0) ? input_gradient(up.dz, w, x) : Tensor(), g.needs(1) ? weight_gradient(up.dz, x, w) : Tensor(), up.db};
}

}  // namespace

Activation parse_activation(const char* op, const std::string& name) {
    for (size_t i = 0; i < std::size(kActivations); ++i)
        if (name == kActivations[i]) return Activation(i);
    std::string known;
    for (const char* a : kActivations) known += text(known.empty() ? "" : ", ", a);
    throw ValueError(text(op, ": no activation '", name, "'; there are ", known));
}

namespace {

// A residual that the product can add itself.
bool added_in_product(const Tensor& x, const Tensor& w, const Tensor& residual) {
    if (!residual || x.device().is_cpu() || residual.device() != x.device() || residual.dtype() != x.dtype() || residual.dim() != x.dim()) return false;
    for (int i = 0; i < x.dim() - 1; ++i)
        if (residual.size(i) != x.size(i)) return false;
    return w.dim() == 2 && residual.size(-1) == w.size(0);
}

// What a product with an activation is made again from: the sum before it.
Tensor activated(const Tensor& z, Activation activation) {
    return activation == Activation::silu ? silu(z) : gelu(z, activation == Activation::gelu_tanh);
}

}  // namespace

Tensor linear(const Tensor& x, const Tensor& w, const Tensor& b, Activation activation, const Tensor& residual) {
    LC_CHECK(!residual || activation == Activation::none, ValueError, "linear: a residual goes with no activation, got '", kActivations[int(activation)], "'");
    if (residual && !added_in_product(x, w, residual)) return add(residual, linear(x, w, b));
    const bool wanted = wants_grad({x, w, b, residual});
    Forward f = linear_forward(x, w, b, activation, wanted, residual);
    if (!wanted) return f.y;
    const Saved saved(f.saved);
    const auto backward = [x = Saved(x), w = Saved(w), saved, activation](const Grads& dy) {
        return linear_backward(dy, x(), w(), saved(), activation);
    };
    if (residual) record("linear", {x, w, b, residual}, {f.y}, [backward](const Grads& dy) {
        Tensors d = backward(dy);
        d.push_back(dy[0]);
        return d;
    });
    else if (activation == Activation::none || activation_saves_result(activation)) record("linear", {x, w, b}, {f.y}, backward);
    else record("linear", {x, w, b}, {f.y}, backward, [saved, activation] { return activated(saved(), activation); });
    return f.y;
}

Tensor feed_forward(const Tensor& x, const Tensor& w1, const Tensor& b1, const Tensor& w2, const Tensor& b2, Activation activation, const Tensor& residual) {
    const bool fused = !x.device().is_cpu() && activation != Activation::none;
    if (!fused || !wants_grad({x, w1, b1, w2, b2, residual})) return linear(linear(x, w1, b1, activation), w2, b2, Activation::none, residual);
    const Forward h = linear_forward(x, w1, b1, activation, true);
    const bool added = added_in_product(h.y, w2, residual);
    const Tensor beside = added ? residual : Tensor(), y = linear_forward(h.y, w2, b2, Activation::none, false, beside).y;
    record("feed_forward", {x, w1, b1, w2, b2, beside}, {y},
           [x = Saved(x), w1 = Saved(w1), w2 = Saved(w2), saved = Saved(h.saved), activation](const Grads& g) -> Tensors {
               const Tensor dy = contiguous(g[0]), before = saved();
               const auto bias = [](const Tensor& dz, bool wanted) { return wanted ? activation_backward(dz, {}, Activation::none, true).db : Tensor(); };
               Tensors d{{}, {}, {}, {}, bias(dy, g.needs(4)), g[0]};
               if (g.needs(3)) d[3] = weight_gradient(dy, activation_saves_result(activation) ? before : activated(before, activation), w2());
               if (!g.needs(0) && !g.needs(1) && !g.needs(2)) return d;
               const Tensor dz = input_gradient(dy, w2(), before, before, activation);
               if (g.needs(0)) d[0] = input_gradient(dz, w1(), x());
               if (g.needs(1)) d[1] = weight_gradient(dz, x(), w1());
               d[2] = bias(dz, g.needs(2));
               return d;
           });
    return residual && !added ? add(residual, y) : y;
}

}  // namespace lc
