#include "cpp/ops/triplet_margin_loss.h"
#include "cpp/ops/binary.h"
#include "cpp/ops/reduce.h"
#include "cpp/ops/reduction.h"
#include "cpp/ops/unary.h"

namespace lc {

Tensor triplet_margin_loss(const Tensor& anchor, const Tensor& positive, const Tensor& negative, double margin, double p, double eps, bool swap,
                           const std::string& reduction) {
    constexpr const char* op = "triplet_margin_loss";
    LC_CHECK(anchor.dim() == positive.dim() && anchor.dim() == negative.dim() && anchor.dim() >= 1, ValueError, op,
             ": anchor, positive and negative need the same number of dimensions, at least 1; shapes ", anchor.sizes(), ", ", positive.sizes(), ", ", negative.sizes());
    LC_CHECK(margin > 0, ValueError, op, ": margin must be positive, is ", margin);
    const Reduction reduce = parse_reduction(op, reduction);
    auto distance = [&](const Tensor& x, const Tensor& y) { return norm(add(sub(x, y), number(eps)), p, Dims{-1}); };
    const Tensor near = distance(anchor, positive);
    Tensor far = distance(anchor, negative);
    if (swap) far = minimum(far, distance(positive, negative));
    const Tensor loss = relu(add(sub(near, far), number(margin)));
    return reduce == Reduction::none ? loss : reduce == Reduction::mean ? mean(loss)
                                                                        : sum(loss);
}

}  // namespace lc
