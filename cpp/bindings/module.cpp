// littlecore._core: dtypes, devices, the Tensor type, and every op by family.
#include <array>
#include "cpp/bindings/bind.h"
#include "cpp/bindings/dlpack.h"
#include "cpp/c_api/littlecore_dlpack.h"
#include "cpp/core/cpu_features.h"
#include "cpp/core/cuda_graph.h"
#include "cpp/core/exact.h"
#include "cpp/core/machine.h"
#include "cpp/core/parallel.h"

namespace lc::python {

void bind_autograd(Module&);
void bind_capture(Module&);
void bind_tensor(Module&);
void bind_calls_forward(Module&);

namespace {

std::array<PyObject*, kDTypes> dtype_objects;

void bind_dtype(py::module_& m) {
    py::class_<PyDType>(m, "dtype", "An element type. There is one object for each: compare with `is` or `==`.")
        .def_property_readonly("name", [](const PyDType& d) { return name(d.dtype); })
        .def_property_readonly("itemsize", [](const PyDType& d) { return item_size(d.dtype); }, "Bytes of an element.")
        .def_property_readonly("is_floating_point", [](const PyDType& d) { return is_floating(d.dtype); })
        .def("__repr__", [](const PyDType& d) { return std::string("littlecore.") + name(d.dtype); })
        .def("__reduce__", [](const PyDType& d) { return d.dtype == DType::bool_ ? "bool_" : name(d.dtype); });
    for (int i = 0; i < kDTypes; ++i) {
        py::object o = py::cast(PyDType{DType(i)});
        m.attr(DType(i) == DType::bool_ ? "bool_" : name(DType(i))) = o;
        dtype_objects[size_t(i)] = o.release().ptr();                            // kept for ever
    }
}

void bind_device(py::module_& m) {
    py::class_<PyDevice>(m, "device", "Where a tensor lives: device('cpu'), device('cuda:1').")
        .def(py::init([](const std::string& s) { return PyDevice{parse_device(s)}; }), "device"_a)
        .def_property_readonly("type", [](const PyDevice& d) { return d.device.is_cpu() ? "cpu" : "cuda"; })
        .def_property_readonly("index", [](const PyDevice& d) { return d.device.is_cpu() ? py::object(py::none()) : py::cast(int(d.device.index)); })
        .def("__eq__", [](const PyDevice& a, py::object b) {
            if (py::isinstance<py::str>(b)) return a.device == parse_device(b.cast<std::string>());
            return py::isinstance<PyDevice>(b) && a.device == b.cast<const PyDevice&>().device;
        })
        .def("__hash__", [](const PyDevice& d) { return py::hash(py::str(to_string(d.device))); })
        .def("__str__", [](const PyDevice& d) { return to_string(d.device); })
        .def("__repr__", [](const PyDevice& d) { return "device('" + to_string(d.device) + "')"; });
}

py::dict to_dict(const MemoryStats& s) {
    py::dict out;
    out["live_bytes"] = s.live_bytes;
    out["live_blocks"] = s.live_blocks;
    out["peak_bytes"] = s.peak_bytes;
    out["reserved_bytes"] = s.reserved_bytes;
    out["allocations"] = s.allocations;
    out["system_allocations"] = s.system_allocations;
    out["overruns"] = s.overruns;
    return out;
}

void bind_memory(py::module_& m) {
    m.def("memory_stats", [] { return to_dict(memory::stats()); });
    m.def("memory_reset_peak", &memory::reset_peak);
    m.def("memory_empty_cache", &memory::empty_cache);
    m.def("memory_fail_at", &memory::fail_at, "n"_a);
    m.def("memory_poison", &memory::poison, "on"_a);
    m.def("memory_poisoned", &memory::poisoned);
}

void bind_machine(py::module_& m) {
    m.def("isa", [] { return name(isa()); }, "The instruction set in use.");
    m.def("set_isa", &set_isa, "name"_a, "Chooses the instruction set; one of available_isas().");
    m.def("available_isas", &available_isas, "Instruction sets built in and supported by this machine, best first.");
    m.def("exact", &exact, "Whether LITTLECORE_EXACT=1 keeps to kernels with the smallest error.");
    m.def("set_exact", &set_exact, "on"_a);
    m.def("fma_peak", &fma_peak, "Measures the float32 multiply-add peak of the threads in use, GFLOP/s.");
    m.def("copy_bandwidth", &copy_bandwidth, "working_set"_a, "Measures a copy within that many bytes, GB/s read and written.");
    m.def("read_bandwidth", &read_bandwidth, "working_set"_a, "Measures reading that many bytes, GB/s.");
    m.def("update_bandwidth", &update_bandwidth, "working_set"_a, "Measures y += a x within that many bytes, GB/s read and written.");
    m.def("num_threads", &num_threads);
    m.def("set_num_threads", &set_num_threads, "n"_a);
    m.attr("__version__") = LC_VERSION;
    m.attr("__compiler__") = LC_COMPILER;
}

// What littlecore.cuda is made of. Streams and events are addresses here; 0 is the default stream.
void bind_cuda(py::module_& m) {
    const auto at = [](int index) { return Device{Device::Type::cuda, int8_t(index)}; };
    const auto handle = [](uintptr_t p) { return reinterpret_cast<void*>(p); };
    const auto number = [](void* p) { return reinterpret_cast<uintptr_t>(p); };
    m.def("cuda_is_available", &cuda::is_available);
    m.def("cuda_why_not", &cuda::why_not);
    m.def("cuda_device_count", &cuda::device_count);
    m.def("cuda_device_name", &cuda::device_name, "device"_a);
    m.def("cuda_device_details", &cuda::device_details, "device"_a);
    m.def("cuda_synchronize", [=](int d) {
        const py::gil_scoped_release others;
        cuda::synchronize(at(d)); }, "device"_a);
    m.def("cuda_launches", [] {
        const cuda::Work w = cuda::work();
        py::dict out;
        out["launches"] = w.launches;
        out["graphs"] = w.graphs;
        out["waits"] = w.waits;
        return out; });
    m.def("cuda_memory_stats", [=](int d) { return to_dict(cuda::memory::stats(at(d))); }, "device"_a);
    m.def("cuda_reset_peak", [=](int d) { cuda::memory::reset_peak(at(d)); }, "device"_a);
    m.def("cuda_empty_cache", [=](int d) { cuda::memory::empty_cache(at(d)); }, "device"_a);
    m.def("cuda_current_stream", [=](int d) { return number(cuda::current_stream(at(d))); }, "device"_a);
    m.def("cuda_set_stream", [=](int d, uintptr_t s) { cuda::set_current_stream(at(d), handle(s)); }, "device"_a, "stream"_a);
    m.def("cuda_hand_back", [=](const py::object& source, int d) { hand_back(source, at(d)); }, "source"_a, "device"_a);
    m.def("cuda_make_stream", [=](int d) { return number(cuda::make_stream(at(d))); }, "device"_a);
    m.def("cuda_drop_stream", [=](int d, uintptr_t s) { cuda::drop_stream(at(d), handle(s)); }, "device"_a, "stream"_a);
    m.def("cuda_synchronize_stream", [=](int d, uintptr_t s) {
        const py::gil_scoped_release others;
        cuda::synchronize_stream(at(d), handle(s)); }, "device"_a, "stream"_a);
    m.def("cuda_make_event", [=](int d) { return number(cuda::make_event(at(d))); }, "device"_a);
    m.def("cuda_drop_event", [=](int d, uintptr_t e) { cuda::drop_event(at(d), handle(e)); }, "device"_a, "event"_a);
    m.def("cuda_record_event", [=](int d, uintptr_t e, uintptr_t s) { cuda::record_event(at(d), handle(e), handle(s)); }, "device"_a, "event"_a, "stream"_a);
    m.def("cuda_wait_event", [=](int d, uintptr_t e, uintptr_t s) { cuda::wait_event(at(d), handle(e), handle(s)); }, "device"_a, "event"_a, "stream"_a);
    m.def("cuda_synchronize_event", [=](int d, uintptr_t e) {
        const py::gil_scoped_release others;
        cuda::synchronize_event(at(d), handle(e)); }, "device"_a, "event"_a);
    m.def("cuda_elapsed_ms", [=](int d, uintptr_t begin, uintptr_t end) { return cuda::elapsed_ms(at(d), handle(begin), handle(end)); }, "device"_a, "begin"_a, "end"_a);
}

// ---- errors -----------------------------------------------------------------------------------------------------------

// What a signal handler raised while a kernel ran, until the kernel has unwound.
thread_local PyObject *pending_type, *pending_value, *pending_trace;

void translate(std::exception_ptr p) {   // what it does not know goes on to pybind11
    try {
        std::rethrow_exception(p);
    } catch (const Interrupted&) {
        if (pending_type) PyErr_Restore(pending_type, pending_value, pending_trace);
        else PyErr_SetNone(PyExc_KeyboardInterrupt);
        pending_type = pending_value = pending_trace = nullptr;
    } catch (const ValueError& e) {
        PyErr_SetString(PyExc_ValueError, e.what());
    } catch (const TypeError& e) {
        PyErr_SetString(PyExc_TypeError, e.what());
    } catch (const IndexError& e) {
        PyErr_SetString(PyExc_IndexError, e.what());
    } catch (const MemoryError& e) {
        PyErr_SetString(PyExc_MemoryError, e.what());
    } catch (const NotImplemented& e) {
        PyErr_SetString(PyExc_NotImplementedError, e.what());
    } catch (const Error& e) {
        PyErr_SetString(PyExc_RuntimeError, e.what());
    }
}

// A kernel of more than some 20 us lets other Python threads run, and looks for Ctrl-C every few milliseconds.
constexpr LongCallHooks kHooks{
    [] { return PyGILState_Check() ? static_cast<void*>(PyEval_SaveThread()) : nullptr; },
    [](void* token) { if (token) PyEval_RestoreThread(static_cast<PyThreadState*>(token)); },
    [](void* token) {
        if (!token) return false;
        PyEval_RestoreThread(static_cast<PyThreadState*>(token));
        const bool stop = PyErr_CheckSignals() != 0;
        if (stop) PyErr_Fetch(&pending_type, &pending_value, &pending_trace);
        PyEval_SaveThread();
        return stop;
    }};

}  // namespace

void set_python_error(std::exception_ptr p) {
    try {
        translate(p);
    } catch (py::error_already_set& e) {
        e.restore();
    } catch (const py::builtin_exception& e) {
        e.set_error();
    } catch (const std::bad_alloc&) {
        PyErr_NoMemory();
    } catch (const std::exception& e) {
        PyErr_SetString(PyExc_RuntimeError, e.what());
    }
}

py::object dtype_object(DType t) { return py::reinterpret_borrow<py::object>(dtype_objects[size_t(t)]); }

bool read_dtype(PyObject* o, DType& out) {
    for (int i = 0; i < kDTypes; ++i)
        if (o == dtype_objects[size_t(i)]) {
            out = DType(i);
            return true;
        }
    if (o == reinterpret_cast<PyObject*>(&PyFloat_Type)) {
        out = DType::float32;
        return true;
    }
    if (o == reinterpret_cast<PyObject*>(&PyLong_Type)) {
        out = DType::int64;
        return true;
    }
    if (o == reinterpret_cast<PyObject*>(&PyBool_Type)) {
        out = DType::bool_;
        return true;
    }
    return false;
}

PYBIND11_MODULE(_core, m) {
    py::register_exception_translator(translate);
    bind_dtype(m);
    bind_device(m);
    bind_memory(m);
    bind_machine(m);
    bind_cuda(m);

    m.attr("Tensor") = make_tensor_type();
    m.attr("Tensor").attr(littlecore::kExchangeAttribute) = exchange_api();
    m.def("_raise_interrupted", [] { throw Interrupted("interrupted"); });           // what the signal handler raised
    m.def("_wrote", [](const Tensor& x) { x.bump_version(); }, "tensor"_a.none(false));          // by a kernel that knows no versions
    Module module(m, m.attr("Tensor"));
    bind_autograd(module);
    bind_capture(module);
    bind_tensor(module);
    bind_calls_forward(module);
    bind_elementwise(module);
    bind_random(module);
    bind_linear(module);
    bind_conv(module);
    bind_norm(module);
    bind_shape(module);
    bind_creation(module);
    bind_nn(module);
    module.names.insert({"Tensor", "dtype", "device", "Generator", "default_generator", "set_num_threads"});
    for (int i = 0; i < kDTypes; ++i) module.names.insert(DType(i) == DType::bool_ ? "bool_" : name(DType(i)));
    py::list names;
    for (const std::string& n : module.names) names.append(n);
    m.attr("__all__") = names;                        // what `import *` takes: the rest is for the Python layer

    set_long_call_hooks(kHooks);
}

}  // namespace lc::python
