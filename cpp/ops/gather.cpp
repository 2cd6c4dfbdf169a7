// gather, take_along_dim, scatter, scatter_add. Contract: cpp/ops/gather.h
#include "cpp/ops/gather.h"
#include "cpp/autograd/node.h"
#include "cpp/ops/binary.h"
#include "cpp/ops/copy.h"
#include "cpp/ops/create.h"
#include "cpp/ops/views.h"
#include "cpp/ops/where.h"

namespace lc {
namespace {

// int64, contiguous, of x's rank, inside x but along dim.
Tensor checked(const char* op, const Tensor& x, int dim, const Tensor& given) {
    LC_CHECK(is_integral(given.dtype()) && given.dtype() != DType::bool_, IndexError, op, ": index must be integers, got ", given.dtype());
    LC_CHECK(given.dim() == x.dim(), ValueError, op, ": index must have as many dims as x, got shapes ", given.sizes(), " and ", x.sizes());
    for (int d = 0; d < x.dim(); ++d)
        LC_CHECK(d == dim || given.size(d) <= x.size(d), ValueError, op, ": index of shape ", given.sizes(), " reaches beyond x of shape ",
                 x.sizes(), " in dim ", d);
    LC_CHECK(x.size(dim) > 0 || given.numel() == 0, IndexError, op, ": no index is in range for dim ", dim, " of size 0 (shape ", x.sizes(), ")");
    check_same_device(op, x.device(), given.device());
    refuse_recording(op, "indices are checked on the host");
    return contiguous(detail::converted(given.detach(), DType::int64));
}

// What a kernel needs; the kernel finds indices out of range, done() raises.
struct CheckedPlan : GatherPlan {
    CheckedPlan(const char* op, const Tensor& x, int dim, const Tensor& index)
        : GatherPlan{index.data_on<int64_t>(x.device()), index.size(dim), x.size(dim), x.stride(dim), {}, {}, &bad_}, op_(op), x_(x), dim_(dim), indices_(index.numel()) {
        for (int d = 0; d < x.dim(); ++d)
            if (d != dim) (d < dim ? lead : tail).add(index.size(d), x.stride(d));
    }
    void done() const {
        if (!bad_) return;                            // nor on CUDA: there the kernel ends
        for (int64_t i = 0; i < indices_; ++i)
            LC_CHECK(index[i] >= -size && index[i] < size, IndexError, op_, ": index ", index[i], " is out of range for dim ", dim_, " of size ", size,
                     " (shape ", x_.sizes(), ")");
    }

private:
    const char* op_;
    const Tensor& x_;
    int dim_;
    int64_t indices_;
    bool bad_ = false;
};

Tensor gathered(const char* op, const Tensor& x, int dim, const Tensor& index) {
    const Tensor y = Tensor::empty(index.sizes(), x.dtype(), x.device());
    const CheckedPlan plan(op, x, dim, index);
    visit_bits(x.dtype(), [&]<class T>() { on::gather_forward<T>(x.device(), {x.data_on<T>(x.device()), &plan, y.mutable_data_on<T>(x.device())}); });
    plan.done();
    return y;
}

// x: new memory, since it is written before all indices have been looked at.
void scatter_into(const char* op, const Tensor& x, int dim, const Tensor& index, const Tensor& v) {
    const CheckedPlan plan(op, x, dim, index);
    visit_bits(x.dtype(), [&]<class T>() { on::gather_scatter<T>(x.device(), {v.data_on<T>(x.device()), &plan, x.mutable_data_on<T>(x.device())}); });
    plan.done();
}

template <class T> void add_as(const char* op, const Tensor& y, const Tensor& from, int dim, const Tensor& index, const Tensor& v) {
    const CheckedPlan plan(op, y, dim, index);
    const Device d = y.device();
    const bool rows = d.is_cpu() && index.numel() > 0 && plan.tail.count == 1 && plan.step == 1 && plan.lead.count * plan.size == y.numel();
    if (!rows && from) detail::copy_into(y, from);
    else if (!rows) detail::copy_into(y, Tensor::zeros({}, y.dtype(), d));
    on::gather_backward<T>(d, {v.data_on<T>(d), &plan, y.mutable_data_on<T>(d), rows, from ? from.data_on<T>(d) : nullptr});
    plan.done();
}

// x, or zeros of these sizes without one, + the values at their places, in new memory
Tensor added(const char* op, const Tensor& x, const Dims& sizes, int dim, const Tensor& index, const Tensor& src) {
    const DType dtype = src.dtype();
    const DType wide = dtype == DType::float64 || dtype == DType::int64 ? dtype : is_floating(dtype) ? DType::float32
                                                                                                     : DType::int32;
    const Tensor y = Tensor::empty(sizes, wide, src.device()), from = x ? contiguous(detail::converted(x.detach(), wide)) : x;
    const Tensor v = contiguous(detail::converted(src.detach(), wide));
    switch (wide) {
        case DType::float32: add_as<float>(op, y, from, dim, index, v); break;
        case DType::float64: add_as<double>(op, y, from, dim, index, v); break;
        case DType::int64: add_as<int64_t>(op, y, from, dim, index, v); break;
        default: add_as<int32_t>(op, y, from, dim, index, v);
    }
    return detail::converted(y, dtype);
}

// The corner of src that index covers.
Tensor covered(const char* op, const Tensor& x, const Tensor& index, Tensor src) {
    check_same_device(op, x.device(), src.device());
    LC_CHECK(src.dtype() == x.dtype(), TypeError, op, ": src must have x's dtype ", x.dtype(), ", got ", src.dtype());
    LC_CHECK(src.dim() == index.dim(), ValueError, op, ": src must have as many dims as index, got shapes ", src.sizes(), " and ", index.sizes());
    for (int d = 0; d < src.dim(); ++d) {
        LC_CHECK(index.size(d) <= src.size(d), ValueError, op, ": index of shape ", index.sizes(), " reaches beyond src of shape ",
                 src.sizes(), " in dim ", d);
        if (index.size(d) < src.size(d)) src = narrow(src, d, 0, index.size(d));
    }
    return src;
}

// dy at the elements of src that stayed, 0 for those overwritten by a later one
Tensor stayed(const Tensor& dy, int dim, const Tensor& index) {
    const Device d = dy.device();
    const Tensor own = reshape(arange(int64_t(0), index.numel(), int64_t(1), DType::int64, d), index.sizes()), winner = Tensor::empty(dy.sizes(), DType::int64, d);
    scatter_into("scatter", winner, dim, index, own);
    return where(eq(gathered("scatter", winner, dim, index), own), gathered("scatter", dy, dim, index), Tensor::zeros({}, dy.dtype(), d));
}

Tensor one_dim(const Tensor& x) { return x.dim() ? x : reshape(x, {1}); }

}  // namespace

Tensor gather(const Tensor& x, int64_t dim, const Tensor& given) {
    if (x.dim() == 0) return reshape(gather(reshape(x, {1}), dim, one_dim(given)), given.sizes());
    const int d = wrap_dim("gather", dim, x.dim());
    const Tensor index = checked("gather", x, d, given);
    const Tensor y = gathered("gather", x, d, index);
    if (wants_grad({x}))
        record("gather", {x}, {y}, [d, sizes = x.sizes(), index = Saved(index)](const Grads& dy) -> Tensors {
            return {added("gather", {}, sizes, d, index(), dy[0])};
        });
    return y;
}

Tensor take_along_dim(const Tensor& x, const Tensor& index, int64_t dim) {
    LC_CHECK(x.dim() == index.dim(), ValueError, "take_along_dim: indices must have as many dims as x, got shapes ", index.sizes(), " and ", x.sizes());
    if (x.dim() == 0) return gather(x, dim, index);
    const int d = wrap_dim("take_along_dim", dim, x.dim());
    Dims from = x.sizes(), to = index.sizes();
    from[d] = to[d] = 1;
    const Dims both = broadcast("take_along_dim", from, to);
    from = to = both;
    from[d] = x.sizes()[d], to[d] = index.sizes()[d];
    return gather(expand(x, from), d, expand(index, to));
}

Tensor take_along_dim(const Tensor& x, const Tensor& index) { return gather(reshape(x, {-1}), 0, reshape(index, {-1})); }

Tensor scatter(const Tensor& x, int64_t dim, const Tensor& given, const Tensor& all) {
    if (x.dim() == 0) return reshape(scatter(reshape(x, {1}), dim, one_dim(given), one_dim(all)), {});
    const int d = wrap_dim("scatter", dim, x.dim());
    const Tensor index = checked("scatter", x, d, given), src = covered("scatter", x, given, all);
    const Tensor y = clone(x.detach());
    scatter_into("scatter", y, d, index, contiguous(src.detach()));
    if (wants_grad({x, src}))
        record("scatter", {x, src}, {y}, [d, index = Saved(index)](const Grads& dy) -> Tensors {
            Tensors grads(2);
            if (dy.needs(0)) {
                grads[0] = clone(dy[0]);
                scatter_into("scatter", grads[0], d, index(), Tensor::zeros(index().sizes(), dy[0].dtype(), dy[0].device()));
            }
            if (dy.needs(1)) grads[1] = stayed(dy[0], d, index());
            return grads;
        });
    return y;
}

Tensor scatter(const Tensor& x, int64_t dim, const Tensor& index, double value) {
    const Tensor src = Tensor::empty(index.sizes(), x.dtype(), x.device());
    fill_(src, value);
    return scatter(x, dim, index, src);
}

Tensor scatter_add(const Tensor& x, int64_t dim, const Tensor& given, const Tensor& all) {
    if (x.dim() == 0) return reshape(scatter_add(reshape(x, {1}), dim, one_dim(given), one_dim(all)), {});
    const int d = wrap_dim("scatter_add", dim, x.dim());
    const Tensor index = checked("scatter_add", x, d, given), src = covered("scatter_add", x, given, all);
    const Tensor y = added("scatter_add", x, x.sizes(), d, index, src);
    if (wants_grad({x, src}))
        record("scatter_add", {x, src}, {y}, [d, index = Saved(index)](const Grads& dy) -> Tensors {
            return {dy[0], dy.needs(1) ? gathered("scatter_add", dy[0], d, index()) : Tensor()};
        });
    return y;
}

}  // namespace lc
