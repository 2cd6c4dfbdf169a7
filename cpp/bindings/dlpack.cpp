#include "cpp/bindings/dlpack.h"
#include "cpp/bindings/bind.h"
#include "cpp/c_api/signature.h"
#include "cpp/core/cuda_stream.h"
#include "cpp/ops/copy.h"

namespace lc::python {

using namespace littlecore;                           // DLPack's structs
namespace {

constexpr int32_t kCpu = 1, kCuda = 2, kCudaHost = 3;

using c_api::dlpack_type;

Device device_from(DLDevice d) {
    LC_CHECK(d.device_type == kCpu || d.device_type == kCudaHost || d.device_type == kCuda, ValueError, "dlpack: device type ", d.device_type, " is neither the CPU nor CUDA");
    if (d.device_type != kCuda) return {};
    LC_CHECK(cuda::is_available(), Error, "dlpack: ", cuda::why_not());
    return {Device::Type::cuda, int8_t(d.device_id)};
}
DLDevice dlpack_device(Device d) { return {d.is_cpu() ? kCpu : kCuda, d.index}; }

// What an exported struct keeps alive.
template <class Managed> struct Export {
    Managed managed;
    Tensor tensor;
    int64_t layout[2 * kMaxDims];
};

template <class Managed> void drop_export(Managed* m) { delete static_cast<Export<Managed>*>(m->manager_ctx); }

template <class Managed> Managed* make_export(const Tensor& x) {
    auto* e = new Export<Managed>{{}, x, {}};
    for (int i = 0; i < x.dim(); ++i) {
        e->layout[i] = x.size(i);
        e->layout[kMaxDims + i] = x.stride(i);
    }
    e->managed.manager_ctx = e;
    e->managed.deleter = drop_export<Managed>;
    if constexpr (std::is_same_v<Managed, DLManagedTensorVersioned>) {
        e->managed.version = {1, 1};
        e->managed.flags = x.storage()->read_only ? kReadOnly : 0;
    }
    e->managed.dl_tensor = {const_cast<void*>(x.address()), dlpack_device(x.device()), x.dim(), dlpack_type(x.dtype()), e->layout, e->layout + kMaxDims, 0};
    return &e->managed;
}

constexpr const char* kName = "dltensor";
constexpr const char* kVersionedName = "dltensor_versioned";

// A capsule nobody consumed still owns its tensor.
template <class Managed> void drop_capsule(PyObject* capsule, const char* name) {
    if (!PyCapsule_IsValid(capsule, name)) return;
    auto* m = static_cast<Managed*>(PyCapsule_GetPointer(capsule, name));
    if (m->deleter) m->deleter(m);
}

py::object steal(PyObject* o) {
    if (!o) throw py::error_already_set();
    return py::reinterpret_steal<py::object>(o);
}

template <class Managed> Tensor import(Managed* m, bool read_only) {
    const DLTensor& t = m->dl_tensor;
    auto drop = [](void* p) {
        const py::gil_scoped_acquire gil;
        auto* managed = static_cast<Managed*>(p);
        if (managed->deleter) managed->deleter(managed);
    };
    Ref<TensorImpl> base = make<TensorImpl>();
    const Device device = t.device.device_type == kCuda ? Device{Device::Type::cuda, int8_t(t.device.device_id)} : Device{};
    base->storage = make<Storage>(static_cast<char*>(t.data) + t.byte_offset, 0, device, +drop, m);
    base->storage->read_only = read_only;
    base->dtype = dtype_from(t.dtype);
    device_from(t.device);                            // refuses what is out of reach
    const Dims sizes(t.shape, t.ndim);
    const Dims strides = t.strides ? Dims(t.strides, t.ndim) : contiguous_strides(sizes);
    base->storage->bytes = size_t(element_count(sizes)) * item_size(base->dtype);
    return Tensor::view_of(Tensor(std::move(base)), sizes, strides, 0);
}

}  // namespace

DType dtype_from(DLDataType d) {
    for (int i = 0; i < kDTypes; ++i) {
        const DLDataType have = dlpack_type(DType(i));
        if (have.code == d.code && have.bits == d.bits && d.lanes == 1) return DType(i);
    }
    throw TypeError(text("from_dlpack: elements of type code ", int(d.code), " with ", int(d.bits), " bits are not supported"));
}

int64_t stream_number(Device d) {
    const cuda::Stream s = cuda::current_stream(d);
    return s ? int64_t(reinterpret_cast<uintptr_t>(s)) : 1;
}
cuda::Stream stream_named(const char* op, int64_t number) {
    LC_CHECK(number != 0, ValueError, op, ": stream 0 is ambiguous; 1 is the default stream");
    return number == 1 ? nullptr : reinterpret_cast<cuda::Stream>(uintptr_t(number));
}

py::object to_dlpack(const Tensor& tensor, py::object stream, py::object max_version, py::object dl_device, py::object copy) {
    auto refuse = [](const char* why) { throw py::buffer_error(why); };
    refuse_recording("__dlpack__", "the memory is handed out");
    if (tensor.requires_grad()) refuse("__dlpack__: the tensor requires grad; use detach()");
    const Device device = tensor.device();
    if (device.is_cpu() && !stream.is_none()) refuse("__dlpack__: a CPU tensor has no stream; pass stream=None");
    if (!dl_device.is_none() && dl_device.cast<std::pair<int, int>>() != std::pair(int(device.is_cpu() ? kCpu : kCuda), int(device.index)))
        refuse("__dlpack__: the tensor is on another device; use to() to move it");
    const bool copied = !copy.is_none() && copy.cast<bool>();
    const Tensor x = copied ? clone(tensor) : tensor;
    if (!device.is_cpu()) {
        const int64_t consumer = stream.is_none() ? 0 : stream.cast<int64_t>();
        if (stream.is_none()) cuda::synchronize_stream(device, cuda::current_stream(device));      // it may use any
        else if (consumer != -1) cuda::order(device, cuda::current_stream(device), stream_named("__dlpack__", consumer));
        // Given back while the consumer's stream still uses it, the memory waits for that stream.
        if (consumer > 0) cuda::record_stream(x.storage()->data, device, stream_named("__dlpack__", consumer));
    }

    if (!max_version.is_none() && max_version.cast<std::pair<int, int>>().first >= 1) {
        auto* m = make_export<DLManagedTensorVersioned>(x);
        m->flags |= copied ? kIsCopied : 0;
        return steal(PyCapsule_New(m, kVersionedName, [](PyObject* c) { drop_capsule<DLManagedTensorVersioned>(c, kVersionedName); }));
    }
    if (x.storage()->read_only) refuse("__dlpack__: the memory is read-only, which this consumer cannot be told; clone() it");
    return steal(PyCapsule_New(make_export<DLManagedTensor>(x), kName, [](PyObject* c) { drop_capsule<DLManagedTensor>(c, kName); }));
}

Tensor from_dlpack(py::object source) {
    py::object capsule = source;
    if (!PyCapsule_CheckExact(source.ptr())) {
        if (!py::hasattr(source, "__dlpack__")) return from_cuda_array(source);
        const py::object method = source.attr("__dlpack__");
        py::dict asked;
        if (py::hasattr(source, "__dlpack_device__")) {
            const auto [type, index] = source.attr("__dlpack_device__")().cast<std::pair<int, int>>();
            if (type == kCuda) asked["stream"] = stream_number(device_from({type, index}));
        }
        py::dict asked_today = asked.attr("copy")();
        asked_today["max_version"] = py::make_tuple(1, 1);
        try {
            capsule = method(**asked_today);
        } catch (py::error_already_set& e) {          // a producer from before DLPack 1.0
            if (!e.matches(PyExc_TypeError)) throw;
            capsule = method(**asked);
        }
    }
    if (PyCapsule_IsValid(capsule.ptr(), kVersionedName)) {
        auto* m = static_cast<DLManagedTensorVersioned*>(PyCapsule_GetPointer(capsule.ptr(), kVersionedName));
        LC_CHECK(m->version.major == 1, ValueError, "from_dlpack: version ", m->version.major, " of DLPack is not known");
        PyCapsule_SetName(capsule.ptr(), "used_dltensor_versioned");
        return import(m, m->flags & kReadOnly);
    }
    LC_CHECK(PyCapsule_IsValid(capsule.ptr(), kName), ValueError, "from_dlpack: the capsule was consumed already, or is none of DLPack's");
    auto* m = static_cast<DLManagedTensor*>(PyCapsule_GetPointer(capsule.ptr(), kName));
    PyCapsule_SetName(capsule.ptr(), "used_dltensor");
    return import(m, false);
}

// ---- the same without capsules, for who asks the type -----------------------------------------------------------------

namespace {

// 0, or -1 with Python's error set.
template <class F> int answer(F f) {
    try {
        f();
        return 0;
    } catch (...) {
        set_python_error(std::current_exception());
        return -1;
    }
}

const Tensor& handed_out(void* object) {
    LC_CHECK(is_tensor(static_cast<PyObject*>(object)), TypeError, "dlpack: not a littlecore.Tensor");
    const Tensor& x = tensor_of(static_cast<PyObject*>(object));
    refuse_recording("dlpack", "the memory is handed out");
    return x;
}

constexpr DLPackExchangeAPI kExchange{
    {{1, 3}, nullptr},
    [](DLTensor* prototype, DLManagedTensorVersioned** out, void* context, void (*set_error)(void*, const char*, const char*)) {
        try {
            *out = make_export<DLManagedTensorVersioned>(Tensor::empty(Dims(prototype->shape, prototype->ndim), dtype_from(prototype->dtype), device_from(prototype->device)));
            return 0;
        } catch (const std::exception& e) {
            set_error(context, "RuntimeError", e.what());
            return -1;
        }
    },
    [](void* object, DLManagedTensorVersioned** out) {
        return answer([&] { *out = make_export<DLManagedTensorVersioned>(handed_out(object)); });
    },
    [](DLManagedTensorVersioned* m, void** object) {
        return answer([&] {
            if (m->deleter == drop_export<DLManagedTensorVersioned>) {       // one of ours comes home
                *object = wrap(static_cast<Export<DLManagedTensorVersioned>*>(m->manager_ctx)->tensor);
                m->deleter(m);
            } else {
                *object = wrap(import(m, m->flags & kReadOnly));
            }
        });
    },
    [](void* object, DLTensor* out) {
        return answer([&] {
            const Tensor& x = handed_out(object);
            *out = {const_cast<void*>(x.address()), dlpack_device(x.device()), x.dim(), dlpack_type(x.dtype()), x.impl()->sizes.begin(), x.impl()->strides.begin(), 0};
        });
    },
    [](int32_t type, int32_t index, void** stream) {
        return answer([&] { *stream = type == kCuda ? cuda::current_stream(device_from({type, index})) : nullptr; });
    }};

}  // namespace

py::object exchange_api() { return steal(PyCapsule_New(const_cast<DLPackExchangeAPI*>(&kExchange), kExchangeName, nullptr)); }

}  // namespace lc::python
