// DLPack, both ways, zero copy: __dlpack__, __dlpack_device__, from_dlpack, and the type's C functions for the same.
#pragma once
#include "cpp/bindings/tensor_type.h"

namespace lc::python {

py::object to_dlpack(const Tensor& x, py::object stream, py::object max_version, py::object dl_device, py::object copy);
Tensor from_dlpack(py::object x);
py::object exchange_api();                            // __dlpack_c_exchange_api__, a capsule

}  // namespace lc::python
