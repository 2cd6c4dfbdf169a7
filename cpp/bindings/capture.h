// What the Tensor type tells the recorder of steps.
#pragma once
#include <Python.h>

namespace lc::python {

void note_made(PyObject* tensor);                     // a Python tensor was made while this thread records

}  // namespace lc::python
