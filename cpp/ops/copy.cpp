#include "cpp/ops/copy.h"

#include "cpp/autograd/node.h"

namespace lc {
namespace {

// One type of each size moves the bits of all dtypes of that size.
template <class F> void visit_size(DType t, F&& f) {
    switch (item_size(t)) {
        case 1: return f.template operator()<uint8_t>();
        case 2: return f.template operator()<bfloat16>();
        case 4: return f.template operator()<int32_t>();
        default: return f.template operator()<int64_t>();
    }
}

// y = x of another device. Dense bytes cross; conversions and strides are either device's own business.
void move_into(const Tensor& y, const Tensor& x) {
    const Tensor from = detail::dense(detail::converted(x, y.dtype()));
    const bool direct = y.is_contiguous() && y.sizes() == x.sizes();
    const Tensor to = direct ? y : Tensor::empty(x.sizes(), y.dtype(), y.device());
    replayable([y = const_cast<void*>(to.address()), x = from.address(), there = to.device(), here = from.device(), bytes = size_t(to.numel()) * item_size(to.dtype())] {
        cuda::copy(y, there, x, here, bytes);
    });
    if (!direct) detail::copy_into(y, to);
}

Tensor recorded(const char* op, const Tensor& x, DType dtype) {
    const Tensor y = Tensor::empty(x.sizes(), dtype, x.device());
    detail::copy_into(y, x);
    if (wants_grad({x}) && is_floating(dtype))
        record(op, {x}, {y}, [from = x.dtype()](const Grads& dy) -> Tensors { return {to(dy[0], from)}; });
    return y;
}

// Whether one write to y could reach two of its elements, as in an expanded view.
bool overlaps_itself(const Tensor& y) {
    for (int d = 0; d < y.dim(); ++d)
        if (y.size(d) > 1 && y.stride(d) == 0 && y.numel() > 0) return true;
    return false;
}

bool same_window(const Tensor& a, const Tensor& b) {
    return a.offset() == b.offset() && a.sizes() == b.sizes() && a.strides() == b.strides() && a.dtype() == b.dtype();
}

}  // namespace

namespace detail {

void copy_into(const Tensor& y, const Tensor& x) {
    if (y.numel() == 0) return;
    const Device device = y.device();
    if (LC_UNLIKELY(x.device() != device)) {
        const bool value = x.numel() == 1 && x.device().is_cpu() && (x.impl()->weak || !recording());      // a replay finds another one in a tensor
        if (!value) return move_into(y, x);
        const Tensor one = converted(x, y.dtype());
        return visit_size(y.dtype(), [&]<class S>() {
            const FillForward<S> a{*static_cast<const S*>(one.raw()), static_cast<S*>(const_cast<void*>(y.address())), make_strided<1>(y.sizes(), {y.impl()})};
            replayable([device, a] {
                cuda::use(device);
                cuda::fill_forward<S>(a);
            });
        });
    }
    const auto run = [&]<class S>(DType to) {
        on::copy_forward<S>(device, {x.data_on<S>(device), const_cast<void*>(y.address()), to, make_strided<2>(y.sizes(), {y.impl(), x.impl()})});
    };
    if (x.dtype() == y.dtype()) visit_size(x.dtype(), [&]<class S>() { run.template operator()<S>(dtype_of<S>); });
    else visit_any(x.dtype(), [&]<class S>() { run.template operator()<S>(y.dtype()); });
}

Tensor copied(const Tensor& x) {
    const Tensor y = Tensor::empty_like(x);
    copy_into(y, x);
    return y;
}

Tensor dense(const Tensor& x) { return x.is_contiguous() ? x : copied(x); }

Tensor converted(const Tensor& x, DType dtype) {
    if (x.dtype() == dtype) return x;
    const Tensor y = Tensor::empty(x.sizes(), dtype, x.device());
    copy_into(y, x);
    return y;
}

}  // namespace detail

Tensor contiguous(const Tensor& x) { return x.is_contiguous() ? x : recorded("contiguous", x, x.dtype()); }
Tensor clone(const Tensor& x) { return recorded("clone", x, x.dtype()); }
Tensor to(const Tensor& x, Device device) {
    if (x.device() == device) return x;
    const Tensor y = Tensor::empty(x.sizes(), x.dtype(), device);
    detail::copy_into(y, x);
    if (wants_grad({x}))
        record("to", {x}, {y}, [from = x.device()](const Grads& dy) -> Tensors { return {to(dy[0], from)}; });
    return y;
}
Tensor to(const Tensor& x, DType dtype) { return x.dtype() == dtype ? x : recorded("to", x, dtype); }

void copy_(const Tensor& y, const Tensor& x) {
    check_inplace("copy_", y);
    LC_CHECK(!wants_grad({x}), Error, "copy_: the source requires grad, and a write in place is not recorded; use detach() or no_grad()");
    LC_CHECK(broadcast("copy_", y.sizes(), x.sizes()) == y.sizes(), ValueError,
             "copy_: source of shape ", x.sizes(), " does not broadcast to ", y.sizes());
    LC_CHECK(!overlaps_itself(y), ValueError, "copy_: the destination is an expanded view of shape ", y.sizes(),
             " with strides ", y.strides(), "; its elements overlap, clone() it first");
    y.mutable_raw_on(y.device());                     // refuses read-only memory
    if (y.storage() == x.storage() && !same_window(y, x)) return detail::copy_into(y, clone(x));
    detail::copy_into(y, x);
}

void fill_(const Tensor& y, double value) {
    check_inplace("fill_", y);
    LC_CHECK(!overlaps_itself(y), ValueError, "fill_: the tensor is an expanded view of shape ", y.sizes(), "; clone() it first");
    y.mutable_raw_on(y.device());
    const Tensor x = Tensor::empty({}, DType::float64);
    *x.mutable_data<double>() = value;
    host_wrote(x.mutable_raw(), sizeof value);
    x.impl()->weak = true;                            // a number, not memory that may change
    detail::copy_into(y, y.device().is_cpu() ? detail::converted(x, y.dtype()) : x);
}

Tensor own_gradient(const Tensor& g) {
    const bool ours = g.impl()->use_count() == 1 && g.storage()->use_count() == 1 && g.is_contiguous();
    return ours ? g : clone(g);
}

double item_as_double(const Tensor& x) {
    refuse_recording("item", "the value is read on the host");
    LC_CHECK(x.numel() == 1, ValueError, "item: a tensor with one element is needed, this one is ", x.sizes());
    if (!x.device().is_cpu()) return item_as_double(to(x, Device{}));
    return visit_any(x.dtype(), [&]<class T>() { return [](T v) {
                                                     if constexpr (sizeof(T) == 2) return double(to_float(v));
                                                     else return double(v);
                                                 }(*x.data<T>()); });
}

}  // namespace lc
