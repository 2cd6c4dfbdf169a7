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
        cpu::where_forward<T>({condition.data<bool>(), static_cast<const T*>(a.raw()), static_cast<const T*>(b.raw()), static_cast<T*>(const_cast<void*>(y.raw())),
                               make_strided<4>(y.sizes(), {y.impl(), condition.impl(), a.impl(), b.impl()})});
    });
    return y;
}

Tensor choose_recorded(const char* name, const Tensor& condition, const Tensor& a, const Tensor& b, DType dtype) {
    if (condition.dtype() != DType::bool_) throw_dtype(name, condition.dtype(), "a bool condition; compare with 0");
    const Tensor y = choose(name, condition, detail::converted(a, dtype), detail::converted(b, dtype));
    if (wants_grad({a, b}))
        record(name, {a, b}, {y}, [=, condition = Saved(condition), ta = a.dtype(), tb = b.dtype(), sa = a.sizes(), sb = b.sizes()](const Grads& dy) -> Tensors {
            const Tensor zero = Tensor::zeros({}, dy[0].dtype());
            return {dy.needs(0) ? to(sum_to(choose(name, condition(), dy[0], zero), sa), ta) : Tensor(),
                    dy.needs(1) ? to(sum_to(choose(name, condition(), zero, dy[0]), sb), tb) : Tensor()};
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
