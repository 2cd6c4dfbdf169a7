// copy, unary, binary, reduce: names, arguments and defaults are PyTorch's.
#include <limits>
#include <optional>
#include "cpp/bindings/autocast.h"
#include "cpp/bindings/bind.h"
#include "cpp/ops/binary.h"
#include "cpp/ops/copy.h"
#include "cpp/ops/reduce.h"
#include "cpp/ops/unary.h"
#include "cpp/ops/where.h"

namespace lc::python {
namespace {

using OptionalDims = std::optional<Dims>;
const auto kNoDims = py::none();

void bind_copy(Module& m) {
    m.both("clone", &clone, "A copy in new memory, in the same graph.", "input"_a);
    m.method("contiguous", &contiguous, "The tensor itself if its memory is dense and in order, else a copy that is.");
    m.method("copy_", [](const Tensor& x, const Operand& source) { copy_(x, source); return x; }, "source"_a, "Writes source, broadcast and converted, into this tensor.");
    m.method("fill_", [](const Tensor& x, const Operand& value) {
        LC_CHECK(value.tensor.numel() == 1, ValueError, "fill_: value must be one number, it is ", value.tensor.sizes());
        copy_(x, value);
        return x; }, "value"_a, "Sets every element to value.");
    m.method("zero_", [](const Tensor& x) { fill_(x, 0); return x; }, "Sets every element to 0.");
}

void bind_unary(Module& m) {
    m.both("neg", &neg, "-x", "input"_a).both("negative", &neg, "-x", "input"_a);
    m.both("abs", &abs, "|x|", "input"_a);
    m.both("square", &square, "x * x", "input"_a);
    m.both("reciprocal", in_float32(&reciprocal), "1 / x", "input"_a);
    m.both("sqrt", &sqrt, "The square root.", "input"_a);
    m.both("rsqrt", in_float32(&rsqrt), "1 / sqrt(x)", "input"_a);
    m.both("exp", in_float32(&exp), "e to the power of x.", "input"_a);
    m.both("expm1", in_float32(&expm1), "exp(x) - 1, exact near 0.", "input"_a);
    m.both("log", in_float32(&log), "The natural logarithm.", "input"_a);
    m.both("log1p", in_float32(&log1p), "log(1 + x), exact near 0.", "input"_a);
    m.both("sin", &sin, "The sine; x in radians.", "input"_a);
    m.both("cos", &cos, "The cosine; x in radians.", "input"_a);
    m.both("erf", &erf, "The error function.", "input"_a);
    m.both("tanh", &tanh, "The hyperbolic tangent.", "input"_a);
    m.both("sigmoid", &sigmoid, "1 / (1 + exp(-x))", "input"_a);
    m.both("sign", &sign, "-1, 0 or 1.", "input"_a);
    m.both("floor", &floor, "The largest integer not above x.", "input"_a);
    m.both("ceil", &ceil, "The smallest integer not below x.", "input"_a);
    m.both("round", &round, "The nearest integer, ties to even.", "input"_a);
    m.both("relu", &relu, "max(x, 0)", "input"_a);
    m.internal("leaky_relu", &leaky_relu, "x where positive, else negative_slope * x", "input"_a, "negative_slope"_a = 0.01);
    m.internal("elu", &elu, "x where positive, else alpha * (exp(x) - 1)", "input"_a, "alpha"_a = 1.0);
    m.internal("silu", &silu, "x * sigmoid(x)", "input"_a);
    m.internal("gelu", [](const Tensor& x, const std::string& approximate) {
        LC_CHECK(approximate == "none" || approximate == "tanh", ValueError, "gelu: approximate must be 'none' or 'tanh', not '", approximate, "'");
        return gelu(x, approximate == "tanh"); }, "x times the normal distribution function of x, exact or by tanh.", "input"_a, py::kw_only(), "approximate"_a = "none");
    m.internal("softplus", in_float32(&softplus), "log(1 + exp(beta x)) / beta, and x where beta x is above threshold", "input"_a, "beta"_a = 1.0,
               "threshold"_a = 20.0);
    using Bound = std::optional<Operand>;
    const auto numbers = [](const char* op, const Bound& min, const Bound& max) -> std::optional<std::pair<double, double>> {
        LC_CHECK(min || max, ValueError, op, ": give min or max");
        if ((min && !min->tensor.impl()->weak) || (max && !max->tensor.impl()->weak)) return {};
        const double inf = std::numeric_limits<double>::infinity();
        return std::pair(min ? item_as_double(*min) : -inf, max ? item_as_double(*max) : inf);
    };
    const auto among = [](const Tensor& x, const Bound& min, const Bound& max) { return clamp(x, min ? min->tensor : Tensor(), max ? max->tensor : Tensor()); };
    const auto clamped = [numbers, among](const Tensor& x, const Bound& min, const Bound& max) {
        const auto range = numbers("clamp", min, max);
        return range ? clamp(x, range->first, range->second) : among(x, min, max);
    };
    m.both("clamp", clamped, "x cut to [min, max], numbers or tensors; None is no bound.", "input"_a, "min"_a = py::none(), "max"_a = py::none());
    m.both("clip", clamped, "The same as clamp.", "input"_a, "min"_a = py::none(), "max"_a = py::none());
    m.method("clamp_", [numbers, among](const Tensor& x, const Bound& min, const Bound& max) {
        const auto range = numbers("clamp_", min, max);
        if (range) clamp_(x, range->first, range->second);
        else copy_(x, among(x.detach(), min, max));
        return x; }, "min"_a = py::none(), "max"_a = py::none(), "clamp in place.");
    m.both("logical_not", &logical_not, "True where x is 0.", "input"_a);
    m.both("isnan", &isnan, "True where x is NaN.", "input"_a);
    m.both("isinf", &isinf, "True where x is infinite.", "input"_a);
    m.both("isfinite", &isfinite, "True where x is neither infinite nor NaN.", "input"_a);
}

// One line each: a function of two operands, either of which may be a number.
template <Tensor (*op)(const Tensor&, const Tensor&)> void operation(Module& m, const char* name, const char* doc) {
    m.both(name, [](const Operand& a, const Operand& b) { return op(a, b); }, doc, "input"_a, "other"_a);
}
template <void (*op)(const Tensor&, const Tensor&)> void inplace(Module& m, const char* name, const char* doc) {
    m.method(name, [](const Tensor& a, const Operand& b) { op(a, b); return a; }, "other"_a, doc);
}

Tensor scaled(const Operand& b, const Operand& alpha) { return mul(b, alpha); }

void bind_binary(Module& m) {
    operation<add>(m, "add", "input + other, broadcast and promoted.");
    m.both("add", [](const Operand& a, const Operand& b, const Operand& alpha) { return add(a, scaled(b, alpha)); }, "input + alpha * other", "input"_a, "other"_a, py::kw_only(), "alpha"_a);
    operation<sub>(m, "sub", "input - other");
    m.both("sub", [](const Operand& a, const Operand& b, const Operand& alpha) { return sub(a, scaled(b, alpha)); }, "input - alpha * other", "input"_a, "other"_a, py::kw_only(), "alpha"_a);
    operation<mul>(m, "mul", "input * other");
    const auto divide = [](const Operand& a, const Operand& b, const std::optional<std::string>& rounding_mode) {
        return rounding_mode ? div(a, b, *rounding_mode) : div(a, b);
    };
    m.both("div", divide, "input / other; rounding_mode 'floor' rounds down, 'trunc' towards 0.", "input"_a, "other"_a, py::kw_only(), "rounding_mode"_a = py::none());
    m.both("pow", [power = in_float32(static_cast<Tensor (*)(const Tensor&, const Tensor&)>(&lc::pow))](const Operand& a, const Operand& b) { return power(a, b); }, "input to the power of exponent.", "input"_a, "exponent"_a);
    operation<maximum>(m, "maximum", "The larger of two; NaN if either is.");
    operation<minimum>(m, "minimum", "The smaller of two; NaN if either is.");
    operation<remainder>(m, "remainder", "input modulo other, with the sign of other.");
    operation<floor_divide>(m, "floor_divide", "input / other rounded down.");
    operation<bitwise_and>(m, "bitwise_and", "input & other of integers or bool.");
    operation<bitwise_or>(m, "bitwise_or", "input | other of integers or bool.");
    operation<bitwise_xor>(m, "bitwise_xor", "input ^ other of integers or bool.");
    operation<eq>(m, "eq", "input == other");
    operation<ne>(m, "ne", "input != other");
    operation<lt>(m, "lt", "input < other");
    operation<le>(m, "le", "input <= other");
    operation<gt>(m, "gt", "input > other");
    operation<ge>(m, "ge", "input >= other");
    operation<logical_and>(m, "logical_and", "True where both are not 0.");
    operation<logical_or>(m, "logical_or", "True where one is not 0.");
    operation<logical_xor>(m, "logical_xor", "True where exactly one is not 0.");

    m.method("add_", [](const Tensor& a, const Operand& b, const std::optional<Operand>& alpha) {
        add_(a, alpha ? scaled(b, *alpha) : b.tensor);
        return a; }, "other"_a, py::kw_only(), "alpha"_a = py::none(), "input += alpha * other");
    m.method("sub_", [](const Tensor& a, const Operand& b, const std::optional<Operand>& alpha) {
        sub_(a, alpha ? scaled(b, *alpha) : b.tensor);
        return a; }, "other"_a, py::kw_only(), "alpha"_a = py::none(), "input -= alpha * other");
    inplace<mul_>(m, "mul_", "input *= other");
    m.method("div_", [](const Tensor& a, const Operand& b, const std::optional<std::string>& rounding_mode) {
        if (rounding_mode) div_(a, b, *rounding_mode);
        else div_(a, b);
        return a; }, "other"_a, py::kw_only(), "rounding_mode"_a = py::none(), "input /= other; rounding_mode as div().");
    inplace<remainder_>(m, "remainder_", "input %= other");
    inplace<floor_divide_>(m, "floor_divide_", "input //= other");
    inplace<pow_>(m, "pow_", "input **= other");

    m.function("result_type", [](const Operand& a, const Operand& b) { return result_type(a, b); }, "The dtype of input + other.", "tensor1"_a, "tensor2"_a);
}

void bind_where(Module& m) {
    m.function("where", [](const Tensor& condition, const Operand& a, const Operand& b) { return where(condition, a, b); }, "condition"_a, "input"_a, "other"_a, "input where condition is true, else other.");
    m.method("where", [](const Tensor& a, const Tensor& condition, const Operand& b) { return where(condition, a, b); }, "condition"_a, "other"_a, "This tensor where condition is true, else other.");
    m.both("masked_fill", [](const Tensor& x, const Tensor& mask, const Operand& value) { return masked_fill(x, mask, value); }, "value where mask is true, else input.", "input"_a, "mask"_a, "value"_a);
    m.method("masked_fill_", [](const Tensor& x, const Tensor& mask, const Operand& value) { masked_fill_(x, mask, value); return x; }, "mask"_a, "value"_a, "masked_fill in place.");
}

Dims dims_of(const OptionalDims& dims) { return dims.value_or(Dims()); }

void bind_reduce(Module& m) {
    const auto typed = [](const Tensor& x, const std::optional<DType>& dtype) { return dtype ? to(x, *dtype) : x; };
    m.both("sum", in_float32([typed](const Tensor& x, const OptionalDims& dim, bool keepdim, const std::optional<DType>& dtype) { return sum(typed(x, dtype), dims_of(dim), keepdim); }), "The sum over dim (None: all).", "input"_a, "dim"_a = kNoDims, "keepdim"_a = false, py::kw_only(), "dtype"_a = py::none());
    m.both("mean", [typed](const Tensor& x, const OptionalDims& dim, bool keepdim, const std::optional<DType>& dtype) { return mean(typed(x, dtype), dims_of(dim), keepdim); }, "The mean over dim (None: all).", "input"_a, "dim"_a = kNoDims, "keepdim"_a = false, py::kw_only(), "dtype"_a = py::none());
    m.both("prod", in_float32([typed](const Tensor& x, const OptionalDims& dim, bool keepdim, const std::optional<DType>& dtype) { return prod(typed(x, dtype), dims_of(dim), keepdim); }), "The product over dim (None: all).", "input"_a, "dim"_a = kNoDims, "keepdim"_a = false, py::kw_only(), "dtype"_a = py::none());
    m.both("amax", [](const Tensor& x, const OptionalDims& dim, bool keepdim) { return amax(x, dims_of(dim), keepdim); }, "The largest over dim; equal ones share the gradient.", "input"_a, "dim"_a = kNoDims, "keepdim"_a = false);
    m.both("amin", [](const Tensor& x, const OptionalDims& dim, bool keepdim) { return amin(x, dims_of(dim), keepdim); }, "The smallest over dim; equal ones share the gradient.", "input"_a, "dim"_a = kNoDims, "keepdim"_a = false);

    const auto pair = [](const char* name) {              // (values, indices) by name, as PyTorch returns them
        py::object type = py::module_::import("collections").attr("namedtuple")(name, "values indices");
        type.attr("__module__") = "littlecore";
        return [type](const std::pair<Tensor, Tensor>& r) { return type(r.first, r.second); };
    };
    m.both("max", [](const Tensor& x) { return amax(x); }, "The largest element.", "input"_a);
    m.both("max", [named = pair("max")](const Tensor& x, int64_t dim, bool keepdim) { return named(max(x, dim, keepdim)); }, "(values, indices) of the first largest along dim.", "input"_a, "dim"_a, "keepdim"_a = false);
    m.both("max", [](const Tensor& x, const Tensor& other) { return maximum(x, other); }, "The larger of two.", "input"_a, "other"_a);
    m.both("min", [](const Tensor& x) { return amin(x); }, "The smallest element.", "input"_a);
    m.both("min", [named = pair("min")](const Tensor& x, int64_t dim, bool keepdim) { return named(min(x, dim, keepdim)); }, "(values, indices) of the first smallest along dim.", "input"_a, "dim"_a, "keepdim"_a = false);
    m.both("min", [](const Tensor& x, const Tensor& other) { return minimum(x, other); }, "The smaller of two.", "input"_a, "other"_a);
    const auto flat = [](const Tensor& x) {
        const Tensor dense = contiguous(x.detach());
        return Tensor::view_of(dense, {dense.numel()}, {1}, dense.offset());
    };
    m.both("argmax", [flat](const Tensor& x, std::optional<int64_t> dim, bool keepdim) { return dim ? argmax(x, *dim, keepdim) : argmax(flat(x), 0, false); }, "The index of the first largest along dim (None: of the flattened tensor).", "input"_a, "dim"_a = py::none(), "keepdim"_a = false);
    m.both("argmin", [flat](const Tensor& x, std::optional<int64_t> dim, bool keepdim) { return dim ? argmin(x, *dim, keepdim) : argmin(flat(x), 0, false); }, "The index of the first smallest along dim (None: of the flattened tensor).", "input"_a, "dim"_a = py::none(), "keepdim"_a = false);

    m.both("var", [](const Tensor& x, const OptionalDims& dim, double correction, bool keepdim, std::optional<bool> unbiased) { return var(x, dims_of(dim), unbiased ? double(*unbiased) : correction, keepdim); }, "The variance over dim; the divisor is n - correction.", "input"_a, "dim"_a = kNoDims, py::kw_only(), "correction"_a = 1.0, "keepdim"_a = false, "unbiased"_a = py::none());
    m.both("std", [](const Tensor& x, const OptionalDims& dim, double correction, bool keepdim, std::optional<bool> unbiased) { return std(x, dims_of(dim), unbiased ? double(*unbiased) : correction, keepdim); }, "The standard deviation over dim; the divisor is n - correction.", "input"_a, "dim"_a = kNoDims, py::kw_only(), "correction"_a = 1.0, "keepdim"_a = false, "unbiased"_a = py::none());
    m.both("norm", in_float32([](const Tensor& x, double p, const OptionalDims& dim, bool keepdim) { return norm(x, p, dims_of(dim), keepdim); }), "(sum |x|^p)^(1/p) over dim.", "input"_a, "p"_a = 2.0, "dim"_a = kNoDims, "keepdim"_a = false);
    m.both("logsumexp", in_float32([](const Tensor& x, const Dims& dim, bool keepdim) { return logsumexp(x, dim, keepdim); }), "log(sum(exp(x))) over dim, without overflow.", "input"_a, "dim"_a, "keepdim"_a = false);
    m.both("any", [](const Tensor& x, const OptionalDims& dim, bool keepdim) { return any(x, dims_of(dim), keepdim); }, "True where any over dim is not 0.", "input"_a, "dim"_a = kNoDims, "keepdim"_a = false);
    m.both("all", [](const Tensor& x, const OptionalDims& dim, bool keepdim) { return all(x, dims_of(dim), keepdim); }, "True where all over dim are not 0.", "input"_a, "dim"_a = kNoDims, "keepdim"_a = false);
}

}  // namespace

void bind_elementwise(Module& m) {
    bind_copy(m);
    bind_unary(m);
    bind_binary(m);
    bind_where(m);
    bind_reduce(m);
}

}  // namespace lc::python
