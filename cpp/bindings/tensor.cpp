// Attributes and conversions of Tensor; its operators are in operators.cpp, its ops in ops_<family>.cpp.
#include "cpp/autograd/node.h"
#include "cpp/bindings/bind.h"
#include "cpp/bindings/dlpack.h"
#include "cpp/core/cuda_stream.h"
#include "cpp/ops/copy.h"

namespace lc::python {
namespace {

py::object item(const Tensor& x) {
    LC_CHECK(x.numel() == 1, ValueError, "item: a tensor of shape ", x.sizes(), " is not one number");
    return to_list(to(Tensor::view_of(x, {}, {}, x.offset()), Device{}));
}

void set_requires_grad(const Tensor& x, bool on) {
    structure_changed();
    x.set_requires_grad(on);
}

void set_data(const Tensor& x, const Tensor& y) {
    refuse_recording("data", "the memory of a tensor is replaced");
    structure_changed();
    LC_CHECK(y && y.dtype() == x.dtype() && y.sizes() == x.sizes(), ValueError, "data: needs a tensor of the same shape and dtype, ",
             x.sizes(), " and ", x.dtype());
    x.impl()->storage = y.storage();
    x.impl()->offset = y.offset();
    x.impl()->strides = y.strides();
    x.impl()->contiguous = y.is_contiguous();
}

}  // namespace

PyObject* attribute::refused(PyObject* name, PyObject* value) {
    return PyErr_Format(PyExc_TypeError, "Tensor.%U: not for a value of type %s", name, Py_TYPE(value)->tp_name);
}

void bind_tensor(Module& m) {
    m.property<[](const Tensor& x) { return x.sizes(); }>("shape", "Sizes, a tuple.");
    m.property<&Tensor::dim>("ndim", "Number of dimensions.");
    m.property<&Tensor::dtype>("dtype", "Element type.");
    m.property<&Tensor::device>("device", "Where it lives.");
    m.property<&Tensor::is_leaf>("is_leaf", "True if no recorded operation made it.");
    m.property<&Tensor::grad_fn>("grad_fn", "The step of the tape that made it, or None.");
    m.property<[](const Tensor& x) { return item_size(x.dtype()); }>("itemsize", "Bytes of an element.");
    m.property<[](const Tensor& x) { return x.numel() * int64_t(item_size(x.dtype())); }>("nbytes", "Bytes of all elements.");
    m.property<&Tensor::version>("_version", "How often its memory was changed in place.");
    m.property<&Tensor::requires_grad, &set_requires_grad>("requires_grad", "True if gradients flow to or through it.");
    m.property<&Tensor::grad, &Tensor::set_grad>("grad", "The gradient backward() accumulated, or None.");
    m.property<&Tensor::detach, &set_data>("data", "The same memory without history; assigning replaces the memory.");

    m.method("dim", &Tensor::dim);
    m.method("numel", &Tensor::numel, "Number of elements.");
    m.method("size", [](const Tensor& x, std::optional<int64_t> dim) -> py::object {
        if (!dim) return py::cast(x.sizes());
        return py::int_(x.size(wrap_dim("size", *dim, x.dim()))); }, "dim"_a = py::none());
    m.method("stride", [](const Tensor& x, std::optional<int64_t> dim) -> py::object {
        if (!dim) return py::cast(x.strides());
        return py::int_(x.stride(wrap_dim("stride", *dim, x.dim()))); }, "dim"_a = py::none(), "Steps between neighbours, in elements.");
    m.method("storage_offset", &Tensor::offset);
    m.method("record_stream", [](const Tensor& x, const py::object& stream) {
        LC_CHECK(!x.device().is_cpu(), ValueError, "record_stream: the tensor is on cpu, which has no streams");
        cuda::record_stream(x.storage()->data, x.device(), reinterpret_cast<void*>(stream.attr("handle").cast<uintptr_t>())); }, "stream"_a, "Tells that the stream uses the tensor, too: once released, its memory is not used again before what the stream holds by then is done.");
    m.method("data_ptr", [](const Tensor& x) { return reinterpret_cast<uintptr_t>(x.address()); }, "Address of the first element.");
    m.method("is_contiguous", &Tensor::is_contiguous);
    m.method("is_floating_point", [](const Tensor& x) { return is_floating(x.dtype()); });
    m.method("element_size", [](const Tensor& x) { return item_size(x.dtype()); });

    m.method("item", &item, "The one element as a Python number.");
    m.method("tolist", [](const Tensor& x) { return to_list(to(x.detach(), Device{})); }, "The elements as nested Python lists.");
    m.method("__bool__", [](const Tensor& x) {
        LC_CHECK(x.numel() == 1, ValueError, "bool: a tensor of shape ", x.sizes(), " has no one truth value; use any() or all()");
        return bool(py::bool_(item(x)));
    });
    m.method("__float__", [](const Tensor& x) { return py::float_(item(x)); });
    m.method("__int__", [](const Tensor& x) { return py::int_(item(x)); });
    m.method("__index__", [](const Tensor& x) {
        LC_CHECK(is_integral(x.dtype()), TypeError, "index: only an integer tensor of one element can be an index, this one is ", x.dtype());
        return py::int_(item(x));
    });

    m.internal("to_device", py::overload_cast<const Tensor&, Device>(&to), "input"_a, "device"_a, "The input on another device; itself if it is there already.");
    m.internal("to_dtype", py::overload_cast<const Tensor&, DType>(&to), "input"_a, "dtype"_a, "The input converted to dtype; itself if it has it already.");
    m.method("__dlpack__", &to_dlpack, py::kw_only(), "stream"_a = py::none(), "max_version"_a = py::none(), "dl_device"_a = py::none(),
             "copy"_a = py::none());
    m.method("__dlpack_device__", [](const Tensor& x) { return py::make_tuple(x.device().is_cpu() ? 1 : 2, int(x.device().index)); });
    m.property<&cuda_array_interface>("__cuda_array_interface__", "Where the elements lie on a GPU, as CuPy and Numba read it.");
    m.function("from_dlpack", &from_dlpack, "x"_a, "A tensor on the memory of any array that speaks DLPack, or has __cuda_array_interface__: NumPy, PyTorch, JAX, CuPy, Numba.");
    m.internal("from_buffer", [](py::handle o) {
        Tensor x = from_buffer(o.ptr());
        LC_CHECK(x, TypeError, "from_numpy: ", Py_TYPE(o.ptr())->tp_name, " is no array");
        return x; }, "array"_a);
    m.tensor.attr("__hash__") = py::module_::import("builtins").attr("object").attr("__hash__");   // identity, though == is elementwise
}

}  // namespace lc::python
