// pool2d. Contract: cpp/ops/pool2d.h
#include "cpp/ops/pool2d.h"
#include <memory>
#include "cpp/autograd/node.h"
#include "cpp/ops/copy.h"

namespace lc {

PoolWindows pool_windows(const char* op, int64_t size, int64_t kernel, int64_t stride, int64_t pad, int64_t dilation, bool ceil_mode, bool count_padding) {
    LC_CHECK(kernel > 0 && stride > 0 && dilation > 0, ValueError, op, ": kernel_size, stride and dilation must be positive, got ",
             kernel, ", ", stride, " and ", dilation);
    const int64_t reach = dilation * (kernel - 1) + 1;
    LC_CHECK(pad >= 0 && pad <= reach / 2, ValueError, op, ": padding must be between 0 and half of the window, ", reach, " / 2, got ", pad);
    LC_CHECK(size + 2 * pad >= reach || (ceil_mode && size + 2 * pad >= reach - stride + 1), ValueError, op,
             ": the window is larger than the input: ", reach, " > ", size, " with padding ", pad, " on each side");
    const int64_t room = size + 2 * pad - reach;
    int64_t outputs = (room + (ceil_mode ? stride - 1 : 0)) / stride + 1;
    if (ceil_mode && (outputs - 1) * stride >= size + pad) --outputs;       // the last window must begin inside
    element_count({outputs});

    PoolWindows w;
    w.step = dilation, w.first = -pad, w.stride = stride, w.taps = kernel;
    for (std::vector<int64_t>* list : {&w.begin, &w.end, &w.count}) list->reserve(size_t(outputs));
    for (int64_t i = 0; i < outputs; ++i) {
        const int64_t from = i * stride - pad, to = std::min(from + reach, size + pad);
        const int64_t begin = from < 0 ? from + (-from + dilation - 1) / dilation * dilation : from, end = std::min(to, size);
        w.begin.push_back(begin);
        w.end.push_back(end);
        w.count.push_back(count_padding ? to - from : end - begin);
    }
    return w;
}

namespace {

struct Geometry {
    int64_t planes, h, w;
    PoolWindows rows, cols;
    double divisor = 0;
    Dims out;                                         // sizes of y

    Pool2dShape shape() const { return {planes, h, w, rows.outputs(), cols.outputs(), rows.axis(), cols.axis(), divisor}; }
};
using SharedGeometry = std::shared_ptr<const Geometry>;

PoolWindows adaptive_windows(int64_t size, int64_t outputs) {
    PoolWindows w;
    if (outputs > 0 && size % outputs == 0) w.stride = w.taps = size / outputs;
    for (int64_t i = 0; i < outputs; ++i) {
        w.begin.push_back(i * size / outputs);
        w.end.push_back(((i + 1) * size + outputs - 1) / outputs);
        w.count.push_back(w.end.back() - w.begin.back());
    }
    return w;
}

int64_t along(const char* op, const char* what, const Dims& given, int axes, int axis) {
    LC_CHECK(given.size() == 1 || given.size() == axes, ValueError, op, ": ", what, " takes one int", axes == 2 ? " or two" : "", ", got ", given);
    const int64_t v = given.size() == 1 ? given[0] : given[axis];
    LC_CHECK(v >= INT32_MIN && v <= INT32_MAX, ValueError, op, ": ", what, " ", given, " is out of range");
    return v;
}

std::shared_ptr<Geometry> planes_of(const char* op, const Tensor& x, int axes) {
    LC_CHECK(x.dim() == axes + 1 || x.dim() == axes + 2, ValueError, op, ": input must be ",
             axes == 1 ? "[n, c, length] or [c, length]" : "[n, c, h, w] or [c, h, w]", ", got shape ", x.sizes());
    auto g = std::make_shared<Geometry>();
    g->h = axes == 2 ? x.size(-2) : 1;
    g->w = x.size(-1);
    LC_CHECK(g->h > 0 && g->w > 0, ValueError, op, ": input of shape ", x.sizes(), " has empty planes");
    g->planes = x.numel() / (g->h * g->w);
    g->out = x.sizes();
    return g;
}

SharedGeometry strided(const char* op, const Tensor& x, int axes, const PoolWindow& p, bool count_padding, int64_t divisor) {
    auto g = planes_of(op, x, axes);
    const Dims& stride = p.stride.empty() ? p.kernel : p.stride;
    const auto windows = [&](int64_t size, int axis) {
        return pool_windows(op, size, along(op, "kernel_size", p.kernel, axes, axis), along(op, "stride", stride, axes, axis),
                            along(op, "padding", p.padding, axes, axis), along(op, "dilation", p.dilation, axes, axis), p.ceil_mode, count_padding);
    };
    g->rows = axes == 2 ? windows(g->h, 0) : adaptive_windows(1, 1);
    g->cols = windows(g->w, axes - 1);
    g->divisor = double(divisor);
    if (axes == 2) g->out[g->out.size() - 2] = g->rows.outputs();
    g->out[g->out.size() - 1] = g->cols.outputs();
    return g;
}

SharedGeometry adaptive(const char* op, const Tensor& x, int axes, const Dims& output) {
    auto g = planes_of(op, x, axes);
    const auto windows = [&](int64_t size, int axis) {
        const int64_t wanted = along(op, "output_size", output, axes, axis);
        LC_CHECK(wanted >= -1, ValueError, op, ": output_size must not be negative, got ", output);
        return adaptive_windows(size, wanted < 0 ? size : wanted);
    };
    g->rows = axes == 2 ? windows(g->h, 0) : adaptive_windows(1, 1);
    g->cols = windows(g->w, axes - 1);
    if (axes == 2) g->out[g->out.size() - 2] = g->rows.outputs();
    g->out[g->out.size() - 1] = g->cols.outputs();
    return g;
}

// The kernels' arguments point into the windows.
void hold(const SharedGeometry& g) {
    if (Plan* plan = recording()) plan->add([g] {});
}

Tensors run_max(const char* op, const Tensor& x, const SharedGeometry& g, bool want_index) {
    LC_CHECK(g->h * g->w <= INT32_MAX, ValueError, op, ": planes of ", g->h, " x ", g->w, " elements are too large; at most 2^31 - 1");
    const bool grad = wants_grad({x});
    const Device d = x.device();
    const Tensor in = contiguous(x.detach()), y = Tensor::empty(g->out, x.dtype(), d);
    const Tensor index = grad || want_index ? Tensor::empty(g->out, DType::int64, d) : Tensor();
    visit_float_on(x.device(), x.dtype(), op, [&]<class T>() {
        on::max_pool2d_forward<T>(d, {g->shape(), in.data_on<T>(d), y.mutable_data_on<T>(d), index ? index.mutable_data_on<int64_t>(d) : nullptr});
    });
    hold(g);
    if (grad)
        record(op, {x}, {y}, [op, d, g, sizes = x.sizes(), index = Saved(index)](const Grads& grads) -> Tensors {
            const Tensor dy = contiguous(grads[0]), dx = Tensor::empty(sizes, dy.dtype(), d);
            visit_float_on(dy.device(), dy.dtype(), op, [&]<class T>() {
                on::max_pool2d_backward<T>(d, {g->shape(), dy.data_on<T>(d), index().template data_on<int64_t>(d), dx.mutable_data_on<T>(d)});
            });
            return {dx};
        });
    return {y, want_index ? index : Tensor()};
}

Tensor run_avg(const char* op, const Tensor& x, const SharedGeometry& g) {
    const Device d = x.device();
    const Tensor in = contiguous(x.detach()), y = Tensor::empty(g->out, x.dtype(), d);
    visit_float_on(x.device(), x.dtype(), op, [&]<class T>() { on::avg_pool2d_forward<T>(d, {g->shape(), in.data_on<T>(d), y.mutable_data_on<T>(d)}); });
    hold(g);
    if (wants_grad({x}))
        record(op, {x}, {y}, [op, d, g, sizes = x.sizes()](const Grads& grads) -> Tensors {
            const Tensor dy = contiguous(grads[0]), dx = Tensor::empty(sizes, dy.dtype(), d);
            visit_float_on(dy.device(), dy.dtype(), op, [&]<class T>() { on::avg_pool2d_backward<T>(d, {g->shape(), dy.data_on<T>(d), dx.mutable_data_on<T>(d)}); });
            return {dx};
        });
    return y;
}

}  // namespace

Tensors max_pool(const char* op, const Tensor& x, int axes, const PoolWindow& window, bool want_index) {
    return run_max(op, x, strided(op, x, axes, window, false, 0), want_index);
}

Tensor avg_pool(const char* op, const Tensor& x, int axes, const PoolWindow& window, bool count_padding, int64_t divisor) {
    return run_avg(op, x, strided(op, x, axes, window, count_padding, divisor));
}

Tensors adaptive_max_pool(const char* op, const Tensor& x, int axes, const Dims& output, bool want_index) {
    return run_max(op, x, adaptive(op, x, axes, output), want_index);
}

Tensor adaptive_avg_pool(const char* op, const Tensor& x, int axes, const Dims& output) {
    return run_avg(op, x, adaptive(op, x, axes, output));
}

}  // namespace lc
