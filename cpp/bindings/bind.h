// How an op meets Python: one line per op in ops_<family>.cpp.
//
//   m.both("softmax", &softmax, "Softmax over dim ... ", "input"_a, "dim"_a, "dtype"_a = py::none());
//
// `function` puts it into littlecore, `internal` into _core only (for nn.functional, say), `method` onto Tensor (the first
// argument is self), `both` is `function` and `method`.
// C++ types that cross: Tensor (None <-> undefined), Operand (Tensor or number), Dims (int or sequence of ints),
// DType, Device (also as string), and whatever pybind11/stl.h knows.
#pragma once
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>
#include <set>
#include <string>
#include "cpp/bindings/casters.h"
#include "cpp/bindings/property.h"

namespace lc::python {

struct GivenSelf {};                                  // for pybind11: the first argument is not None, though it has no name

}  // namespace lc::python

template <> struct pybind11::detail::process_attribute<lc::python::GivenSelf> : process_attribute_default<lc::python::GivenSelf> {
    static void init(const lc::python::GivenSelf&, function_record* r) {
        if (r->args.empty()) r->args.emplace_back("self", nullptr, handle(), /*convert=*/true, /*none=*/false);
    }
};

namespace lc::python {

namespace py = pybind11;
using namespace pybind11::literals;

class Module {
public:
    Module(py::module_ module, py::object tensor) : module(std::move(module)), tensor(std::move(tensor)) {}

    template <class F, class... Extra> Module& function(const char* name, F&& f, const Extra&... extra) {
        names.insert(name);
        return internal(name, std::forward<F>(f), extra...);
    }
    template <class F, class... Extra> Module& internal(const char* name, F&& f, const Extra&... extra) {
        module.def(name, std::forward<F>(f), required(extra)...);
        return *this;
    }
    template <class F, class... Extra> Module& method(const char* name, F&& f, const Extra&... extra) {
        py::cpp_function method(std::forward<F>(f), py::name(name), py::is_method(tensor), GivenSelf(),
                                py::sibling(py::getattr(tensor, name, py::none())), required(extra)...);
        tensor.attr(name) = method;
        return *this;
    }
    // The first argument, named for the function, is self of the method.
    template <class F, class... Extra> Module& both(const char* name, F f, const char* doc, const py::arg& self, const Extra&... extra) {
        function(name, f, doc, self, extra...);
        return method(name, f, doc, extra...);
    }
    // property<get>("shape", doc), property<get, set>("grad", doc): functions of a tensor
    template <auto get> void property(const char* name, const char* doc) { add_property(name, getter<get>(name, tensor), py::none(), doc); }
    template <auto get, auto set> void property(const char* name, const char* doc) {
        add_property(name, getter<get>(name, tensor), setter<set>(name, tensor), doc);
    }
    template <class F> Module& both(const char* name, F f, const char* doc) {      // f takes py::args
        function(name, f, GivenSelf(), doc);
        return method(name, f, doc);
    }

    py::module_ module;
    py::object tensor;                                // the Tensor type
    std::set<std::string> names;                      // of littlecore

private:
    // An argument without a default must not be None, which would be no tensor.
    template <class E> static const E& required(const E& extra) { return extra; }
    static py::arg required(py::arg a) { return a.none(false); }

    void add_property(const char* name, const py::object& get, const py::object& set, const char* doc) {
        tensor.attr(name) = py::handle(reinterpret_cast<PyObject*>(&PyProperty_Type))(get, set, py::none(), doc);
    }
};

// What creation functions share: f(*size) takes ints or one sequence of them, and a leaf may ask for a gradient.
inline Dims sizes_of(const py::args& args) {
    return args.size() == 1 && !PyIndex_Check(py::handle(args[0]).ptr()) ? args[0].cast<Dims>() : args.cast<Dims>();
}
inline py::tuple tuple_of(const Tensors& xs) {
    py::tuple out(xs.size());
    for (size_t i = 0; i < xs.size(); ++i) out[i] = py::cast(xs[i]);
    return out;
}
inline Tensor leaf(const Tensor& x, bool requires_grad) {
    if (requires_grad) x.set_requires_grad(true);
    return x;
}

void bind_elementwise(Module&);
void bind_random(Module&);
void bind_linear(Module&);
void bind_conv(Module&);
void bind_norm(Module&);
void bind_shape(Module&);
void bind_creation(Module&);
void bind_nn(Module&);

}  // namespace lc::python
