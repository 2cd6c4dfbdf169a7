// The tape as Python sees it. The public names live in littlecore.autograd.
#include <pybind11/functional.h>
#include <vector>
#include "cpp/autograd/autocast.h"
#include "cpp/bindings/bind.h"

namespace lc::python {
namespace {

// GradMode: what `with no_grad():` enters and leaves, in C because a forward of a small network takes no longer than that did in
// Python. Subclasses have `mode`. One object may be entered more than once.
struct PyGradMode {
    PyObject ob_base;
    std::vector<char> before;
};
PyGradMode* grad_mode(PyObject* self) { return reinterpret_cast<PyGradMode*>(self); }

PyObject* grad_mode_new(PyTypeObject* type, PyObject* args, PyObject*) {
    PyObject* self = type->tp_alloc(type, 0);
    if (!self) return nullptr;
    new (&grad_mode(self)->before) std::vector<char>;
    if (PyTuple_GET_SIZE(args) != 1 || !PyCallable_Check(PyTuple_GET_ITEM(args, 0))) return self;
    PyObject* decorated = PyObject_CallOneArg(self, PyTuple_GET_ITEM(args, 0));
    Py_DECREF(self);
    return decorated;
}

void grad_mode_dealloc(PyObject* self) {
    PyTypeObject* type = Py_TYPE(self);
    grad_mode(self)->before.~vector();
    type->tp_free(self);
    Py_DECREF(type);
}

PyObject* grad_mode_enter(PyObject* self, PyObject*) {
    static PyObject* const name = PyUnicode_InternFromString("mode");
    PyObject* mode = PyObject_GetAttr(self, name);
    const int on = mode ? PyObject_IsTrue(mode) : -1;
    Py_XDECREF(mode);
    if (on < 0) return nullptr;
    grad_mode(self)->before.push_back(grad_enabled());
    set_grad_enabled(on);
    Py_RETURN_NONE;
}

PyObject* grad_mode_exit(PyObject* self, PyObject* const*, Py_ssize_t) {
    auto& before = grad_mode(self)->before;
    if (before.empty()) {
        PyErr_SetString(PyExc_RuntimeError, "grad mode: left without having been entered");
        return nullptr;
    }
    set_grad_enabled(before.back());
    before.pop_back();
    Py_RETURN_NONE;
}

PyObject* grad_mode_type() {
    static PyMethodDef methods[] = {{"__enter__", grad_mode_enter, METH_NOARGS, "__enter__(self) -> None"},
                                    {"__exit__", reinterpret_cast<PyCFunction>(reinterpret_cast<void*>(grad_mode_exit)), METH_FASTCALL, "__exit__(self, *exception) -> None"},
                                    {}};
    static PyType_Slot slots[] = {{Py_tp_doc, const_cast<char*>("Sets the mode for a `with` block; see littlecore.no_grad.")},
                                  {Py_tp_new, reinterpret_cast<void*>(grad_mode_new)},
                                  {Py_tp_dealloc, reinterpret_cast<void*>(grad_mode_dealloc)},
                                  {Py_tp_methods, methods},
                                  {0, nullptr}};
    static PyType_Spec spec{"littlecore._core.GradMode", sizeof(PyGradMode), 0, Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE, slots};
    return PyType_FromSpec(&spec);
}

}  // namespace

void bind_autograd(Module& m) {
    py::class_<Node, Ref<Node>>(m.module, "Node", "A step of the tape: made by an op, run by backward().")
        .def("name", &Node::label)
        .def_property_readonly("next_functions", [](const Node& node) {
            py::list out;
            for (const Edge& e : node.next) out.append(py::make_tuple(e.node ? py::cast(e.node) : py::none(), e.output));
            return py::tuple(out);
        })
        .def("__repr__", [](const Node& node) { return "<" + node.label() + " backward>"; });

    py::class_<Saved>(m.module, "Saved", "A tensor kept for backward; get() raises RuntimeError if it was modified in place since.")
        .def(py::init<const Tensor&>())
        .def("get", [](const Saved& s) { return s(); });

    m.module.attr("GradMode") = py::reinterpret_steal<py::object>(grad_mode_type());
    m.internal("grad_enabled", &grad_enabled, "True if operations are recorded.");
    m.internal("set_grad_enabled", [](bool on) {
        const bool before = grad_enabled();
        set_grad_enabled(on);
        return before; }, "Sets the mode; returns the one before.", "mode"_a);
    m.internal("autocast_dtype", &autocast::dtype, "What ops on CUDA compute in here, where littlecore.autocast says so, else None.");
    m.internal("set_autocast_dtype", [](std::optional<DType> t) {
        const auto before = autocast::dtype();
        autocast::set_dtype(t);
        return before; }, "bfloat16, float16, or None: no longer; returns the one before.", "dtype"_a = py::none());
    m.internal("backward", [](const Tensors& roots, const Tensors& dy, bool retain) { backward(roots, dy, retain); }, "tensors"_a, "grad_tensors"_a = Tensors(), "retain_graph"_a = false);
    m.internal("grad", &grad, "outputs"_a, "inputs"_a, "grad_outputs"_a = Tensors(), "retain_graph"_a = false, "allow_unused"_a = false);

    // The C++ half of littlecore.autograd.Function: outputs get a node whose backward is a Python callable
    // (*grads) -> a Tensor or None per input.
    m.internal("record_function", [](std::string name, const Tensors& inputs, const Tensors& outputs, py::function f) {
        struct PythonNode final : Node {
            PythonNode(std::string name, int outputs, py::function f) : Node("Function", outputs), name_(std::move(name)), f_(std::move(f)) {}
            ~PythonNode() override { const py::gil_scoped_acquire gil; f_ = py::function(); }
            std::string label() const override { return name_; }
            void release_saved() override { f_ = py::function(); }
            Tensors backward(const Grads& dy) override {
                if (!f_) detail::raise_released(name_.c_str());
                py::tuple args(size_t(dy.size()));
                for (int i = 0; i < dy.size(); ++i) args[size_t(i)] = py::cast(dy[i]);
                return f_(*args).cast<Tensors>();
            }
            std::string name_;
            py::function f_;
        };
        const int n = int(outputs.size());
        detail::attach(make<PythonNode>(std::move(name), n, std::move(f)), inputs, outputs); }, "name"_a, "inputs"_a, "outputs"_a, "backward"_a);

    m.method("backward", [](const Tensor& x, const Tensor& gradient, bool retain_graph, bool create_graph) {
        LC_CHECK(!create_graph, NotImplemented, "backward: create_graph is not supported: gradients have no history of their own");
        backward({x}, {gradient}, retain_graph); }, "gradient"_a = py::none(), "retain_graph"_a = false, "create_graph"_a = false, "Adds the gradient of this tensor with respect to every leaf it depends on to that leaf's grad. gradient: dL/dself, needed unless self has one element.");
    m.method("detach", &Tensor::detach, "The same memory without history.");
    m.method("requires_grad_", [](py::object self, bool on) {
        structure_changed();
        tensor_of(self.ptr()).set_requires_grad(on);
        return self; }, "requires_grad"_a = true);
    m.method("retain_grad", &retain_grad, "Keeps the gradient of a tensor that is no leaf in its grad.");
    m.method("_add_hook", &add_hook, "hook"_a);
    m.method("_remove_hook", &remove_hook, "id"_a);
}

}  // namespace lc::python
