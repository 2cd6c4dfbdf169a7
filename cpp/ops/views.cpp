// views: sizes, strides and an offset are all there is to compute. Contract: cpp/ops/views.h
#include "cpp/ops/views.h"
#include <algorithm>
#include "cpp/autograd/node.h"
#include "cpp/ops/copy.h"
#include "cpp/ops/reduce.h"

namespace lc {

namespace {

Tensor window(const Tensor& x, const Dims& sizes, const Dims& strides, int64_t skipped = 0) {
    return Tensor::view_of(x, sizes, strides, x.offset() + skipped);
}

// y = f(x) for an f that leaves elements out: the gradient is zero but where f looks.
template <class F> Tensor part(const char* op, const Tensor& x, F f) {
    Tensor y = f(x);
    if (wants_grad({x}))
        record(op, {x}, {y}, [f, sizes = x.sizes()](const Grads& dy) -> Tensors {
            Tensor dx = Tensor::zeros(sizes, dy[0].dtype(), dy[0].device());
            detail::copy_into(f(dx), dy[0]);
            return {dx};
        });
    return y;
}

// y has x's elements in x's order.
Tensor same_order(const char* op, const Tensor& x, const Dims& sizes, const Dims& strides) {
    Tensor y = window(x, sizes, strides);
    if (wants_grad({x}))
        record(op, {x}, {y}, [sizes = x.sizes()](const Grads& dy) -> Tensors { return {reshape(dy[0], sizes)}; });
    return y;
}

// Strides that show `sizes` without a copy, if there are any. Old dims that step through memory evenly form one run;
// every run must be a product of new sizes.
bool view_strides(const Tensor& x, const Dims& sizes, Dims& strides) {
    strides = contiguous_strides(sizes);
    if (x.is_contiguous() || x.numel() == 0) return true;
    int next = x.dim() - 1;
    int64_t left = 1, step = 1;
    for (int i = sizes.size() - 1; i >= 0; --i) {
        strides[i] = step;
        if (sizes[i] == 1) continue;
        if (left == 1) {                                       // the next run, from the right
            while (x.size(next) == 1) --next;
            left = x.size(next);
            strides[i] = step = x.stride(next);
            int64_t even = step * left;
            while (--next >= 0 && (x.size(next) == 1 || x.stride(next) == even)) {
                left *= x.size(next);
                even *= x.size(next);
            }
            next = std::max(next, 0);
        }
        if (left % sizes[i] != 0) return false;
        left /= sizes[i];
        step *= sizes[i];
    }
    return true;
}

// Replaces the one -1 and checks the count.
Dims infer_sizes(const char* op, int64_t count, const Dims& wanted, const Dims& shape) {
    Dims sizes = wanted;
    int unknown = -1;
    for (int i = 0; i < sizes.size(); ++i) {
        LC_CHECK(sizes[i] >= -1, ValueError, op, ": size ", sizes[i], " is negative in ", wanted);
        if (sizes[i] != -1) continue;
        LC_CHECK(unknown < 0, ValueError, op, ": only one size may be -1, got ", wanted);
        unknown = i;
    }
    if (unknown >= 0) {
        sizes[unknown] = 1;
        const int64_t known = element_count(sizes);
        LC_CHECK(known > 0, ValueError, op, ": -1 in ", wanted, " could be any size, as the others hold no element");
        sizes[unknown] = count / known;
    }
    LC_CHECK(element_count(sizes) == count, ValueError, op, ": ", shape, " has ", count, " elements and cannot become ", wanted);
    return sizes;
}

int dim_of(const char* op, const Tensor& x, int64_t dim) {
    LC_CHECK(x.dim() > 0, IndexError, op, ": a 0-d tensor has no dim to take parts of");
    return wrap_dim(op, dim, x.dim());
}

int64_t checked_index(const char* op, const Tensor& x, int dim, int64_t index) {
    const int64_t size = x.size(dim);
    LC_CHECK(index >= -size && index < size, IndexError, op, ": index ", index, " is out of range for dim ", dim,
             " of size ", size, " (shape ", x.sizes(), ")");
    return index < 0 ? index + size : index;
}

struct Range {
    int64_t start, length, step;
};

Range python_range(const char* op, int64_t size, int64_t start, int64_t end, int64_t step) {
    LC_CHECK(step != 0, ValueError, op, ": step is 0");
    step = std::max(step, -kEnd);                              // so that -step exists
    const int64_t low = step < 0 ? -1 : 0, high = step < 0 ? size - 1 : size;
    const auto clamped = [&](int64_t i) { return std::clamp(i < 0 ? i + size : i, low, high); };
    start = clamped(start), end = clamped(end);
    const int64_t span = step < 0 ? start - end : end - start;
    const int64_t length = span <= 0 ? 0 : 1 + (span - 1) / std::abs(step);
    return {length ? start : 0, length, length > 1 ? step : 1};        // one element has no step to overflow with
}

// The geometry of a part: what basic_index, slice and select share.
struct Window {
    explicit Window(const Tensor& x, int first = 0) : x(x) {
        while (dim < first) keep();
    }
    void keep() { add(x.size(dim), x.stride(dim)), ++dim; }
    void take(Range r) { skipped += r.start * x.stride(dim), add(r.length, x.stride(dim) * r.step), ++dim; }
    void drop(int64_t index) { skipped += index * x.stride(dim), ++dim; }
    void add(int64_t size, int64_t stride) { sizes.push_back(size), strides.push_back(stride); }
    Tensor tensor() {
        while (dim < x.dim()) keep();
        return window(x, sizes, strides, element_count(sizes) ? skipped : 0);
    }

    const Tensor& x;
    int dim = 0;                                               // of x, the next one
    Dims sizes, strides;
    int64_t skipped = 0;
};

Tensor slice_window(const Tensor& x, int dim, Range r) {
    Window w(x, dim);
    w.take(r);
    return w.tensor();
}
Tensor select_window(const Tensor& x, int dim, int64_t index) {
    Window w(x, dim);
    w.drop(index);
    return w.tensor();
}

// The dense tensor of these sizes whose parts, at(whole, i), are the gradients; undefined where they lie elsewhere.
template <class F> Tensor whole_of(const Grads& dy, int64_t count, const Dims& sizes, F at) {
    const Tensor& first = dy[0];
    if (!first || size_t((first.offset() + element_count(sizes)) * item_size(first.dtype())) > first.storage()->bytes) return {};
    const Tensor whole = Tensor::view_of(first, sizes, contiguous_strides(sizes), first.offset());
    for (int64_t i = 0; i < count; ++i) {
        const Tensor &g = dy[int(i)], part = at(whole, i);
        if (!g || g.storage() != first.storage() || g.dtype() != first.dtype() || g.offset() != part.offset() || g.sizes() != part.sizes() || g.strides() != part.strides()) return {};
    }
    return whole;
}

// Parts of x along dim, at(x, i) being the i-th: one node, whose gradient is each part's in its place.
template <class F> Tensors parts(const char* op, const Tensor& x, int64_t count, F at) {
    Tensors ys;
    ys.reserve(size_t(count));
    for (int64_t i = 0; i < count; ++i) ys.push_back(at(x, i));
    if (wants_grad({x}) && count > 0)
        record(op, Tensors{x}, ys, [at, count, sizes = x.sizes(), dtype = x.dtype(), device = x.device()](const Grads& dy) -> Tensors {
            if (const Tensor whole = whole_of(dy, count, sizes, at)) return {whole};
            const Tensor dx = Tensor::empty(sizes, dtype, device);
            for (int64_t i = 0; i < count; ++i) {
                if (dy[int(i)]) detail::copy_into(at(dx, i), dy[int(i)]);
                else fill_(at(dx, i), 0);
            }
            return {dx};
        });
    return ys;
}

}  // namespace

// ---- same elements in the same order ---------------------------------------------------------------------------------

Tensor view(const Tensor& x, const Dims& wanted) {
    const Dims sizes = infer_sizes("view", x.numel(), wanted, x.sizes());
    Dims strides;
    LC_CHECK(view_strides(x, sizes, strides), ValueError, "view: no strides show ", x.sizes(), " with strides ", x.strides(),
             " as ", sizes, "; reshape() copies where it must");
    return same_order("view", x, sizes, strides);
}

Tensor reshape(const Tensor& x, const Dims& wanted) {
    const Dims sizes = infer_sizes("reshape", x.numel(), wanted, x.sizes());
    Dims strides;
    if (view_strides(x, sizes, strides)) return same_order("reshape", x, sizes, strides);
    return same_order("reshape", contiguous(x), sizes, contiguous_strides(sizes));
}

Tensor flatten(const Tensor& x, int64_t start_dim, int64_t end_dim) {
    const int start = wrap_dim("flatten", start_dim, x.dim()), end = wrap_dim("flatten", end_dim, x.dim());
    LC_CHECK(start <= end, ValueError, "flatten: start_dim ", start_dim, " comes after end_dim ", end_dim, " (shape ", x.sizes(), ")");
    if (x.dim() == 0) return reshape(x, {1});
    Dims sizes(x.sizes().begin(), start);
    sizes.push_back(element_count(Dims(x.sizes().begin() + start, end - start + 1)));
    for (int i = end + 1; i < x.dim(); ++i) sizes.push_back(x.size(i));
    return reshape(x, sizes);
}

Tensor unflatten(const Tensor& x, int64_t dim, const Dims& wanted) {
    const int d = wrap_dim("unflatten", dim, x.dim());
    LC_CHECK(x.dim() > 0 && !wanted.empty(), ValueError, "unflatten: needs a dim and at least one size, got shape ", x.sizes(), " and sizes ", wanted);
    const Dims inner = infer_sizes("unflatten", x.size(d), wanted, {x.size(d)});
    Dims sizes(x.sizes().begin(), d), strides(x.strides().begin(), d);
    const Dims steps = contiguous_strides(inner);
    for (int i = 0; i < inner.size(); ++i) sizes.push_back(inner[i]), strides.push_back(steps[i] * x.stride(d));
    for (int i = d + 1; i < x.dim(); ++i) sizes.push_back(x.size(i)), strides.push_back(x.stride(i));
    return same_order("unflatten", x, sizes, strides);
}

Tensor squeeze(const Tensor& x) {
    Dims all;
    for (int i = 0; i < x.dim(); ++i) all.push_back(i);
    return squeeze(x, all);
}

Tensor squeeze(const Tensor& x, const Dims& dims) {
    bool named[kMaxDims] = {};
    for (const int64_t dim : dims) named[wrap_dim("squeeze", dim, x.dim())] = true;
    Dims sizes, strides;
    for (int i = 0; i < x.dim(); ++i)
        if (!named[i] || x.size(i) != 1) sizes.push_back(x.size(i)), strides.push_back(x.stride(i));
    return same_order("squeeze", x, sizes, strides);
}

Tensor unsqueeze(const Tensor& x, int64_t dim) {
    const int d = wrap_dim("unsqueeze", dim, x.dim() + 1);
    Dims sizes = x.sizes(), strides = x.strides();
    strides.insert(d, d < x.dim() ? x.size(d) * x.stride(d) : 1);
    sizes.insert(d, 1);
    return same_order("unsqueeze", x, sizes, strides);
}

// ---- same elements in another order ------------------------------------------------------------------------------------

Tensor permute(const Tensor& x, const Dims& dims) {
    LC_CHECK(dims.size() == x.dim(), ValueError, "permute: ", dims, " does not name each of the ", x.dim(), " dims of ", x.sizes());
    Dims sizes, strides, inverse = Dims::filled(x.dim(), -1);
    for (int i = 0; i < x.dim(); ++i) {
        const int d = wrap_dim("permute", dims[i], x.dim());
        LC_CHECK(inverse[d] < 0, ValueError, "permute: dim ", d, " is named twice in ", dims);
        inverse[d] = i;
        sizes.push_back(x.size(d)), strides.push_back(x.stride(d));
    }
    Tensor y = window(x, sizes, strides);
    if (wants_grad({x}))
        record("permute", {x}, {y}, [inverse](const Grads& dy) -> Tensors { return {permute(dy[0], inverse)}; });
    return y;
}

Tensor transpose(const Tensor& x, int64_t dim0, int64_t dim1) {
    const int a = wrap_dim("transpose", dim0, x.dim()), b = wrap_dim("transpose", dim1, x.dim());
    Dims order;
    for (int i = 0; i < x.dim(); ++i) order.push_back(i);
    if (a != b) std::swap(order[a], order[b]);
    return permute(x, order);
}

Tensor movedim(const Tensor& x, const Dims& source, const Dims& destination) {
    LC_CHECK(source.size() == destination.size(), ValueError, "movedim: source ", source, " and destination ", destination, " differ in length");
    Dims order = Dims::filled(x.dim(), -1);
    bool moved[kMaxDims] = {};
    for (int i = 0; i < source.size(); ++i) {
        const int from = wrap_dim("movedim", source[i], x.dim()), to = wrap_dim("movedim", destination[i], x.dim());
        if (x.dim() == 0) continue;
        LC_CHECK(!moved[from] && order[to] < 0, ValueError, "movedim: a dim is named twice in ", source, " or ", destination);
        moved[from] = true;
        order[to] = from;
    }
    for (int to = 0, from = 0; to < x.dim(); ++to) {
        if (order[to] >= 0) continue;
        while (moved[from]) ++from;
        order[to] = from++;
    }
    return permute(x, order);
}

Tensor t(const Tensor& x) {
    LC_CHECK(x.dim() <= 2, ValueError, "t: needs at most 2 dims, got shape ", x.sizes(), "; mT or permute() say which dims to swap");
    return transpose(x, 0, x.dim() == 2 ? 1 : 0);
}

Tensor matrix_transpose(const Tensor& x) {
    LC_CHECK(x.dim() >= 2, ValueError, "mT: needs at least 2 dims, got shape ", x.sizes());
    return transpose(x, -2, -1);
}

// ---- some of the elements ----------------------------------------------------------------------------------------------

Tensor slice(const Tensor& x, int64_t dim, int64_t start, int64_t end, int64_t step) {
    const int d = dim_of("slice", x, dim);
    return part("slice", x, [d, r = python_range("slice", x.size(d), start, end, step)](const Tensor& a) { return slice_window(a, d, r); });
}

Tensor narrow(const Tensor& x, int64_t dim, int64_t start, int64_t length) {
    const int d = dim_of("narrow", x, dim);
    const int64_t size = x.size(d), first = start < 0 ? start + size : start;
    LC_CHECK(first >= 0 && first <= size && length >= 0 && length <= size - first, IndexError, "narrow: start ", start,
             " and length ", length, " leave dim ", d, " of size ", size, " (shape ", x.sizes(), ")");
    return part("narrow", x, [d, r = Range{first, length, 1}](const Tensor& a) { return slice_window(a, d, r); });
}

Tensor select(const Tensor& x, int64_t dim, int64_t index) {
    const int d = dim_of("select", x, dim);
    return part("select", x, [d, i = checked_index("select", x, d, index)](const Tensor& a) { return select_window(a, d, i); });
}

Tensor diagonal(const Tensor& x, int64_t offset, int64_t dim1, int64_t dim2) {
    LC_CHECK(x.dim() >= 2, ValueError, "diagonal: needs at least 2 dims, got shape ", x.sizes());
    const int a = wrap_dim("diagonal", dim1, x.dim()), b = wrap_dim("diagonal", dim2, x.dim());
    LC_CHECK(a != b, ValueError, "diagonal: dim1 and dim2 are both ", a);
    const int64_t rows = x.size(a), cols = x.size(b);
    const int64_t right = std::clamp<int64_t>(offset, 0, cols), down = offset < 0 ? std::min(rows, -std::max(offset, -kEnd)) : 0;
    const int64_t length = std::min(rows - down, cols - right);
    return part("diagonal", x, [=](const Tensor& m) {
        Window w(m);
        for (; w.dim < m.dim(); ++w.dim)
            if (w.dim != a && w.dim != b) w.add(m.size(w.dim), m.stride(w.dim));
        w.add(length, m.stride(a) + m.stride(b));
        w.skipped = down * m.stride(a) + right * m.stride(b);
        return w.tensor();
    });
}

Tensors split(const Tensor& x, const std::vector<int64_t>& sizes, int64_t dim) {
    const int d = dim_of("split", x, dim);
    int64_t left = x.size(d);
    std::vector<Range> ranges;
    for (const int64_t size : sizes) {
        LC_CHECK(size >= 0 && size <= left, ValueError, "split: part size ", size, " where ", left, " is left of dim ", d, " (shape ", x.sizes(), ")");
        ranges.push_back({size ? x.size(d) - left : 0, size, 1});
        left -= size;
    }
    LC_CHECK(left == 0, ValueError, "split: the sizes leave ", left, " over of dim ", d, " (shape ", x.sizes(), ")");
    return parts("split", x, int64_t(sizes.size()), [d, ranges](const Tensor& a, int64_t i) { return slice_window(a, d, ranges[size_t(i)]); });
}

Tensors split(const Tensor& x, int64_t size, int64_t dim) {
    const int d = dim_of("split", x, dim);
    const int64_t total = x.size(d);
    LC_CHECK(size > 0 || (size == 0 && total == 0), ValueError, "split: part size ", size, " must be positive (dim ", d, " has size ", total, ")");
    const int64_t count = total == 0 ? 1 : 1 + (total - 1) / size;
    return parts("split", x, count, [=](const Tensor& a, int64_t i) {
        return slice_window(a, d, {total ? i * size : 0, std::min(size, total - i * size), 1});
    });
}

Tensors chunk(const Tensor& x, int64_t chunks, int64_t dim) {
    LC_CHECK(chunks > 0, ValueError, "chunk: chunks must be positive, got ", chunks);
    const int d = dim_of("chunk", x, dim);
    if (x.size(d) == 0)                                        // as many empty parts as were asked for
        return parts("chunk", x, chunks, [d](const Tensor& a, int64_t) { return slice_window(a, d, {0, 0, 1}); });
    return split(x, 1 + (x.size(d) - 1) / chunks, d);
}

Tensors unbind(const Tensor& x, int64_t dim) {
    const int d = dim_of("unbind", x, dim);
    return parts("unbind", x, x.size(d), [d](const Tensor& a, int64_t i) { return select_window(a, d, i); });
}

Tensor basic_index(const Tensor& x, const std::vector<IndexItem>& items) {
    Window w(x);
    std::vector<IndexItem> exact = items;                      // as ranges and positive indices, for the gradient to repeat
    int dim = 0;
    for (IndexItem& item : exact) {
        if (item.kind == IndexItem::Kind::new_axis) continue;
        LC_CHECK(dim < x.dim(), IndexError, "getitem: too many indices for shape ", x.sizes());
        if (item.kind == IndexItem::Kind::index) item.start = checked_index("getitem", x, dim, item.start);
        if (item.kind == IndexItem::Kind::slice) {
            const Range r = python_range("getitem", x.size(dim), item.start, item.end, item.step);
            item.start = r.start, item.end = r.length, item.step = r.step;
        }
        ++dim;
    }
    return part("getitem", x, [exact = std::move(exact)](const Tensor& a) {
        Window w(a);
        for (const IndexItem& item : exact) switch (item.kind) {
                case IndexItem::Kind::index: w.drop(item.start); break;
                case IndexItem::Kind::slice: w.take({item.start, item.end, item.step}); break;
                case IndexItem::Kind::new_axis: w.add(1, 1); break;
                case IndexItem::Kind::all: w.keep(); break;
            }
        return w.tensor();
    });
}

// ---- elements repeated ----------------------------------------------------------------------------------------------------

Tensor expand(const Tensor& x, const Dims& wanted) {
    const int added = wanted.size() - x.dim();
    LC_CHECK(added >= 0, ValueError, "expand: ", wanted, " has fewer dims than shape ", x.sizes());
    Dims sizes = wanted, strides = Dims::filled(wanted.size(), 0);
    for (int i = 0; i < sizes.size(); ++i) {
        if (sizes[i] == -1 && i >= added) sizes[i] = x.size(i - added);
        LC_CHECK(sizes[i] >= 0 && (i < added || sizes[i] == x.size(i - added) || x.size(i - added) == 1), ValueError,
                 "expand: shape ", x.sizes(), " does not broadcast to ", wanted);
        if (i >= added && (sizes[i] != 1 || x.size(i - added) != 1)) strides[i] = x.size(i - added) == 1 ? 0 : x.stride(i - added);
    }
    element_count(sizes);
    Tensor y = window(x, sizes, strides);
    if (wants_grad({x}))
        record("expand", {x}, {y}, [sizes = x.sizes()](const Grads& dy) -> Tensors { return {sum_to(dy[0], sizes)}; });
    return y;
}

Tensor broadcast_to(const Tensor& x, const Dims& sizes) {
    for (const int64_t size : sizes) LC_CHECK(size >= 0, ValueError, "broadcast_to: size ", size, " is negative in ", sizes);
    return expand(x, sizes);
}

}  // namespace lc
