#include "cpp/core/strided.h"

namespace lc::detail {

void make_strided(int operands, const Dims& sizes, const TensorImpl* const* x, int64_t* numel, int* rank, int64_t* size,
                  int64_t (*stride)[kMaxDims]) {
    // Dimensions of more than one element, with the strides of every operand expanded to them.
    *numel = 1;
    int n = 0;
    for (int d = 0; d < sizes.size(); ++d) {
        *numel *= sizes[d];
        if (sizes[d] == 1) continue;
        size[n] = sizes[d];
        for (int k = 0; k < operands; ++k) {
            const int own = d - (sizes.size() - x[k]->sizes.size());
            stride[k][n] = own < 0 || x[k]->sizes[own] == 1 ? 0 : x[k]->strides[own];
        }
        ++n;
    }

    // Largest stride of operand 0 outermost, so that it is written in memory order.
    const auto magnitude = [&](int d) { return stride[0][d] < 0 ? -stride[0][d] : stride[0][d]; };
    for (int i = 1; i < n; ++i)
        for (int d = i; d > 0 && magnitude(d - 1) < magnitude(d); --d) {
            std::swap(size[d - 1], size[d]);
            for (int k = 0; k < operands; ++k) std::swap(stride[k][d - 1], stride[k][d]);
        }

    // Merge d + 1 into d where no operand jumps between them.
    int out = 0;
    for (int d = 1; d < n; ++d) {
        bool flat = true;
        for (int k = 0; k < operands; ++k) flat &= stride[k][out] == stride[k][d] * size[d];
        if (flat) size[out] *= size[d];
        else size[++out] = size[d];
        for (int k = 0; k < operands; ++k) stride[k][out] = stride[k][d];
    }
    if (n == 0) {
        size[0] = 1;
        for (int k = 0; k < operands; ++k) stride[k][0] = 0;
    }
    *rank = n == 0 ? 1 : out + 1;
}

}  // namespace lc::detail
