#include "cpp/bindings/kernels/arrays.h"
#include <string>

namespace lc::python {
namespace {

constexpr int kKnownTypes = 32;
Framework known[kKnownTypes];
int known_count = 0;
const DLPackExchangeAPI* torch_api = nullptr;         // instead of PyTorch's own

// Objects of Python modules, looked up once and kept.
PyObject* attribute_of(const char* module, const char* name) {
    nb::object m = nb::module_::import_(module);
    return m.attr(name).inc_ref().ptr();
}

bool is_subclass(PyTypeObject* type, const char* module, const char* name) {
    nb::dict loaded = nb::cast<nb::dict>(nb::module_::import_("sys").attr("modules"));
    if (!loaded.contains(module)) return false;
    nb::object base = nb::getattr(loaded[module], name, nb::none());
    return !base.is_none() && PyObject_IsSubclass(reinterpret_cast<PyObject*>(type), base.ptr()) == 1;
}

const DLPackExchangeAPI* exchange_api_of(PyTypeObject* type) {
    nb::object capsule = nb::getattr(nb::handle(reinterpret_cast<PyObject*>(type)), kExchangeAttribute, nb::none());
    if (!PyCapsule_IsValid(capsule.ptr(), kExchangeName)) return nullptr;
    auto* header = static_cast<DLPackExchangeAPI::Header*>(PyCapsule_GetPointer(capsule.ptr(), kExchangeName));
    while (header && header->version.major != 1) header = header->prev_api;
    auto* api = reinterpret_cast<const DLPackExchangeAPI*>(header);
    return api && api->dltensor_from_py_object_no_sync ? api : nullptr;
}

Framework find(PyTypeObject* type) {
    Framework f{Framework::Kind::other, type, exchange_api_of(type)};
    if (is_subclass(type, "littlecore._core", "Tensor")) f.kind = Framework::Kind::littlecore;
    else if (is_subclass(type, "torch", "Tensor")) f = {Framework::Kind::torch, type, torch_api ? torch_api : f.api};
    else if (is_subclass(type, "numpy", "ndarray")) f.kind = Framework::Kind::numpy;
    else if (is_subclass(type, "jax", "Array") || is_subclass(type, "jax.core", "Tracer")) f.kind = Framework::Kind::jax;
    return f;
}

template <class... Parts> [[noreturn]] void refuse(PyObject* error, const Parts&... parts) {
    std::string text;
    (text.append(parts), ...);
    PyErr_SetString(error, text.c_str());
    throw nb::python_error();
}

nb::object call(PyObject* function, PyObject* argument = nullptr, PyObject* second = nullptr) {
    PyObject* const arguments[] = {argument, second};
    PyObject* result = PyObject_Vectorcall(function, arguments, size_t(argument != nullptr) + size_t(second != nullptr), nullptr);
    if (!result) throw nb::python_error();
    return nb::steal(result);
}

// Whether a gradient would silently be lost: asked for, and not switched off.
bool wants_grad(PyObject* x, const Framework& f) {
    static PyObject* const name = PyUnicode_InternFromString("requires_grad");
    const nb::object wanted = nb::steal(PyObject_GetAttr(x, name));
    if (!wanted.is_valid()) PyErr_Clear();
    if (wanted.ptr() != Py_True) return false;
    if (f.kind == Framework::Kind::torch) {
        static PyObject* const enabled = attribute_of("torch", "is_grad_enabled");
        return nb::cast<bool>(call(enabled));
    }
    static PyObject* const enabled = attribute_of("littlecore", "is_grad_enabled");
    return nb::cast<bool>(call(enabled));
}

template <class Owner> void view(const Owner& a, DLTensor& t) {
    const nb::dlpack::dtype d = a.dtype();
    t = {const_cast<void*>(static_cast<const void*>(a.data())), {DLDeviceType(a.device_type()), int32_t(a.device_id())}, int32_t(a.ndim()), {d.code, d.bits, d.lanes}, const_cast<int64_t*>(a.shape_ptr()), const_cast<int64_t*>(a.stride_ptr()), 0};
}

const DLPackExchangeAPI* own_api() {
    static const DLPackExchangeAPI* const api = exchange_api_of(reinterpret_cast<PyTypeObject*>(attribute_of("littlecore", "Tensor")));
    return api;
}

void* current_stream(const DLPackExchangeAPI* api, DLDevice device) {
    void* stream = nullptr;
    if (api->current_work_stream && api->current_work_stream(device.device_type, device.device_id, &stream) != 0) throw nb::python_error();
    return stream;
}

void view(const DLPackExchangeAPI* api, PyObject* x, DLTensor& t) {
    if (api->dltensor_from_py_object_no_sync(x, &t) != 0) throw nb::python_error();
}

bool is_read_only(const DLPackExchangeAPI* api, PyObject* x) {
    DLManagedTensorVersioned* managed = nullptr;
    if (api->managed_tensor_from_py_object_no_sync(x, &managed) != 0) throw nb::python_error();
    const bool read_only = managed->flags & kReadOnly;
    managed->deleter(managed);
    return read_only;
}

void borrow(PyObject* x, Array& out) {
    static PyObject* const from_dlpack = attribute_of("littlecore", "from_dlpack");
    out.lent = x;
    out.lent_tensor = call(from_dlpack, x);
    view(own_api(), out.lent_tensor.ptr(), out.tensor);
}

nb::object allocate(const DLPackExchangeAPI* api, DLDevice device, const lc_shape& shape, Array& out) {
    DLTensor wanted{nullptr, device, shape.ndim, shape.dtype, const_cast<int64_t*>(shape.shape), nullptr, 0};
    DLManagedTensorVersioned* made = nullptr;
    const auto set_error = [](void*, const char*, const char* message) { PyErr_SetString(PyExc_RuntimeError, message); };
    if (api->managed_tensor_allocator(&wanted, &made, nullptr, set_error) != 0) throw nb::python_error();
    void* object = nullptr;
    if (api->managed_tensor_to_py_object_no_sync(made, &object) != 0) throw nb::python_error();
    nb::object result = nb::steal(static_cast<PyObject*>(object));
    view(api, result.ptr(), out.tensor);
    return result;
}

nb::object numpy_empty(PyObject* like, const lc_shape& shape, const char* kernel, Array& out) {
    static PyObject* const empty = attribute_of("numpy", "empty");
    static PyObject* const float32 = attribute_of("numpy", "float32");
    static PyObject* const float64 = attribute_of("numpy", "float64");
    nb::object sizes = nb::steal(PyTuple_New(shape.ndim));
    for (int i = 0; i < shape.ndim; ++i) PyTuple_SET_ITEM(sizes.ptr(), i, PyLong_FromLongLong(shape.shape[i]));
    static PyObject* const int64 = attribute_of("numpy", "int64");
    nb::object dtype = shape.dtype.code == kDLInt ? nb::borrow(int64) : shape.dtype.bits == 32 ? nb::borrow(float32)
        : shape.dtype.bits == 64                                                               ? nb::borrow(float64)
                                                                                               : nb::object(nb::handle(like).attr("dtype"));
    PyObject* arguments[] = {sizes.ptr(), dtype.ptr()};
    nb::object made = nb::steal(PyObject_Vectorcall(empty, arguments, 2, nullptr));
    if (!made.is_valid()) throw nb::python_error();
    read(made.ptr(), kernel, "an output", true, out);
    return made;
}

}  // namespace

const Framework& framework_of(PyObject* x) {
    PyTypeObject* type = Py_TYPE(x);
    for (int i = 0; i < known_count; ++i)
        if (known[i].type == type) return known[i];
    if (known_count < kKnownTypes) {
        Py_INCREF(type);
        known[known_count] = find(type);
        return known[known_count++];
    }
    static Framework last;                            // more types than a program has: looked up every time
    return last = find(type);
}

void use_for_torch(const DLPackExchangeAPI* api) {
    torch_api = api;
    for (int i = 0; i < known_count; ++i)
        if (known[i].kind == Framework::Kind::torch) known[i].api = api;
}

void read(PyObject* x, const char* kernel, const char* argument, bool written, Array& out) {
    const Framework& f = framework_of(x);
    const auto refuse_written = [&] { refuse(PyExc_ValueError, kernel, ": ", argument, " is written, but its memory is read-only"); };
    if (f.api) {
        if (wants_grad(x, f))
            refuse(PyExc_ValueError, kernel, ": ", argument, " requires grad, and a kernel records nothing: pass ", argument, ".detach(), or call it under no_grad()",
                   f.kind == Framework::Kind::torch ? "; littlecore.interop.torch has ops that are recorded" : "");
        view(f.api, x, out.tensor);
        if (written && f.kind != Framework::Kind::torch && is_read_only(f.api, x)) refuse_written();
        return;
    }
    if (written && f.kind == Framework::Kind::jax)
        refuse(PyExc_ValueError, kernel, ": ", argument, " is written, but JAX's arrays never change; littlecore.interop.jax returns new ones");
    if (written ? nb::try_cast(nb::handle(x), out.owner, false) : nb::try_cast(nb::handle(x), out.read_only_owner, false)) {
        written ? view(out.owner, out.tensor) : view(out.read_only_owner, out.tensor);
        if (out.tensor.device.device_type == kDLCUDA) borrow(x, out);
        return;
    }
    PyErr_Clear();
    if (nb::hasattr(nb::handle(x), "__cuda_array_interface__")) {
        borrow(x, out);
        if (written && is_read_only(own_api(), out.lent_tensor.ptr())) refuse_written();
        return;
    }
    if (written && nb::try_cast(nb::handle(x), out.read_only_owner, false)) refuse_written();
    PyErr_Clear();
    refuse(PyExc_TypeError, kernel, ": ", argument, " is a ", Py_TYPE(x)->tp_name, ", needs an array that speaks DLPack or the buffer protocol",
           f.kind == Framework::Kind::jax ? "; what is traced by jit, grad or vmap goes to littlecore.interop.jax" : "");
}

nb::object make(PyObject* like, DLDevice device, const lc_shape& shape, const char* kernel, Array& out) {
    const Framework& f = framework_of(like);
    if (f.kind == Framework::Kind::numpy) return numpy_empty(like, shape, kernel, out);
    return allocate(f.api ? f.api : own_api(), device, shape, out);
}

// A framework without the C functions takes our tensor by its own from_dlpack, on the same memory.
nb::object finish(PyObject* like, nb::object made) {
    const Framework& f = framework_of(like);
    if (f.api || f.kind == Framework::Kind::numpy) return made;
    nb::object space = nb::getattr(nb::handle(like), "__array_namespace__", nb::none());
    return space.is_none() ? made : nb::object(space().attr("from_dlpack")(made));
}

void* stream_of(PyObject* x, DLDevice device) {
    const DLPackExchangeAPI* api = framework_of(x).api;
    return api ? current_stream(api, device) : own_stream(device);
}
void* own_stream(DLDevice device) { return current_stream(own_api(), device); }

void hand_back(const Array& a) {
    static PyObject* const done = attribute_of("littlecore._core", "cuda_hand_back");
    call(done, a.lent, nb::int_(a.tensor.device.device_id).ptr());
}

void wrote(PyObject* x) {
    const Framework& f = framework_of(x);
    if (f.kind == Framework::Kind::littlecore) {
        static PyObject* const bump = attribute_of("littlecore._core", "_wrote");
        call(bump, x);
    } else if (f.kind == Framework::Kind::torch) {
        static PyObject* const bump = attribute_of("torch.autograd.graph", "increment_version");
        call(bump, x);
    }
}

}  // namespace lc::python
