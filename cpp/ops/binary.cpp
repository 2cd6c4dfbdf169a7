#include "cpp/ops/binary.h"

#include <algorithm>
#include <optional>

#include "cpp/autograd/node.h"
#include "cpp/ops/copy.h"
#include "cpp/ops/reduce.h"
#include "cpp/ops/unary.h"

namespace lc {
namespace {

constexpr const char* kName[] = {"add", "sub", "mul", "div", "pow", "maximum", "minimum", "remainder", "floor_divide", "trunc_divide",
                                 "bitwise_and", "bitwise_or", "bitwise_xor"};
constexpr const char* kCompareName[] = {"eq", "ne", "lt", "le", "gt", "ge"};
const char* name(BinaryOp op) { return kName[int(op)]; }

// ---- promotion -------------------------------------------------------------------------------------------------------

int kind(DType t) { return is_floating(t) ? 2 : t == DType::bool_ ? 0
                                                                  : 1; }
int rank_group(const Tensor& x) { return x.impl()->weak ? 0 : x.dim() == 0 ? 1
                                                                           : 2; }

// What a Python number becomes when its kind decides.
DType default_dtype(const Tensor& x) {
    return x.impl()->weak && is_floating(x.dtype()) ? DType::float32 : x.dtype();
}

template <class F> void visit_arithmetic(DType t, const char* op, F&& f) {
    switch (t) {
        case DType::int64: return f.template operator()<int64_t>();
        case DType::int32: return f.template operator()<int32_t>();
        case DType::uint8:
        case DType::bool_: return f.template operator()<uint8_t>();
        default: return visit_float_storage(t, op, f);
    }
}

// An operand as elements of dtype t on a device. A lone element of the CPU is converted on the spot, without a tensor.
class Input {
public:
    Input(const Tensor& x, DType t, Device device) : impl_(x.impl()), data_(x.address()) {
        if (LC_LIKELY(x.dtype() == t && x.device() == device)) return;
        if (x.device() != device) {                   // a number of the CPU may meet a tensor of any device
            held_ = Tensor::empty(x.sizes(), t, device);
            detail::copy_into(held_, x);
            impl_ = held_.impl();
            data_ = held_.address();
        } else if (x.numel() == 1 && device.is_cpu() && !recording()) {
            visit_any(x.dtype(), [&]<class S>() {
                CopyForward<S> a{x.data<S>(), scalar_, t, {}};
                a.walk.numel = a.walk.size[0] = a.walk.rank = 1;
                cpu::copy_forward(a);
            });
            data_ = scalar_;
        } else {
            held_ = detail::converted(x, t);
            impl_ = held_.impl();
            data_ = held_.address();
        }
    }
    Input(const Input&) = delete;
    const TensorImpl* impl() const { return impl_; }
    template <class T> const T* data() const { return static_cast<const T*>(data_); }

private:
    const TensorImpl* impl_;
    const void* data_;
    Tensor held_;
    alignas(8) char scalar_[8];
};

// ---- arithmetic ------------------------------------------------------------------------------------------------------

// bool has no arithmetic of its own: a + b is "or", a b is "and".
BinaryOp for_bool(BinaryOp op) {
    switch (op) {
        case BinaryOp::add: return BinaryOp::maximum;
        case BinaryOp::mul: return BinaryOp::minimum;
        case BinaryOp::maximum:
        case BinaryOp::minimum:
        case BinaryOp::bitwise_and:
        case BinaryOp::bitwise_or:
        case BinaryOp::bitwise_xor: return op;
        default: throw_dtype(name(op), DType::bool_, "a number; convert with int()");
    }
}

DType compute_type(BinaryOp op, const Tensor& a, const Tensor& b) {
    DType t = a.dtype() == b.dtype() && !a.impl()->weak ? a.dtype() : result_type(a, b);
    if (op == BinaryOp::div && is_integral(t)) t = DType::float32;
    if (op >= BinaryOp::bitwise_and && !is_integral(t)) throw_dtype(name(op), t, "an integer or bool dtype");
    return t;
}

// Of a Python number, or a tensor: a value that the host reads.
double value_of(const Tensor& x) {
    if (!x.impl()->weak) return item_as_double(x);
    const RecordingPaused paused;
    return item_as_double(x);
}

// Where the result is computed. A CPU tensor of one element and no dimension goes wherever the other operand is.
Device common_device(const char* op, const Tensor& a, const Tensor& b) {
    if (LC_LIKELY(a.device() == b.device())) return a.device();
    if (b.dim() == 0 && b.device().is_cpu()) return a.device();
    if (a.dim() == 0 && a.device().is_cpu()) return b.device();
    check_same_device(op, a.device(), b.device());
    return a.device();
}

void check_divisor(BinaryOp op, DType t, const Tensor& b) {
    const bool divides = op == BinaryOp::remainder || op == BinaryOp::floor_divide || op == BinaryOp::trunc_divide;
    if ((!divides && op != BinaryOp::pow) || !is_integral(t) || b.numel() == 0) return;
    std::optional<RecordingPaused> paused;
    if (b.impl()->weak) paused.emplace();             // a Python number stays what it is
    if (op == BinaryOp::pow)
        LC_CHECK(b.dtype() == DType::uint8 || item_as_double(amin(b, {}, false)) >= 0, ValueError,
                 "pow: integers to negative powers are not integers; convert the base with float()");
    else
        LC_CHECK(!item_as_double(any(eq(b, number(int64_t(0))), {}, false)), ValueError, name(op), ": integer division by zero");
}

// y = op(a, b); y has the broadcast shape and dtype t.
void run(BinaryOp op, const Tensor& y, const Tensor& a, const Tensor& b, DType t) {
    if (y.numel() == 0) return;
    const Device d = y.device();
    const Input left(a, t, d), right(b, t, d);
    if (t == DType::bool_) op = for_bool(op);
    visit_arithmetic(t, name(op), [&]<class T>() {
        on::binary_forward<T>(d, {op, left.data<T>(), right.data<T>(), static_cast<T*>(const_cast<void*>(y.address())), make_strided<3>(y.sizes(), {y.impl(), left.impl(), right.impl()})});
    });
}

// Both gradients at the shape of dy, in one pass.
std::pair<Tensor, Tensor> binary_backward(BinaryOp op, const Tensor& dy, const Tensor& a, const Tensor& b, bool want_a, bool want_b) {
    const DType t = dy.dtype();
    const Device d = dy.device();
    const Tensor da = want_a ? Tensor::empty(dy.sizes(), t, d) : Tensor(), db = want_b ? Tensor::empty(dy.sizes(), t, d) : Tensor();
    if (dy.numel() == 0) return {da, db};
    const Input left(a, t, d), right(b, t, d);
    const TensorImpl* out = want_a ? da.impl() : db.impl();
    visit_float_storage(t, name(op), [&]<class T>() {
        on::binary_backward<T>(d, {op, dy.data_on<T>(d), left.data<T>(), right.data<T>(), want_a ? da.mutable_data_on<T>(d) : nullptr, want_b ? db.mutable_data_on<T>(d) : nullptr, make_strided<4>(dy.sizes(), {out, dy.impl(), left.impl(), right.impl()})});
    });
    return {da, db};
}

// The gradient of an operand that was converted and broadcast on its way in.
Tensor to_operand(const Tensor& dx, DType dtype, const Dims& sizes) {
    return dx ? to(sum_to(dx, sizes), dtype) : Tensor();
}

void attach_backward(BinaryOp op, const Tensor& a, const Tensor& b, const Tensor& y) {
    if (op == BinaryOp::floor_divide || !is_floating(y.dtype())) {
        no_gradient(name(op), a);
        no_gradient(name(op), b);
    } else if (op == BinaryOp::add || op == BinaryOp::sub) {
        record(name(op), {a, b}, {y}, [op, ta = a.dtype(), tb = b.dtype(), sa = a.sizes(), sb = b.sizes()](const Grads& dy) -> Tensors {
            Tensor da = dy.needs(0) ? to_operand(dy[0], ta, sa) : Tensor();
            Tensor db = dy.needs(1) ? to_operand(dy[0], tb, sb) : Tensor();
            if (db && op == BinaryOp::sub) db = neg(db);
            return {std::move(da), std::move(db)};
        });
    } else {
        record(name(op), {a, b}, {y}, [op, a = Saved(a), b = Saved(b)](const Grads& dy) -> Tensors {
            const auto [da, db] = binary_backward(op, dy[0], a(), b(), dy.needs(0), dy.needs(1));
            return {to_operand(da, a().dtype(), a().sizes()), to_operand(db, b().dtype(), b().sizes())};
        });
    }
}

Tensor binary(BinaryOp op, const Tensor& a, const Tensor& b) {
    const DType t = compute_type(op, a, b);
    const Device device = common_device(name(op), a, b);
    check_divisor(op, t, b);
    const bool same = a.sizes() == b.sizes();
    const Tensor y = Tensor::empty(same ? a.sizes() : broadcast(name(op), a.sizes(), b.sizes()), t, device);
    run(op, y, a, b, t);
    if (wants_grad({a, b})) attach_backward(op, a, b, y);
    return y;
}

void binary_(BinaryOp op, const char* name_, const Tensor& a, const Tensor& b) {
    check_inplace(name_, a);
    LC_CHECK(!wants_grad({b}), Error, name_, ": the other operand requires grad, and a write in place is not recorded; use ", name(op), "() or no_grad()");
    const DType t = compute_type(op, a, b);
    LC_CHECK(kind(t) <= kind(a.dtype()), TypeError, name_, ": the result is ", t, ", which does not fit a tensor of ", a.dtype());
    LC_CHECK(broadcast(name_, a.sizes(), b.sizes()) == a.sizes(), ValueError, name_, ": the result does not fit in place: a is ",
             a.sizes(), ", b is ", b.sizes());
    if (b.dim() > 0) check_same_device(name_, a.device(), b.device());
    check_divisor(op, t, b);
    a.mutable_raw_on(a.device());                     // refuses read-only memory
    bool separate = t == a.dtype() && (a.storage() != b.storage() || (a.offset() == b.offset() && a.strides() == b.strides() && a.sizes() == b.sizes()));
    for (int d = 0; d < a.dim(); ++d) {
        LC_CHECK(a.size(d) <= 1 || a.stride(d) != 0, ValueError, name_, ": the tensor is an expanded view of shape ", a.sizes(), "; clone() it first");
    }
    if (separate) return run(op, a, a, b, t);
    const Tensor y = Tensor::empty(a.sizes(), t, a.device());
    run(op, y, a, b, t);
    detail::copy_into(a, y);
}

// ---- comparison ------------------------------------------------------------------------------------------------------

Tensor compare(CompareOp op, const Tensor& a, const Tensor& b) {
    DType t = a.dtype() == b.dtype() ? a.dtype() : result_type(a, b);
    if (t == DType::bfloat16 || t == DType::float16) t = DType::float32;          // exact
    const char* op_name = kCompareName[int(op)];
    const Device device = common_device(op_name, a, b);
    const Tensor y = Tensor::empty(a.sizes() == b.sizes() ? a.sizes() : broadcast(op_name, a.sizes(), b.sizes()), DType::bool_, device);
    if (y.numel() == 0) return y;
    const Input left(a, t, device), right(b, t, device);
    const auto run = [&]<class T>() {
        on::compare_forward<T>(device, {op, left.data<T>(), right.data<T>(), y.mutable_data_on<bool>(device), make_strided<3>(y.sizes(), {y.impl(), left.impl(), right.impl()})});
    };
    switch (t) {
        case DType::float32: run.template operator()<float>(); break;
        case DType::float64: run.template operator()<double>(); break;
        case DType::int64: run.template operator()<int64_t>(); break;
        case DType::int32: run.template operator()<int32_t>(); break;
        default: run.template operator()<uint8_t>(); break;
    }
    return y;
}

BinaryOp rounded_division(const std::string& rounding) {
    LC_CHECK(rounding == "floor" || rounding == "trunc", ValueError, "div: rounding_mode must be None, 'floor' or 'trunc', not '", rounding, "'");
    return rounding == "floor" ? BinaryOp::floor_divide : BinaryOp::trunc_divide;
}

Tensor logical(BinaryOp op, const Tensor& a, const Tensor& b) {
    return binary(op, detail::converted(a, DType::bool_), detail::converted(b, DType::bool_));
}

}  // namespace

DType result_type(const Tensor& a, const Tensor& b) {
    const bool a_first = rank_group(a) >= rank_group(b);
    const Tensor& strong = a_first ? a : b;
    const Tensor& other = a_first ? b : a;
    if (rank_group(strong) == rank_group(other)) return promote(default_dtype(a), default_dtype(b));
    return kind(other.dtype()) > kind(strong.dtype()) ? promote(default_dtype(other), strong.dtype()) : strong.dtype();
}

Tensor number(double value) {
    Tensor x = Tensor::empty({}, DType::float64);
    *x.mutable_data<double>() = value;
    host_wrote(x.mutable_raw(), sizeof value);
    x.impl()->weak = true;
    return x;
}

Tensor number(int64_t value) {
    Tensor x = Tensor::empty({}, DType::int64);
    *x.mutable_data<int64_t>() = value;
    host_wrote(x.mutable_raw(), sizeof value);
    x.impl()->weak = true;
    return x;
}

Tensor add(const Tensor& a, const Tensor& b) { return binary(BinaryOp::add, a, b); }
Tensor sub(const Tensor& a, const Tensor& b) { return binary(BinaryOp::sub, a, b); }
Tensor mul(const Tensor& a, const Tensor& b) { return binary(BinaryOp::mul, a, b); }
Tensor div(const Tensor& a, const Tensor& b) { return binary(BinaryOp::div, a, b); }
Tensor div(const Tensor& a, const Tensor& b, const std::string& rounding) {
    Tensor y;
    {
        const NoGrad none;
        y = binary(rounded_division(rounding), a, b);
    }
    if (wants_grad({a, b}))
        record("div", {a, b}, {y}, [ta = a.dtype(), tb = b.dtype(), sa = a.sizes(), sb = b.sizes(), at = a.device(), bt = b.device()](const Grads& dy) -> Tensors {
            return {dy.needs(0) ? Tensor::zeros(sa, ta, at) : Tensor(), dy.needs(1) ? Tensor::zeros(sb, tb, bt) : Tensor()};
        });
    return y;
}
Tensor maximum(const Tensor& a, const Tensor& b) { return binary(BinaryOp::maximum, a, b); }
Tensor minimum(const Tensor& a, const Tensor& b) { return binary(BinaryOp::minimum, a, b); }
Tensor remainder(const Tensor& a, const Tensor& b) { return binary(BinaryOp::remainder, a, b); }
Tensor floor_divide(const Tensor& a, const Tensor& b) { return binary(BinaryOp::floor_divide, a, b); }
Tensor bitwise_and(const Tensor& a, const Tensor& b) { return binary(BinaryOp::bitwise_and, a, b); }
Tensor bitwise_or(const Tensor& a, const Tensor& b) { return binary(BinaryOp::bitwise_or, a, b); }
Tensor bitwise_xor(const Tensor& a, const Tensor& b) { return binary(BinaryOp::bitwise_xor, a, b); }

Tensor pow(const Tensor& a, const Tensor& b) {
    if (b.impl()->weak && !a.impl()->weak) {          // the powers that are cheaper by another name
        const double p = value_of(b);
        if (p == 2) return square(a);
        if (p == 0.5 && is_floating(a.dtype())) return sqrt(a);
        if (p == -1 && is_floating(a.dtype())) return reciprocal(a);
        if (p == -0.5 && is_floating(a.dtype())) return rsqrt(a);
    }
    return binary(BinaryOp::pow, a, b);
}

Tensor eq(const Tensor& a, const Tensor& b) { return compare(CompareOp::eq, a, b); }
Tensor ne(const Tensor& a, const Tensor& b) { return compare(CompareOp::ne, a, b); }
Tensor lt(const Tensor& a, const Tensor& b) { return compare(CompareOp::lt, a, b); }
Tensor le(const Tensor& a, const Tensor& b) { return compare(CompareOp::le, a, b); }
Tensor gt(const Tensor& a, const Tensor& b) { return compare(CompareOp::gt, a, b); }
Tensor ge(const Tensor& a, const Tensor& b) { return compare(CompareOp::ge, a, b); }
Tensor logical_and(const Tensor& a, const Tensor& b) { return logical(BinaryOp::bitwise_and, a, b); }
Tensor logical_or(const Tensor& a, const Tensor& b) { return logical(BinaryOp::bitwise_or, a, b); }
Tensor logical_xor(const Tensor& a, const Tensor& b) { return logical(BinaryOp::bitwise_xor, a, b); }

void add_(const Tensor& a, const Tensor& b) { binary_(BinaryOp::add, "add_", a, b); }
void sub_(const Tensor& a, const Tensor& b) { binary_(BinaryOp::sub, "sub_", a, b); }
void mul_(const Tensor& a, const Tensor& b) { binary_(BinaryOp::mul, "mul_", a, b); }
void div_(const Tensor& a, const Tensor& b) { binary_(BinaryOp::div, "div_", a, b); }
void div_(const Tensor& a, const Tensor& b, const std::string& rounding) { binary_(rounded_division(rounding), "div_", a, b); }
void pow_(const Tensor& a, const Tensor& b) { binary_(BinaryOp::pow, "pow_", a, b); }
void remainder_(const Tensor& a, const Tensor& b) { binary_(BinaryOp::remainder, "remainder_", a, b); }
void floor_divide_(const Tensor& a, const Tensor& b) { binary_(BinaryOp::floor_divide, "floor_divide_", a, b); }

void add_gradient(const Tensor& a, const Tensor& b) {
    run(BinaryOp::add, a, a, b, a.dtype());
    a.bump_version();
}

bool ours_alone(const Tensor& g) { return g.ref()->use_count() == 1 && g.storage()->use_count() == 1 && !g.impl()->python && !g.impl()->autograd; }

// The tape's sum. a is overwritten when nothing else can see its memory.
Tensor sum_gradients(const Tensor& a, const Tensor& b) {
    if (ours_alone(a) && a.is_contiguous() && a.dtype() == b.dtype() && a.sizes() == b.sizes() && !grad_enabled()) {
        run(BinaryOp::add, a, a, b, a.dtype());
        return a;
    }
    return add(a, b);
}

}  // namespace lc
