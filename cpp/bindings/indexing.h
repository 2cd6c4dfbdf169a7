// x[...] and x[...] = v: what Python writes between the brackets.
#pragma once
#include <pybind11/pybind11.h>
#include "cpp/core/tensor.h"

namespace lc::python {

namespace py = pybind11;

py::object getitem(const Tensor& x, py::handle key);
void setitem(const Tensor& x, py::handle key, py::handle value);

// Any data as a tensor: a Tensor itself, an array on its own memory, numbers and nested lists of them in new memory
// (float32, int64 or bool by what they hold). TypeError otherwise.
Tensor as_tensor(const char* op, py::handle data);

}  // namespace lc::python
