// littlecore._kernels: a Python function for every kernel of the C ABI, made from its description.
//
//   layer_norm_forward(x, w=None, b=None, *, eps=1e-05, out=None) -> (y, base, rest, rstd)
#include <atomic>
#include <cstring>
#include <deque>
#include <vector>
#include "cpp/bindings/kernels/arrays.h"
#include "cpp/c_api/signature.h"

namespace lc::python {
namespace {

using c_api::Argument;
using c_api::Option;
using c_api::Word;

constexpr int kHeader = c_api::kHeaderWords, kMaxWords = 64;

struct Kernel {
    int id;
    c_api::Signature signature;
    std::string doc;
    std::vector<PyObject*> names;                     // interned: inputs, options, "out"
    PyMethodDef def;

    const char* name() const { return signature.name.c_str(); }
    int outputs() const { return int(signature.arguments.size()) - signature.inputs; }
};
std::deque<Kernel> kernels;                           // their addresses are kept by Python

// ---- the text Python shows --------------------------------------------------------------------------------------------

std::string option_text(const Option& o) {
    if (o.required) return o.name;
    nb::object value = o.real ? nb::object(nb::float_(o.usual)) : nb::object(nb::int_(int64_t(o.usual)));
    return o.name + "=" + nb::repr(value).c_str();
}

std::string doc_of(const lc_kernel_info& info, const c_api::Signature& s) {
    std::string call, results, details;
    for (int i = 0; i < int(s.arguments.size()); ++i) {
        const Argument& a = s.arguments[size_t(i)];
        bool last = a.optional;                       // a default only where all that follow have one
        for (int j = i; j < s.inputs; ++j) last = last && s.arguments[size_t(j)].optional;
        if (i < s.inputs) call += (call.empty() ? "" : ", ") + a.name + (last ? "=None" : "");
        else results += (results.empty() ? "" : ", ") + a.name;
        details += "\n    " + a.name + ": " + a.text + (a.in_place ? ", updated in place" : "") + (a.optional ? i < s.inputs ? ", or None" : ", may be skipped" : "");
    }
    call += ", *";
    for (const Option& o : s.options) call += ", " + option_text(o);
    if (!results.empty()) call += ", out=None";
    if (call.ends_with(", *")) call.resize(call.size() - 3);
    return s.name + "(" + call + ")\n--\n\n" + info.text + ".\n\nReturns " + (results.empty() ? "None" : results) + "." + details;
}

// ---- a call -----------------------------------------------------------------------------------------------------------

template <class... Parts> [[noreturn]] void refuse(PyObject* error, const Parts&... parts) {
    std::string text;
    (text.append(parts), ...);
    PyErr_SetString(error, text.c_str());
    throw nb::python_error();
}

void check(lc_status status) {
    switch (status) {
        case LC_OK: return;
        case LC_INVALID_VALUE: refuse(PyExc_ValueError, lc_last_error());
        case LC_INVALID_TYPE: refuse(PyExc_TypeError, lc_last_error());
        case LC_INVALID_INDEX: refuse(PyExc_IndexError, lc_last_error());
        case LC_OUT_OF_MEMORY: refuse(PyExc_MemoryError, lc_last_error());
        case LC_NOT_SUPPORTED: refuse(PyExc_NotImplementedError, lc_last_error());
        case LC_INTERRUPTED: nb::module_::import_("littlecore._core").attr("_raise_interrupted")(); [[fallthrough]];
        default: refuse(PyExc_RuntimeError, lc_last_error());
    }
}

// The arguments by their places: inputs, options, out. Null where not given.
void place(const Kernel& k, PyObject* const* given, Py_ssize_t count, PyObject* names, PyObject** placed) {
    const Py_ssize_t inputs = k.signature.inputs;
    if (count > inputs)
        refuse(PyExc_TypeError, k.name(), ": takes ", std::to_string(inputs), " arrays by position, got ", std::to_string(count), " arguments; options go by name");
    for (Py_ssize_t i = 0; i < count; ++i) placed[i] = given[i];
    for (Py_ssize_t n = 0, total = names ? PyTuple_GET_SIZE(names) : 0; n < total; ++n) {
        PyObject* name = PyTuple_GET_ITEM(names, n);
        size_t at = 0;
        while (at < k.names.size() && k.names[at] != name) ++at;
        for (size_t i = 0; at == k.names.size() && i < k.names.size(); ++i)                  // a name that was not interned
            if (PyUnicode_Compare(k.names[i], name) == 0) {
                at = i;
                break;
            }
        if (at == k.names.size()) refuse(PyExc_TypeError, k.name(), ": has no argument '", PyUnicode_AsUTF8(name), "'");
        if (placed[at]) refuse(PyExc_TypeError, k.name(), ": ", PyUnicode_AsUTF8(name), " is given twice");
        placed[at] = given[count + n];
    }
}

void read_number(const Kernel& k, const Option& o, PyObject* x, Word& word) {
    if (o.real) word.real = PyFloat_AsDouble(x);
    else {
        const nb::object index = nb::steal(PyNumber_Index(x));
        word.integer = index.is_valid() ? PyLong_AsLongLong(index.ptr()) : -1;
    }
    if (!PyErr_Occurred()) return;
    PyErr_Clear();
    refuse(PyExc_TypeError, k.name(), ": ", o.name, " must be ", o.real ? "a number" : "an integer", o.count == 2 ? " or a pair of them" : "", ", is ", nb::repr(nb::handle(x)).c_str());
}

void read_options(const Kernel& k, PyObject* const* given, Word* words) {
    for (const Option& o : k.signature.options) {
        PyObject* x = *given++;
        if (!x && o.required) refuse(PyExc_TypeError, k.name(), ": ", o.name, " is missing");
        const bool pair = x && o.count == 2 && PySequence_Check(x);
        if (pair && PySequence_Size(x) != 2) refuse(PyExc_ValueError, k.name(), ": ", o.name, " takes one integer or two, is ", nb::repr(nb::handle(x)).c_str());
        for (int i = 0; i < o.count; ++i, ++words) {
            if (!x) o.real ? words->real = o.usual : words->integer = int64_t(o.usual);
            else if (pair) read_number(k, o, nb::steal(PySequence_GetItem(x, i)).ptr(), *words);
            else read_number(k, o, x, *words);
        }
    }
}

// What out= says of the i-th output: an array, None to have one made, False to go without. Borrowed.
PyObject* wanted(const Kernel& k, PyObject* out, int i) {
    if (!out || out == Py_None) return Py_None;
    if (k.outputs() == 1) return out;
    if (!PyTuple_Check(out) || PyTuple_GET_SIZE(out) != k.outputs())
        refuse(PyExc_TypeError, k.name(), ": out must be a tuple of ", std::to_string(k.outputs()), ", an entry for each output: an array, None to have one made, False to go without");
    return PyTuple_GET_ITEM(out, i);
}

void run_on_stream(const Kernel& k, PyObject* first, DLDevice device, const Word* words, Arrays& arrays) {
    void* const stream = stream_of(first, device);
    const int total = int(k.signature.arguments.size());
    for (int i = 0; i < total; ++i)
        if (arrays[i].lent && stream != own_stream(device))
            refuse(PyExc_ValueError, k.name(), ": ", k.signature.arguments[size_t(i)].name, " is a ", Py_TYPE(arrays[i].lent)->tp_name,
                   ", which is computed on littlecore's current stream, but the first argument's is another");
    void* const before = lc_set_stream(stream);
    const lc_status status = lc_run(k.id, words);
    lc_set_stream(before);
    check(status);
    for (int i = 0; i < total; ++i)
        if (arrays[i].lent) hand_back(arrays[i]);
}

nb::object call(const Kernel& k, PyObject* const* given, Py_ssize_t count, PyObject* names) {
    const c_api::Signature& s = k.signature;
    const int total = int(s.arguments.size());
    PyObject* placed[kMaxArguments * 2] = {};
    place(k, given, count, names, placed);

    Word words[kMaxWords];
    std::memset(words, 0, size_t(s.bytes));
    words[0].integer = s.bytes;
    Arrays arrays(total);
    for (int i = 0; i < s.inputs; ++i) {
        const Argument& a = s.arguments[size_t(i)];
        if (!placed[i] && !a.optional) refuse(PyExc_TypeError, k.name(), ": ", a.name, " is missing");
        if (!placed[i] || (placed[i] == Py_None && a.optional)) continue;
        read(placed[i], k.name(), a.name.c_str(), a.in_place, arrays[i]);
        words[kHeader + i].tensor = &arrays[i].tensor;
    }
    read_options(k, placed + s.inputs, words + kHeader + total);

    nb::object results[kMaxArguments];
    PyObject* out = k.outputs() ? placed[k.names.size() - 1] : nullptr;
    if (k.outputs()) {
        lc_shape shapes[kMaxArguments];
        check(lc_output_shapes(k.id, words, shapes));
        for (int i = 0; i < k.outputs(); ++i) {
            const Argument& a = s.arguments[size_t(s.inputs + i)];
            Array& array = arrays[s.inputs + i];
            PyObject* w = wanted(k, out, i);
            results[i] = nb::none();
            if (w == Py_False && !a.optional) refuse(PyExc_ValueError, k.name(), ": ", a.name, " cannot be skipped");
            if (w == Py_False || (w == Py_None && shapes[i].ndim < 0)) continue;
            if (w == Py_None) {
                results[i] = make(placed[0], arrays[0].tensor.device, shapes[i], k.name(), array);
            } else {
                read(w, k.name(), a.name.c_str(), true, array);
                results[i] = nb::borrow(w);
            }
            words[kHeader + s.inputs + i].tensor = &array.tensor;
        }
    }
    if (arrays[0].tensor.device.device_type == kDLCUDA) run_on_stream(k, placed[0], arrays[0].tensor.device, words, arrays);
    else check(lc_run(k.id, words));

    for (int i = 0; i < s.inputs; ++i)
        if (s.arguments[size_t(i)].in_place && words[kHeader + i].tensor) wrote(placed[i]);
    for (int i = 0; i < k.outputs(); ++i) {
        if (results[i].is_none()) continue;
        if (wanted(k, out, i) == Py_None) results[i] = finish(placed[0], std::move(results[i]));
        else wrote(results[i].ptr());
    }
    if (k.outputs() <= 1) return k.outputs() ? std::move(results[0]) : nb::none();
    nb::object tuple = nb::steal(PyTuple_New(k.outputs()));
    for (int i = 0; i < k.outputs(); ++i) PyTuple_SET_ITEM(tuple.ptr(), i, results[i].release().ptr());
    return tuple;
}

// ---- threads ----------------------------------------------------------------------------------------------------------

// libgomp's, on whose threads PyTorch runs: start(part, data, 0, 0) calls part(data) on each of the team.
using StartTeam = void (*)(void (*part)(void*), void* data, unsigned threads, unsigned flags);

void run_on_team(void* start, int participants, void (*work)(void*, int), void* job) {
    struct Team {
        void (*work)(void*, int);
        void* job;
        int participants;
        std::atomic<int> next{0};
    } team{work, job, participants};
    reinterpret_cast<StartTeam>(start)([](void* p) {
        auto& t = *static_cast<Team*>(p);
        for (int i; (i = t.next.fetch_add(1, std::memory_order_relaxed)) < t.participants;) t.work(t.job, i); }, &team, 0, 0);
}

void use_openmp(uintptr_t start) {
    const lc_thread_pool pool{sizeof pool, lc_num_threads(), run_on_team, reinterpret_cast<void*>(start)};
    check(lc_set_thread_pool(&pool));
}

PyObject* entry(PyObject* self, PyObject* const* given, Py_ssize_t count, PyObject* names) {
    try {
        return call(*static_cast<const Kernel*>(PyCapsule_GetPointer(self, nullptr)), given, count, names).release().ptr();
    } catch (nb::python_error& e) {
        e.restore();
    } catch (const std::exception& e) {
        PyErr_SetString(PyExc_RuntimeError, e.what());
    }
    return nullptr;
}

}  // namespace

NB_MODULE(_kernels, m) {
    check(lc_check_abi(LC_ABI_MAJOR, LC_ABI_MINOR));
    nb::list described;                               // (name, inputs, outputs, options), as kernels.def has them
    nb::str module_name("littlecore.kernels");
    for (int id = 0; const lc_kernel_info* info = lc_kernel(id); ++id) {
        Kernel& k = kernels.emplace_back();
        described.append(nb::make_tuple(info->name, info->inputs, info->outputs, info->options));
        k.id = id;
        k.signature = c_api::parse(*info);
        k.doc = doc_of(*info, k.signature);
        for (int i = 0; i < k.signature.inputs; ++i) k.names.push_back(PyUnicode_InternFromString(k.signature.arguments[size_t(i)].name.c_str()));
        for (const Option& o : k.signature.options) k.names.push_back(PyUnicode_InternFromString(o.name.c_str()));
        if (k.outputs()) k.names.push_back(PyUnicode_InternFromString("out"));
        k.def = {info->name, reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(entry)), METH_FASTCALL | METH_KEYWORDS, k.doc.c_str()};
        nb::object self = nb::steal(PyCapsule_New(&k, nullptr, nullptr));
        m.attr(info->name) = nb::steal(PyCFunction_NewEx(&k.def, self.ptr(), module_name.ptr()));
    }
    m.attr("_described") = described;
    m.def("_use_openmp", use_openmp);
    m.def("_use_for_torch", [](uintptr_t api) { use_for_torch(reinterpret_cast<const DLPackExchangeAPI*>(api)); });
}

}  // namespace lc::python
