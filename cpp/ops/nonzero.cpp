// nonzero: count, then write. Contract: cpp/ops/nonzero.h
#include "cpp/ops/nonzero.h"
#include "cpp/autograd/node.h"
#include "cpp/ops/copy.h"
#include "cpp/ops/views.h"

namespace lc {

int64_t detail::nonzero_starts(const Tensor& x, int64_t* starts) {
    const Device d = x.device();
    const int64_t blocks = (x.numel() + kNonzeroBlock - 1) / kNonzeroBlock;
    const Tensor counts = d.is_cpu() ? Tensor() : Tensor::empty({blocks}, DType::int64, d);
    visit_any(x.dtype(), [&]<class T>() { on::nonzero_count<T>(d, {x.data_on<T>(d), x.numel(), counts ? counts.mutable_data_on<int64_t>(d) : starts}); });
    if (counts && blocks > 0) cuda::copy(starts, Device{}, counts.address(), d, size_t(blocks) * sizeof(int64_t));
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
    const Device d = x.device();
    const Tensor y = Tensor::empty({count, x.dim()}, DType::int64, d);
    Tensor there;                                     // the starts, for CUDA
    if (!d.is_cpu() && count > 0) {
        there = Tensor::empty({x.numel() / kNonzeroBlock + 1}, DType::int64, d);
        cuda::copy(const_cast<void*>(there.address()), d, starts.data(), Device{}, size_t(there.numel()) * sizeof(int64_t));
    }
    if (count > 0 && x.dim() > 0)
        visit_any(x.dtype(), [&]<class T>() {
            on::nonzero_forward<T>(d, {x.data_on<T>(d), x.numel(), there ? there.data_on<int64_t>(d) : starts.data(), &x.sizes(), y.mutable_data_on<int64_t>(d)});
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
