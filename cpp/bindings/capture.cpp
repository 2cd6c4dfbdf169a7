// littlecore.capture: records a step and replays it (cpp/core/plan.h). A replay of a small step takes a microsecond, so
// the type stands on the C API, as Tensor does.
#include "cpp/bindings/capture.h"
#include <structmember.h>
#include <algorithm>
#include <cstring>
#include <memory>
#include "cpp/autograd/autocast.h"
#include "cpp/bindings/bind.h"
#include "cpp/core/cuda_graph.h"
#include "cpp/core/precision.h"
#include "cpp/ops/copy.h"

namespace lc::python {
namespace {

constexpr const char* kOp = "capture";
constexpr size_t kMostPlans = 8;                      // each has memory of its own: the one not used for longest goes

// Weak references to the Python tensors made while this thread records.
thread_local PyObject* made = nullptr;

// ---- arguments ------------------------------------------------------------------------------------------------------

bool is_plain(PyObject* o) { return o == Py_None || PyBool_Check(o) || PyLong_Check(o) || PyFloat_Check(o) || PyUnicode_Check(o); }

struct Argument {
    Tensor tensor;                                    // where the argument of every call is copied to
    py::object value;                                 // or what is no tensor and must stay the same

    explicit Argument(PyObject* o) {
        if (!is_tensor(o)) {
            LC_CHECK(is_plain(o) || !(PySequence_Check(o) || PyMapping_Check(o) || PyObject_CheckBuffer(o)), TypeError, kOp,
                     ": an argument is a ", Py_TYPE(o)->tp_name, "; pass every tensor as an argument of its own");
            value = py::reinterpret_borrow<py::object>(o);
            return;
        }
        const Tensor& x = tensor_of(o);
        LC_CHECK(!x.requires_grad(), ValueError, kOp, ": an argument requires grad; parameters belong to the step, arguments are copied");
        tensor = Tensor::empty(x.sizes(), x.dtype(), x.device());
    }

    bool fits(PyObject* o) const {
        if (tensor) {
            if (!is_tensor(o)) return false;
            const Tensor& x = tensor_of(o);
            return x.sizes() == tensor.sizes() && x.dtype() == tensor.dtype() && x.device() == tensor.device() && !x.requires_grad();
        }
        if (o == value.ptr()) return true;
        return is_plain(o) && Py_TYPE(o) == Py_TYPE(value.ptr()) && PyObject_RichCompareBool(o, value.ptr(), Py_EQ) == 1;
    }
};

// One kind of call: the shapes and values of its arguments, and the plan once there is one.
struct Call {
    std::vector<Argument> arguments;
    py::object names;                                 // of the keyword arguments, which come last
    bool grad = grad_enabled();
    std::optional<DType> precision = autocast::dtype();
    MatmulPrecision products = float32_matmul_precision();
    std::unique_ptr<Plan> plan;
    py::object result;

    Call(PyObject* const* args, Py_ssize_t n, PyObject* given) : names(py::reinterpret_borrow<py::object>(given)) {
        for (Py_ssize_t i = 0; i < n; ++i) arguments.emplace_back(args[i]);
    }

    bool fits(PyObject* const* args, Py_ssize_t n, PyObject* given) const {
        if (size_t(n) != arguments.size() || grad != grad_enabled() || precision != autocast::dtype() || products != float32_matmul_precision()) return false;
        if (given != names.ptr() && (!given || !names || PyObject_RichCompareBool(given, names.ptr(), Py_EQ) != 1)) return false;
        for (Py_ssize_t i = 0; i < n; ++i)
            if (!arguments[size_t(i)].fits(args[i])) return false;
        return true;
    }

    void copy_in(PyObject* const* args) const {
        for (const Argument& a : arguments) {
            const PyObject* o = *args++;
            if (!a.tensor) continue;
            const Tensor& x = tensor_of(const_cast<PyObject*>(o));
            if (x.storage() == a.tensor.storage()) continue;
            if (x.is_contiguous() && x.device().is_cpu()) std::memcpy(a.tensor.mutable_raw(), x.raw(), a.tensor.storage()->bytes);
            else detail::copy_into(a.tensor, x);
        }
    }
};

// ---- results --------------------------------------------------------------------------------------------------------

// The same without history. A plan's results are written by every replay.
py::object settled(py::handle o, Plan* plan) {
    if (is_tensor(o.ptr())) {
        const Tensor x = tensor_of(o.ptr()).detach();
        if (plan) plan->result(x.storage().get());
        return py::reinterpret_steal<py::object>(wrap(x));
    }
    if (is_plain(o.ptr())) return py::reinterpret_borrow<py::object>(o);
    if (PyTuple_CheckExact(o.ptr()) || PyList_CheckExact(o.ptr())) {
        py::list out;
        for (py::handle item : o) out.append(settled(item, plan));
        return PyTuple_CheckExact(o.ptr()) ? py::object(py::tuple(out)) : out;
    }
    LC_CHECK(PyDict_CheckExact(o.ptr()), TypeError, kOp, ": the step returned a ", Py_TYPE(o.ptr())->tp_name,
             "; tensors, numbers, and tuples, lists or dicts of them can be returned");
    py::dict out;
    for (auto [key, value] : py::reinterpret_borrow<py::dict>(o)) out[key] = settled(value, plan);
    return out;
}

// A tensor of the plan's that something else still holds would be read or overwritten at the wrong time.
void check_none_kept(const py::list& references, const Plan& plan) {
    for (const bool collected : {false, true}) {
        if (collected) py::module_::import("gc").attr("collect")();
        const Tensor* kept = nullptr;
        for (py::handle reference : references) {
            PyObject* o = PyWeakref_GetObject(reference.ptr());
            if (o != Py_None && !plan.is_grad(tensor_of(o).impl())) kept = &tensor_of(o);
        }
        if (!kept) return;
        LC_CHECK(!collected, Error, kOp, ": something keeps a tensor of shape ", kept->sizes(),
                 " that the step made, and would see every later step write to it; return it, or copy_() it into a tensor made before");
    }
}

// ---- the type -------------------------------------------------------------------------------------------------------

struct PyCaptured {
    PyObject_HEAD vectorcallfunc call;
    PyObject* step;
    PyObject* weak_references;
    std::vector<std::unique_ptr<Call>>* calls;        // last used first
    int64_t recorded;
};
PyCaptured* captured(PyObject* self) { return reinterpret_cast<PyCaptured*>(self); }

struct Recording {
    explicit Recording(Plan& plan) : plan(plan) {
        autocast::forget();
        plan.begin();
        made = references.ptr();
    }
    ~Recording() { stop(); }
    void stop() {
        if (!made) return;
        plan.end();
        made = nullptr;
        autocast::forget();
    }
    Plan& plan;
    py::list references;
};

py::object run(PyObject* step, PyObject* const* args, size_t n, PyObject* names) {
    PyObject* out = PyObject_Vectorcall(step, args, n, names);
    if (!out) throw py::error_already_set();
    return py::reinterpret_steal<py::object>(out);
}

py::object record(PyCaptured* self, Call& call, PyObject* const* args, Py_ssize_t positional, PyObject* names) {
    call.copy_in(args);
    std::vector<py::object> own;
    std::vector<PyObject*> given;
    std::vector<uint32_t> versions;
    for (const Argument& a : call.arguments) {
        own.push_back(a.tensor ? py::reinterpret_steal<py::object>(wrap(a.tensor)) : a.value);
        given.push_back(own.back().ptr());
        versions.push_back(a.tensor ? a.tensor.version() : 0);
    }
    auto plan = std::make_unique<Plan>();
    Recording recording(*plan);
    py::object out = run(self->step, given.data(), size_t(positional), names);
    recording.stop();
    ++self->recorded;
    call.result = settled(out, plan.get());
    out = py::object();
    check_none_kept(recording.references, *plan);
    for (size_t i = 0; i < versions.size(); ++i)
        LC_CHECK(!call.arguments[i].tensor || call.arguments[i].tensor.version() == versions[i], Error, kOp, ": the step writes to its argument ", i,
                 " in place, which is a copy of the caller's; return the new value instead");
    call.plan = std::move(plan);
    memory::empty_cache();                            // what eager steps have used until now
    return call.result;
}

PyObject* vectorcall(PyObject* object, PyObject* const* args, size_t flags, PyObject* names) {
    PyCaptured* self = captured(object);
    try {
        const Py_ssize_t positional = PyVectorcall_NARGS(flags), n = positional + (names ? PyTuple_GET_SIZE(names) : 0);
        if (recording()) return run(self->step, args, size_t(positional), names).release().ptr();      // a part of the outer step
        auto& calls = *self->calls;
        for (size_t i = 0; i < calls.size(); ++i) {
            Call& call = *calls[i];
            if (!call.fits(args, n, names)) continue;
            if (i > 0) std::rotate(calls.begin(), calls.begin() + int64_t(i), calls.begin() + int64_t(i) + 1);
            if (call.plan) {
                if (call.plan->fresh()) {
                    call.copy_in(args);
                    call.plan->replay();
                    return call.result.inc_ref().ptr();
                }
                call.result = py::object();
                call.plan.reset();
            }
            return record(self, call, args, positional, names).release().ptr();
        }
        auto call = std::make_unique<Call>(args, n, names);                  // the first of its kind runs as it is
        const py::object out = run(self->step, args, size_t(positional), names);
        if (calls.size() == kMostPlans) calls.pop_back();
        calls.insert(calls.begin(), std::move(call));
        return settled(out, nullptr).release().ptr();
    } catch (...) {
        set_python_error(std::current_exception());
        return nullptr;
    }
}

PyObject* captured_new(PyTypeObject* type, PyObject* args, PyObject* kwargs) {
    static const char* names[] = {"step", nullptr};
    PyObject* step = nullptr;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O:capture", const_cast<char**>(names), &step)) return nullptr;
    if (!PyCallable_Check(step)) {
        PyErr_Format(PyExc_TypeError, "capture: step must be callable, is a %s", Py_TYPE(step)->tp_name);
        return nullptr;
    }
    PyObject* self = type->tp_alloc(type, 0);
    if (!self) return nullptr;
    captured(self)->call = vectorcall;
    captured(self)->step = Py_NewRef(step);
    captured(self)->calls = new std::vector<std::unique_ptr<Call>>;
    return self;
}

int traverse(PyObject* self, visitproc visit, void* arg) {
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(captured(self)->step);
    if (captured(self)->calls)
        for (const auto& call : *captured(self)->calls) Py_VISIT(call->result.ptr());
    return 0;
}

int clear(PyObject* self) {
    Py_CLEAR(captured(self)->step);
    delete std::exchange(captured(self)->calls, nullptr);
    return 0;
}

void dealloc(PyObject* self) {
    PyTypeObject* type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    if (captured(self)->weak_references) PyObject_ClearWeakRefs(self);
    clear(self);
    type->tp_free(self);
    Py_DECREF(type);
}

PyObject* reset(PyObject* self, PyObject*) {
    captured(self)->calls->clear();
    Py_RETURN_NONE;
}

PyObject* captured_type() {
    static PyMethodDef methods[] = {{"reset", reset, METH_NOARGS, "reset() -> None\n\nForgets all plans and gives their memory back."}, {}};
    static PyMemberDef members[] = {
        {"step", T_OBJECT_EX, offsetof(PyCaptured, step), READONLY, "The function that was given."},
        {"recorded", T_LONGLONG, offsetof(PyCaptured, recorded), READONLY, "How many times the step was recorded so far."},
        {"__vectorcalloffset__", T_PYSSIZET, offsetof(PyCaptured, call), READONLY, nullptr},
        {"__weaklistoffset__", T_PYSSIZET, offsetof(PyCaptured, weak_references), READONLY, nullptr},
        {}};
    static PyType_Slot slots[] = {{Py_tp_doc, const_cast<char*>("A step that is recorded and replayed; see littlecore.capture.")},
                                  {Py_tp_new, reinterpret_cast<void*>(captured_new)},
                                  {Py_tp_dealloc, reinterpret_cast<void*>(dealloc)},
                                  {Py_tp_traverse, reinterpret_cast<void*>(traverse)},
                                  {Py_tp_clear, reinterpret_cast<void*>(clear)},
                                  {Py_tp_call, reinterpret_cast<void*>(PyVectorcall_Call)},
                                  {Py_tp_methods, methods},
                                  {Py_tp_members, members},
                                  {0, nullptr}};
    static PyType_Spec spec{"littlecore._core.Captured", sizeof(PyCaptured), 0,
                            Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_HAVE_VECTORCALL, slots};
    return PyType_FromSpec(&spec);
}

}  // namespace

void note_made(PyObject* tensor) {
    if (!made) return;
    const py::object reference = py::reinterpret_steal<py::object>(PyWeakref_NewRef(tensor, nullptr));
    if (!reference || PyList_Append(made, reference.ptr()) != 0) throw py::error_already_set();
}

void bind_capture(Module& m) {
    m.module.attr("Captured") = py::reinterpret_steal<py::object>(captured_type());
    m.internal("recording", [] { return recording() != nullptr; }, "True while this thread records a captured step.");
    m.internal("structure_changed", &structure_changed, "Captured steps recorded before are stale: they record again.");
    m.internal("replayable", [](py::function f) { replayable([f = std::make_shared<py::function>(std::move(f))] {
                                                      cuda::varies();
                                                      const py::gil_scoped_acquire gil;
                                                      (*f)();
                                                  }); }, "function"_a, "Calls function(), and again in every replay of the step being recorded.");
}

}  // namespace lc::python
