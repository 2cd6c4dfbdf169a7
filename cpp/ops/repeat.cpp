// repeat, tile, repeat_interleave, roll, flip, broadcast_tensors, meshgrid. Contract: cpp/ops/repeat.h
#include "cpp/ops/repeat.h"
#include "cpp/autograd/node.h"
#include "cpp/ops/copy.h"
#include "cpp/ops/index.h"
#include "cpp/ops/views.h"

namespace lc {
namespace {

// Repeats along one dim: expand a new dim beside it, then merge the two.
Tensor repeat_dim(const Tensor& x, int dim, int64_t times, bool interleave) {
    if (times == 1) return x;
    Dims sizes = x.sizes(), merged = x.sizes();
    LC_CHECK(!__builtin_mul_overflow(merged[dim], times, &merged[dim]), ValueError, "repeat: the result has more elements than memory can hold");
    const int at = interleave ? dim + 1 : dim;
    sizes.insert(at, times);
    return reshape(expand(unsqueeze(x, at), sizes), merged);
}

}  // namespace

Tensor repeat(const Tensor& x, const Dims& times) {
    const int added = times.size() - x.dim();
    LC_CHECK(added >= 0, ValueError, "repeat: ", times, " has fewer numbers than shape ", x.sizes(), " has dims");
    for (const int64_t n : times) LC_CHECK(n >= 0, ValueError, "repeat: cannot repeat ", n, " times, in ", times);
    Dims sizes = Dims::filled(added, 1);
    for (const int64_t n : x.sizes()) sizes.push_back(n);
    Dims result = sizes;
    for (int d = 0; d < times.size(); ++d)
        LC_CHECK(!__builtin_mul_overflow(sizes[d], times[d], &result[d]), ValueError, "repeat: the result has more elements than memory can hold");
    element_count(result);                                     // refuses what memory cannot hold
    Tensor y = reshape(x, sizes);
    for (int d = times.size() - 1; d >= 0; --d) y = repeat_dim(y, d, times[d], false);
    return y.storage() == x.storage() ? clone(y) : y;
}

Tensor tile(const Tensor& x, const Dims& times) {
    Dims all = Dims::filled(times.size() < x.dim() ? x.dim() - times.size() : 0, 1);
    for (const int64_t n : times) all.push_back(n);
    return repeat(x, all);
}

Tensor repeat_interleave(const Tensor& x, int64_t times, int64_t dim) {
    LC_CHECK(times >= 0, ValueError, "repeat_interleave: cannot repeat ", times, " times");
    if (x.dim() == 0) return repeat_interleave(reshape(x, {1}), times, dim);
    const Tensor y = repeat_dim(x, wrap_dim("repeat_interleave", dim, x.dim()), times, true);
    return y.storage() == x.storage() ? clone(y) : y;
}

Tensor repeat_interleave(const Tensor& x, const Tensor& given, int64_t dim) {
    if (x.dim() == 0) return repeat_interleave(reshape(x, {1}), given, dim);
    const int d = wrap_dim("repeat_interleave", dim, x.dim());
    LC_CHECK(is_integral(given.dtype()) && given.dtype() != DType::bool_ && given.dim() <= 1, ValueError,
             "repeat_interleave: repeats must be integers in at most 1 dim, got ", given.dtype(), ' ', given.sizes());
    LC_CHECK(given.numel() == 1 || given.numel() == x.size(d), ValueError, "repeat_interleave: ", given.numel(), " repeats for dim ", d,
             " of size ", x.size(d), " (shape ", x.sizes(), ")");
    refuse_recording("repeat_interleave", "repeats are read on the host");
    const Tensor times = contiguous(expand(detail::converted(reshape(to(given.detach(), Device{}), {-1}), DType::int64), {x.size(d)}));
    int64_t total = 0;
    for (int64_t i = 0; i < x.size(d); ++i) {
        const int64_t n = times.data<int64_t>()[i];
        LC_CHECK(n >= 0 && !__builtin_add_overflow(total, n, &total), ValueError, "repeat_interleave: cannot repeat ", n, " times");
    }
    const Tensor from = Tensor::empty({total}, DType::int64);
    int64_t* at = from.mutable_data<int64_t>();
    for (int64_t i = 0; i < x.size(d); ++i)
        for (int64_t r = times.data<int64_t>()[i]; r > 0; --r) *at++ = i;
    return index_select(x, d, from);
}

Tensor roll(const Tensor& x, const Dims& shifts, const Dims& dims) {
    if (dims.empty()) {
        LC_CHECK(shifts.size() == 1, ValueError, "roll: without dims there is one shift, got ", shifts);
        return reshape(roll(reshape(x, {-1}), shifts, {0}), x.sizes());
    }
    LC_CHECK(shifts.size() == dims.size(), ValueError, "roll: shifts ", shifts, " and dims ", dims, " differ in length");
    Dims shift = Dims::filled(x.dim(), 0);                     // per dim, 0 <= shift < size
    for (int i = 0; i < dims.size(); ++i) {
        const int d = wrap_dim("roll", dims[i], x.dim());
        if (x.dim() == 0 || x.size(d) == 0) continue;
        const int64_t s = shifts[i] % x.size(d);
        shift[d] = (shift[d] + (s < 0 ? s + x.size(d) : s)) % x.size(d);
    }
    const Tensor y = Tensor::empty(x.sizes(), x.dtype(), x.device());
    NoGrad guard;
    const auto move = [&](const auto& self, const Tensor& to, const Tensor& from, int d) -> void {     // dim d in two pieces
        while (d < x.dim() && shift[d] == 0) ++d;
        if (d == x.dim()) return detail::copy_into(to, from);
        const int64_t n = x.size(d), s = shift[d];
        self(self, narrow(to, d, s, n - s), narrow(from, d, 0, n - s), d + 1);
        self(self, narrow(to, d, 0, s), narrow(from, d, n - s, s), d + 1);
    };
    if (x.numel() > 0) move(move, y, x, 0);
    set_grad_enabled(guard.previous);
    if (wants_grad({x})) {
        Dims back = shift, all;
        for (int d = 0; d < x.dim(); ++d) back[d] = -shift[d], all.push_back(d);
        record("roll", {x}, {y}, [back, all](const Grads& dy) -> Tensors { return {all.empty() ? dy[0] : roll(dy[0], back, all)}; });
    }
    return y;
}

Tensor flip(const Tensor& x, const Dims& dims) {
    bool named[kMaxDims] = {};
    Tensor y = x;
    for (const int64_t dim : dims) {
        const int d = wrap_dim("flip", dim, x.dim());
        LC_CHECK(!named[d], ValueError, "flip: dim ", d, " is named twice in ", dims);
        named[d] = true;
        if (x.dim() > 0) y = slice(y, d, kEnd, -kEnd, -1);
    }
    return clone(y);
}

Tensors broadcast_tensors(const Tensors& xs) {
    Dims sizes;
    for (const Tensor& x : xs) {
        LC_CHECK(x, TypeError, "broadcast_tensors: an input is None");
        sizes = broadcast("broadcast_tensors", sizes, x.sizes());
    }
    Tensors ys;
    for (const Tensor& x : xs) ys.push_back(expand(x, sizes));
    return ys;
}

Tensors meshgrid(const Tensors& xs, bool xy) {
    const bool swap = xy && xs.size() > 1;
    Dims sizes;
    for (const Tensor& x : xs) {
        LC_CHECK(x, TypeError, "meshgrid: an input is None");
        LC_CHECK(x.dim() <= 1, ValueError, "meshgrid: inputs must have at most 1 dim, got shape ", x.sizes());
        sizes.push_back(x.numel());
    }
    if (swap) std::swap(sizes[0], sizes[1]);
    Tensors ys;
    for (int i = 0; i < int(xs.size()); ++i) {
        const int axis = swap && i < 2 ? 1 - i : i;
        Dims alone = Dims::filled(sizes.size(), 1);
        alone[axis] = sizes[axis];
        ys.push_back(expand(reshape(xs[size_t(i)], alone), sizes));
    }
    return ys;
}

}  // namespace lc
