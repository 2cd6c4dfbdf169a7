// index: indices -> places in memory -> gather or put. Contract: cpp/ops/index.h
#include "cpp/ops/index.h"
#include <algorithm>
#include <atomic>
#include "cpp/autograd/node.h"
#include "cpp/core/parallel.h"
#include "cpp/ops/copy.h"
#include "cpp/ops/embedding.h"
#include "cpp/ops/nonzero.h"

namespace lc {
namespace {

// Who is asking, for errors: the dims of x are those of the view that the items make of the tensor the user named.
struct Caller {
    const char* op;
    const Tensor& named;
    const std::vector<IndexItem>* items = nullptr;

    int dim(int of_view) const {
        int dim = 0, seen = 0;
        if (items)
            for (const IndexItem& item : *items) {
                if (item.kind == IndexItem::Kind::index) {
                    ++dim;
                    continue;
                }
                if (seen++ == of_view) return dim;
                dim += item.kind != IndexItem::Kind::new_axis;
            }
        return dim + of_view - seen;
    }
};

void check_range(const Caller& caller, const Tensor& given, int d, int64_t size) {
    const Tensor index = detail::dense(detail::converted(given, DType::int64));
    const int64_t* i = index.data<int64_t>();
    for (int64_t p = 0; p < index.numel(); ++p)
        LC_CHECK(i[p] >= -size && i[p] < size, IndexError, caller.op, ": index ", i[p], " is out of range for dim ", caller.dim(d),
                 " of size ", size, " (shape ", caller.named.sizes(), ")");
}

// Masks become the integers they stand for; the result has one index a dim of x.
Tensors integer_indices(const Caller& caller, const Tensor& x, const Tensors& indices) {
    const char* op = caller.op;
    if (x.device().is_cpu()) refuse_recording(op, "indices are read on the host");
    Tensors out;
    for (const Tensor& index : indices) {
        const int dim = int(out.size());
        if (!index) {
            out.emplace_back();
        } else if (index.dtype() == DType::bool_) {
            LC_CHECK(dim + index.dim() <= x.dim(), IndexError, op, ": too many indices: a mask of shape ", index.sizes(),
                     " from dim ", caller.dim(dim), " on, for shape ", caller.named.sizes());
            for (int k = 0; k < index.dim(); ++k)
                LC_CHECK(index.size(k) == x.size(dim + k), IndexError, op, ": mask of shape ", index.sizes(), " does not match dim ",
                         caller.dim(dim + k), " of size ", x.size(dim + k), " (shape ", caller.named.sizes(), ")");
            for (const Tensor& column : nonzero_tuple(index)) out.push_back(to(column, x.device()));
        } else {
            LC_CHECK(is_integral(index.dtype()), IndexError, op, ": indices must be integers or booleans, got ", index.dtype());
            if (index.device() != x.device()) {
                LC_CHECK(index.device().is_cpu(), ValueError, op, ": indices on ", index.device(), " for a tensor on ", x.device(), "; move one with to()");
                refuse_recording(op, "indices of the CPU are read on the host");
                if (dim < x.dim()) check_range(caller, index, dim, x.size(dim));
            }
            out.push_back(to(to(index, DType::int64), x.device()));
        }
    }
    LC_CHECK(int(out.size()) <= x.dim(), IndexError, op, ": too many indices: ", out.size(), " for shape ", caller.named.sizes());
    out.resize(size_t(x.dim()));
    return out;
}

// A lone mask of several dims over dims that lie evenly in memory: the same for one dim, whose places are found more
// quickly. The dim merged, or -1.
int merged_dim(const Tensor& x, const Tensors& indices, Dims& sizes) {
    int at = -1;
    for (size_t i = 0; i < indices.size(); ++i) {
        if (!indices[i]) continue;
        if (at >= 0 || indices[i].dtype() != DType::bool_ || indices[i].dim() < 2) return -1;
        at = int(i);
    }
    if (at < 0 || at + indices[size_t(at)].dim() > x.dim() || !x.is_contiguous()) return -1;
    const Dims& mask = indices[size_t(at)].sizes();
    for (int k = 0; k < mask.size(); ++k)
        if (mask[k] != x.size(at + k)) return -1;
    for (int d = 0; d < at; ++d) sizes.push_back(x.size(d));
    sizes.push_back(element_count(mask));
    for (int d = at + mask.size(); d < x.dim(); ++d) sizes.push_back(x.size(d));
    return at;
}

Tensors merged(const Tensors& indices, int dim) {
    Tensors flat(size_t(dim) + 1);
    flat[size_t(dim)] = reshape(indices[size_t(dim)], {-1});
    return flat;
}

// Where the indexed elements of a tensor of these sizes and strides lie.
struct Places {
    Places(const Caller& caller, const Dims& sizes, const Dims& strides, const Tensors& indices, Device device) : on(device), place(count_of(caller.op, indices)) {
        int first = -1, last = -1, indexed = 0;
        for (int d = 0; d < sizes.size(); ++d) {
            if (!indices[size_t(d)]) continue;
            if (first < 0) first = d;
            last = d, ++indexed;
        }
        const bool together = last - first + 1 == indexed;
        for (int d = 0; d < sizes.size(); ++d) {
            if (indices[size_t(d)]) continue;
            const bool left = together && d < first;
            (left ? lead : tail).add(sizes[d], strides[d]);
            (left ? lead_sizes : tail_sizes).push_back(sizes[d]);
        }
        if (!device.is_cpu()) place_there = Tensor::empty({count}, DType::int64, device), row = Tensor::empty_like(place_there);
        else
            for (int64_t p = 0; p < count; ++p) place[p] = 0;
        for (int d = 0; d < sizes.size(); ++d)
            if (indices[size_t(d)] && !device.is_cpu()) add_there(contiguous(expand(indices[size_t(d)], shape)), sizes[d], strides[d], d == first);
            else if (indices[size_t(d)]) add(caller, contiguous(expand(indices[size_t(d)], shape)), d, sizes[d], strides[d]);
    }

    int64_t count_of(const char* op, const Tensors& indices) {
        for (const Tensor& index : indices)
            if (index) shape = broadcast(op, shape, index.sizes());
        count = element_count(shape);
        return on.is_cpu() ? count : 0;
    }
    const int64_t* data() const { return on.is_cpu() ? place.data() : place_there.data_on<int64_t>(on); }

    void add_there(const Tensor& index, int64_t size, int64_t stride, bool first) {
        rows *= size;
        replayable([device = on, a = IndexPlaces<int64_t>{index.data_on<int64_t>(on), count, size, stride, first, place_there.mutable_data_on<int64_t>(on), row.mutable_data_on<int64_t>(on)}] {
            cuda::use(device);
            cuda::index_places<int64_t>(a);
        });
    }

    void add(const Caller& caller, const Tensor& index, int d, int64_t size, int64_t stride) {
        const int64_t* i = index.data<int64_t>();
        std::atomic<bool> outside = false;
        parallel_ranges(count, 32 * 1024, count, [&](int64_t begin, int64_t end) {
            bool bad = false;
            for (int64_t p = begin; p < end; ++p) {
                const int64_t at = i[p] < 0 ? i[p] + size : i[p];
                bad |= at < 0 || at >= size;
                place[p] += int64_t(uint64_t(at) * uint64_t(stride));              // wraps where at is bad
            }
            if (bad) outside = true;
        });
        if (outside) check_range(caller, index, d, size);
    }

    Dims result() const {
        Dims sizes = lead_sizes;
        for (const int64_t n : shape) sizes.push_back(n);
        for (const int64_t n : tail_sizes) sizes.push_back(n);
        return sizes;
    }

    Device on;                                        // where x is
    Dims shape;                                       // of the indices together
    int64_t count = 1, rows = 1;
    Buffer<int64_t> place;
    Tensor place_there, row;                          // on CUDA instead
    Grid lead, tail;
    Dims lead_sizes, tail_sizes;
};

template <class T> void run_forward(const Places& at, const T* x, T* y) {
    const IndexForward<T> a{x, at.data(), at.count, &at.lead, &at.tail, y};
    if (at.on.is_cpu()) return cpu::index_forward(a);
    replayable([device = at.on, a = a, lead = at.lead, tail = at.tail]() mutable {      // the grids live as long as the plan
        a.lead = &lead;
        a.tail = &tail;
        on::index_forward(device, a);
    });
}

bool none(const Tensors& indices) {
    for (const Tensor& index : indices)
        if (index) return false;
    return true;
}

// v without leading dims of size 1 that x has no place for; checked to broadcast.
Tensor fitted(const char* op, Tensor v, const Dims& sizes) {
    while (v.dim() > sizes.size() && v.size(0) == 1) v = select(v, 0, 0);
    const int added = sizes.size() - v.dim();
    bool fits = added >= 0;
    for (int d = 0; fits && d < v.dim(); ++d) fits = v.size(d) == 1 || v.size(d) == sizes[d + added];
    LC_CHECK(fits, ValueError, op, ": values of shape ", v.sizes(), " do not broadcast to ", sizes);
    return v;
}

// v: contiguous, of x's dtype and of the shape that at.result() says
void put(const Tensor& x, const Places& at, const Tensor& v, bool accumulate) {
    const Device d = x.device();
    const auto run = [&]<class T>(auto here, auto there) {
        const IndexPut<T> a{v.data_on<T>(d), at.data(), at.count, &at.lead, &at.tail, x.mutable_data_on<T>(d)};
        if (d.is_cpu()) return here(a);
        replayable([=, rows = IndexPutRows<T>{a, at.row.data_on<int64_t>(d), at.rows}, lead = at.lead, tail = at.tail]() mutable {
            rows.put.lead = &lead;                    // the grids live as long as the plan
            rows.put.tail = &tail;
            cuda::use(d);
            there(rows);
        });
    };
    if (!accumulate) return visit_bits(x.dtype(), [&]<class T>() { run.template operator()<T>(cpu::index_put<T>, cuda::index_put_rows<T>); });
    switch (x.dtype()) {
        case DType::float32: return run.operator()<float>(cpu::index_backward<float>, cuda::index_add_rows<float>);
        case DType::float64: return run.operator()<double>(cpu::index_backward<double>, cuda::index_add_rows<double>);
        case DType::int64: return run.operator()<int64_t>(cpu::index_backward<int64_t>, cuda::index_add_rows<int64_t>);
        default: return run.operator()<int32_t>(cpu::index_backward<int32_t>, cuda::index_add_rows<int32_t>);
    }
}

// The dtype sums into x are made in.
DType wide(DType t) {
    if (is_floating(t)) return t == DType::float64 ? t : DType::float32;
    return t == DType::int64 ? t : DType::int32;
}

void put(const Caller& caller, const Tensor& x, const Tensors& wanted, const Tensor& v, bool accumulate) {
    Dims flat;
    if (const int dim = merged_dim(x, wanted, flat); dim >= 0) return put(caller, reshape(x, flat), merged(wanted, dim), v, accumulate);
    const Tensors indices = integer_indices(caller, x, wanted);
    if (accumulate && x.dtype() != wide(x.dtype())) {
        const Tensor sum = detail::converted(x, wide(x.dtype()));
        put(caller, sum, indices, detail::converted(v, sum.dtype()), true);
        return detail::copy_into(x, sum);
    }
    const Places at(caller, x.sizes(), x.strides(), indices, x.device());
    const Dims sizes = at.result();
    Tensor values = to(detail::converted(fitted(caller.op, v, sizes), x.dtype()), x.device());
    if (values.storage() == x.storage()) values = clone(values);       // x[i] = x[j]: read everything before writing
    put(x, at, contiguous(expand(values, sizes)), accumulate);
}

// Long rows along the first dim: their gradients are summed sorted by row, each place of dx written once.
bool picks_rows(const Dims& sizes, const Tensors& indices) {
    constexpr int64_t kLong = 32;
    for (size_t d = 1; d < indices.size(); ++d)
        if (indices[d]) return false;
    return sizes[0] > 0 && indices[0] && element_count(sizes) / sizes[0] >= kLong;
}

Tensor rows_added(const char* op, const Tensor& index, const Tensor& dy, const Dims& sizes) {
    const int64_t cols = element_count(sizes) / sizes[0];
    const Places at({op, dy}, {sizes[0], cols}, {1, 1}, {index, Tensor()}, dy.device());   // offsets that are the rows themselves
    const Tensor numbers = at.on.is_cpu() ? Tensor::empty({at.count}, DType::int64) : at.place_there;
    if (at.on.is_cpu()) std::copy_n(at.place.data(), at.count, numbers.mutable_data<int64_t>());
    return reshape(detail::rows_added(numbers, reshape(dy, {at.count, cols}), sizes[0]), sizes);
}

// x[mask], both of one dim, without history
Tensor masked(const char* op, const Tensor& given, const Tensor& given_mask) {
    refuse_recording(op, "the size of the result depends on values");
    const Tensor x = contiguous(given), mask = contiguous(given_mask);
    Buffer<int64_t> starts(mask.numel() / kNonzeroBlock + 1);
    const Tensor y = Tensor::empty({detail::nonzero_starts(mask, starts.data())}, x.dtype(), x.device());
    visit_bits(x.dtype(), [&]<class T>() {
        cpu::index_masked<T>(IndexMasked<T>{x.data<T>(), mask.data<bool>(), x.numel(), starts.data(), y.mutable_data<T>()});
    });
    return y;
}

Tensor gathered(const Caller& caller, const Tensor& x, const Tensors& wanted) {
    Dims sizes;
    if (const int dim = merged_dim(x, wanted, sizes); dim >= 0) return gathered(caller, reshape(x, sizes), merged(wanted, dim));
    if (x.device().is_cpu() && x.dim() == 1 && wanted[0].dtype() == DType::bool_ && wanted[0].sizes() == x.sizes() && !wants_grad({x})) return masked(caller.op, x, wanted[0]);
    const Tensors indices = integer_indices(caller, x, wanted);
    const Places at(caller, x.sizes(), x.strides(), indices, x.device());
    const Tensor y = Tensor::empty(at.result(), x.dtype(), x.device());
    visit_bits(x.dtype(), [&]<class T>() {
        run_forward(at, x.data_on<T>(at.on), y.mutable_data_on<T>(at.on));
    });
    if (wants_grad({x})) {
        std::vector<Saved> saved(indices.begin(), indices.end());
        record("index", {x}, {y}, [op = caller.op, sizes = x.sizes(), saved = std::move(saved)](const Grads& dy) -> Tensors {
            Tensors indices;
            for (const Saved& index : saved) indices.push_back(index());
            if (picks_rows(sizes, indices)) return {rows_added(op, indices[0], dy[0], sizes)};
            const Tensor dx = Tensor::zeros(sizes, wide(dy[0].dtype()), dy[0].device());
            put(Caller{op, dx}, dx, indices, dy[0], true);
            return {to(dx, dy[0].dtype())};
        });
    }
    return y;
}

Tensors along(const Tensor& x, int dim, const Tensor& index) {
    Tensors indices{size_t(x.dim())};
    indices[size_t(dim)] = index;
    return indices;
}

}  // namespace

Tensor index(const Tensor& x, const Tensors& indices, const char* op) { return gathered({op, x}, x, indices); }

void index_put_(const Tensor& x, const Tensors& indices, const Tensor& v, bool accumulate, const char* op) {
    no_gradient(op, v);
    check_inplace(op, x);
    NoGrad guard;
    put({op, x}, x, indices, v, accumulate);
}

Tensor index_select(const Tensor& x, int64_t dim, const Tensor& i) {
    const int d = wrap_dim("index_select", dim, x.dim());
    LC_CHECK(i.dim() <= 1, ValueError, "index_select: index must have at most 1 dim, got shape ", i.sizes());
    LC_CHECK(is_integral(i.dtype()) && i.dtype() != DType::bool_, IndexError, "index_select: index must be integers, got ", i.dtype());
    if (x.dim() == 0) return reshape(index(reshape(x, {1}), {reshape(i, {-1})}, "index_select"), {});
    return index(x, along(x, d, reshape(i, {-1})), "index_select");
}

Tensor index_add(const Tensor& x, int64_t dim, const Tensor& i, const Tensor& source) {
    const int d = wrap_dim("index_add", dim, x.dim());
    LC_CHECK(x.dim() > 0 && i.dim() == 1, ValueError, "index_add: needs an x with dims and a 1-d index, got shapes ", x.sizes(), " and ", i.sizes());
    LC_CHECK(is_integral(i.dtype()) && i.dtype() != DType::bool_, IndexError, "index_add: index must be integers, got ", i.dtype());
    Dims sizes = x.sizes();
    sizes[d] = i.numel();
    LC_CHECK(source.sizes() == sizes && source.dtype() == x.dtype(), ValueError, "index_add: source must be ", x.dtype(), ' ', sizes,
             ", got ", source.dtype(), ' ', source.sizes());
    const Tensor y = clone(x.detach());
    const Tensors indices = along(x, d, detail::converted(i, DType::int64));
    put({"index_add", y}, y, indices, source.detach(), true);
    if (wants_grad({x, source}))
        record("index_add", {x, source}, {y}, [d, i = Saved(i)](const Grads& dy) -> Tensors {
            return {dy[0], dy.needs(1) ? index_select(dy[0], d, i()) : Tensor()};
        });
    return y;
}

Tensor masked_select(const Tensor& x, const Tensor& mask) {
    LC_CHECK(mask.dtype() == DType::bool_, TypeError, "masked_select: mask must be bool, got ", mask.dtype());
    const Dims sizes = broadcast("masked_select", x.sizes(), mask.sizes());
    if (sizes.empty()) return index(reshape(x, {1}), {reshape(mask, {1})}, "masked_select");
    return index(expand(x, sizes), {expand(mask, sizes)}, "masked_select");
}

Tensor getitem(const Tensor& x, const std::vector<IndexItem>& items, const Tensors& indices) {
    const Tensor view = basic_index(x, items);
    return none(indices) ? view : gathered({"getitem", x, &items}, view, indices);
}

void setitem(const Tensor& x, const std::vector<IndexItem>& items, const Tensors& indices, const Tensor& v) {
    no_gradient("setitem", v);
    check_inplace("setitem", x);
    NoGrad guard;
    const Tensor view = basic_index(x, items);
    const Caller caller{"setitem", x, &items};
    if (none(indices)) {
        const Tensor source = fitted("setitem", v, view.sizes());
        detail::copy_into(view, source.storage() == x.storage() ? clone(source) : source);
    } else put(caller, view, indices, v, false);
}

}  // namespace lc
