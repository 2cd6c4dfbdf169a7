// How C++ types cross into Python; see bind.h for the list.
#pragma once
#include <pybind11/pybind11.h>
#include "cpp/autograd/node.h"
#include "cpp/bindings/tensor_type.h"
#include "cpp/core/random.h"

PYBIND11_DECLARE_HOLDER_TYPE(T, lc::Ref<T>, true)

namespace lc::python {

struct PyDType {
    DType dtype;
};                      // littlecore.float32 and its kin: one object each
struct PyDevice {
    Device device;
};
py::object dtype_object(DType);
bool read_dtype(PyObject*, DType&);

// An argument that may be a Tensor or a number.
struct Operand {
    Tensor tensor;
    operator const Tensor&() const { return tensor; }
};

// A Generator, or None for the default one (null).
struct OptionalGenerator {
    Generator* generator = nullptr;
    operator Generator*() const { return generator; }
};

}  // namespace lc::python

namespace pybind11::detail {

template <> struct type_caster<lc::Tensor> {
    PYBIND11_TYPE_CASTER(lc::Tensor, const_name("Tensor"));
    bool load(handle source, bool) {
        if (source.is_none()) return true;            // undefined
        if (!lc::python::is_tensor(source.ptr())) return false;
        value = lc::python::tensor_of(source.ptr());
        return true;
    }
    static handle cast(const lc::Tensor& x, return_value_policy, handle) { return lc::python::wrap(x); }
};

template <> struct type_caster<lc::python::Operand> {
    PYBIND11_TYPE_CASTER(lc::python::Operand, const_name("Tensor | float"));
    bool load(handle source, bool) {
        if (lc::python::is_tensor(source.ptr())) value.tensor = lc::python::tensor_of(source.ptr());
        else value.tensor = lc::python::number_tensor(source.ptr());
        return bool(value.tensor);
    }
};

template <> struct type_caster<lc::python::OptionalGenerator> {
    PYBIND11_TYPE_CASTER(lc::python::OptionalGenerator, const_name("Generator | None"));
    bool load(handle source, bool) {
        if (source.is_none()) return true;
        if (!isinstance<lc::Generator>(source)) return false;
        value.generator = source.cast<lc::Generator*>();
        return true;
    }
};

template <> struct type_caster<lc::Dims> {
    PYBIND11_TYPE_CASTER(lc::Dims, io_name("int | collections.abc.Sequence[int]", "tuple[int, ...]"));
    bool load(handle source, bool) {
        if (PyIndex_Check(source.ptr())) return add(source.ptr());
        if (!PyTuple_Check(source.ptr()) && !PyList_Check(source.ptr())) return false;
        const Py_ssize_t n = PySequence_Fast_GET_SIZE(source.ptr());
        for (Py_ssize_t i = 0; i < n; ++i)
            if (!add(PySequence_Fast_GET_ITEM(source.ptr(), i))) return false;
        return true;
    }
    static handle cast(const lc::Dims& dims, return_value_policy, handle) {
        tuple out(size_t(dims.size()));
        for (int i = 0; i < dims.size(); ++i) out[size_t(i)] = dims[i];
        return out.release();
    }

private:
    bool add(PyObject* o) {
        if (!PyIndex_Check(o)) return false;
        const Py_ssize_t x = PyNumber_AsSsize_t(o, PyExc_OverflowError);
        if (x == -1 && PyErr_Occurred()) throw error_already_set();
        value.push_back(x);
        return true;
    }
};

template <> struct type_caster<lc::DType> {
    PYBIND11_TYPE_CASTER(lc::DType, const_name("dtype"));
    bool load(handle source, bool) { return lc::python::read_dtype(source.ptr(), value); }
    static handle cast(lc::DType t, return_value_policy, handle) { return lc::python::dtype_object(t).release(); }
};

template <> struct type_caster<lc::Device> {
    PYBIND11_TYPE_CASTER(lc::Device, io_name("device | str", "device"));
    bool load(handle source, bool) {
        if (isinstance<str>(source)) value = lc::parse_device(source.cast<std::string>());
        else if (isinstance<lc::python::PyDevice>(source)) value = source.cast<const lc::python::PyDevice&>().device;
        else return false;
        return true;
    }
    static handle cast(lc::Device d, return_value_policy, handle) { return pybind11::cast(lc::python::PyDevice{d}).release(); }
};

}  // namespace pybind11::detail
