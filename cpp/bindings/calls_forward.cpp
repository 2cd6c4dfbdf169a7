// The base of nn.Module: self(...) is self.forward(...) at the cost of two look-ups.
#include "cpp/bindings/bind.h"

namespace lc::python {
namespace {

PyObject* call(PyObject* self, PyObject* args, PyObject* kwargs) {
    static PyObject* const hooked = PyUnicode_InternFromString("_hooked");
    static PyObject* const forward = PyUnicode_InternFromString("forward");
    static PyObject* const call_hooked = PyUnicode_InternFromString("_call_hooked");
    const auto watched = py::reinterpret_steal<py::object>(PyObject_GetAttr(self, hooked));
    if (!watched) return nullptr;
    const auto run = py::reinterpret_steal<py::object>(PyObject_GetAttr(self, watched.ptr() == Py_True ? call_hooked : forward));
    return run ? PyObject_Call(run.ptr(), args, kwargs) : nullptr;
}

}  // namespace

void bind_calls_forward(Module& m) {
    PyType_Slot slots[] = {{Py_tp_call, reinterpret_cast<void*>(&call)}, {0, nullptr}};
    PyType_Spec spec = {"littlecore._core.CallsForward", sizeof(PyObject), 0, Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE, slots};
    const auto type = py::reinterpret_steal<py::object>(PyType_FromSpec(&spec));
    if (!type) throw py::error_already_set();
    m.module.attr("CallsForward") = type;
}

}  // namespace lc::python
