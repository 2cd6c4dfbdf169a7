// littlecore.Tensor in C++ functions that Python calls: as argument and result under pybind11 and nanobind, whichever was
// included before. Header only, C++20.
//
//     littlecore::Tensor twice(const littlecore::Tensor& x) {
//         littlecore::Tensor y = littlecore::Tensor::empty(x.shape(), x.dtype());
//         for (int64_t i = 0; i < x.size(); ++i) y.data<float>()[i] = 2 * x.data<float>()[i];
//         return y;
//     }
//
// Nothing is copied. Tensors pass as DLTensor to every kernel of littlecore.h. As all that holds Python's objects, they are
// made, copied and destroyed by who holds the interpreter's lock. Write only into what empty() made.
#pragma once
#include <Python.h>
#include <utility>
#include "littlecore.hpp"
#include "littlecore_dlpack.h"

namespace littlecore {

class Tensor {
public:
    Tensor() = default;
    Tensor(const Tensor& other) : object_(Py_XNewRef(other.object_)), view_(other.view_) {}
    Tensor(Tensor&& other) noexcept : object_(std::exchange(other.object_, nullptr)), view_(other.view_) {}
    Tensor& operator=(Tensor other) noexcept {
        std::swap(object_, other.object_);
        view_ = other.view_;
        return *this;
    }
    ~Tensor() { Py_XDECREF(object_); }

    // Memory nobody has written yet, row by row.
    static Tensor empty(std::vector<int64_t> shape, DLDataType dtype) {
        DLTensor wanted{nullptr, {kDLCPU, 0}, int32_t(shape.size()), dtype, shape.data(), nullptr, 0};
        DLManagedTensorVersioned* made = nullptr;
        std::string why;
        const auto tell = [](void* context, const char*, const char* message) { *static_cast<std::string*>(context) = message; };
        if (python().managed_tensor_allocator(&wanted, &made, &why, tell) != 0) throw std::runtime_error(why);
        void* object = nullptr;
        if (python().managed_tensor_to_py_object_no_sync(made, &object) != 0) fail();
        return Tensor(static_cast<PyObject*>(object));
    }

    // From any object of Python's; std::invalid_argument for what is no littlecore.Tensor.
    static Tensor borrow(PyObject* object) {
        if (!is_tensor(object)) throw std::invalid_argument(std::string("needs a littlecore.Tensor, is a ") + Py_TYPE(object)->tp_name);
        return Tensor(Py_NewRef(object));
    }
    static bool is_tensor(PyObject* object) { return PyObject_TypeCheck(object, reinterpret_cast<PyTypeObject*>(type())); }

    PyObject* object() const { return object_; }
    operator DLTensor*() const { return const_cast<DLTensor*>(&view_); }
    DLDataType dtype() const { return view_.dtype; }
    std::vector<int64_t> shape() const { return {view_.shape, view_.shape + view_.ndim}; }
    std::vector<int64_t> strides() const { return {view_.strides, view_.strides + view_.ndim}; }      // in elements
    int64_t size() const {
        int64_t n = 1;
        for (const int64_t length : shape()) n *= length;
        return n;
    }
    template <class T> T* data() const {
        constexpr DLDataType wanted = type_of<T>;
        if (view_.dtype.code != wanted.code || view_.dtype.bits != wanted.bits) throw std::invalid_argument("a littlecore.Tensor has elements of another type");
        if (view_.device.device_type != kDLCPU) throw std::invalid_argument("a littlecore.Tensor is on a GPU; pass it to a kernel, or use cpu()");
        return static_cast<T*>(view_.data);
    }

    // Whether autograd would have to know what is computed from it. Nothing here is recorded: such a tensor is detached
    // first, or the function is called under no_grad().
    bool requires_grad() const {
        PyObject* wanted = PyObject_GetAttrString(object_, "requires_grad");
        Py_XDECREF(wanted);
        return wanted == Py_True;
    }

private:
    explicit Tensor(PyObject* object) : object_(object) {
        if (python().dltensor_from_py_object_no_sync(object, &view_) != 0) {
            Py_CLEAR(object_);
            fail();
        }
    }

    static PyObject* type() {
        static PyObject* const found = [] {
            PyObject* module = PyImport_ImportModule("littlecore");
            PyObject* tensor = module ? PyObject_GetAttrString(module, "Tensor") : nullptr;
            Py_XDECREF(module);
            if (!tensor) fail();
            return tensor;
        }();
        return found;
    }

    // What the type offers to C: found once, valid for ever.
    static const DLPackExchangeAPI& python() {
        static const DLPackExchangeAPI* const api = [] {
            PyObject* capsule = PyObject_GetAttrString(type(), kExchangeAttribute);
            const void* found = capsule ? PyCapsule_GetPointer(capsule, kExchangeName) : nullptr;
            Py_XDECREF(capsule);
            if (!found) fail();
            return static_cast<const DLPackExchangeAPI*>(found);
        }();
        return *api;
    }

    // Python's error as C++'s: bindings make a RuntimeError of it again.
    [[noreturn]] static void fail() {
        PyObject *kind, *value, *trace;
        PyErr_Fetch(&kind, &value, &trace);
        PyObject* shown = value ? PyObject_Str(value) : nullptr;
        const char* text = shown ? PyUnicode_AsUTF8(shown) : nullptr;
        const std::string why = text ? text : "littlecore.Tensor is out of reach";
        Py_XDECREF(shown);
        Py_XDECREF(kind);
        Py_XDECREF(value);
        Py_XDECREF(trace);
        PyErr_Clear();
        throw std::runtime_error(why);
    }

    PyObject* object_ = nullptr;
    DLTensor view_{};                                 // its shape and strides are the object's
};

}  // namespace littlecore

#ifdef PYBIND11_VERSION_MAJOR
template <> struct pybind11::detail::type_caster<littlecore::Tensor> {
    PYBIND11_TYPE_CASTER(littlecore::Tensor, const_name("littlecore.Tensor"));
    bool load(handle src, bool) {
        if (!littlecore::Tensor::is_tensor(src.ptr())) return false;
        value = littlecore::Tensor::borrow(src.ptr());
        return true;
    }
    static handle cast(const littlecore::Tensor& x, return_value_policy, handle) { return handle(x.object()).inc_ref(); }
};
#endif

#ifdef NB_VERSION_MAJOR
template <> struct nanobind::detail::type_caster<littlecore::Tensor> {
    NB_TYPE_CASTER(littlecore::Tensor, const_name("littlecore.Tensor"))
    bool from_python(handle src, uint32_t, cleanup_list*) noexcept {
        try {
            if (!littlecore::Tensor::is_tensor(src.ptr())) return false;
            value = littlecore::Tensor::borrow(src.ptr());
            return true;
        } catch (const std::exception&) {
            return false;
        }
    }
    static handle from_cpp(const littlecore::Tensor& x, rv_policy, cleanup_list*) noexcept { return handle(x.object()).inc_ref(); }
};
#endif
