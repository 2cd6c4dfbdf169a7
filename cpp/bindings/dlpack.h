// DLPack, both ways, zero copy: __dlpack__, __dlpack_device__, from_dlpack, and the type's C functions for the same; in
// cuda_array.cpp, __cuda_array_interface__, in which Numba and others show memory on a GPU.
#pragma once
#include "cpp/c_api/littlecore_dlpack.h"
#include "cpp/core/cuda.h"
#include "cpp/bindings/tensor_type.h"

namespace lc::python {

py::object to_dlpack(const Tensor& x, py::object stream, py::object max_version, py::object dl_device, py::object copy);
Tensor from_dlpack(py::object x);
py::object exchange_api();                            // __dlpack_c_exchange_api__, a capsule
DType dtype_from(DLDataType);

// How both protocols write a stream: 1 is the default one, 0 is none.
int64_t stream_number(Device);                        // of the current one
cuda::Stream stream_named(const char* op, int64_t number);

py::dict cuda_array_interface(const Tensor& x);
Tensor from_cuda_array(const py::object& source);
void hand_back(const py::object& source, Device);     // its later work comes behind the current stream's

}  // namespace lc::python
