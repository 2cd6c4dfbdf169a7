#include "cpp/core/tensor.h"
#include <cstring>
#include "cpp/autograd/node.h"
#include "cpp/core/cuda.h"
#include "cpp/core/parallel.h"

namespace lc {

Storage::Storage(size_t bytes, Device device) : data(nullptr), bytes(bytes), device(device) {
    data = device.is_cpu() ? allocate(bytes) : cuda::allocate(bytes, device);
}

Storage::Storage(void* data, size_t bytes, Device device, void (*drop)(void*), void* owner)
    : data(data), bytes(bytes), device(device), drop_(drop), owner_(owner) {}

Storage::~Storage() {
    if (drop_) drop_(owner_);
    else if (device.is_cpu()) ::lc::release(data);
    else cuda::release(data, device);
}

TensorImpl::TensorImpl() = default;
TensorImpl::~TensorImpl() = default;

Tensor Tensor::empty(const Dims& sizes, DType dtype, Device device) {
    const int64_t n = element_count(sizes);
    Ref<TensorImpl> impl = make<TensorImpl>();
    impl->storage = make<Storage>(size_t(n) * item_size(dtype), device);
    impl->dtype = dtype;
    impl->sizes = sizes;
    impl->strides = contiguous_strides(sizes);
    impl->numel = n;
    return Tensor(std::move(impl));
}

Tensor Tensor::zeros(const Dims& sizes, DType dtype, Device device) {
    Tensor x = empty(sizes, dtype, device);
    replayable([data = static_cast<char*>(x.mutable_raw_on(device)), bytes = int64_t(x.storage()->bytes), device] {
        if (!device.is_cpu()) return cuda::fill_bytes(data, 0, size_t(bytes), device);
        parallel_ranges(bytes, 256 << 10, bytes / 64, [&](int64_t begin, int64_t end) { std::memset(data + begin, 0, size_t(end - begin)); });
    });
    return x;
}

void Tensor::throw_elsewhere(Device wanted) const {
    if (!wanted.is_cpu()) throw ValueError(text("tensor: one of shape ", sizes(), " is on ", device(), ", the others are on ", wanted, "; move it with to()"));
    throw NotImplemented(text("tensor: a tensor of shape ", sizes(), " is on ", device(), ", and this operation has no CUDA kernel yet; use cpu()"));
}

Tensor Tensor::view_of(const Tensor& base, const Dims& sizes, const Dims& strides, int64_t offset) {
    Ref<TensorImpl> impl = make<TensorImpl>();
    impl->storage = base.storage();
    impl->offset = offset;
    impl->dtype = base.dtype();
    impl->sizes = sizes;
    impl->strides = strides;
    impl->numel = element_count(sizes);

    int64_t expected = 1;
    for (int i = sizes.size() - 1; i >= 0 && impl->contiguous && impl->numel > 0; --i) {
        impl->contiguous = sizes[i] == 1 || strides[i] == expected;
        expected *= sizes[i];
    }
    return Tensor(std::move(impl));
}

}  // namespace lc
