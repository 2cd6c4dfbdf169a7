#include "cpp/ops/rotary_embedding.h"
#include "cpp/autograd/node.h"
#include "cpp/ops/copy.h"

namespace lc {
namespace {

Tensor turn(const Tensor& x_any, const Tensor& cos, const Tensor& sin, bool interleaved, bool back) {
    const Tensor x = contiguous(x_any), y = Tensor::empty_like(x);
    if (x.numel() == 0) return y;
    visit_float_storage(x.dtype(), "rotary_embedding", [&]<class T>() {
        using A = acc_t<T>;
        const Device d = x.device();
        const RotaryEmbeddingForward<T> a{x.numel() / (x.size(-2) * x.size(-1)), x.size(-2), x.size(-1), cos.size(1), interleaved, x.data_on<T>(d),
                                          cos.data_on<A>(d), sin.data_on<A>(d), y.mutable_data_on<T>(d)};
        if (back) on::rotary_embedding_backward<T>(d, a);
        else on::rotary_embedding_forward<T>(d, a);
    });
    return y;
}

}  // namespace

Tensor rotary_embedding(const Tensor& x, const Tensor& cos_any, const Tensor& sin_any, bool interleaved) {
    constexpr const char* op = "rotary_embedding";
    const DType table = x.dtype() == DType::float64 ? DType::float64 : DType::float32;
    LC_CHECK(x.dim() >= 2, ValueError, op, ": input needs at least 2 dimensions (..., positions, features), has shape ", x.sizes());
    LC_CHECK(cos_any.dim() == 2 && cos_any.sizes() == sin_any.sizes(), ValueError, op, ": cos and sin need one shape [positions, pairs], have ",
             cos_any.sizes(), " and ", sin_any.sizes());
    LC_CHECK(cos_any.size(0) == x.size(-2) && 2 * cos_any.size(1) <= x.size(-1), ValueError, op, ": tables of shape ", cos_any.sizes(),
             " do not fit input of shape ", x.sizes(), ", whose last dims are positions and at least two features a pair");
    LC_CHECK(cos_any.dtype() == table && sin_any.dtype() == table, TypeError, op, ": cos and sin must be ", table, " for ", x.dtype(), " input");
    no_gradient("rotary_embedding: cos", cos_any);
    no_gradient("rotary_embedding: sin", sin_any);
    Tensor y, cos, sin;
    {
        NoGrad no_grad;
        cos = contiguous(cos_any);
        sin = contiguous(sin_any);
        y = turn(x, cos, sin, interleaved, false);
    }
    if (wants_grad({x}))
        record(op, {x}, {y}, [cos = Saved(cos), sin = Saved(sin), interleaved](const Grads& dy) -> Tensors { return {turn(dy[0], cos(), sin(), interleaved, true)}; });
    return y;
}

}  // namespace lc
