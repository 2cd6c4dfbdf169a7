// matmul, linear and conv2d on the memory of a call.
#include <algorithm>
#include "cpp/c_api/run.h"
#include "cpp/core/exact.h"
#include "cpp/ops/conv2d_plan.h"
#include "cpp/ops/copy.h"
#include "cpp/ops/linear.h"
#include "cpp/ops/matmul_batch.h"

namespace lc::c_api {
namespace {

using detail::Operand;

// ---- matmul ---------------------------------------------------------------------------------------------------------

Operand operand(const View& x) {
    const int lead = x.shape.size() - 2;
    return {x.data, Dims(x.shape.begin(), lead), Dims(x.strides.begin(), lead), x.size(-2), x.size(-1), x.stride(-2), x.stride(-1)};
}

Operand transposed(Operand x) {
    std::swap(x.rows, x.cols);
    std::swap(x.row, x.col);
    return x;
}

// The stride from each common axis to the next element of x: 0 where x is broadcast.
Dims strides_over(const Dims& lead, const Operand& x) {
    Dims s = Dims::filled(lead.size(), 0);
    const int missing = lead.size() - x.batch.size();
    for (int i = 0; i < x.batch.size(); ++i)
        if (x.batch[i] != 1) s[missing + i] = x.strides[i];
    return s;
}

// All of x's batch as the rows of one matrix, if one stride walks them.
bool as_rows(const Operand& x, const Dims& lead, detail::Matrix& m) {
    const Dims strides = strides_over(lead, x);
    int64_t walk = x.row, span = x.rows;
    for (int i = lead.size() - 1; i >= 0; --i) {
        if (lead[i] == 1) continue;
        if (span == 1) walk = strides[i];
        if (strides[i] != span * walk) return false;
        span *= lead[i];
    }
    m = {x.data, walk, x.col};
    return true;
}

int64_t elements(const Operand& x) { return element_count(x.batch) * x.rows * x.cols; }

// x in float32, dense from `to` on.
template <class T> Operand widened(const Call& c, const Operand& x, float* to) {
    Operand y{to, x.batch, x.strides, x.rows, x.cols, x.cols, 1};
    Strided<2> walk;
    walk.numel = elements(x);
    walk.rank = x.batch.size() + 2;
    int64_t stride = 1;
    const auto axis = [&](int i, int64_t size, int64_t from) {
        walk.size[i] = size;
        walk.stride[0][i] = stride;
        walk.stride[1][i] = from;
        stride *= size;
    };
    axis(walk.rank - 1, x.cols, x.col);
    axis(walk.rank - 2, x.rows, x.row);
    for (int i = x.batch.size() - 1; i >= 0; --i) {
        y.strides[i] = stride;
        axis(i, x.batch[i], x.strides[i]);
    }
    if (walk.numel > 0) on::copy_forward<T>(c.device, {static_cast<const T*>(x.data), to, DType::float32, walk});
    return y;
}

// y, of this shape and contiguous, = a b summed over the axes of the batch that y does not have: entry by entry, in order.
void add_products(const Call& c, DType dtype, const Operand& a, const Operand& b, const Dims& shape, char* y) {
    const Dims& lead = c.lead;
    const int64_t item = int64_t(item_size(dtype)), m = a.rows, n = b.cols;
    zero(c, y, size_t(element_count(shape) * item));
    Operand out{nullptr, Dims(shape.begin(), shape.size() - 2), {}, m, n, n, 1};
    out.strides = Dims::filled(out.batch.size(), 0);
    for (int64_t i = out.batch.size() - 1, stride = m * n; i >= 0; stride *= out.batch[int(i--)]) out.strides[int(i)] = stride;
    const Dims sa = strides_over(lead, a), sb = strides_over(lead, b), sy = strides_over(lead, out);
    Dims index = Dims::filled(lead.size(), 0);
    for (int64_t entry = element_count(lead); entry > 0; --entry) {
        int64_t at_a = 0, at_b = 0, at_y = 0;
        for (int i = 0; i < lead.size(); ++i) {
            at_a += index[i] * sa[i];
            at_b += index[i] * sb[i];
            at_y += index[i] * sy[i];
        }
        detail::multiply(dtype, {{static_cast<const char*>(a.data) + at_a * item, a.row, a.col}, {static_cast<const char*>(b.data) + at_b * item, b.row, b.col}, y + at_y * item, n, m, n, a.cols, true}, c.device);
        for (int i = lead.size() - 1; i >= 0 && ++index[i] == lead[i]; --i) index[i] = 0;
    }
}

void add_products(const Call& c, const Operand& a, const Operand& b, const View& y) {
    visit_float_storage(c.dtype, "matmul", [&]<class T>() {
        if constexpr (sizeof(T) > 2) {
            add_products(c, c.dtype, a, b, y.shape, y.data);
        } else {
            const Scratch<float> wide_a(c, elements(a)), wide_b(c, elements(b)), sums(c, y.numel());
            add_products(c, DType::float32, widened<T>(c, a, wide_a.data()), widened<T>(c, b, wide_b.data()), y.shape, reinterpret_cast<char*>(sums.data()));
            on::copy_forward<float>(c.device, {sums.data(), y.data, c.dtype, dense<2>(y.numel())});
        }
    });
}

bool whole_batch(const View& y, const Dims& lead) { return Dims(y.shape.begin(), y.shape.size() - 2) == lead; }

// A gradient of one operand, a b, of the shape of that operand.
void product(const Call& c, const Operand& a, const Operand& b, const View& y) {
    if (!y.given || y.numel() == 0) return;
    if (whole_batch(y, c.lead)) return detail::multiply_batched(c.dtype, a, b, c.lead, y.data, c.device);
    detail::Matrix rows_a, rows_b;                    // a' b with one y for the whole batch: the batch is only more depth
    if (y.numel() == a.rows * b.cols && as_rows(transposed(a), c.lead, rows_a) && as_rows(b, c.lead, rows_b))
        return detail::multiply(c.dtype, {{rows_a.data, rows_a.col, rows_a.row}, rows_b, y.data, b.cols, a.rows, b.cols, a.cols * element_count(c.lead)}, c.device);
    add_products(c, a, b, y);
}

}  // namespace

void matmul_forward(const Call& c) {
    if (c[2].numel() > 0) detail::multiply_batched(c.dtype, operand(c[0]), operand(c[1]), c.lead, c[2].data, c.device);
}

void matmul_backward(const Call& c) {
    const Operand dy = operand(c[0]), a = operand(c[1]), b = operand(c[2]);
    product(c, dy, transposed(b), c[3]);
    product(c, transposed(a), dy, c[4]);
}

// ---- linear ---------------------------------------------------------------------------------------------------------

namespace {

// y = act(x w' + b), and before, where wanted, what act was taken of.
void linear(const Call& c, Activation activation, const View* before = nullptr) {
    const auto [rows, in] = rows_and_cols(c[0]);
    const View& w = c[1];
    detail::Product p{{c[0].data, in, 1}, {w.data, w.stride(1), w.stride(0)}, c[3].data, w.size(0), rows, w.size(0), in};
    p.bias = c[2].data;
    p.before = before ? before->data : nullptr;
    p.activation = activation;
    detail::multiply(c.dtype, p, c.device);
}

// Arguments: dy x w, saved where there is an activation, dx dw db.
void linear_gradients(const Call& c, Activation activation) {
    const bool act = activation != Activation::none;
    const auto [rows, out] = rows_and_cols(c[0]);
    const View &dy = c[0], &x = c[1], &w = c[2], &dx = c[3 + act], &dw = c[4 + act], &db = c[5 + act];
    const int64_t in = x.size(-1);
    visit_float_storage(c.dtype, "linear", [&, rows = rows, out = out]<class T>() {
        const Scratch<T> dz(c, act ? rows * out : 0);
        if (act || db.given) on::linear_backward<T>(c.device, {dy.at<T>(), act ? c[3].at<T>() : nullptr, act ? dz.data() : nullptr, db.at<T>(), rows, out, activation});
        const T* g = act ? dz.data() : dy.at<T>();
        if (dx.given) detail::multiply(c.dtype, {{g, out, 1}, {w.data, w.stride(0), w.stride(1)}, dx.data, in, rows, in, out}, c.device);
        if (dw.given) detail::multiply(c.dtype, {{g, 1, out}, {x.data, in, 1}, dw.data, in, out, in, rows}, c.device);
    });
}

Activation gelu(const Call& c) { return c.integer(0) ? Activation::gelu_tanh : Activation::gelu; }

}  // namespace

void linear_forward(const Call& c) { linear(c, Activation::none); }
void linear_backward(const Call& c) { linear_gradients(c, Activation::none); }
void linear_relu_forward(const Call& c) { linear(c, Activation::relu); }
void linear_relu_backward(const Call& c) { linear_gradients(c, Activation::relu); }
void linear_gelu_forward(const Call& c) { linear(c, gelu(c), &c[4]); }
void linear_gelu_backward(const Call& c) { linear_gradients(c, gelu(c)); }
void linear_silu_forward(const Call& c) { linear(c, Activation::silu, &c[4]); }
void linear_silu_backward(const Call& c) { linear_gradients(c, Activation::silu); }

// ---- conv2d ---------------------------------------------------------------------------------------------------------

namespace {

// Pairs of options, one after the other, and groups: what each must be at least.
void check_options(const Call& c) {
    int at = 0;
    for (const Option& o : c.signature.options)
        for (int i = 0; i < o.count; ++i, ++at) {
            const int least = o.name == "padding" || o.name == "output_padding" ? 0 : 1;
            LC_CHECK(c.integer(at) >= least && c.integer(at) <= INT32_MAX, ValueError, c.name(), ": ", o.name, " ", c.integer(at), " is out of range, needs at least ", least);
        }
}

void check_filters(const Call& c, const View& x, const View& w, int64_t channels_of_w) {
    const int64_t groups = c.integer(int(c.signature.options.size()) * 2 - 2);
    LC_CHECK(x.size(1) % groups == 0 && w.size(0) % groups == 0 && x.size(1) == channels_of_w, ValueError, c.name(), ": ", groups, " groups of filters ", w.shape,
             " do not fit the ", x.size(1), " channels of x ", x.shape);
    LC_CHECK(w.size(2) > 0 && w.size(3) > 0 && w.size(2) <= INT32_MAX && w.size(3) <= INT32_MAX, ValueError, c.name(), ": filters of shape ", w.shape, " have no taps");
}

// Options: stride, padding, dilation (two words each), groups.
Conv2dShape shape_of(const Call& c, const View& x, const View& w) {
    check_options(c);
    Conv2dShape s{x.size(0), x.size(1), x.size(2), x.size(3), w.size(0), w.size(2), w.size(3), 0, 0,
                  c.integer(0), c.integer(1), c.integer(2), c.integer(3), c.integer(4), c.integer(5), c.integer(6)};
    check_filters(c, x, w, w.size(1) * s.groups);
    const int64_t high = s.h + 2 * s.pad_h - s.dilation_h * (s.r - 1) - 1, wide = s.w + 2 * s.pad_w - s.dilation_w * (s.s - 1) - 1;
    LC_CHECK(high >= 0 && wide >= 0, ValueError, c.name(), ": filters of shape ", w.shape, " are larger than x ", x.shape, " with its padding");
    s.oh = high / s.stride_h + 1;
    s.ow = wide / s.stride_w + 1;
    return s;
}

bool backward(const Call& c) { return c.signature.inputs == 3 && c.signature.arguments.size() == 6; }

}  // namespace

void settle_conv2d(Call& c) {
    const Conv2dShape s = backward(c) ? shape_of(c, c[1], c[2]) : shape_of(c, c[0], c[1]);
    c.bind("out_h", s.oh);
    c.bind("out_w", s.ow);
}

void conv2d_forward(const Call& c) {
    const Conv2dShape s = shape_of(c, c[0], c[1]);
    visit_float(c.dtype, "conv2d", [&]<class T>() {
        on::conv2d_forward<T>(c.device, {s, conv2d_scheme(s, sizeof(T), exact()), c[0].at<T>(), c[1].at<T>(), c[2].at<T>(), c[3].at<T>()});
    });
}

void conv2d_backward(const Call& c) {
    const View &dy = c[0], &x = c[1], &w = c[2], &dx = c[3], &dw = c[4], &db = c[5];
    const Conv2dShape s = shape_of(c, x, w);
    visit_float(c.dtype, "conv2d", [&]<class T>() {
        if (dx.given) on::conv2d_backward_data<T>(c.device, {s, conv2d_scheme(s, sizeof(T), exact()), dy.at<T>(), w.at<T>(), nullptr, dx.at<T>()});
        if (dw.given || db.given)
            on::conv2d_backward_weight<T>(c.device, {s, conv2d_weight_scheme(s, sizeof(T), exact()), dy.at<T>(), x.at<T>(), dw.at<T>(), db.at<T>()});
    });
}

// ---- conv_transpose2d -----------------------------------------------------------------------------------------------

namespace {

// The convolution this is the adjoint of. Options: stride, padding, output_padding, dilation (two words each), groups.
Conv2dShape adjoint_of(const Call& c, const View& x, const View& w) {
    check_options(c);
    const int64_t groups = c.integer(8);
    check_filters(c, x, w, w.size(0));
    const auto along = [&](int i) {
        const int64_t size = x.size(2 + i), stride = c.integer(i), extra = c.integer(4 + i), dilation = c.integer(6 + i);
        LC_CHECK(extra < std::max(stride, dilation), ValueError, c.name(), ": output_padding ", extra, " must be smaller than stride or dilation");
        LC_CHECK(size > 0 && size <= INT32_MAX, ValueError, c.name(), ": x of shape ", x.shape, " has planes of no elements, or too many");
        const int64_t out = (size - 1) * stride - 2 * c.integer(2 + i) + dilation * (w.size(2 + i) - 1) + extra + 1;
        LC_CHECK(out > 0, ValueError, c.name(), ": x of shape ", x.shape, " and filters ", w.shape, " leave a plane of ", out, " elements");
        return out;
    };
    return {x.size(0), w.size(1) * groups, along(0), along(1), x.size(1), w.size(2), w.size(3), x.size(2), x.size(3),
            c.integer(0), c.integer(1), c.integer(2), c.integer(3), c.integer(6), c.integer(7), groups};
}

}  // namespace

void settle_conv_transpose2d(Call& c) {
    const Conv2dShape s = backward(c) ? adjoint_of(c, c[1], c[2]) : adjoint_of(c, c[0], c[1]);
    c.bind("c", s.c);
    c.bind("out_h", s.h);
    c.bind("out_w", s.w);
}

void conv_transpose2d_forward(const Call& c) {
    const Conv2dShape s = adjoint_of(c, c[0], c[1]);
    visit_float(c.dtype, "conv_transpose2d", [&]<class T>() {
        on::conv2d_backward_data<T>(c.device, {s, conv2d_scheme(s, sizeof(T), exact()), c[0].at<T>(), c[1].at<T>(), c[2].at<T>(), c[3].at<T>()});
    });
}

void conv_transpose2d_backward(const Call& c) {
    const View &dy = c[0], &x = c[1], &w = c[2], &dx = c[3], &dw = c[4], &db = c[5];
    const Conv2dShape s = adjoint_of(c, x, w);
    Conv2dShape out = s;                              // of a convolution whose result is y: its bias gradient
    out.k = s.c;
    out.oh = s.h;
    out.ow = s.w;
    visit_float(c.dtype, "conv_transpose2d", [&]<class T>() {
        if (dx.given) on::conv2d_forward<T>(c.device, {s, conv2d_scheme(s, sizeof(T), exact()), dy.at<T>(), w.at<T>(), nullptr, dx.at<T>()});
        if (dw.given) on::conv2d_backward_weight<T>(c.device, {s, conv2d_weight_scheme(s, sizeof(T), exact()), x.at<T>(), dy.at<T>(), dw.at<T>(), nullptr});
        if (db.given) on::conv2d_backward_weight<T>(c.device, {out, conv2d_weight_scheme(out, sizeof(T), exact()), dy.at<T>(), dy.at<T>(), nullptr, db.at<T>()});
    });
}

}  // namespace lc::c_api
