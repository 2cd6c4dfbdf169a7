// nonzero: count, then write. Contract: cpp/ops/nonzero.h
#include "cpp/ops/nonzero.h"
#include "cpp/autograd/node.h"
#include "cpp/ops/copy.h"
#include "cpp/ops/views.h"

namespace lc {

Tensor nonzero(const Tensor& input) {
    no_gradient("nonzero", input);
    const Tensor x = contiguous(input);
    const int64_t n = x.numel(), blocks = (n + kNonzeroBlock - 1) / kNonzeroBlock;
    Buffer<int64_t> starts(blocks + 1);
    return visit_any(x.dtype(), [&]<class T>() {
        cpu::nonzero_count<T>(NonzeroCount<T>{x.data<T>(), n, starts.data()});
        int64_t count = 0;
        for (int64_t b = 0; b < blocks; ++b) {
            const int64_t here = starts[b];
            starts[b] = count;
            count += here;
        }
        const Tensor y = Tensor::empty({count, x.dim()}, DType::int64);
        if (count > 0 && x.dim() > 0)
            cpu::nonzero_forward<T>(NonzeroForward<T>{x.data<T>(), n, starts.data(), &x.sizes(), y.mutable_data<int64_t>()});
        return y;
    });
}

Tensors nonzero_tuple(const Tensor& x) {
    if (x.dim() == 0) return nonzero_tuple(reshape(x, {1}));
    const Tensor rows = nonzero(x);
    Tensors columns;
    for (int k = 0; k < x.dim(); ++k) columns.push_back(contiguous(select(rows, 1, k)));
    return columns;
}

}  // namespace lc
