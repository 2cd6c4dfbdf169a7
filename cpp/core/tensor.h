// Tensor: a counted handle to an N-d strided window on a storage. Views share the storage and copy nothing.
#pragma once
#include <memory>
#include <vector>
#include "cpp/core/allocator.h"
#include "cpp/core/device.h"
#include "cpp/core/dims.h"
#include "cpp/core/dtype.h"
#include "cpp/core/plan.h"
#include "cpp/core/ref.h"

namespace lc {

class Tensor;
class Node;
struct AutogradMeta;

// Bytes, and who owns them.
struct LC_API Storage final : RefCounted {
    explicit Storage(size_t bytes, Device device = {});                                   // our own
    Storage(void* data, size_t bytes, Device device, void (*drop)(void*), void* owner);   // someone else's, kept alive
    ~Storage() override;

    bool own() const { return !drop_; }               // from our allocator

    void* data;
    size_t bytes;
    Device device;
    uint32_t version = 0;         // bumped by every in-place write; autograd compares it
    bool read_only = false;

private:
    void (*drop_)(void*) = nullptr;
    void* owner_ = nullptr;
};

struct LC_API TensorImpl final : RefCounted {
    TensorImpl();
    ~TensorImpl() override;

    Ref<Storage> storage;
    int64_t offset = 0;           // in elements
    DType dtype = DType::float32;
    Dims sizes, strides;          // strides in elements, may be 0 or negative
    int64_t numel = 0;
    bool contiguous = true;
    std::unique_ptr<AutogradMeta> autograd;
    bool weak = false;            // a Python number: takes part in dtype promotion by its kind only
    void* python = nullptr;       // the Python object that shows this tensor, not owned
};

class LC_API Tensor {
public:
    Tensor() = default;                                                        // undefined
    explicit Tensor(Ref<TensorImpl> impl) : impl_(std::move(impl)) {}

    static Tensor empty(const Dims& sizes, DType = DType::float32, Device = {});   // not initialized
    static Tensor empty_like(const Tensor& x) { return empty(x.sizes(), x.dtype(), x.device()); }   // contiguous
    static Tensor zeros(const Dims& sizes, DType = DType::float32, Device = {});
    static Tensor view_of(const Tensor& base, const Dims& sizes, const Dims& strides, int64_t offset);   // no checks, no autograd

    explicit operator bool() const { return bool(impl_); }                     // defined?
    TensorImpl* impl() const { return impl_.get(); }
    const Ref<TensorImpl>& ref() const { return impl_; }

    int dim() const { return impl_->sizes.size(); }
    const Dims& sizes() const { return impl_->sizes; }
    const Dims& strides() const { return impl_->strides; }
    int64_t size(int i) const { return impl_->sizes[i < 0 ? i + dim() : i]; }  // not checked
    int64_t stride(int i) const { return impl_->strides[i < 0 ? i + dim() : i]; }
    int64_t numel() const { return impl_->numel; }
    int64_t offset() const { return impl_->offset; }
    DType dtype() const { return impl_->dtype; }
    Device device() const { return impl_->storage->device; }
    bool is_contiguous() const { return impl_->contiguous; }
    const Ref<Storage>& storage() const { return impl_->storage; }

    // First element. const data() is for reading; mutable_data() refuses read-only memory.
    template <class T> const T* data() const { return static_cast<const T*>(raw()); }
    template <class T> T* mutable_data() const { return static_cast<T*>(mutable_raw()); }
    const void* raw() const { return raw_on(Device{}); }
    void* mutable_raw() const {
        LC_CHECK(!impl_->storage->read_only, ValueError, "tensor: the memory is read-only; clone() it before writing");
        return const_cast<void*>(raw());
    }
    // The same for kernels that run on `device`. An op without a CUDA kernel asks for CPU memory and is refused here.
    template <class T> const T* data_on(Device d) const { return static_cast<const T*>(raw_on(d)); }
    template <class T> T* mutable_data_on(Device d) const { return static_cast<T*>(mutable_raw_on(d)); }
    const void* raw_on(Device d) const {
        if (LC_UNLIKELY(impl_->storage->device != d)) throw_elsewhere(d);
        return address();
    }
    void* mutable_raw_on(Device d) const {
        LC_CHECK(!impl_->storage->read_only, ValueError, "tensor: the memory is read-only; clone() it before writing");
        return const_cast<void*>(raw_on(d));
    }
    const void* address() const {                     // wherever it is
        if (Plan* plan = recording(); LC_UNLIKELY(plan != nullptr)) plan->keep(impl_->storage.get());
        return static_cast<const char*>(impl_->storage->data) + impl_->offset * int64_t(item_size(impl_->dtype));
    }

    // Autograd, defined in cpp/autograd/.
    bool requires_grad() const;                       // leaf that asked for it, or result of one that did
    void set_requires_grad(bool) const;
    bool is_leaf() const;
    Tensor grad() const;                              // undefined until backward
    void set_grad(const Tensor&) const;
    Ref<Node> grad_fn() const;
    Tensor detach() const;                            // same storage, no history
    void bump_version() const {
        if (Plan* plan = recording(); LC_UNLIKELY(plan != nullptr)) plan->wrote(impl_->storage.get());
        ++impl_->storage->version;
    }
    uint32_t version() const { return impl_->storage->version; }

private:
    [[noreturn]] void throw_elsewhere(Device wanted) const;
    Ref<TensorImpl> impl_;
};

using Tensors = std::vector<Tensor, PoolAllocator<Tensor>>;

}  // namespace lc
