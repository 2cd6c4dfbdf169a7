// Tensors from data and out of nothing.
#include <optional>
#include "cpp/bindings/bind.h"
#include "cpp/bindings/indexing.h"
#include "cpp/ops/copy.h"
#include "cpp/ops/create.h"

namespace lc::python {
namespace {

// zeros, ones, empty: name(*size), name_like(x), x.new_name(*size)
template <class Make> void family(Module& m, const char* name, Make make, const char* doc) {
    const std::string like = std::string(name) + "_like", fresh = std::string("new_") + name;
    m.function(name, [make](const py::args& size, DType dtype, Device device, bool requires_grad) { return leaf(make(sizes_of(size), dtype, device), requires_grad); }, "dtype"_a = DType::float32, "device"_a = Device{}, "requires_grad"_a = false, doc);
    m.function(like.c_str(), [make](const Tensor& x, std::optional<DType> dtype, std::optional<Device> device, bool requires_grad) { return leaf(make(x.sizes(), dtype.value_or(x.dtype()), device.value_or(x.device())), requires_grad); }, "input"_a, py::kw_only(), "dtype"_a = py::none(), "device"_a = py::none(), "requires_grad"_a = false, "As the function without _like, with the shape, dtype and device of input.");
    m.method(fresh.c_str(), [make](const Tensor& x, const py::args& size, std::optional<DType> dtype, std::optional<Device> device, bool requires_grad) { return leaf(make(sizes_of(size), dtype.value_or(x.dtype()), device.value_or(x.device())), requires_grad); }, "dtype"_a = py::none(), "device"_a = py::none(), "requires_grad"_a = false, "A tensor of that size with this one's dtype and device.");
}

DType natural(DType t) { return t == DType::float64 ? DType::float32 : t; }             // of a Python number

Tensor full_of(const Dims& sizes, const Operand& value, DType dtype, Device device, bool requires_grad) {
    return leaf(full(sizes, value.tensor, dtype, device), requires_grad);
}

double number(const Tensor& x) { return *detail::converted(to(x, Device{}), DType::float64).data<double>(); }
int64_t integer(const Tensor& x) { return *detail::converted(to(x, Device{}), DType::int64).data<int64_t>(); }

Tensor arange_of(const Operand& first, const std::optional<Operand>& second, const std::optional<Operand>& step, std::optional<DType> dtype,
                 Device device, bool requires_grad) {
    for (const Tensor& x : {first.tensor, second ? second->tensor : first.tensor, step ? step->tensor : first.tensor})
        if (!x.impl()->weak) refuse_recording("arange", "its bounds are read on the host");
    const Tensor start = second ? first.tensor : full({}, 0.0, DType::int64), end = second ? second->tensor : first.tensor;
    const Tensor by = step ? step->tensor : full({}, 1.0, DType::int64);
    for (const Tensor& x : {start, end, by}) LC_CHECK(x.numel() == 1, ValueError, "arange: start, end and step must be numbers, got shape ", x.sizes());
    if (is_integral(start.dtype()) && is_integral(end.dtype()) && is_integral(by.dtype()))
        return leaf(arange(integer(start), integer(end), integer(by), dtype.value_or(DType::int64), device), requires_grad);
    return leaf(arange(number(start), number(end), number(by), dtype.value_or(DType::float32), device), requires_grad);
}

// data of the dtype asked for, in memory of its own
Tensor tensor(py::handle data, std::optional<DType> dtype, std::optional<Device> device, bool requires_grad) {
    const Tensor x = as_tensor("tensor", data).detach();
    const Device d = device.value_or(x.device());
    if (d != x.device()) return leaf(to(detail::converted(x, dtype.value_or(x.dtype())), d), requires_grad);
    return leaf(dtype && *dtype != x.dtype() ? detail::converted(x, *dtype) : clone(x), requires_grad);
}

}  // namespace

void bind_creation(Module& m) {
    m.function("tensor", &tensor, "data"_a, py::kw_only(), "dtype"_a = py::none(), "device"_a = py::none(), "requires_grad"_a = false,
               "A tensor with a copy of data: a number, nested lists of numbers, an array or a tensor. Python floats become float32, ints int64.");
    m.function("as_tensor", [](py::handle data, std::optional<DType> dtype, std::optional<Device> device) {
        const Tensor x = as_tensor("as_tensor", data);
        return to(to(x, dtype.value_or(x.dtype())), device.value_or(x.device())); }, "data"_a, "dtype"_a = py::none(), "device"_a = py::none(), "As tensor(), but an array's memory is shared and a tensor returned as it is.");
    m.function("from_numpy", [](py::handle array) {
        const Tensor x = from_buffer(array.ptr());
        LC_CHECK(x, TypeError, "from_numpy: needs a NumPy array, got ", Py_TYPE(array.ptr())->tp_name);
        return x; }, "ndarray"_a, "A tensor on the memory of the array: a change of one is seen in the other.");

    family(m, "zeros", [](const Dims& s, DType t, Device d) { return Tensor::zeros(s, t, d); }, "zeros(*size): filled with 0.");
    family(m, "ones", [](const Dims& s, DType t, Device d) { return ones(s, t, d); }, "ones(*size): filled with 1.");
    family(m, "empty", [](const Dims& s, DType t, Device d) { return Tensor::empty(s, t, d); }, "empty(*size): not filled.");
    m.function("full", [](const Dims& size, const Operand& value, std::optional<DType> dtype, Device device, bool requires_grad) { return full_of(size, value, dtype.value_or(natural(value.tensor.dtype())), device, requires_grad); }, "size"_a, "fill_value"_a, py::kw_only(), "dtype"_a = py::none(), "device"_a = Device{}, "requires_grad"_a = false, "Filled with one value.");
    m.function("full_like", [](const Tensor& x, const Operand& value, std::optional<DType> dtype, bool requires_grad) { return full_of(x.sizes(), value, dtype.value_or(x.dtype()), x.device(), requires_grad); }, "input"_a, "fill_value"_a, py::kw_only(), "dtype"_a = py::none(), "requires_grad"_a = false, "Filled with one value, in the shape and dtype of input.");
    m.method("new_full", [](const Tensor& x, const Dims& size, const Operand& value, std::optional<DType> dtype, bool requires_grad) { return full_of(size, value, dtype.value_or(x.dtype()), x.device(), requires_grad); }, "size"_a, "fill_value"_a, py::kw_only(), "dtype"_a = py::none(), "requires_grad"_a = false);
    m.method("new_tensor", [](const Tensor& x, py::handle data, std::optional<DType> dtype, bool requires_grad) { return tensor(data, dtype.value_or(x.dtype()), x.device(), requires_grad); }, "data"_a, py::kw_only(), "dtype"_a = py::none(), "requires_grad"_a = false, "tensor(data) with this one's dtype.");

    m.function("arange", [](const Operand& end, std::optional<DType> dtype, Device d, bool g) { return arange_of(end, {}, {}, dtype, d, g); }, "end"_a, py::kw_only(), "dtype"_a = py::none(), "device"_a = Device{}, "requires_grad"_a = false);
    m.function("arange", [](const Operand& start, const Operand& end, const std::optional<Operand>& step, std::optional<DType> dtype, Device d, bool g) { return arange_of(start, end, step, dtype, d, g); }, "start"_a, "end"_a, "step"_a = py::none(), py::kw_only(), "dtype"_a = py::none(), "device"_a = Device{}, "requires_grad"_a = false, "start, start + step, ... up to but without end: int64 if all three are integers, else float32.");
    m.function("linspace", [](double start, double end, int64_t steps, DType dtype, Device d, bool g) { return leaf(to(linspace(start, end, steps, dtype), d), g); }, "start"_a, "end"_a, "steps"_a, py::kw_only(), "dtype"_a = DType::float32, "device"_a = Device{}, "requires_grad"_a = false, "steps numbers from start to end, both included.");
    m.function("eye", [](int64_t n, std::optional<int64_t> cols, DType dtype, Device d, bool g) { return leaf(eye(n, cols.value_or(n), dtype, d), g); }, "n"_a, "m"_a = py::none(), py::kw_only(), "dtype"_a = DType::float32, "device"_a = Device{}, "requires_grad"_a = false, "1 on the diagonal, 0 elsewhere.");
}

}  // namespace lc::python
