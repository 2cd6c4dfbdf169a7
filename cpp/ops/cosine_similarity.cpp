#include "cpp/ops/cosine_similarity.h"
#include <limits>
#include "cpp/ops/binary.h"
#include "cpp/ops/reduce.h"
#include "cpp/ops/unary.h"
#include "cpp/ops/views.h"

namespace lc {

Tensor cosine_similarity(const Tensor& a, const Tensor& b, int64_t dim, double eps) {
    const Dims sizes = broadcast("cosine_similarity", a.sizes(), b.sizes());
    LC_CHECK(is_floating(a.dtype()) && is_floating(b.dtype()), TypeError, "cosine_similarity: inputs are ", a.dtype(), " and ", b.dtype(), ", need floating-point dtypes");
    const Dims along{wrap_dim("cosine_similarity", dim, sizes.size())};
    const Tensor x = broadcast_to(a, sizes), y = broadcast_to(b, sizes);
    auto length = [&](const Tensor& v) { return clamp(norm(v, 2, along), eps, std::numeric_limits<double>::infinity()); };
    return div(sum(mul(x, y), along), mul(length(x), length(y)));
}

}  // namespace lc
