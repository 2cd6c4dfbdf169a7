// Views, indexing, joining, and moving elements about.
#include <optional>
#include <variant>
#include "cpp/bindings/autocast.h"
#include "cpp/bindings/bind.h"
#include "cpp/bindings/indexing.h"
#include "cpp/ops/cat.h"
#include "cpp/ops/embedding.h"
#include "cpp/ops/gather.h"
#include "cpp/ops/index.h"
#include "cpp/ops/nonzero.h"
#include "cpp/ops/one_hot.h"
#include "cpp/ops/repeat.h"
#include "cpp/ops/scan.h"
#include "cpp/ops/sort.h"
#include "cpp/ops/tril.h"
#include "cpp/ops/views.h"

namespace lc::python {
namespace {

void bind_views(Module& m) {
    m.method("view", [](const Tensor& x, const py::args& shape) { return view(x, sizes_of(shape)); }, "The same elements in another shape, on the same memory; one size may be -1. Raises where only a copy would do.");
    m.both("reshape", [](const Tensor& x, const py::args& shape) { return reshape(x, sizes_of(shape)); }, "The same elements in another shape; a view where strides allow one, else a copy. One size may be -1.");
    m.method("view_as", [](const Tensor& x, const Tensor& other) { return view(x, other.sizes()); }, "other"_a);
    m.method("reshape_as", [](const Tensor& x, const Tensor& other) { return reshape(x, other.sizes()); }, "other"_a);
    m.both("flatten", &flatten, "Merges the dims start_dim to end_dim.", "input"_a, "start_dim"_a = 0, "end_dim"_a = -1);
    m.both("ravel", [](const Tensor& x) { return reshape(x, {-1}); }, "Merges all dims.", "input"_a);
    m.both("unflatten", &unflatten, "Splits dim into sizes; one of them may be -1.", "input"_a, "dim"_a, "sizes"_a);
    m.both("squeeze", [](const Tensor& x, const std::optional<Dims>& dim) { return dim ? squeeze(x, *dim) : squeeze(x); }, "Drops dims of size 1: all, or those named.", "input"_a, "dim"_a = py::none());
    m.both("unsqueeze", &unsqueeze, "A new dim of size 1.", "input"_a, "dim"_a);
    m.both("permute", [](const Tensor& x, const py::args& dims) { return permute(x, sizes_of(dims)); }, "The dims in another order.");
    for (const char* name : {"transpose", "swapaxes", "swapdims"})
        m.both(name, &transpose, "Swaps two dims.", "input"_a, "dim0"_a, "dim1"_a);
    m.both("movedim", &movedim, "Moves dims, keeping the others in order.", "input"_a, "source"_a, "destination"_a);
    m.both("t", &t, "A matrix with its dims swapped; 0-d and 1-d tensors as they are.", "input"_a);
    m.property<&t>("T", "A matrix with its dims swapped.");
    m.property<&matrix_transpose>("mT", "The last two dims swapped.");

    m.both("narrow", &narrow, "length elements of dim from start on.", "input"_a, "dim"_a, "start"_a, "length"_a);
    m.both("select", &select, "One index of dim, which is dropped.", "input"_a, "dim"_a, "index"_a);
    m.both("diagonal", &diagonal, "A diagonal of dims dim1 and dim2, as the last dim.", "input"_a, "offset"_a = 0, "dim1"_a = 0, "dim2"_a = 1);
    m.both("split", [](const Tensor& x, const std::variant<int64_t, std::vector<int64_t>>& sizes, int64_t dim) { return tuple_of(std::visit([&](const auto& s) { return split(x, s, dim); }, sizes)); }, "Parts along dim: of one size, the last one smaller, or of the sizes given.", "tensor"_a, "split_size_or_sections"_a, "dim"_a = 0);
    m.both("chunk", [](const Tensor& x, int64_t chunks, int64_t dim) { return tuple_of(chunk(x, chunks, dim)); }, "At most chunks parts of equal size along dim.", "input"_a, "chunks"_a, "dim"_a = 0);
    m.both("unbind", [](const Tensor& x, int64_t dim) { return tuple_of(unbind(x, dim)); }, "Every index of dim.", "input"_a, "dim"_a = 0);

    m.method("expand", [](const Tensor& x, const py::args& sizes) { return expand(x, sizes_of(sizes)); }, "Dims of size 1 repeated without a copy; -1 keeps a size.");
    m.method("expand_as", [](const Tensor& x, const Tensor& other) { return expand(x, other.sizes()); }, "other"_a);
    m.both("broadcast_to", &broadcast_to, "Dims of size 1 repeated without a copy.", "input"_a, "size"_a);
    m.function("broadcast_tensors", [](const py::args& xs) { return tuple_of(broadcast_tensors(xs.cast<Tensors>())); }, "Expands all to one shape.");
    m.function("meshgrid", [](const py::args& xs, const std::string& indexing) {
        LC_CHECK(indexing == "ij" || indexing == "xy", ValueError, "meshgrid: indexing must be 'ij' or 'xy', got '", indexing, "'");
        const bool listed = xs.size() == 1 && py::isinstance<py::sequence>(xs[0]) && !is_tensor(py::handle(xs[0]).ptr());
        return tuple_of(meshgrid(listed ? xs[0].cast<Tensors>() : xs.cast<Tensors>(), indexing == "xy")); }, "indexing"_a = "ij", "Coordinates of the grid that 1-d tensors span.");
}

void bind_indexing(Module& m) {
    m.both("index_select", &index_select, "Elements of dim at the indices of a 1-d tensor.", "input"_a, "dim"_a, "index"_a);
    m.both("index_add", &index_add, "input with source[i] added at index[i] of dim.", "input"_a, "dim"_a, "index"_a, "source"_a);
    m.method("index_put_", [](py::object self, const Tensors& indices, const Tensor& values, bool accumulate) {
        index_put_(tensor_of(self.ptr()), indices, values, accumulate, "index_put_");
        return self; }, "indices"_a, "values"_a, "accumulate"_a = false, "self[indices] = values in place, or += with accumulate, where repeated indices add up.");
    m.both("masked_select", &masked_select, "Elements where mask is True, in 1 dim.", "input"_a, "mask"_a);
    m.both("nonzero", [](const Tensor& x, bool as_tuple) -> py::object { return as_tuple ? py::object(tuple_of(nonzero_tuple(x))) : py::cast(nonzero(x)); }, "Coordinates of the elements that are not zero: a row each, or with as_tuple a tensor a dim.", "input"_a, py::kw_only(), "as_tuple"_a = false);
    m.function("argwhere", &nonzero, "input"_a, "Coordinates of the elements that are not zero, a row each.");

    m.both("gather", &gather, "y[i, j] = input[index[i, j], j] for dim 0, and so on.", "input"_a, "dim"_a, "index"_a);
    m.both("take_along_dim", [](const Tensor& x, const Tensor& indices, std::optional<int64_t> dim) { return dim ? take_along_dim(x, indices, *dim) : take_along_dim(x, indices); }, "gather() with broadcasting; without dim, of the flattened input.", "input"_a, "indices"_a, "dim"_a = py::none());
    m.both("scatter", [](const Tensor& x, int64_t dim, const Tensor& index, const std::variant<Tensor, double>& src) { return std::visit([&](const auto& s) { return scatter(x, dim, index, s); }, src); }, "input with y[index[i, j], j] = src[i, j] for dim 0, and so on.", "input"_a, "dim"_a, "index"_a, "src"_a);
    m.both("scatter_add", &scatter_add, "input with y[index[i, j], j] += src[i, j] for dim 0, and so on.", "input"_a, "dim"_a, "index"_a, "src"_a);
    m.function("embedding", [](const Tensor& index, const Tensor& weight, std::optional<int64_t> padding) { return embedding(index, weight, padding.value_or(kNoPadding)); }, "input"_a, "weight"_a, "padding_idx"_a = py::none(), "Rows of weight; the one at padding_idx gets no gradient.");
}

void bind_joining(Module& m) {
    for (const char* name : {"cat", "concat", "concatenate"})
        m.function(name, &cat, "tensors"_a, "dim"_a = 0, "Tensors end to end along dim.");
    m.function("stack", &stack, "tensors"_a, "dim"_a = 0, "Tensors of one shape side by side along a new dim.");
    m.function("hstack", &hstack, "tensors"_a, "cat along dim 1, or 0 for 1-d tensors.");
    m.function("vstack", &vstack, "tensors"_a, "cat along dim 0, 1-d tensors as rows.");
    m.method("repeat", [](const Tensor& x, const py::args& times) { return repeat(x, sizes_of(times)); }, "Copies of the whole, so many along every dim.");
    m.both("tile", [](const Tensor& x, const Dims& dims) { return tile(x, dims); }, "repeat() that allows fewer numbers than dims.", "input"_a, "dims"_a);
    m.both("repeat_interleave", [](const Tensor& x, const std::variant<int64_t, Tensor>& repeats, std::optional<int64_t> dim) {
        const Tensor flat = dim ? x : reshape(x, {-1});
        return std::visit([&](const auto& r) { return repeat_interleave(flat, r, dim.value_or(0)); }, repeats); }, "Every element so many times in place; without dim, of the flattened input.", "input"_a, "repeats"_a, "dim"_a = py::none());
    m.both("roll", [](const Tensor& x, const Dims& shifts, const std::optional<Dims>& dims) { return roll(x, shifts, dims.value_or(Dims())); }, "Elements moved along dims, those beyond the end to the front.", "input"_a, "shifts"_a, "dims"_a = py::none());
    m.both("flip", [](const Tensor& x, const py::args& dims) { return flip(x, sizes_of(dims)); }, "The order of dims reversed, in a copy.");
    m.both("fliplr", [](const Tensor& x) { return flip(x, {1}); }, "flip of dim 1.", "input"_a);
    m.both("flipud", [](const Tensor& x) { return flip(x, {0}); }, "flip of dim 0.", "input"_a);
}

// (values, indices) with those names, as PyTorch returns them
py::object values_and_indices(const char* name) {
    return py::module_::import("collections").attr("namedtuple")(name, py::make_tuple("values", "indices"), "module"_a = "littlecore");
}

void bind_ordering(Module& m) {
    m.both("sort", [type = values_and_indices("sort")](const Tensor& x, int64_t dim, bool descending, bool) {
        const auto [values, indices] = sort(x, dim, descending);
        return type(values, indices); }, "Ordered along dim, and where each was; equal elements keep their order, NaN is the largest.", "input"_a, "dim"_a = -1, "descending"_a = false, "stable"_a = true);
    m.both("argsort", [](const Tensor& x, int64_t dim, bool descending, bool) { return argsort(x, dim, descending); }, "The indices that sort() gives.", "input"_a, "dim"_a = -1, "descending"_a = false, "stable"_a = true);
    m.both("topk", [type = values_and_indices("topk")](const Tensor& x, int64_t k, int64_t dim, bool largest, bool) {
        const auto [values, indices] = topk(x, k, dim, largest);
        return type(values, indices); }, "The k largest (or smallest) along dim in order, and where they were.", "input"_a, "k"_a, "dim"_a = -1, "largest"_a = true, "sorted"_a = true);
    m.both("unique", [](const Tensor& x, bool, bool return_inverse, bool return_counts) -> py::object {
        const auto [values, inverse, counts] = unique(x);
        if (return_inverse && return_counts) return py::make_tuple(values, inverse, counts);
        if (return_inverse || return_counts) return py::make_tuple(values, return_inverse ? inverse : counts);
        return py::cast(values); }, "The different elements in ascending order; on demand where each element is among them, and how often each occurs.", "input"_a, "sorted"_a = true, "return_inverse"_a = false, "return_counts"_a = false);
    m.function("searchsorted", [](const Tensor& sorted, const Operand& values, bool right, const std::optional<std::string>& side) {
        LC_CHECK(!side || *side == "left" || *side == "right", ValueError, "searchsorted: side must be 'left' or 'right', not '", *side, "'");
        return searchsorted(sorted, values, side ? *side == "right" : right); }, "Where each of input belongs in the ascending sequence: before its equals, or after them.", "sorted_sequence"_a, "input"_a, py::kw_only(), "right"_a = false, "side"_a = py::none());
    m.both("cumsum", in_float32(&cumsum), "Running sums along dim.", "input"_a, "dim"_a);
    m.both("cumprod", in_float32(&cumprod), "Running products along dim.", "input"_a, "dim"_a);
    m.both("tril", &tril, "The lower triangle of the last two dims, zero above the diagonal.", "input"_a, "diagonal"_a = 0);
    m.both("triu", &triu, "The upper triangle of the last two dims, zero below the diagonal.", "input"_a, "diagonal"_a = 0);
    m.internal("one_hot", &one_hot, "tensor"_a, "num_classes"_a = -1, "Classes as rows with a single 1, int64.");
    m.both("bincount", &bincount, "How often each class from 0 on occurs, or the sum of its weights.", "input"_a, "weights"_a = py::none(), "minlength"_a = 0);
}

}  // namespace

void bind_shape(Module& m) {
    bind_views(m);
    bind_indexing(m);
    bind_joining(m);
    bind_ordering(m);
}

}  // namespace lc::python
