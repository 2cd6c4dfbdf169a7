// nonzero: count, then write. Contract: cpp/ops/nonzero.h
#include "cpp/ops/nonzero.h"
#include "cpp/autograd/node.h"
#include "cpp/ops/copy.h"
#include "cpp/ops/views.h"

namespace lc {

int64_t detail::nonzero_starts(const Tensor& x, int64_t* starts) {
    visit_any(x.dtype(), [&]<class T>() { cpu::nonzero_count<T>(NonzeroCount<T>{x.data<T>(), x.numel(), starts}); });
    int64_t count = 0;
    for (int64_t b = 0; b * kNonzeroBlock < x.numel(); ++b) {
        const int64_t here = starts[b];
        starts[b] = count;
        count += here;
    }
    return count;
}

Tensor nonzero(const Tensor& input) {
    no_gradient("nonzero", input);
    refuse_recording("nonzero", "the size of the result depends on values");
    const Tensor x = contiguous(input);
    Buffer<int64_t> starts(x.numel() / kNonzeroBlock + 1);
    const int64_t count = detail::nonzero_starts(x, starts.data());
    const Tensor y = Tensor::empty({count, x.dim()}, DType::int64);
    if (count > 0 && x.dim() > 0)
        visit_any(x.dtype(), [&]<class T>() {
            cpu::nonzero_forward<T>(NonzeroForward<T>{x.data<T>(), x.numel(), starts.data(), &x.sizes(), y.mutable_data<int64_t>()});
        });
    return y;
}

Tensors nonzero_tuple(const Tensor& x) {
    if (x.dim() == 0) return nonzero_tuple(reshape(x, {1}));
    const Tensor rows = nonzero(x);
    Tensors columns;
    for (int k = 0; k < x.dim(); ++k) columns.push_back(contiguous(select(rows, 1, k)));
    return columns;
}

}  // namespace lc
