// sort, argsort, topk, unique, searchsorted. Contract: cpp/ops/sort.h
#include "cpp/ops/sort.h"
#include "cpp/autograd/node.h"
#include "cpp/core/parallel.h"
#include "cpp/ops/binary.h"
#include "cpp/ops/copy.h"
#include "cpp/ops/gather.h"
#include "cpp/ops/views.h"

namespace lc {
namespace {

Tensors sort_backward(const Tensor& dy, const Tensor& index, int dim, const Dims& sizes) {
    return {scatter(Tensor::zeros(sizes, dy.dtype(), dy.device()), dim, index, dy)};
}

// The first `keep` of x's order along dim, and where they were.
std::pair<Tensor, Tensor> ordered(const char* op, const Tensor& x, int dim, int64_t keep, bool descending) {
    if (x.dim() == 0) {
        const auto [y, index] = ordered(op, reshape(x, {1}), 0, keep, descending);
        return {reshape(y, {}), reshape(index, {})};
    }
    const int64_t n = x.size(dim);
    LC_CHECK(n < int64_t(1) << 32, ValueError, op, ": at most 2^32 - 1 elements along a dim, got shape ", x.sizes());
    const bool last = dim == x.dim() - 1;
    const Tensor rows = contiguous(last ? x.detach() : movedim(x.detach(), {dim}, {-1}));
    Dims sizes = rows.sizes();
    sizes[x.dim() - 1] = keep;
    Tensor y = Tensor::empty(sizes, x.dtype(), x.device()), index = Tensor::empty(sizes, DType::int64, x.device());
    if (keep > 0 && x.numel() > 0) {
        visit_any(x.dtype(), [&]<class T>() {
            const Device d = x.device();
            const SortForward<T> args{rows.data_on<T>(d), x.numel() / n, n, keep, descending, nullptr, y.mutable_data_on<T>(d), index.mutable_data_on<int64_t>(d)};
            if (!d.is_cpu()) return on::sort_forward<T>(d, args);
            replayable([a = args]() mutable {
                const Buffer<char> scratch(num_threads() * sort_scratch_bytes(a.n, int64_t(sizeof(T))));
                a.scratch = scratch.data();
                cpu::sort_forward<T>(a);
            });
        });
    }
    if (!last) y = contiguous(movedim(y, {-1}, {dim})), index = contiguous(movedim(index, {-1}, {dim}));
    if (wants_grad({x}))
        record(op, {x}, {y}, [dim, sizes = x.sizes(), index = Saved(index)](const Grads& dy) -> Tensors {
            return sort_backward(dy[0], index(), dim, sizes);
        });
    return {y, index};
}

}  // namespace

std::pair<Tensor, Tensor> sort(const Tensor& x, int64_t dim, bool descending) {
    const int d = wrap_dim("sort", dim, x.dim());
    return ordered("sort", x, d, x.dim() ? x.size(d) : 1, descending);
}

Tensor argsort(const Tensor& x, int64_t dim, bool descending) { return sort(x.detach(), dim, descending).second; }

std::pair<Tensor, Tensor> topk(const Tensor& x, int64_t k, int64_t dim, bool largest) {
    const int d = wrap_dim("topk", dim, x.dim());
    const int64_t n = x.dim() ? x.size(d) : 1;
    LC_CHECK(k >= 0 && k <= n, ValueError, "topk: k = ", k, " of the ", n, " elements of dim ", d, " (shape ", x.sizes(), ")");
    if (x.dim() == 0 && k == 0) return topk(reshape(x, {1}), 0, 0, largest);
    return ordered("topk", x, d, k, largest);
}

std::tuple<Tensor, Tensor, Tensor> unique(const Tensor& x) {
    no_gradient("unique", x);
    refuse_recording("unique", "the size of the result depends on values");
    if (!x.device().is_cpu()) {                       // a count that the host waits for anyway
        const auto [values, inverse, counts] = unique(to(x, Device{}));
        return {to(values, x.device()), to(inverse, x.device()), to(counts, x.device())};
    }
    const auto [sorted, order] = sort(reshape(x, {-1}), 0);
    const int64_t n = x.numel();
    const Tensor inverse = Tensor::empty(x.sizes(), DType::int64);
    std::vector<int64_t> starts;
    visit_any(x.dtype(), [&]<class T>() {
        const T* s = sorted.data<T>();
        const int64_t* from = order.data<int64_t>();
        const auto differ = [](T a, T b) {
            if constexpr (sizeof(T) == 2) return !(to_float(a) == to_float(b));
            else return !(a == b);                    // each NaN is one of its own
        };
        for (int64_t i = 0; i < n; ++i) {
            if (i == 0 || differ(s[i - 1], s[i])) starts.push_back(i);
            inverse.mutable_data<int64_t>()[from[i]] = int64_t(starts.size()) - 1;
        }
    });
    const Tensor first = Tensor::empty({int64_t(starts.size())}, DType::int64), counts = Tensor::empty_like(first);
    for (size_t u = 0; u < starts.size(); ++u) {
        first.mutable_data<int64_t>()[u] = starts[u];
        counts.mutable_data<int64_t>()[u] = (u + 1 < starts.size() ? starts[u + 1] : n) - starts[u];
    }
    return {gather(sorted, 0, first), inverse, counts};
}

Tensor searchsorted(const Tensor& sorted, const Tensor& values, bool right) {
    refuse_recording("searchsorted", "values are read on the host");
    check_same_device("searchsorted", sorted.device(), values.device());
    if (!values.device().is_cpu()) return to(searchsorted(to(sorted.detach(), Device{}), to(values.detach(), Device{}), right), values.device());
    LC_CHECK(sorted.dim() >= 1, ValueError, "searchsorted: the sorted sequence needs a dim to search along");
    const bool shared = sorted.dim() == 1;
    bool fits = shared || sorted.dim() == values.dim();
    for (int d = 0; fits && d < sorted.dim() - 1; ++d) fits = sorted.size(d) == values.size(d);
    LC_CHECK(fits, ValueError, "searchsorted: sequences of shape ", sorted.sizes(), " do not belong to values of shape ", values.sizes(),
             "; give one sequence, or one for each row of values");
    DType t = result_type(sorted, values);
    if (is_floating(t) && t != DType::float64) t = DType::float32;        // exact
    if (is_integral(t)) t = DType::int64;
    const Tensor s = detail::dense(detail::converted(sorted, t)), v = detail::dense(detail::converted(values, t));
    const Tensor y = Tensor::empty(values.sizes(), DType::int64, values.device());
    const int64_t n = s.size(-1), each = shared ? v.numel() : v.size(-1);
    const auto search = [&]<class T>() {
        const T *row = s.data<T>(), *x = v.data<T>();
        int64_t* found = y.mutable_data<int64_t>();
        parallel_ranges(v.numel(), 1024, v.numel() * 50, [=](int64_t begin, int64_t end) {
            for (int64_t i = begin; i < end; ++i) {
                const T* at = shared ? row : row + i / each * n;
                int64_t low = 0, high = n;
                while (low < high) {
                    const int64_t middle = low + (high - low) / 2;
                    const bool before = right ? !(at[middle] > x[i]) : !(at[middle] >= x[i]);
                    before ? low = middle + 1 : high = middle;
                }
                found[i] = low;
            }
        });
    };
    if (t == DType::int64) search.template operator()<int64_t>();
    else visit_float(t, "searchsorted", search);
    return y;
}

}  // namespace lc
