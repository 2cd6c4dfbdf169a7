// tril, triu. Contract: cpp/ops/tril.h
#include "cpp/ops/tril.h"
#include <algorithm>
#include "cpp/autograd/node.h"
#include "cpp/ops/copy.h"
#include "cpp/ops/grid.h"

namespace lc {
namespace {

Tensor side(const char* op, const Tensor& given, int64_t diagonal, bool upper) {
    LC_CHECK(given.dim() >= 2, ValueError, op, ": needs at least 2 dims, got shape ", given.sizes());
    const Tensor x = contiguous(given), y = Tensor::empty_like(x);
    const int64_t rows = x.size(-2), cols = x.size(-1), reach = std::max(rows, cols);
    diagonal = std::clamp(diagonal, -reach - 1, reach + 1);
    visit_bits(x.dtype(), [&]<class T>() {
        const Device d = x.device();
        on::tril_forward<T>(d, {x.data_on<T>(d), x.numel() ? x.numel() / (rows * cols) : 0, rows, cols, diagonal, upper, y.mutable_data_on<T>(d)});
    });
    if (wants_grad({x})) {
        const auto tril_backward = [op, diagonal, upper](const Grads& dy) -> Tensors { return {side(op, dy[0], diagonal, upper)}; };
        record(op, {x}, {y}, tril_backward);
    }
    return y;
}

}  // namespace

Tensor tril(const Tensor& x, int64_t diagonal) { return side("tril", x, diagonal, false); }
Tensor triu(const Tensor& x, int64_t diagonal) { return side("triu", x, diagonal, true); }

}  // namespace lc
