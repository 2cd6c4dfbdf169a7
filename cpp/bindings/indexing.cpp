#include "cpp/bindings/indexing.h"
#include "cpp/bindings/casters.h"
#include "cpp/ops/index.h"

namespace lc::python {
namespace {

using Kind = IndexItem::Kind;

// One thing between the brackets. Exactly one of the fields is used, by kind.
struct Item {
    enum class What { basic,
                      mask_or_array,
                      truth,
                      ellipsis };
    What what;
    IndexItem basic{};
    Tensor array{};
    bool truth = false;
};

int64_t integer(PyObject* o) {
    const Py_ssize_t i = PyNumber_AsSsize_t(o, PyExc_IndexError);
    if (i == -1 && PyErr_Occurred()) throw py::error_already_set();
    return i;
}

Item of_array(const Tensor& x) {
    if (x.dim() > 0) return {Item::What::mask_or_array, {}, x};
    if (x.dtype() == DType::bool_) return {Item::What::truth, {}, {}, *x.data<bool>()};
    LC_CHECK(is_integral(x.dtype()), IndexError, "getitem: indices must be integers or booleans, got ", x.dtype());
    return {Item::What::basic, {Kind::index, integer(py::reinterpret_steal<py::object>(wrap(x)).ptr())}};
}

Item read(PyObject* o) {
    if (PyBool_Check(o)) return {Item::What::truth, {}, {}, o == Py_True};
    if (PyLong_Check(o)) return {Item::What::basic, {Kind::index, integer(o)}};
    if (PySlice_Check(o)) {
        Py_ssize_t start, stop, step;
        if (PySlice_Unpack(o, &start, &stop, &step) != 0) throw py::error_already_set();
        if (start == 0 && stop == PY_SSIZE_T_MAX && step == 1) return {Item::What::basic, {Kind::all}};
        return {Item::What::basic, {Kind::slice, start, stop, step}};
    }
    if (o == Py_None) return {Item::What::basic, {Kind::new_axis}};
    if (o == Py_Ellipsis) return {Item::What::ellipsis};
    if (is_tensor(o)) return of_array(tensor_of(o));
    if (PyList_Check(o) || PyTuple_Check(o)) {
        Tensor x = as_tensor("getitem", o);
        if (x.numel() == 0 && is_floating(x.dtype())) x = Tensor::empty(x.sizes(), DType::int64);      // [] holds no floats
        return of_array(x);
    }
    if (PyIndex_Check(o) && !PyObject_HasAttrString(o, "__len__") && !PyObject_HasAttrString(o, "dtype"))
        return {Item::What::basic, {Kind::index, integer(o)}};
    if (PyObject_CheckBuffer(o) || PyObject_HasAttrString(o, "__array__") || PyObject_HasAttrString(o, "__dlpack__"))
        return of_array(as_tensor("getitem", o));
    throw IndexError(text("getitem: indices must be integers, slices, None, Ellipsis, booleans or arrays of integers or booleans, got ",
                          Py_TYPE(o)->tp_name));
}

// How many dims of x an item uses up.
int uses(const Item& item) {
    switch (item.what) {
        case Item::What::basic: return item.basic.kind != Kind::new_axis;
        case Item::What::mask_or_array: return item.array.dtype() == DType::bool_ ? item.array.dim() : 1;
        default: return 0;
    }
}

struct Key {
    std::vector<IndexItem> items;                     // the view of x
    Tensors indices;                                  // then, an index or a mask by dims of the view
};

Key parse(const Tensor& x, PyObject* key) {
    const bool many = PyTuple_Check(key);
    const Py_ssize_t n = many ? PyTuple_GET_SIZE(key) : 1;
    Key out;
    out.items.reserve(size_t(n));
    if (!many && PyLong_CheckExact(key)) {            // x[3]
        out.items.push_back({Kind::index, integer(key)});
        LC_CHECK(x.dim() > 0, IndexError, "getitem: a 0-d tensor cannot be indexed by an integer; use item()");
        return out;
    }
    std::vector<Item> read_items;
    read_items.reserve(size_t(n));
    int used = 0;
    for (Py_ssize_t i = 0; i < n; ++i) {
        read_items.push_back(read(many ? PyTuple_GET_ITEM(key, i) : key));
        used += uses(read_items.back());
    }
    LC_CHECK(used <= x.dim(), IndexError, "getitem: too many indices: ", used, " dims are indexed, shape ", x.sizes(), " has ", x.dim());
    const int left = x.dim() - used;                  // dims that each Ellipsis stands for: a second one finds them taken
    int ellipses = 0;
    for (Item& item : read_items) {
        LC_CHECK(ellipses < 2 || left == 0 || item.what == Item::What::ellipsis, IndexError, "getitem: nothing may follow a second Ellipsis");
        switch (item.what) {
            case Item::What::basic:
                out.items.push_back(item.basic);
                if (item.basic.kind != Kind::index) out.indices.emplace_back();
                break;
            case Item::What::ellipsis:
                for (int i = 0; i < left && ellipses == 0; ++i) out.items.emplace_back(), out.indices.emplace_back();
                ++ellipses;
                break;
            case Item::What::truth: {                     // a new dim of one element, or of none
                out.items.push_back({Kind::new_axis});
                out.indices.push_back(Tensor::zeros({item.truth ? 1 : 0}, DType::int64));
                break;
            }
            case Item::What::mask_or_array:
                for (int i = 0; i < uses(item); ++i) out.items.emplace_back();
                out.indices.push_back(std::move(item.array));
                break;
        }
    }
    return out;
}

// ---- data -----------------------------------------------------------------------------------------------------------

// Nested lists of Python numbers, read without NumPy.
struct Nested {
    Dims sizes;
    bool integers = false, floats = false, booleans = false;

    // False if something else than numbers in even nesting is inside.
    bool measure(PyObject* o, int depth) {
        if (PyList_CheckExact(o) || PyTuple_CheckExact(o)) {
            const Py_ssize_t n = PySequence_Fast_GET_SIZE(o);
            if (depth == sizes.size()) {
                if (integers || floats || booleans) return false;              // a list where there were numbers
                sizes.push_back(n);
            }
            if (sizes[depth] != n) return false;
            for (Py_ssize_t i = 0; i < n; ++i)
                if (!measure(PySequence_Fast_GET_ITEM(o, i), depth + 1)) return false;
            return true;
        }
        if (depth != sizes.size()) return false;
        if (PyFloat_CheckExact(o)) return floats = true;
        if (PyBool_Check(o)) return booleans = true;
        if (PyLong_CheckExact(o)) return integers = true;
        return false;
    }

    template <class T> static void fill(PyObject* o, T*& out) {
        if (PyList_CheckExact(o) || PyTuple_CheckExact(o)) {
            for (Py_ssize_t i = 0, n = PySequence_Fast_GET_SIZE(o); i < n; ++i) fill(PySequence_Fast_GET_ITEM(o, i), out);
        } else if constexpr (std::is_floating_point_v<T>) {
            const double x = PyFloat_AsDouble(o);
            if (x == -1 && PyErr_Occurred()) throw py::error_already_set();
            *out++ = T(x);
        } else {
            const int64_t x = PyLong_AsLongLong(o);
            if (x == -1 && PyErr_Occurred()) throw py::error_already_set();
            *out++ = T(x);
        }
    }

    template <class T> Tensor filled(PyObject* o) const {
        const Tensor x = Tensor::empty(sizes, dtype_of<T>);
        T* out = x.mutable_data<T>();
        fill(o, out);
        host_wrote(x.mutable_raw(), x.storage()->bytes);
        return x;
    }
};

// Whether the first number inside is Python's own: then float means float32.
bool python_number_inside(py::handle o) {
    while (PyList_Check(o.ptr()) || PyTuple_Check(o.ptr())) {
        if (PySequence_Fast_GET_SIZE(o.ptr()) == 0) return true;
        o = PySequence_Fast_GET_ITEM(o.ptr(), 0);
    }
    return PyFloat_CheckExact(o.ptr()) || PyLong_CheckExact(o.ptr());
}

// Through NumPy: dtypes and memory that littlecore lacks, and lists of arrays.
Tensor through_numpy(const char* op, py::handle data) {
    const py::object array = py::module_::import("numpy").attr("array")(data, py::arg("order") = "C");
    const std::string kind = py::str(array.attr("dtype").attr("kind"));
    LC_CHECK(kind == "b" || kind == "i" || kind == "u" || kind == "f", TypeError, op, ": cannot make a tensor of ", Py_TYPE(data.ptr())->tp_name,
             " with elements of dtype ", std::string(py::str(array.attr("dtype"))));
    const bool is_list = PyList_Check(data.ptr()) || PyTuple_Check(data.ptr());
    py::object wanted = array;
    const auto as = [&](const char* dtype) { wanted = array.attr("astype")(dtype); };
    const auto bytes = array.attr("dtype").attr("itemsize").cast<int>();
    if (kind == "f") {
        LC_CHECK(bytes <= 8, TypeError, op, ": no dtype is as wide as ", std::string(py::str(array.attr("dtype"))), "; convert with astype()");
        if (is_list && python_number_inside(data)) as("float32");
        else as(bytes == 8 ? "float64" : (bytes == 4 ? "float32" : "float16"));        // native byte order
    } else if (kind == "i" || kind == "u") {
        LC_CHECK(kind == "i" || bytes < 8, TypeError, op, ": uint64 has no counterpart here; convert with astype('int64')");
        if (bytes == 1 && kind == "u") as("uint8");
        else as(bytes == 4 && kind == "i" ? "int32" : "int64");
    }
    return from_buffer(wanted.ptr());
}

}  // namespace

Tensor as_tensor(const char* op, py::handle data) {
    PyObject* o = data.ptr();
    if (is_tensor(o)) return tensor_of(o);
    if (PyFloat_CheckExact(o) || PyBool_Check(o) || PyLong_CheckExact(o) || PyList_Check(o) || PyTuple_Check(o)) {
        Nested nested;
        if (nested.measure(o, 0)) {
            if (nested.floats) return nested.filled<float>(o);
            if (nested.integers) return nested.filled<int64_t>(o);
            return nested.booleans ? nested.filled<bool>(o) : nested.filled<float>(o);
        }
        return through_numpy(op, data);
    }
    if (PyObject_CheckBuffer(o)) {
        try {
            return from_buffer(o);
        } catch (const Error&) {                      // a dtype, alignment or byte order of NumPy's own
            return through_numpy(op, data);
        }
    }
    if (PyObject_HasAttrString(o, "__array__") || PyObject_HasAttrString(o, "__array_interface__")) return through_numpy(op, data);
    LC_CHECK(PySequence_Check(o) && !PyUnicode_Check(o), TypeError, op, ": cannot make a tensor of ", Py_TYPE(o)->tp_name);
    const auto list = py::reinterpret_steal<py::object>(PySequence_List(o));
    if (!list) throw py::error_already_set();
    return as_tensor(op, list);
}

py::object getitem(const Tensor& x, py::handle key) {
    const Key k = parse(x, key.ptr());
    return py::reinterpret_steal<py::object>(wrap(getitem(x, k.items, k.indices)));
}

void setitem(const Tensor& x, py::handle key, py::handle value) {
    Tensor v = is_tensor(value.ptr()) ? tensor_of(value.ptr()) : number_tensor(value.ptr());
    if (!v) v = as_tensor("setitem", value);
    const Key k = parse(x, key.ptr());
    setitem(x, k.items, k.indices, v);
}

}  // namespace lc::python
