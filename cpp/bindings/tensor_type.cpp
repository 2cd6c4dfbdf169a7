#include "cpp/bindings/tensor_type.h"
#include <structmember.h>
#include "cpp/autograd/node.h"
#include "cpp/bindings/capture.h"
#include "cpp/bindings/casters.h"

namespace lc::python {

PyTypeObject* tensor_type = nullptr;

namespace {

// ---- life and death -------------------------------------------------------------------------------------------------

PyObject* make_object(PyTypeObject* type, Tensor x) {
    PyObject* self = type->tp_alloc(type, 0);
    if (!self) throw py::error_already_set();
    new (&reinterpret_cast<PyTensor*>(self)->tensor) Tensor(std::move(x));
    tensor_of(self).impl()->python = self;
    if (LC_UNLIKELY(recording() != nullptr)) note_made(self);
    return self;
}

// Tensor(x): a tensor of this (sub)class on the memory of x, without its history.
PyObject* tensor_new(PyTypeObject* type, PyObject* args, PyObject*) {
    PyObject* x = PyTuple_GET_SIZE(args) >= 1 ? PyTuple_GET_ITEM(args, 0) : nullptr;
    if (!x || !is_tensor(x)) {
        PyErr_SetString(PyExc_TypeError, "Tensor(x): x must be a Tensor; use littlecore.tensor(...) to make one from data");
        return nullptr;
    }
    try {
        return make_object(type, tensor_of(x).detach());
    } catch (const std::bad_alloc&) {
        return PyErr_NoMemory();
    } catch (py::error_already_set& e) {
        e.restore();
        return nullptr;
    }
}

void type_dealloc(PyObject* self) {
    PyTypeObject* type = Py_TYPE(self);
    auto* t = reinterpret_cast<PyTensor*>(self);
    if (t->tensor) t->tensor.impl()->python = nullptr;
    if (t->weak_references) PyObject_ClearWeakRefs(self);
    t->tensor.~Tensor();
    type->tp_free(self);
    Py_DECREF(type);
}

// ---- buffer protocol: NumPy, memoryview, zero copy -------------------------------------------------------------------

const char* format_of(DType t) {
    static constexpr const char* formats[kDTypes] = {"f", "d", nullptr, "e", "q", "i", "B", "?"};
    return formats[int(t)];
}

int get_buffer(PyObject* self, Py_buffer* view, int flags) {
    const Tensor& x = tensor_of(self);
    const char* problem = nullptr;
    if (recording()) problem = "the memory is read on the host, which a captured step cannot repeat";
    else if (x.requires_grad()) problem = "the tensor requires grad: use detach()";
    else if (!x.device().is_cpu()) problem = "the tensor is not on the CPU: use cpu()";
    else if (!format_of(x.dtype())) problem = "bfloat16 has no buffer format: use float()";
    else if ((flags & PyBUF_WRITABLE) && x.storage()->read_only) problem = "the memory is read-only";
    else if ((flags & PyBUF_STRIDES) != PyBUF_STRIDES && !x.is_contiguous()) problem = "the tensor is not contiguous";
    if (problem) {
        PyErr_SetString(PyExc_BufferError, problem);
        return -1;
    }
    const int n = x.dim();
    auto* layout = static_cast<Py_ssize_t*>(PyMem_Malloc(sizeof(Py_ssize_t) * size_t(2 * n + 1)));
    if (!layout) {
        PyErr_NoMemory();
        return -1;
    }
    const Py_ssize_t item = Py_ssize_t(item_size(x.dtype()));
    for (int i = 0; i < n; ++i) {
        layout[i] = x.size(i);
        layout[n + i] = x.stride(i) * item;
    }
    *view = {};
    view->obj = Py_NewRef(self);
    view->buf = const_cast<void*>(x.raw());
    view->len = x.numel() * item;
    view->itemsize = item;
    view->readonly = x.storage()->read_only;
    view->format = (flags & PyBUF_FORMAT) ? const_cast<char*>(format_of(x.dtype())) : nullptr;
    view->ndim = n;
    view->shape = (flags & PyBUF_ND) ? layout : nullptr;
    view->strides = (flags & PyBUF_STRIDES) == PyBUF_STRIDES ? layout + n : nullptr;
    view->internal = layout;
    return 0;
}

void release_buffer(PyObject*, Py_buffer* view) { PyMem_Free(view->internal); }

bool dtype_of_format(const char* format, size_t item, DType& out) {
    if (!format) format = "B";
    if (*format == '=' || *format == '<' || *format == '@' || *format == '|') ++format;
    if (!*format || format[1]) return false;
    switch (*format) {
        case 'f': out = DType::float32; return item == 4;
        case 'd': out = DType::float64; return item == 8;
        case 'e': out = DType::float16; return item == 2;
        case '?': out = DType::bool_; return item == 1;
        case 'B': out = DType::uint8; return item == 1;
        case 'i':
        case 'l':
        case 'q': out = item == 8 ? DType::int64 : DType::int32; return item == 4 || item == 8;
        default: return false;
    }
}

template <class T> PyObject* number(T x) {
    if constexpr (std::is_same_v<T, bool>) return PyBool_FromLong(x);
    else if constexpr (std::is_integral_v<T>) return PyLong_FromLongLong(x);
    else return PyFloat_FromDouble(double(to_float(x)));
}

}  // namespace

PyObject* wrap(const Tensor& x) {
    if (!x) return Py_NewRef(Py_None);
    if (void* self = x.impl()->python) return Py_NewRef(static_cast<PyObject*>(self));
    return make_object(tensor_type, x);
}

Tensor number_tensor(PyObject* o) {
    auto make_weak = []<class T>(T value) {
        Tensor x = Tensor::empty({}, dtype_of<T>);
        *x.mutable_data<T>() = value;
        host_wrote(x.mutable_raw(), sizeof value);
        x.impl()->weak = true;
        return x;
    };
    if (PyFloat_Check(o)) return make_weak(PyFloat_AS_DOUBLE(o));
    if (PyBool_Check(o)) return make_weak(o == Py_True);
    if (PyLong_Check(o) || PyIndex_Check(o)) {
        if (PySequence_Check(o) || PyObject_CheckBuffer(o)) {                  // an array with __index__ is no number, a NumPy scalar is
            if (!PyObject_HasAttrString(o, "item") || PyObject_HasAttrString(o, "__len__")) return {};
        }
        const py::object integer = py::reinterpret_steal<py::object>(PyNumber_Index(o));
        if (!integer) throw py::error_already_set();
        const int64_t value = PyLong_AsLongLong(integer.ptr());
        if (value == -1 && PyErr_Occurred()) throw py::error_already_set();
        return make_weak(value);
    }
    if (PyNumber_Check(o) && !PySequence_Check(o) && Py_TYPE(o)->tp_as_number->nb_float && !PyObject_HasAttrString(o, "__len__")) {
        const double value = PyFloat_AsDouble(o);                              // a NumPy scalar
        if (value == -1 && PyErr_Occurred()) throw py::error_already_set();
        return make_weak(value);
    }
    return {};
}

Tensor from_buffer(PyObject* o) {
    if (!PyObject_CheckBuffer(o)) return {};
    auto owner = std::make_unique<Py_buffer>();
    bool read_only = false;
    if (PyObject_GetBuffer(o, owner.get(), PyBUF_RECORDS) != 0) {
        PyErr_Clear();
        read_only = true;
        if (PyObject_GetBuffer(o, owner.get(), PyBUF_RECORDS_RO) != 0) throw py::error_already_set();
    }
    auto drop = [](void* p) {
        const py::gil_scoped_acquire gil;
        auto* view = static_cast<Py_buffer*>(p);
        PyBuffer_Release(view);
        delete view;
    };
    Py_buffer& view = *owner;
    Ref<Storage> storage = make<Storage>(view.buf, size_t(view.len), Device{}, +drop, owner.release());
    storage->read_only = read_only;

    DType dtype{};
    LC_CHECK(dtype_of_format(view.format, size_t(view.itemsize), dtype), TypeError, "from_numpy: elements of format '",
             view.format ? view.format : "B", "' are not supported; convert with astype() to float32, float64, float16, int64, int32, uint8 or bool");
    LC_CHECK(view.ndim <= kMaxDims, ValueError, "from_numpy: ", view.ndim, " dimensions, at most ", kMaxDims, " are supported");
    LC_CHECK(reinterpret_cast<uintptr_t>(view.buf) % size_t(view.itemsize) == 0, ValueError, "from_numpy: the array is not aligned to its elements; copy() it first");
    Dims sizes, strides;
    for (int i = 0; i < view.ndim; ++i) {
        LC_CHECK(view.strides[i] % view.itemsize == 0, ValueError, "from_numpy: a stride of ", view.strides[i],
                 " bytes is not a multiple of the element size; copy() the array first");
        sizes.push_back(view.shape[i]);
        strides.push_back(view.strides[i] / view.itemsize);
    }
    Ref<TensorImpl> base = make<TensorImpl>();
    base->storage = std::move(storage);
    base->dtype = dtype;
    return Tensor::view_of(Tensor(std::move(base)), sizes, strides, 0);
}

py::object to_list(const Tensor& x) {
    refuse_recording("item", "values are read on the host");
    return visit_any(x.dtype(), [&]<class T>() -> py::object {
        const T* data = x.data<T>();
        const auto owned = [&](PyObject* made) {
            if (made) return py::reinterpret_steal<py::object>(made);
            PyErr_Clear();
            throw MemoryError(text("tolist: no memory for the numbers of a tensor of shape ", x.sizes()));
        };
        auto level = [&](auto& self, int dim, int64_t at) -> py::object {
            if (dim == x.dim()) return owned(number(data[at]));
            py::object out = owned(PyList_New(x.size(dim)));
            for (int64_t i = 0; i < x.size(dim); ++i) PyList_SET_ITEM(out.ptr(), i, self(self, dim + 1, at + i * x.stride(dim)).release().ptr());
            return out;
        };
        return level(level, 0, 0);
    });
}

py::object make_tensor_type() {
    static PyMemberDef members[] = {
        {"__weaklistoffset__", T_PYSSIZET, offsetof(PyTensor, weak_references), READONLY, nullptr}, {}};
    std::vector<PyType_Slot> slots = operator_slots();
    const PyType_Slot own[] = {
        {Py_tp_new, reinterpret_cast<void*>(tensor_new)},
        {Py_tp_dealloc, reinterpret_cast<void*>(type_dealloc)},
        {Py_tp_members, members},
        {Py_bf_getbuffer, reinterpret_cast<void*>(get_buffer)},
        {Py_bf_releasebuffer, reinterpret_cast<void*>(release_buffer)},
        {Py_tp_doc, const_cast<char*>("An N-dimensional array with a dtype, a device and, if asked, a history to differentiate.")},
        {0, nullptr}};
    slots.insert(slots.end(), std::begin(own), std::end(own));
    PyType_Spec spec = {"littlecore.Tensor", sizeof(PyTensor), 0, Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE, slots.data()};
    py::object type = py::reinterpret_steal<py::object>(PyType_FromSpec(&spec));
    if (!type) throw py::error_already_set();
    tensor_type = reinterpret_cast<PyTypeObject*>(type.ptr());
    return type;
}

}  // namespace lc::python
