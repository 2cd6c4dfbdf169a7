// The Python type Tensor, written on the C API: a call of a small op spends its time here.
#pragma once
#include <pybind11/pybind11.h>
#include "cpp/core/tensor.h"

namespace lc::python {

namespace py = pybind11;

struct PyTensor {
    PyObject_HEAD PyObject* weak_references;
    Tensor tensor;
};

extern PyTypeObject* tensor_type;                     // set by make_tensor_type
py::object make_tensor_type();
std::vector<PyType_Slot> operator_slots();            // operators.cpp

inline bool is_tensor(PyObject* o) { return PyObject_TypeCheck(o, tensor_type); }
inline const Tensor& tensor_of(PyObject* o) { return reinterpret_cast<PyTensor*>(o)->tensor; }

// A new reference to the object that shows x; None if undefined. One tensor has one object as long as it lives.
PyObject* wrap(const Tensor& x);

// A Python number (or NumPy scalar) as a 0-dim tensor that does not decide dtypes; undefined if it is none.
Tensor number_tensor(PyObject* o);

// Memory of another owner, zero copy. Undefined if o has no buffer; TypeError for a dtype littlecore lacks.
Tensor from_buffer(PyObject* o);

// The elements as (nested) Python numbers.
py::object to_list(const Tensor& x);

}  // namespace lc::python
