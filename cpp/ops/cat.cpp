// cat, stack, hstack, vstack: every input is copied into its window of y. Contract: cpp/ops/cat.h
#include "cpp/ops/cat.h"
#include <cstring>
#include "cpp/autograd/node.h"
#include "cpp/core/parallel.h"
#include "cpp/ops/copy.h"
#include "cpp/ops/views.h"

namespace lc {
namespace {

DType promoted(const char* op, const Tensors& xs) {
    LC_CHECK(!xs.empty(), ValueError, op, ": needs at least one tensor");
    for (size_t i = 0; i < xs.size(); ++i) LC_CHECK(xs[i], TypeError, op, ": tensor ", i, " is None");
    DType dtype = xs[0].dtype();
    for (const Tensor& x : xs) dtype = promote(dtype, x.dtype());
    return dtype;
}

// Windows of y along dim, as narrow() makes them, without history.
Tensor window(const Tensor& y, int dim, int64_t start, int64_t length) {
    Dims sizes = y.sizes();
    sizes[dim] = length;
    return Tensor::view_of(y, sizes, y.strides(), y.offset() + (element_count(sizes) ? start * y.stride(dim) : 0));
}

constexpr int64_t kPiece = 256, kTask = 128 << 10, kStreamed = 24 << 20;      // bytes; from the last on, copies go past the caches

// Dense inputs joined along a dim behind others: y is written in its own order, 1.2x as fast as input by input. False: not of that kind.
bool interleave(const Tensor& y, const Tensors& xs, int dim) {
    int64_t outer = 1;
    for (int k = 0; k < dim; ++k) outer *= y.size(k);
    if (!y.device().is_cpu() || outer < 2 || y.numel() == 0) return false;
    struct Piece {
        const char* from;
        size_t bytes;                                 // of each place of the dims in front
    };
    std::vector<Piece> pieces;
    size_t row = 0;
    for (const Tensor& x : xs) {
        const size_t bytes = size_t(x.numel() / outer) * item_size(x.dtype());
        if (!x.device().is_cpu() || !x.is_contiguous() || bytes < kPiece || bytes * size_t(outer) >= kStreamed) return false;
        pieces.push_back({static_cast<const char*>(x.address()), bytes});
        row += bytes;
    }
    replayable([pieces = std::move(pieces), row, outer, to = static_cast<char*>(y.mutable_raw())] {
        parallel_ranges(outer, kTask / int64_t(row) + 1, outer * int64_t(row) / 16, [&](int64_t begin, int64_t end) {
            char* at = to + begin * int64_t(row);
            for (int64_t r = begin; r < end; ++r)
                for (const Piece& p : pieces) {
                    std::memcpy(at, p.from + r * int64_t(p.bytes), p.bytes);
                    at += p.bytes;
                }
        });
    });
    return true;
}

}  // namespace

Tensor cat(const Tensors& all, int64_t dim) {
    const DType dtype = promoted("cat", all);
    const Tensor* model = &all[0];                             // the first one that is no empty list: those join anything
    for (const Tensor& x : all) {
        LC_CHECK(x.dim() > 0, ValueError, "cat: 0-d tensors have no dim to join along; use stack()");
        if (model->dim() == 1 && model->size(0) == 0) model = &x;
    }
    Dims sizes = model->sizes();
    const int d = wrap_dim("cat", dim, sizes.size());
    sizes[d] = 0;
    Tensors xs;
    for (const Tensor& x : all) {
        const bool list = x.dim() == 1 && x.size(0) == 0 && sizes.size() > 1;
        xs.push_back(to(list ? reshape(x, sizes) : x, dtype));
    }

    std::vector<int64_t> starts;
    for (size_t i = 0; i < xs.size(); ++i) {
        const Tensor& x = xs[i];
        bool fits = x.dim() == sizes.size();
        for (int k = 0; fits && k < x.dim(); ++k) fits = k == d || x.size(k) == sizes[k];
        LC_CHECK(fits, ValueError, "cat: shapes must agree but in dim ", d, ": input 0 is ", all[0].sizes(), ", input ", i, " is ", x.sizes());
        starts.push_back(sizes[d]);
        LC_CHECK(!__builtin_add_overflow(sizes[d], x.size(d), &sizes[d]), ValueError, "cat: the result has too many elements");
    }
    const Tensor y = Tensor::empty(sizes, dtype, xs[0].device());
    if (!interleave(y, xs, d))
        for (size_t i = 0; i < xs.size(); ++i) detail::copy_into(window(y, d, starts[i], xs[i].size(d)), xs[i]);

    bool wanted = false;
    for (const Tensor& x : xs) wanted |= wants_grad({x});
    if (wanted) {
        starts.push_back(sizes[d]);
        record("cat", xs, {y}, [d, starts = std::move(starts)](const Grads& dy) -> Tensors {
            Tensors dxs(starts.size() - 1);
            for (size_t i = 0; i < dxs.size(); ++i)
                if (dy.needs(int(i))) dxs[i] = window(dy[0], d, starts[i], starts[i + 1] - starts[i]);
            return dxs;
        });
    }
    return y;
}

Tensor stack(const Tensors& xs, int64_t dim) {
    promoted("stack", xs);
    Tensors rows;
    for (size_t i = 0; i < xs.size(); ++i) {
        LC_CHECK(xs[i].sizes() == xs[0].sizes(), ValueError, "stack: shapes must agree: input 0 is ", xs[0].sizes(), ", input ", i, " is ", xs[i].sizes());
        rows.push_back(unsqueeze(xs[i], wrap_dim("stack", dim, xs[0].dim() + 1)));
    }
    return cat(rows, dim);
}

Tensor hstack(const Tensors& xs) {
    promoted("hstack", xs);
    Tensors rows;
    for (const Tensor& x : xs) rows.push_back(x.dim() ? x : reshape(x, {1}));
    return cat(rows, rows[0].dim() > 1 ? 1 : 0);
}

Tensor vstack(const Tensors& xs) {
    promoted("vstack", xs);
    Tensors rows;
    for (const Tensor& x : xs) rows.push_back(x.dim() > 1 ? x : reshape(x, {1, x.numel()}));
    return cat(rows, 0);
}

}  // namespace lc
