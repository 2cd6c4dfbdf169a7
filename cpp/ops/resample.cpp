// resample and its members. Contract: cpp/ops/resample.h
#include "cpp/ops/resample.h"
#include <algorithm>
#include <cmath>
#include <memory>
#include <utility>
#include "cpp/autograd/node.h"
#include "cpp/ops/copy.h"
#include "cpp/ops/views.h"

namespace lc {
namespace {

// A table of the map where the kernel can read it; held by `keep`.
template <class T> const T* table(const std::vector<T>& from, DType dtype, Device d, Tensors& keep) {
    if (d.is_cpu() || from.empty()) return from.empty() ? nullptr : from.data();
    const Tensor here = Tensor::empty({int64_t(from.size())}, dtype);
    std::copy(from.begin(), from.end(), here.mutable_data<T>());
    host_wrote(here.mutable_raw(), from.size() * sizeof(T));
    keep.push_back(to(here, d));
    return keep.back().data_on<T>(d);
}

// rows: null, or how the dim before, too, is made, dim being the last one.
Tensor run(const Tensor& x, int dim, const AxisMap& given, const AxisMap* given_rows = nullptr) {
    using Maps = std::pair<AxisMap, AxisMap>;
    const auto held = recording() ? std::make_shared<const Maps>(given, given_rows ? *given_rows : AxisMap()) : nullptr;      // the kernel's arguments point into it
    const AxisMap &map = held ? held->first : given, *rows = given_rows && held ? &held->second : given_rows;
    Dims sizes = x.sizes();
    if (rows) sizes[dim - 1] = rows->out();
    int64_t outer = 1, inner = 1;
    for (int d = 0; d < dim; ++d) outer *= sizes[d];
    for (int d = dim + 1; d < x.dim(); ++d) inner *= sizes[d];
    sizes[dim] = map.out();
    const Device d = x.device();
    const Tensor in = contiguous(x), y = Tensor::empty(sizes, x.dtype(), d);
    Tensors tables;
    const int64_t *start = table(map.start, DType::int64, d, tables), *from = table(map.from, DType::int64, d, tables);
    const double* weight = table(map.weight, DType::float64, d, tables);
    const int64_t* row = rows ? table(rows->from, DType::int64, d, tables) : nullptr;
    const auto launch = [&]<class T>() {
        ResampleForward<T> a{outer, map.in, map.out(), inner, start, from, weight, in.data_on<T>(d), y.mutable_data_on<T>(d)};
        if (rows) a.rows_in = rows->in, a.rows_out = rows->out(), a.row = row;
        on::resample_forward<T>(d, a);
    };
    visit_any(x.dtype(), [&]<class T>() {
        if constexpr (std::is_same_v<T, bool>) launch.template operator()<uint8_t>();
        else launch.template operator()<T>();
    });
    if (Plan* plan = recording()) plan->add([held] {});
    return y;
}

Tensor resample_backward(const Tensor& dy, int dim, const AxisMap& map) { return run(dy, dim, map.transposed()); }

}  // namespace

AxisMap AxisMap::transposed() const {
    AxisMap t;
    t.in = out();
    t.start.assign(size_t(in) + 1, 0);
    for (const int64_t f : from) ++t.start[size_t(f) + 1];
    for (size_t i = 1; i < t.start.size(); ++i) t.start[i] += t.start[i - 1];
    t.from.resize(from.size());
    t.weight.resize(weight.size());
    std::vector<int64_t> next(t.start.begin(), t.start.end() - 1);
    for (int64_t i = 0; i < out(); ++i)               // in the order of the outputs: so are the sums
        for (int64_t e = start[size_t(i)]; e < start[size_t(i) + 1]; ++e) {
            const size_t at = size_t(next[size_t(from[size_t(e)])]++);
            t.from[at] = i;
            if (!weight.empty()) t.weight[at] = weight[size_t(e)];
        }
    return t;
}

Tensor resample(const char* op, const Tensor& x, int64_t dim, AxisMap map) {
    const int at = wrap_dim(op, dim, x.dim());
    element_count({map.out()});
    const Tensor y = run(x.detach(), at, map);
    if (is_floating(x.dtype()) && wants_grad({x}))
        record(op, {x}, {y}, [at, map = std::move(map)](const Grads& dy) -> Tensors { return {resample_backward(dy[0], at, map)}; });
    return y;
}

Tensor resample(const char* op, const Tensor& x, AxisMap rows, AxisMap columns) {
    const int last = x.dim() - 1;
    element_count({rows.out(), columns.out()});
    const Tensor y = run(x.detach(), last, columns, &rows);
    if (is_floating(x.dtype()) && wants_grad({x}))
        record(op, {x}, {y}, [last, rows = std::move(rows), columns = std::move(columns)](const Grads& dy) -> Tensors {
            return {resample_backward(resample_backward(dy[0], last, columns), last - 1, rows)};
        });
    return y;
}

// ---- pad ------------------------------------------------------------------------------------------------------------------

namespace {

enum class Border { constant,
                    reflect,
                    replicate,
                    circular };

Border border_of(const std::string& mode) {
    if (mode == "constant") return Border::constant;
    if (mode == "reflect") return Border::reflect;
    if (mode == "replicate") return Border::replicate;
    LC_CHECK(mode == "circular", ValueError, "pad: mode is 'constant', 'reflect', 'replicate' or 'circular', got '", mode, "'");
    return Border::circular;
}

AxisMap padded_axis(int64_t size, int64_t before, int64_t after, Border border) {
    const int64_t most = border == Border::reflect ? size - 1 : border == Border::circular ? size
        : size                                                                             ? INT32_MAX
                                                                                           : 0;
    LC_CHECK(before <= most && after <= most, ValueError, "pad: ", before, " before and ", after, " after a dim of size ", size,
             "; this mode allows at most ", std::max<int64_t>(most, 0));
    AxisMap map;
    map.in = size;
    for (int64_t i = -before; i < size + after; ++i) {
        if (i >= 0 && i < size) map.add(i);
        else if (border == Border::reflect) map.add(i < 0 ? -i : 2 * (size - 1) - i);
        else if (border == Border::replicate) map.add(i < 0 ? 0 : size - 1);
        else map.add(i < 0 ? i + size : i - size);
        map.close();
    }
    return map;
}

// y outside of a window: beside it dim by dim, within it in the dims before.
void fill_border(const Tensor& y, const Dims& begin, const Dims& window, double value) {
    Dims sizes = y.sizes();
    int64_t at = 0;
    for (int d = 0; d < y.dim(); ++d) {
        const int64_t end = begin[d] + window[d], size = sizes[d], step = y.stride(d);
        for (const auto& [from, to] : {std::pair{int64_t(0), begin[d]}, std::pair{end, size}}) {
            sizes[d] = to - from;
            if (element_count(sizes) > 0) fill_(Tensor::view_of(y, sizes, y.strides(), at + from * step), value);
        }
        sizes[d] = window[d];
        at += begin[d] * step;
    }
}

// The elements that x keeps stand in a window of y; the rest of y is `value`.
Tensor constant_pad(const Tensor& x, const Dims& padding, double value) {
    Dims sizes = x.sizes(), window = sizes;
    int64_t from = x.offset();
    Dims skipped = Dims::filled(x.dim(), 0);
    for (int i = 0; i < padding.size(); ++i) {
        const int dim = x.dim() - 1 - i / 2;
        sizes[dim] += padding[i];
        window[dim] += std::min<int64_t>(padding[i], 0);
        if (i % 2 == 0) {
            from -= std::min<int64_t>(padding[i], 0) * x.stride(dim);
            skipped[dim] = std::max<int64_t>(padding[i], 0);
        }
    }
    const Tensor y = Tensor::empty(sizes, x.dtype(), x.device());
    for (int64_t& n : window) n = std::max<int64_t>(n, 0);
    const int64_t kept = element_count(window);
    const int64_t border = y.numel() - kept;
    if (border * 16 > y.numel()) fill_(y, value);     // short pieces cost more than writing twice
    else if (border > 0) fill_border(y, skipped, window, value);
    if (kept == 0) return y;
    int64_t to = 0;
    for (int d = 0; d < x.dim(); ++d) to += skipped[d] * y.stride(d);
    detail::copy_into(Tensor::view_of(y, window, y.strides(), to), Tensor::view_of(x, window, x.strides(), from));
    return y;
}

}  // namespace

Tensor pad(const Tensor& x, const Dims& padding, const std::string& mode, double value) {
    const Border border = border_of(mode);
    LC_CHECK(padding.size() % 2 == 0 && padding.size() / 2 <= x.dim(), ValueError, "pad: takes (before, after) for each of at most ",
             x.dim(), " dims, last dim first, got ", padding);
    Dims opposite = padding;
    for (int i = 0; i < padding.size(); i += 2) {
        const int dim = x.dim() - 1 - i / 2;
        const int64_t before = padding[i], after = padding[i + 1], size = x.size(dim);
        LC_CHECK(std::max(before, after) <= INT32_MAX && std::min(before, after) >= INT32_MIN && size + before + after >= 0, ValueError, "pad: ", before,
                 " and ", after, " leave nothing sensible of dim ", dim, " of size ", size);
        opposite[i] = -before, opposite[i + 1] = -after;
    }
    if (border == Border::constant) {
        const Tensor y = constant_pad(x, padding, value);
        if (is_floating(x.dtype()) && wants_grad({x}))
            record("pad", {x}, {y}, [opposite](const Grads& dy) -> Tensors { return {constant_pad(dy[0], opposite, 0)}; });
        return y;
    }
    Tensor y = x;
    const bool plane = padding.size() >= 4 && (padding[2] != 0 || padding[3] != 0);
    if (plane) y = resample("pad", y, padded_axis(x.size(-2), padding[2], padding[3], border), padded_axis(x.size(-1), padding[0], padding[1], border));
    for (int i = plane ? 4 : 0; i < padding.size(); i += 2) {
        const int dim = x.dim() - 1 - i / 2;
        if (padding[i] != 0 || padding[i + 1] != 0) y = resample("pad", y, dim, padded_axis(x.size(dim), padding[i], padding[i + 1], border));
    }
    return y.impl() == x.impl() ? clone(x) : y;
}

// ---- interpolate ----------------------------------------------------------------------------------------------------------

namespace {

// scale: inputs per output. The arithmetic of nearest is float32's, as PyTorch's, since it decides which element is read.
AxisMap nearest_axis(int64_t in, int64_t out, double given, bool exact) {
    const float scale = given > 0 ? float(1.0 / given) : float(in) / float(out);
    AxisMap map;
    map.in = in;
    for (int64_t i = 0; i < out; ++i) {
        const float at = exact ? (float(i) + 0.5f) * scale : float(i) * scale;
        map.add(out == in ? i : std::min(int64_t(std::floor(at)), in - 1));
        map.close();
    }
    return map;
}

double step_between(int64_t in, int64_t out, double given, bool align_corners) {
    if (align_corners) return out > 1 ? double(in - 1) / double(out - 1) : 0;
    return given > 0 ? 1.0 / given : double(in) / double(out);
}

AxisMap linear_axis(int64_t in, int64_t out, double given, bool align_corners) {
    const double step = step_between(in, out, given, align_corners);
    AxisMap map;
    map.in = in;
    for (int64_t i = 0; i < out; ++i) {
        const double at = align_corners ? step * double(i) : std::max(step * (double(i) + 0.5) - 0.5, 0.0);
        const int64_t low = std::min(int64_t(at), in - 1), high = std::min(low + 1, in - 1);
        const double share = std::min(at - double(low), 1.0);
        map.add(low, 1 - share);
        map.add(high, share);
        map.close();
    }
    return map;
}

AxisMap cubic_axis(int64_t in, int64_t out, double given, bool align_corners) {
    constexpr double a = -0.75;                       // Keys' kernel, with PyTorch's slope at 1
    const auto near = [](double t) { return ((a + 2) * t - (a + 3)) * t * t + 1; };
    const auto far = [](double t) { return ((a * t - 5 * a) * t + 8 * a) * t - 4 * a; };
    const double step = step_between(in, out, given, align_corners);
    AxisMap map;
    map.in = in;
    for (int64_t i = 0; i < out; ++i) {
        const double at = align_corners ? step * double(i) : step * (double(i) + 0.5) - 0.5, low = std::floor(at), t = at - low;
        const double weight[4] = {far(1 + t), near(t), near(1 - t), far(2 - t)};
        for (int64_t e = 0; e < 4; ++e) map.add(std::clamp(int64_t(low) - 1 + e, int64_t(0), in - 1), weight[e]);
        map.close();
    }
    return map;
}

AxisMap area_axis(int64_t in, int64_t out) {
    AxisMap map;
    map.in = in;
    for (int64_t i = 0; i < out; ++i) {
        const int64_t begin = i * in / out, end = ((i + 1) * in + out - 1) / out;
        for (int64_t p = begin; p < end; ++p) map.add(p, 1.0 / double(end - begin));
        map.close();
    }
    return map;
}

}  // namespace

Tensor interpolate(const Tensor& x, const Interpolation& how) {
    const std::string& mode = how.mode;
    const int axes = x.dim() - 2;
    const bool linear = mode == "linear" || mode == "bilinear" || mode == "trilinear", cubic = mode == "bicubic";
    const bool nearest = mode == "nearest" || mode == "nearest-exact";
    LC_CHECK(linear || cubic || nearest || mode == "area", ValueError,
             "interpolate: mode is 'nearest', 'nearest-exact', 'linear', 'bilinear', 'trilinear', 'bicubic' or 'area', got '", mode, "'");
    const int wanted = mode == "linear" ? 1 : mode == "bilinear" || cubic ? 2
        : mode == "trilinear"                                             ? 3
                                                                          : axes;
    LC_CHECK(axes >= 1 && axes <= 3 && axes == wanted, ValueError, "interpolate: input of shape ", x.sizes(), " has ", std::max(axes, 0),
             " dims after the batch and the channels; mode '", mode, "' works on ", linear || cubic ? text(wanted) : text("1 to 3"));
    LC_CHECK(!how.align_corners || linear || cubic, ValueError, "interpolate: align_corners has no meaning in mode '", mode, "'");
    LC_CHECK(how.size.has_value() != !how.scale.empty(), ValueError, "interpolate: give either size or scale_factor");
    LC_CHECK(is_floating(x.dtype()), TypeError, "interpolate: input must be floating point, got ", x.dtype());
    const size_t count = how.size ? size_t(how.size->size()) : how.scale.size();
    LC_CHECK(count == 1 || count == size_t(axes), ValueError, "interpolate: ", how.size ? "size" : "scale_factor", " takes one number or ", axes);

    const auto map_of = [&](int a) {
        const int64_t in = x.size(2 + a);
        const double scale = how.scale.empty() ? 0 : how.scale[count == 1 ? 0 : size_t(a)];
        const double exact = how.size ? double((*how.size)[count == 1 ? 0 : a]) : std::floor(double(in) * scale);
        LC_CHECK(in > 0 && exact >= 1 && exact <= INT32_MAX, ValueError, "interpolate: cannot make ", exact, " elements of ", in);
        const int64_t out = int64_t(exact);
        const double given = how.recompute_scale ? 0 : scale;
        return linear ? linear_axis(in, out, given, how.align_corners) : cubic ? cubic_axis(in, out, given, how.align_corners)
            : nearest                                                          ? nearest_axis(in, out, given, mode == "nearest-exact")
                                                                               : area_axis(in, out);
    };
    const int alone = nearest && axes > 1 ? axes - 2 : axes;
    Tensor y = x;
    for (int a = 0; a < alone; ++a) y = resample("interpolate", y, 2 + a, map_of(a));
    return alone == axes ? y : resample("interpolate", y, map_of(alone), map_of(alone + 1));
}

// ---- unfold and fold --------------------------------------------------------------------------------------------------------

namespace {

struct Axis {
    int64_t size, kernel, dilation, padding, stride;
    int64_t windows() const { return (size + 2 * padding - dilation * (kernel - 1) - 1) / stride + 1; }
};

Axis axis_of(const char* op, int64_t size, const Unfolding& u, int axis) {
    const auto pick = [&](const char* what, const Dims& given) {
        LC_CHECK(given.size() == 1 || given.size() == 2, ValueError, op, ": ", what, " takes one int or two, got ", given);
        const int64_t v = given[given.size() == 1 ? 0 : axis];
        LC_CHECK(v >= INT32_MIN && v <= INT32_MAX, ValueError, op, ": ", what, " ", given, " is out of range");
        return v;
    };
    const Axis a{size, pick("kernel_size", u.kernel), pick("dilation", u.dilation), pick("padding", u.padding), pick("stride", u.stride)};
    LC_CHECK(a.kernel > 0 && a.dilation > 0 && a.stride > 0 && a.padding >= 0, ValueError, op, ": kernel_size, dilation and stride must be positive, padding not negative, got ",
             a.kernel, ", ", a.dilation, ", ", a.stride, " and ", a.padding);
    LC_CHECK(size + 2 * a.padding >= a.dilation * (a.kernel - 1) + 1, ValueError, op, ": the kernel is larger than the input: ",
             a.dilation * (a.kernel - 1) + 1, " > ", size, " with padding ", a.padding, " on each side");
    return a;
}

// What lands on one position of the axis: (tap, window) -> position, by position.
AxisMap folded_axis(const Axis& a) {
    AxisMap map;
    map.in = a.size;
    for (int64_t tap = 0; tap < a.kernel; ++tap)
        for (int64_t window = 0; window < a.windows(); ++window) {
            const int64_t at = window * a.stride + tap * a.dilation - a.padding;
            if (at >= 0 && at < a.size) map.add(at);
            map.close();
        }
    return map.transposed();
}

// x: [n, c, h, w] with its padding is seen as [n, c, taps of h, taps of w, windows of h, windows of w], and copied.
Tensor unfolded(const Tensor& x, const Axis& h, const Axis& w) {
    const Tensor wide = h.padding || w.padding ? constant_pad(x, {w.padding, w.padding, h.padding, h.padding}, 0) : x.detach();
    const Dims sizes{x.size(0), x.size(1), h.kernel, w.kernel, h.windows(), w.windows()};
    const Dims strides{wide.stride(0), wide.stride(1), wide.stride(2) * h.dilation, wide.stride(3) * w.dilation,
                       wide.stride(2) * h.stride, wide.stride(3) * w.stride};
    const Tensor y = Tensor::empty(sizes, x.dtype(), x.device());
    detail::copy_into(y, Tensor::view_of(wide, sizes, strides, wide.offset()));
    return reshape(y, {x.size(0), x.size(1) * h.kernel * w.kernel, h.windows() * w.windows()});
}

Tensor folded(const Tensor& x, const Axis& h, const Axis& w) {
    const int64_t n = x.size(0), c = x.size(1) / (h.kernel * w.kernel);
    const Tensor split = permute(reshape(x.detach(), {n, c, h.kernel, w.kernel, h.windows(), w.windows()}), {0, 1, 2, 4, 3, 5});
    const Tensor placed = reshape(split, {n, c, h.kernel * h.windows(), w.kernel * w.windows()});
    return run(run(placed, 2, folded_axis(h)), 3, folded_axis(w));
}

}  // namespace

Tensor unfold(const Tensor& x, const Unfolding& u) {
    if (x.dim() == 3) return squeeze(unfold(unsqueeze(x, 0), u), Dims{0});
    LC_CHECK(x.dim() == 4, ValueError, "unfold: input must be [n, c, h, w] or [c, h, w], got shape ", x.sizes());
    const Axis h = axis_of("unfold", x.size(2), u, 0), w = axis_of("unfold", x.size(3), u, 1);
    const Tensor y = unfolded(x, h, w);
    if (is_floating(x.dtype()) && wants_grad({x}))
        record("unfold", {x}, {y}, [h, w](const Grads& dy) -> Tensors { return {folded(dy[0], h, w)}; });
    return y;
}

Tensor unfold(const Tensor& x, int64_t dim, int64_t size, int64_t step) {
    if (x.dim() == 0) return select(unfold(reshape(x, {1}), dim, size, step), 0, 0);
    const int d = wrap_dim("unfold", dim, x.dim());
    LC_CHECK(size >= 0 && size <= x.size(d) && step > 0, ValueError, "unfold: size must lie in [0, ", x.size(d), "] and step be positive, got ", size, " and ", step);
    const Axis axis{x.size(d), size, 1, 0, step};
    Dims sizes = x.sizes(), strides = x.strides();
    sizes[d] = axis.windows();
    strides[d] *= step;
    sizes.push_back(size);
    strides.push_back(x.stride(d));
    const Tensor y = Tensor::view_of(x, sizes, strides, x.offset());
    if (wants_grad({x}))
        record("unfold", {x}, {y}, [d, axis](const Grads& dy) -> Tensors {
            const Tensor taps = movedim(dy[0], {-1}, {d});                    // [..., tap, window, ...]
            Dims joined = taps.sizes();
            joined[d] *= joined[d + 1];
            joined.erase(d + 1);
            return {run(reshape(taps, joined), d, folded_axis(axis))};
        });
    return y;
}

Tensor fold(const Tensor& x, const Dims& output_size, const Unfolding& u) {
    if (x.dim() == 2) return squeeze(fold(unsqueeze(x, 0), output_size, u), Dims{0});
    LC_CHECK(x.dim() == 3, ValueError, "fold: input must be [n, c * taps, windows] or [c * taps, windows], got shape ", x.sizes());
    LC_CHECK(output_size.size() == 1 || output_size.size() == 2, ValueError, "fold: output_size takes one int or two, got ", output_size);
    LC_CHECK(output_size[0] >= 0 && output_size.back() >= 0 && std::max(output_size[0], output_size.back()) <= INT32_MAX, ValueError,
             "fold: output_size ", output_size, " is out of range");
    const Axis h = axis_of("fold", output_size[0], u, 0), w = axis_of("fold", output_size.back(), u, 1);
    const int64_t taps = h.kernel * w.kernel, windows = h.windows() * w.windows();
    LC_CHECK(x.size(1) % taps == 0 && x.size(2) == windows, ValueError, "fold: input of shape ", x.sizes(), " must have a multiple of ", taps,
             " rows and ", windows, " windows");
    const Tensor y = folded(x, h, w);
    if (is_floating(x.dtype()) && wants_grad({x}))
        record("fold", {x}, {y}, [h, w](const Grads& dy) -> Tensors { return {unfolded(dy[0], h, w)}; });
    return y;
}

}  // namespace lc
