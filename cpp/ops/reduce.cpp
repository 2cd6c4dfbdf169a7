#include "cpp/ops/reduce.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "cpp/autograd/node.h"
#include "cpp/ops/binary.h"
#include "cpp/ops/copy.h"
#include "cpp/ops/unary.h"

namespace lc {
namespace {

// ---- which dimensions -------------------------------------------------------------------------------------------------

// The dimensions to reduce as flags, and the shapes that follow.
struct Axes {
    bool reduced[kMaxDims] = {};
    int64_t n = 1;                                    // elements reduced to one
    Dims kept, with_ones;                             // result sizes: without and with keepdim

    Axes(const char* op, const Tensor& x, const Dims& dims) {
        for (const int64_t dim : dims) {
            const int d = wrap_dim(op, dim, x.dim());
            if (x.dim() == 0) continue;
            LC_CHECK(!reduced[d], ValueError, op, ": dimension ", d, " appears twice in ", dims);
            reduced[d] = true;
        }
        for (int d = 0; d < x.dim(); ++d) {
            if (dims.empty()) reduced[d] = true;
            with_ones.push_back(reduced[d] ? 1 : x.size(d));
            if (reduced[d]) n *= x.size(d);
            else kept.push_back(x.size(d));
        }
    }
    const Dims& sizes(bool keepdim) const { return keepdim ? with_ones : kept; }
};

// A result seen at the shape of x, constant along the reduced dimensions. y is contiguous.
Tensor spread(const Tensor& y, const Axes& axes, const Dims& sizes) {
    const Tensor dense = y.is_contiguous() ? y : detail::copied(y);
    Dims strides = Dims::filled(sizes.size(), 0);
    int64_t step = 1;
    for (int d = sizes.size() - 1; d >= 0; --d)
        if (!axes.reduced[d]) {
            strides[d] = step;
            step *= sizes[d];
        }
    return Tensor::view_of(dense, sizes, strides, dense.offset());
}

DType accumulation(DType t) { return t == DType::bfloat16 || t == DType::float16 ? DType::float32 : t; }

// ---- running the kernel -------------------------------------------------------------------------------------------------

template <class F> void visit_reduced(DType t, const char* name, F&& f) {
    switch (t) {
        case DType::int64: return f.template operator()<int64_t>();
        case DType::int32: return f.template operator()<int32_t>();
        case DType::uint8:
        case DType::bool_: return f.template operator()<uint8_t>();
        default: return visit_float_storage(t, name, f);
    }
}

void fill_identity(ReduceOp op, const Tensor& y) {
    const double inf = std::numeric_limits<double>::infinity();
    const double value = op == ReduceOp::prod ? 1 : op == ReduceOp::max ? -inf
        : op == ReduceOp::min                                           ? inf
                                                                        : 0;
    if (y.numel() > 0) detail::copy_into(y, number(value));
}

// [outer, n, inner] -> [outer, inner] of the accumulation type.
Tensor reduce_middle(ReduceOp op, const Tensor& x, const Tensor& shift, int64_t outer, int64_t n, int64_t inner) {
    const Tensor y = Tensor::empty({outer, inner}, accumulation(x.dtype()), x.device());
    if (n == 0) fill_identity(op, y);
    else if (y.numel() > 0)
        visit_reduced(x.dtype(), "reduce", [&]<class T>() {
            using A = acc_t<T>;
            const Device d = y.device();
            on::reduce_forward<T>(d, {op, outer, n, inner, static_cast<const T*>(x.raw_on(d)), shift ? static_cast<const A*>(shift.raw_on(d)) : nullptr, static_cast<A*>(const_cast<void*>(y.raw_on(d)))});
        });
    return y;
}

ReduceOp combiner(ReduceOp op) {                      // what reduces partial results further
    switch (op) {
        case ReduceOp::prod:
        case ReduceOp::max:
        case ReduceOp::min: return op;
        case ReduceOp::max_abs: return ReduceOp::max;
        default: return ReduceOp::sum;
    }
}

// Reduces x over axes; the result has axes.kept sizes and the accumulation type. Neighbouring dimensions that are all
// reduced or all kept act as one. Several reduced groups are taken one after the other, the innermost first; with a shift,
// which belongs to the whole, they are moved together first. shift: contiguous, axes.kept sizes, accumulation type.
Tensor reduce(ReduceOp op, const Tensor& x_any, const Axes& axes, const Tensor& shift = {}) {
    Tensor x = detail::dense(x_any);
    int64_t size[kMaxDims];
    bool reduced[kMaxDims];
    int groups = 0, reduced_groups = 0;
    for (int d = 0; d < x.dim(); ++d) {
        if (x.size(d) == 1) continue;
        if (groups > 0 && reduced[groups - 1] == axes.reduced[d]) {
            size[groups - 1] *= x.size(d);
        } else {
            size[groups] = x.size(d);
            reduced_groups += reduced[groups++] = axes.reduced[d];
        }
    }
    if (shift && reduced_groups > 1) {
        Dims sizes = axes.kept, strides;
        for (int d = 0; d < x.dim(); ++d)
            if (!axes.reduced[d]) strides.push_back(x.stride(d));
        for (int d = 0; d < x.dim(); ++d)
            if (axes.reduced[d]) {
                sizes.push_back(x.size(d));
                strides.push_back(x.stride(d));
            }
        x = detail::copied(Tensor::view_of(x, sizes, strides, x.offset()));
        return Tensor::view_of(reduce_middle(op, x, shift, element_count(axes.kept), axes.n, 1), axes.kept, contiguous_strides(axes.kept), 0);
    }
    if (reduced_groups == 0) {                        // nothing to add up: one element each
        x = reduce_middle(op, x, shift, 1, 1, x.numel());
    } else {
        int64_t inner = 1;
        for (int g = groups - 1; g >= 0; --g) {
            if (!reduced[g]) {
                inner *= size[g];
                continue;
            }
            int64_t outer = 1;
            for (int h = 0; h < g; ++h) outer *= size[h];
            x = reduce_middle(op, x, shift, outer, size[g], inner);
            op = combiner(op);
        }
    }
    return Tensor::view_of(x, axes.kept, contiguous_strides(axes.kept), 0);
}

// The result as callers get it: dtype and, with keepdim, the ones.
Tensor finish(const Tensor& y, const Axes& axes, bool keepdim, DType dtype) {
    const Tensor out = detail::converted(y, dtype);
    return Tensor::view_of(out, axes.sizes(keepdim), contiguous_strides(axes.sizes(keepdim)), 0);
}

void check_nonempty(const char* op, const Tensor& x, const Axes& axes) {
    LC_CHECK(axes.n > 0, ValueError, op, ": cannot reduce no elements: the tensor is ", x.sizes());
}

void check_float(const char* op, const Tensor& x) {
    if (!is_floating(x.dtype())) throw_dtype(op, x.dtype(), "a floating-point dtype; convert with float()");
}

// ---- largest and smallest -----------------------------------------------------------------------------------------------

Tensor extreme(const char* name, ReduceOp op, const Tensor& x, const Dims& dims, bool keepdim) {
    const Axes axes(name, x, dims);
    check_nonempty(name, x, axes);
    const Tensor y = finish(reduce(op, x, axes), axes, keepdim, x.dtype());
    if (wants_grad({x}))
        record(name, {x}, {y}, [axes, x = Saved(x), y = Saved(y)](const Grads& dy) -> Tensors {
            const Tensor hit = detail::converted(eq(x(), spread(y(), axes, x().sizes())), accumulation(x().dtype()));
            const Tensor share = div(dy[0], Tensor::view_of(reduce(ReduceOp::sum, hit, axes), dy[0].sizes(), contiguous_strides(dy[0].sizes()), 0));
            return {detail::converted(mul(hit, spread(share, axes, x().sizes())), x().dtype())};
        });
    return y;
}

std::pair<Tensor, Tensor> extreme_index(const char* name, bool largest, const Tensor& x, int64_t dim, bool keepdim, bool differentiable) {
    const int d = wrap_dim(name, dim, x.dim());
    const Axes axes(name, x, x.dim() ? Dims{d} : Dims{});
    check_nonempty(name, x, axes);
    int64_t outer = 1, inner = 1;
    for (int i = 0; i < x.dim(); ++i) (i < d ? outer : inner) *= i == d ? 1 : x.size(i);

    const DType wide = accumulation(x.dtype());
    const Tensor from = detail::dense(detail::converted(x, wide));
    const Tensor values = Tensor::empty(axes.sizes(keepdim), wide, x.device()), indices = Tensor::empty(axes.sizes(keepdim), DType::int64, x.device());
    if (values.numel() > 0)
        visit_reduced(wide, name, [&]<class T>() {
            if constexpr (sizeof(T) != 2)
                on::reduce_index_forward<T>(from.device(), {largest, outer, axes.n, inner, static_cast<const T*>(from.address()), static_cast<T*>(const_cast<void*>(values.address())), indices.mutable_data_on<int64_t>(from.device())});
        });
    const Tensor y = detail::converted(values, x.dtype());
    if (differentiable && wants_grad({x}))
        record(name, {x}, {y}, [outer, inner, n = axes.n, sizes = x.sizes(), indices](const Grads& dy) -> Tensors {
            const Tensor g = detail::dense(dy[0]), dx = Tensor::zeros(sizes, g.dtype(), g.device());
            if (dx.numel() > 0)
                visit_float_storage(g.dtype(), "max", [&]<class T>() {
                    const Device at = g.device();
                    on::reduce_index_backward<T>(at, {outer, n, inner, g.data_on<T>(at), indices.data_on<int64_t>(at), dx.mutable_data_on<T>(at)});
                });
            return {dx};
        });
    return {y, indices};
}

// ---- variance -----------------------------------------------------------------------------------------------------------

Tensor mean_of(const Tensor& x, const Axes& axes) { return div(reduce(ReduceOp::sum, x, axes), double(axes.n)); }

Tensor variance(const char* name, const Tensor& x, const Dims& dims, double correction, bool keepdim, bool root) {
    check_float(name, x);
    const Axes axes(name, x, dims);
    const double freedom = std::max(double(axes.n) - correction, 0.0);
    const NoGrad none;
    const Tensor mean = mean_of(x, axes);
    const Tensor left = reduce(ReduceOp::sum_shifted, x, axes, mean);            // what rounding left in the mean, times n
    const Tensor square = div(sub(reduce(ReduceOp::sum_squares, x, axes, mean), mul(left, div(left, double(axes.n)))), freedom);
    return finish(root ? sqrt(square) : square, axes, keepdim, x.dtype());
}

Tensor differentiable_variance(const char* name, const Tensor& x, const Dims& dims, double correction, bool keepdim, bool root) {
    const Tensor y = variance(name, x, dims, correction, keepdim, root);
    if (wants_grad({x}))
        record(name, {x}, {y}, [=, axes = Axes(name, x, dims), x = Saved(x), y = Saved(y)](const Grads& dy) -> Tensors {
            const double freedom = std::max(double(axes.n) - correction, 0.0);
            const Tensor wide = detail::converted(x(), accumulation(x().dtype()));
            const Tensor near = sub(wide, spread(mean_of(wide, axes), axes, wide.sizes()));
            const Tensor centred = sub(near, spread(mean_of(near, axes), axes, wide.sizes()));
            const Tensor scale = root ? div(div(dy[0], y()), freedom) : mul(dy[0], 2 / freedom);
            return {to(mul(centred, spread(scale, axes, wide.sizes())), x().dtype())};
        });
    return y;
}

}  // namespace

// ---- sums -----------------------------------------------------------------------------------------------------------------

Tensor sum(const Tensor& x, const Dims& dims, bool keepdim) {
    const Axes axes("sum", x, dims);
    const bool integer = is_integral(x.dtype());
    const Tensor y = finish(reduce(ReduceOp::sum, integer ? detail::converted(x, DType::int64) : x, axes), axes, keepdim,
                            integer ? DType::int64 : x.dtype());
    if (wants_grad({x}))
        record("sum", {x}, {y}, [axes, sizes = x.sizes()](const Grads& dy) -> Tensors { return {spread(dy[0], axes, sizes)}; });
    return y;
}

Tensor mean(const Tensor& x, const Dims& dims, bool keepdim) {
    check_float("mean", x);
    const Axes axes("mean", x, dims);
    const Tensor y = finish(mean_of(x, axes), axes, keepdim, x.dtype());
    if (wants_grad({x}))
        record("mean", {x}, {y}, [axes, sizes = x.sizes()](const Grads& dy) -> Tensors {
            return {spread(div(dy[0], double(axes.n)), axes, sizes)};
        });
    return y;
}

Tensor prod(const Tensor& x, const Dims& dims, bool keepdim) {
    const Axes axes("prod", x, dims);
    const bool integer = is_integral(x.dtype());
    const Tensor y = finish(reduce(ReduceOp::prod, integer ? detail::converted(x, DType::int64) : x, axes), axes, keepdim,
                            integer ? DType::int64 : x.dtype());
    if (wants_grad({x}))
        record("prod", {x}, {y}, [axes, x = Saved(x)](const Grads& dy) -> Tensors {
            // The product of the others: with no zero among them p / x, with one zero p at the zero and 0 elsewhere.
            const Dims& sizes = x().sizes();
            const Tensor wide = detail::converted(x(), accumulation(x().dtype()));
            const Tensor zero = detail::converted(eq(wide, number(0.0)), wide.dtype()), safe = add(wide, zero);
            const Tensor p = reduce(ReduceOp::prod, safe, axes), zeros = reduce(ReduceOp::sum, zero, axes);
            const Tensor others = eq(sub(spread(zeros, axes, sizes), zero), number(0.0));       // no zero among the others
            const Tensor dx = mul(div(mul(spread(p, axes, sizes), others), safe), spread(dy[0], axes, sizes));
            return {to(dx, x().dtype())};
        });
    return y;
}

Tensor amax(const Tensor& x, const Dims& dims, bool keepdim) { return extreme("amax", ReduceOp::max, x, dims, keepdim); }
Tensor amin(const Tensor& x, const Dims& dims, bool keepdim) { return extreme("amin", ReduceOp::min, x, dims, keepdim); }
std::pair<Tensor, Tensor> max(const Tensor& x, int64_t dim, bool keepdim) { return extreme_index("max", true, x, dim, keepdim, true); }
std::pair<Tensor, Tensor> min(const Tensor& x, int64_t dim, bool keepdim) { return extreme_index("min", false, x, dim, keepdim, true); }
Tensor argmax(const Tensor& x, int64_t dim, bool keepdim) { return extreme_index("argmax", true, x, dim, keepdim, false).second; }
Tensor argmin(const Tensor& x, int64_t dim, bool keepdim) { return extreme_index("argmin", false, x, dim, keepdim, false).second; }

Tensor var(const Tensor& x, const Dims& dims, double correction, bool keepdim) {
    return differentiable_variance("var", x, dims, correction, keepdim, false);
}
Tensor std(const Tensor& x, const Dims& dims, double correction, bool keepdim) {
    return differentiable_variance("std", x, dims, correction, keepdim, true);
}

Tensor norm(const Tensor& x, double p, const Dims& dims, bool keepdim) {
    check_float("norm", x);
    const Axes axes("norm", x, dims);
    const double inf = std::numeric_limits<double>::infinity();
    if (p == inf || p == -inf) return p > 0 ? amax(abs(x), dims, keepdim) : amin(abs(x), dims, keepdim);
    if (p == 0) return to(sum(ne(x, number(0.0)), dims, keepdim), x.dtype());
    if (p == 1) return sum(abs(x), dims, keepdim);
    if (p != 2) return pow(sum(pow(abs(x), p), dims, keepdim), 1 / p);
    const Tensor y = finish(sqrt(reduce(ReduceOp::sum_squares, x, axes)), axes, keepdim, x.dtype());
    if (wants_grad({x}))
        record("norm", {x}, {y}, [axes, x = Saved(x), y = Saved(y)](const Grads& dy) -> Tensors {
            const Tensor safe = add(y(), eq(y(), number(0.0)));                                // x is 0 there as well
            return {mul(x(), spread(div(dy[0], safe), axes, x().sizes()))};
        });
    return y;
}

Tensor logsumexp(const Tensor& x, const Dims& dims, bool keepdim) {
    check_float("logsumexp", x);
    const Axes axes("logsumexp", x, dims);
    Tensor y;
    {
        const NoGrad none;
        const Tensor largest = reduce(ReduceOp::max, x, axes);
        visit_float(largest.dtype(), "logsumexp", [&]<class T>() {                              // an infinite shift would give NaN
            replayable([m = largest.mutable_data<T>(), n = largest.numel()] {
                for (int64_t i = 0; i < n; ++i) m[i] = std::isfinite(m[i]) ? m[i] : T(0);
            });
        });
        y = finish(add(log(reduce(ReduceOp::sum_exp, x, axes, largest)), largest), axes, keepdim, x.dtype());
    }
    if (wants_grad({x}))
        record("logsumexp", {x}, {y}, [axes, x = Saved(x), y = Saved(y)](const Grads& dy) -> Tensors {
            const Dims& sizes = x().sizes();
            return {mul(exp(sub(x(), spread(y(), axes, sizes))), spread(dy[0], axes, sizes))};
        });
    return y;
}

// ---- truth ------------------------------------------------------------------------------------------------------------------

Tensor any(const Tensor& x, const Dims& dims, bool keepdim) {
    const Axes axes("any", x, dims);
    if (axes.n == 0) return Tensor::zeros(axes.sizes(keepdim), DType::bool_, x.device());
    return finish(reduce(ReduceOp::max, detail::converted(x, DType::bool_), axes), axes, keepdim, DType::bool_);
}
Tensor all(const Tensor& x, const Dims& dims, bool keepdim) {
    const Axes axes("all", x, dims);
    if (axes.n == 0) return logical_not(Tensor::zeros(axes.sizes(keepdim), DType::bool_, x.device()));
    return finish(reduce(ReduceOp::min, detail::converted(x, DType::bool_), axes), axes, keepdim, DType::bool_);
}

Tensor sum_to(const Tensor& x, const Dims& sizes) {
    if (x.sizes() == sizes) return x;
    Dims dims;
    const int extra = x.dim() - sizes.size();
    for (int d = 0; d < x.dim(); ++d)
        if (d < extra || (sizes[d - extra] == 1 && x.size(d) != 1)) dims.push_back(d);
    const Axes axes("sum_to", x, dims);
    Tensor y = dims.empty() ? x : finish(reduce(ReduceOp::sum, x, axes), axes, false, x.dtype());
    return Tensor::view_of(y, sizes, contiguous_strides(sizes), y.offset());
}

}  // namespace lc
