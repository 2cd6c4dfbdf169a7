#include "cpp/autograd/autocast.h"
#include <unordered_map>
#include "cpp/autograd/node.h"

namespace lc {
namespace detail {
LC_API Tensor converted(const Tensor& x, DType dtype);          // of cpp/ops/copy.cpp
}

namespace autocast {
namespace {

thread_local std::optional<DType> region;

struct Converted {
    Tensor parameter, result;
    const Storage* storage;
    uint32_t version;
};
thread_local std::unordered_map<const TensorImpl*, Converted> parameters;

// Keeps nothing, so several backwards may pass the one conversion of a parameter.
struct Cast final : Node {
    explicit Cast(DType from) : Node("autocast"), from(from) {}
    Tensors backward(const Grads& dy) override { return {detail::converted(dy[0], from)}; }
    DType from;
};

Tensor cast(const Tensor& x, DType dtype) {
    const Tensor y = detail::converted(x, dtype);
    if (wants_grad({x})) detail::attach(make<Cast>(x.dtype()), {x}, {y});
    return y;
}

bool is_16_bit(DType t) { return t == DType::bfloat16 || t == DType::float16; }

}  // namespace

std::optional<DType> dtype() { return region; }

void set_dtype(std::optional<DType> t) {
    LC_CHECK(!t || is_16_bit(*t), ValueError, "autocast: dtype must be bfloat16 or float16, not ", *t);
    region = t;
    if (!t) forget();
}

void forget() { parameters.clear(); }

Tensor lowered(const Tensor& x) {
    if (!x || x.device().is_cpu() || x.dtype() == *region || !(x.dtype() == DType::float32 || is_16_bit(x.dtype()))) return x;
    if (!(x.requires_grad() && x.is_leaf())) return cast(x, *region);
    Converted& c = parameters[x.impl()];
    const bool good = c.result && c.storage == x.storage().get() && c.version == x.version() && c.result.dtype() == *region && c.result.requires_grad() == grad_enabled();
    if (!good) c = {x, cast(x, *region), x.storage().get(), x.version()};
    return c.result;
}

Tensor raised(const Tensor& x) { return !x || x.device().is_cpu() || !is_16_bit(x.dtype()) ? x : cast(x, DType::float32); }

}  // namespace autocast
}  // namespace lc
