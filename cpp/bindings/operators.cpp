// The operators of Tensor as C slots: + - * / // % ** @ & | ^ ~ abs, comparisons, their in-place forms, and indexing.
#include "cpp/autograd/node.h"
#include "cpp/bindings/autocast.h"
#include "cpp/bindings/bind.h"
#include "cpp/bindings/indexing.h"
#include "cpp/ops/binary.h"
#include "cpp/ops/unary.h"

namespace lc::python {
namespace {

using Binary = Tensor (*)(const Tensor&, const Tensor&);
using InPlace = void (*)(const Tensor&, const Tensor&);

// A tensor, or a number; undefined: not ours to handle.
Tensor operand(PyObject* o) { return is_tensor(o) ? tensor_of(o) : number_tensor(o); }

template <Binary f> PyObject* binary(PyObject* a, PyObject* b) {
    return guarded([&]() -> PyObject* {
        const Tensor x = operand(a), y = operand(b);
        if (!x || !y) Py_RETURN_NOTIMPLEMENTED;
        return wrap(f(x, y));
    });
}

Tensor pow_in_float32(const Tensor& a, const Tensor& b) { return in_float32(Binary(lc::pow))(a, b); }
PyObject* power(PyObject* a, PyObject* b, PyObject*) { return binary<pow_in_float32>(a, b); }

template <Tensor (*f)(const Tensor&)> PyObject* unary(PyObject* a) {
    return guarded([&] { return wrap(f(tensor_of(a))); });
}

Tensor invert(const Tensor& x) {
    return x.dtype() == DType::bool_ ? logical_not(x) : bitwise_xor(x, number(int64_t(-1)));
}

PyObject* positive(PyObject* a) { return Py_NewRef(a); }

// a += b writes a's memory. Where the tape must see it, it is a = a + b instead: recorded, and a's old value is kept.
template <InPlace in_place, Binary f> PyObject* update(PyObject* a, PyObject* b) {
    return guarded([&]() -> PyObject* {
        const Tensor& x = tensor_of(a);
        const Tensor y = operand(b);
        if (!y) Py_RETURN_NOTIMPLEMENTED;
        const bool recorded = wants_grad({x, y});
        if (recorded && !(x.requires_grad() && x.is_leaf())) return wrap(f(x, y));
        in_place(x, y);
        return Py_NewRef(a);
    });
}

PyObject* compare(PyObject* a, PyObject* b, int op) {
    return guarded([&]() -> PyObject* {
        static constexpr Binary f[] = {lc::lt, lc::le, lc::eq, lc::ne, lc::gt, lc::ge};        // in the order of Py_LT ...
        const Tensor y = operand(b);
        if (!y) Py_RETURN_NOTIMPLEMENTED;
        return wrap(f[op](tensor_of(a), y));
    });
}

PyObject* subscript(PyObject* self, PyObject* key) {
    return guarded([&] { return getitem(tensor_of(self), key).release().ptr(); });
}

int assign_subscript(PyObject* self, PyObject* key, PyObject* value) {
    if (!value) {
        PyErr_SetString(PyExc_TypeError, "tensor: elements cannot be deleted");
        return -1;
    }
    PyObject* done = guarded([&] {
        setitem(tensor_of(self), key, value);
        return Py_NewRef(Py_None);
    });
    Py_XDECREF(done);
    return done ? 0 : -1;
}

Py_ssize_t length(PyObject* self) {
    const Tensor& x = tensor_of(self);
    if (x.dim() > 0) return x.size(0);
    PyErr_SetString(PyExc_TypeError, "len: a 0-dimensional tensor has no length");
    return -1;
}

template <class F> PyType_Slot slot(int id, F* f) { return {id, reinterpret_cast<void*>(f)}; }

}  // namespace

std::vector<PyType_Slot> operator_slots() {
    return {
        slot(Py_nb_add, binary<lc::add>),
        slot(Py_nb_subtract, binary<lc::sub>),
        slot(Py_nb_multiply, binary<lc::mul>),
        slot(Py_nb_true_divide, binary<lc::div>),
        slot(Py_nb_floor_divide, binary<lc::floor_divide>),
        slot(Py_nb_remainder, binary<lc::remainder>),
        slot(Py_nb_power, power),
        slot(Py_nb_and, binary<lc::bitwise_and>),
        slot(Py_nb_or, binary<lc::bitwise_or>),
        slot(Py_nb_xor, binary<lc::bitwise_xor>),
        slot(Py_nb_inplace_add, update<lc::add_, lc::add>),
        slot(Py_nb_inplace_subtract, update<lc::sub_, lc::sub>),
        slot(Py_nb_inplace_multiply, update<lc::mul_, lc::mul>),
        slot(Py_nb_inplace_true_divide, update<lc::div_, lc::div>),
        slot(Py_nb_negative, unary<lc::neg>),
        slot(Py_nb_positive, positive),
        slot(Py_nb_absolute, unary<lc::abs>),
        slot(Py_nb_invert, unary<invert>),
        slot(Py_tp_richcompare, compare),
        slot(Py_mp_subscript, subscript),
        slot(Py_mp_ass_subscript, assign_subscript),
        slot(Py_mp_length, length),
    };
}

}  // namespace lc::python
