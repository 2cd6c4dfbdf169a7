// __cuda_array_interface__, version 3: a dict that says where an array on a GPU lies, and which stream writes it.
#include "cpp/bindings/dlpack.h"
#include "cpp/c_api/signature.h"
#include "cpp/core/cuda_stream.h"

namespace lc::python {
namespace {

constexpr const char* kInterface = "__cuda_array_interface__";
constexpr char kKinds[] = {'i', 'u', 'f', 0, 0, 0, 'b'};                     // of DLPack's type codes

DLDataType dlpack_type_of(const std::string& s) {
    for (uint8_t code = 0; code < sizeof kKinds; ++code)
        if (s.size() > 2 && s[0] != '>' && kKinds[code] == s[1] && s.find_first_not_of("0123456789", 2) == s.npos) return {code, uint8_t(8 * std::stoi(s.substr(2))), 1};
    throw TypeError(text("from_dlpack: elements of type '", s, "' are not supported"));
}

// The stream it names; -1: none.
int64_t stream_of(const py::dict& shown) {
    if (!shown.contains("stream") || shown["stream"].is_none()) return -1;
    return shown["stream"].cast<int64_t>();
}

}  // namespace

py::dict cuda_array_interface(const Tensor& x) {
    const auto absent = [](const std::string& why) { throw py::attribute_error(text(kInterface, ": ", why)); };
    if (x.device().is_cpu()) absent("the tensor is on cpu");
    const DLDataType type = c_api::dlpack_type(x.dtype());
    if (type.code >= sizeof kKinds || !kKinds[type.code]) absent(text("it has no name for ", x.dtype(), "; use __dlpack__"));
    if (x.requires_grad()) throw py::buffer_error(text(kInterface, ": the tensor requires grad; use detach()"));
    refuse_recording(kInterface, "the memory is handed out");
    py::tuple shape(x.dim()), strides(x.dim());
    for (int d = 0; d < x.dim(); ++d) {
        shape[size_t(d)] = x.size(d);
        strides[size_t(d)] = x.stride(d) * int64_t(item_size(x.dtype()));
    }
    py::dict shown;
    shown["version"] = 3;
    shown["shape"] = shape;
    shown["strides"] = x.is_contiguous() ? py::object(py::none()) : strides;
    shown["typestr"] = text(type.bits == 8 ? '|' : '<', kKinds[type.code], int(type.bits) / 8);
    shown["data"] = py::make_tuple(x.numel() ? reinterpret_cast<uintptr_t>(x.address()) : 0, x.storage()->read_only);
    shown["stream"] = stream_number(x.device());
    return shown;
}

Tensor from_cuda_array(const py::object& source) {
    const py::object found = py::getattr(source, kInterface, py::none());
    LC_CHECK(py::isinstance<py::dict>(found), TypeError, "from_dlpack: ", Py_TYPE(source.ptr())->tp_name, " has no __dlpack__, nor ", kInterface);
    const auto shown = found.cast<py::dict>();
    LC_CHECK(!shown.contains("mask") || shown["mask"].is_none(), ValueError, "from_dlpack: a mask is not supported");
    LC_CHECK(cuda::is_available(), Error, "from_dlpack: ", cuda::why_not());
    const auto [address, read_only] = shown["data"].cast<std::pair<uintptr_t, bool>>();
    const auto sizes = shown["shape"].cast<Dims>();
    const DType dtype = dtype_from(dlpack_type_of(shown["typestr"].cast<std::string>()));
    Dims strides = contiguous_strides(sizes);
    if (shown.contains("strides") && !shown["strides"].is_none()) {
        strides = shown["strides"].cast<Dims>();
        LC_CHECK(strides.size() == sizes.size(), ValueError, "from_dlpack: ", strides.size(), " strides of ", sizes.size(), " dimensions");
        for (int64_t& stride : strides) {
            LC_CHECK(stride % int64_t(item_size(dtype)) == 0, ValueError, "from_dlpack: a stride of ", stride, " bytes is no number of elements of ", dtype);
            stride /= int64_t(item_size(dtype));
        }
    }
    void* const data = reinterpret_cast<void*>(address);
    const Device device = data ? cuda::device_of(data) : Device{Device::Type::cuda, 0};
    if (const int64_t producer = stream_of(shown); producer != -1) cuda::order(device, stream_named("from_dlpack", producer), cuda::current_stream(device));

    const auto drop = [](void* owner) {
        const py::gil_scoped_acquire gil;
        Py_DECREF(static_cast<PyObject*>(owner));
    };
    Ref<TensorImpl> base = make<TensorImpl>();
    base->storage = make<Storage>(static_cast<char*>(data), size_t(element_count(sizes)) * item_size(dtype), device, +drop, source.inc_ref().ptr());
    base->storage->read_only = read_only;
    base->dtype = dtype;
    return Tensor::view_of(Tensor(std::move(base)), sizes, strides, 0);
}

void hand_back(const py::object& source, Device d) {
    const cuda::Stream ours = cuda::current_stream(d);
    const py::object found = py::getattr(source, kInterface, py::none());
    const int64_t theirs = py::isinstance<py::dict>(found) ? stream_of(found.cast<py::dict>()) : -1;
    if (theirs != -1) return cuda::order(d, ours, stream_named(kInterface, theirs));
    const py::gil_scoped_release others;
    cuda::synchronize_stream(d, ours);                // nobody says which stream uses the memory next
}

}  // namespace lc::python
