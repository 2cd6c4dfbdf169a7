// How an op meets Python: one line per op in ops_<family>.cpp.
//
//   m.both("softmax", &softmax, "Softmax over dim ... ", "input"_a, "dim"_a, "dtype"_a = py::none());
//
// `function` puts it into littlecore, `method` onto Tensor (the first argument is self), `both` does both.
// C++ types that cross: Tensor (None <-> undefined), Operand (Tensor or number), Dims (int or sequence of ints),
// DType, Device (also as string), and whatever pybind11/stl.h knows.
#pragma once
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>
#include "cpp/bindings/casters.h"

namespace lc::python {

namespace py = pybind11;
using namespace pybind11::literals;

class Module {
public:
    Module(py::module_ module, py::object tensor) : module(std::move(module)), tensor(std::move(tensor)) {}

    template <class F, class... Extra> Module& function(const char* name, F&& f, const Extra&... extra) {
        module.def(name, std::forward<F>(f), extra...);
        return *this;
    }
    template <class F, class... Extra> Module& method(const char* name, F&& f, const Extra&... extra) {
        py::cpp_function method(std::forward<F>(f), py::name(name), py::is_method(tensor),
                                py::sibling(py::getattr(tensor, name, py::none())), extra...);
        tensor.attr(name) = method;
        return *this;
    }
    // The first argument, named for the function, is self of the method.
    template <class F, class... Extra> Module& both(const char* name, F f, const char* doc, const py::arg& self, const Extra&... extra) {
        function(name, f, doc, self, extra...);
        return method(name, f, doc, extra...);
    }
    template <class F> Module& both(const char* name, F f, const char* doc) {      // f takes py::args
        function(name, f, doc);
        return method(name, f, doc);
    }

    py::module_ module;
    py::object tensor;                                // the Tensor type
};

// What creation functions share: f(*size) takes ints or one sequence of them, and a leaf may ask for a gradient.
inline Dims sizes_of(const py::args& args) {
    return args.size() == 1 && !PyIndex_Check(py::handle(args[0]).ptr()) ? args[0].cast<Dims>() : args.cast<Dims>();
}
inline Tensor leaf(const Tensor& x, bool requires_grad) {
    if (requires_grad) x.set_requires_grad(true);
    return x;
}

void set_python_error(std::exception_ptr);            // the Python exception of a C++ one

void bind_elementwise(Module&);
void bind_random(Module&);
void bind_linear(Module&);
void bind_conv(Module&);
void bind_norm(Module&);
void bind_shape(Module&);
void bind_creation(Module&);
void bind_nn(Module&);

}  // namespace lc::python
