// Other people's arrays: read without a copy, and made in their own framework.
#pragma once
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include "cpp/c_api/littlecore_dlpack.h"

namespace lc::python {

namespace nb = nanobind;
using namespace littlecore;                           // DLPack's structs

// How the arrays of one type are read and made. Types are kept for ever.
struct Framework {
    enum class Kind { other,
                      numpy,
                      torch,
                      jax,
                      littlecore } kind;
    PyTypeObject* type;
    const DLPackExchangeAPI* api;                     // null: through nanobind
};
const Framework& framework_of(PyObject*);

// One argument. Shapes are borrowed from the array, which must outlive this.
struct Array {
    DLTensor tensor;
    nb::ndarray<> owner;                              // what nanobind read
    nb::ndarray<nb::ro> read_only_owner;
};

// Refuses, with the reason in the name of `argument`, what is no array, wants a gradient, or cannot be written where it is to be.
void read(PyObject* x, const char* kernel, const char* argument, bool written, Array& out);

// An array of that shape and dtype in the framework of `like`: written through `out`, handed out by finish().
nb::object make(PyObject* like, const lc_shape& shape, const char* kernel, Array& out);
nb::object finish(PyObject* like, nb::object made);

// Tells the framework's autograd that the memory has changed.
void wrote(PyObject* x);

}  // namespace lc::python
