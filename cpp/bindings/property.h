// Attributes of Tensor in C: a call through pybind11 costs as much as a small op. It is only asked for the types, which
// stand in the docstrings and go from there into the stub.
#pragma once
#include <functional>
#include <string>
#include "cpp/bindings/casters.h"

namespace lc::python {

void set_python_error(std::exception_ptr);            // the Python exception of a C++ one

template <class F> PyObject* guarded(F f) noexcept {
    try {
        return f();
    } catch (...) {
        set_python_error(std::current_exception());
        return nullptr;
    }
}

namespace attribute {

PyObject* refused(PyObject* name, PyObject* value);   // TypeError: not a value of that attribute

template <class V> std::remove_cvref_t<V> value_of(void (*)(const Tensor&, V));
template <class V> std::remove_cvref_t<V> value_of(void (Tensor::*)(V) const);

template <auto get> PyObject* read(PyObject* name, PyObject* self) {
    if (!is_tensor(self)) return refused(name, self);
    using Value = std::remove_cvref_t<decltype(std::invoke(get, tensor_of(self)))>;
    return guarded([&] { return py::detail::make_caster<Value>::cast(std::invoke(get, tensor_of(self)), py::return_value_policy::move, {}).ptr(); });
}

template <auto set> PyObject* write(PyObject* name, PyObject* const* args, Py_ssize_t n) {
    if (n != 2 || !is_tensor(args[0])) return refused(name, n ? args[0] : Py_None);
    py::detail::make_caster<decltype(value_of(set))> value;
    if (!value.load(args[1], true)) return refused(name, args[1]);
    return guarded([&] {
        std::invoke(set, tensor_of(args[0]), py::detail::cast_op<decltype(value_of(set))>(value));
        return Py_NewRef(Py_None);
    });
}

// A function of Python for one of these, with the docstring that pybind11 writes for f.
template <class F> py::object accessor(const char* name, F f, const py::object& type, PyCFunction run, int flags) {
    const py::cpp_function typed(f, py::is_method(type));
    auto* words = new std::string(py::cast<std::string>(typed.attr("__doc__")));             // these live as long as the type: for ever
    auto* def = new PyMethodDef{name, run, flags, words->c_str()};
    return py::reinterpret_steal<py::object>(PyCFunction_New(def, py::str(name).ptr()));
}

}  // namespace attribute

template <auto get> py::object getter(const char* name, const py::object& type) { return attribute::accessor(name, get, type, &attribute::read<get>, METH_O); }
template <auto set> py::object setter(const char* name, const py::object& type) {
    return attribute::accessor(name, set, type, reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(&attribute::write<set>)), METH_FASTCALL);
}

}  // namespace lc::python
