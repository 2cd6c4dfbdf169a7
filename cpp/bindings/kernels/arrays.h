// Other people's arrays: read without a copy, and made in their own framework.
#pragma once
#include <cstddef>
#include <new>
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include "cpp/c_api/littlecore_dlpack.h"
#include "cpp/c_api/signature.h"

namespace lc::python {

namespace nb = nanobind;
using namespace littlecore;                           // DLPack's structs
using c_api::kMaxArguments;

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
    PyObject* lent = nullptr;                         // borrowed: on a device, and its type lacks the C functions
    nb::object lent_tensor;                           // ours on its memory, behind what the lender does there
};

// The arguments of a call: as many as it has are made and destroyed.
class Arrays {
public:
    explicit Arrays(int count) : count_(count) {
        for (int i = 0; i < count; ++i) new (memory_ + size_t(i) * sizeof(Array)) Array;
    }
    ~Arrays() {
        for (int i = 0; i < count_; ++i) (*this)[i].~Array();
    }
    Arrays(const Arrays&) = delete;
    Array& operator[](int i) { return *std::launder(reinterpret_cast<Array*>(memory_ + size_t(i) * sizeof(Array))); }

private:
    int count_;
    alignas(Array) std::byte memory_[kMaxArguments * sizeof(Array)];
};

// From now on PyTorch's tensors are read and made by these functions instead of its own.
void use_for_torch(const DLPackExchangeAPI*);

// Refuses, with the reason in the name of `argument`, what is no array, wants a gradient, or cannot be written where it is to be.
void read(PyObject* x, const char* kernel, const char* argument, bool written, Array& out);

// An array of that shape and dtype in the framework of `like`, on its device: written through `out`, handed out by finish().
nb::object make(PyObject* like, DLDevice, const lc_shape& shape, const char* kernel, Array& out);
nb::object finish(PyObject* like, nb::object made);

// The stream that the framework of a CUDA array works on now; of one that was lent, ours.
void* stream_of(PyObject* x, DLDevice);
void* own_stream(DLDevice);

// The lender's later work waits for ours.
void hand_back(const Array&);

// Tells the framework's autograd that the memory has changed.
void wrote(PyObject* x);

}  // namespace lc::python
