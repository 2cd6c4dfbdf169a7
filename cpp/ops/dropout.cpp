#include "cpp/ops/dropout.h"

#include <memory>

#include "cpp/autograd/node.h"
#include "cpp/core/cuda_graph.h"
#include "cpp/ops/binary.h"
#include "cpp/ops/copy.h"

namespace lc {
namespace {

// Drawn in forward, anew by every replay; backward uses it again.
using SharedKey = std::shared_ptr<RandomKey>;

Tensor apply(const Tensor& x, double p, const SharedKey& key) {
    const Tensor from = detail::dense(x), y = Tensor::empty_like(x);
    if (y.numel() == 0) return y;
    visit_float_storage(x.dtype(), "dropout", [&]<class T>() {
        const Device d = x.device();
        replayable([d, key, a = DropoutForward<T>{{}, uint32_t(p * 0x1p32), 1 / (1 - p), from.data_on<T>(d), y.mutable_data_on<T>(d), y.numel()}]() mutable {
            cuda::varies();
            a.key = *key;
            on::dropout_forward<T>(d, a);
        });
    });
    return y;
}

void check(const char* name, double p) { LC_CHECK(p >= 0 && p <= 1, ValueError, name, ": p must lie in [0, 1], is ", p); }

}  // namespace

Tensor dropout(const Tensor& x, double p, bool training) {
    check("dropout", p);
    if (!is_floating(x.dtype())) throw_dtype("dropout", x.dtype(), "a floating-point dtype");
    if (!training || p == 0) return x;
    if (p == 1) return mul(x, 0.0);
    const SharedKey key = std::allocate_shared<RandomKey>(PoolAllocator<RandomKey>());
    replayable([key] { *key = next_random_key(); });
    const Tensor y = apply(x, p, key);
    if (wants_grad({x}))
        record("dropout", {x}, {y}, [p, key](const Grads& dy) -> Tensors { return {apply(dy[0], p, key)}; });
    return y;
}

Tensor feature_dropout(const char* name, const Tensor& x, double p, bool training, int spatial) {
    check(name, p);
    LC_CHECK(x.dim() == spatial + 1 || x.dim() == spatial + 2, ValueError, name, ": input must be [n, c, ", spatial == 1 ? "l" : "h, w",
             "] or without n, it is ", x.sizes());
    if (!training || p == 0) return x;
    Dims sizes = x.sizes();
    for (int d = x.dim() - spatial; d < x.dim(); ++d) sizes[d] = 1;
    const Tensor mask = Tensor::empty(sizes, x.dtype(), x.device());
    fill_(mask, 1);
    return mul(x, dropout(mask, p, true));
}

}  // namespace lc
