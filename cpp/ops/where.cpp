#include "cpp/ops/where.h"

#include "cpp/autograd/node.h"
#include "cpp/ops/binary.h"
#include "cpp/ops/copy.h"
#include "cpp/ops/grid.h"
#include "cpp/ops/reduce.h"
#include "cpp/ops/unary.h"

namespace lc {
namespace {

// a and b of one dtype.
Tensor choose(const char* name, const Tensor& condition, const Tensor& a, const Tensor& b) {
    const Tensor y = Tensor::empty(broadcast(name, condition.sizes(), broadcast(name, a.sizes(), b.sizes())), a.dtype(), a.device());
    if (y.numel() == 0) return y;
    visit_bits(y.dtype(), [&]<class T>() {
        const Device d = y.device();
        on::where_forward<T>(d, {condition.data_on<bool>(d), static_cast<const T*>(a.raw_on(d)), static_cast<const T*>(b.raw_on(d)), static_cast<T*>(const_cast<void*>(y.raw_on(d))), make_strided<4>(y.sizes(), {y.impl(), condition.impl(), a.impl(), b.impl()})});
    });
    return y;
}

// A number of the CPU may meet tensors of any device.
Tensor brought(const char* name, const Tensor& x, DType dtype, Device d) {
    if (LC_LIKELY(x.device() == d)) return detail::converted(x, dtype);
    if (x.dim() > 0 || !x.device().is_cpu()) check_same_device(name, d, x.device());
    const Tensor y = Tensor::empty({}, dtype, d);
    detail::copy_into(y, x);
    return y;
}

Tensor choose_recorded(const char* name, const Tensor& condition, const Tensor& a, const Tensor& b, DType dtype) {
    if (condition.dtype() != DType::bool_) throw_dtype(name, condition.dtype(), "a bool condition; compare with 0");
    const Tensor y = choose(name, condition, brought(name, a, dtype, condition.device()), brought(name, b, dtype, condition.device()));
    if (wants_grad({a, b}))
        record(name, {a, b}, {y}, [=, condition = Saved(condition), ta = a.dtype(), tb = b.dtype(), sa = a.sizes(), sb = b.sizes(), da = a.device(), db = b.device()](const Grads& dy) -> Tensors {
            const Tensor zero = Tensor::zeros({}, dy[0].dtype(), dy[0].device());
            return {dy.needs(0) ? to(to(sum_to(choose(name, condition(), dy[0], zero), sa), ta), da) : Tensor(),
                    dy.needs(1) ? to(to(sum_to(choose(name, condition(), zero, dy[0]), sb), tb), db) : Tensor()};
        });
    return y;
}

}  // namespace

Tensor where(const Tensor& condition, const Tensor& a, const Tensor& b) {
    return choose_recorded("where", condition, a, b, a.dtype() == b.dtype() && !a.impl()->weak ? a.dtype() : result_type(a, b));
}

Tensor masked_fill(const Tensor& x, const Tensor& mask, const Tensor& value) {
    LC_CHECK(value.dim() == 0, ValueError, "masked_fill: value must be one number, it is ", value.sizes());
    return choose_recorded("masked_fill", mask, value, x, x.dtype());
}

Tensor clamp(const Tensor& x, const Tensor& min, const Tensor& max) {
    Tensor y = x;
    if (min) y = where(logical_or(lt(y, min), isnan(min)), min, y);
    if (max) y = where(logical_or(gt(y, max), isnan(max)), max, y);
    return y;
}

void masked_fill_(const Tensor& x, const Tensor& mask, const Tensor& value) {
    Tensor y;
    {
        const NoGrad none;
        y = masked_fill(x, mask, value);
    }
    copy_(x, y);
}

}  // namespace lc
