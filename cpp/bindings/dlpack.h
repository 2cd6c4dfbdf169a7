// DLPack, both ways, zero copy: __dlpack__, __dlpack_device__, from_dlpack. The structs are those of the DLPack 1.1
// specification (dmlc.github.io/dlpack); their layout is an ABI.
#pragma once
#include "cpp/bindings/tensor_type.h"

namespace lc::python {

py::object to_dlpack(const Tensor& x, py::object stream, py::object max_version, py::object dl_device, py::object copy);
Tensor from_dlpack(py::object x);

}  // namespace lc::python
