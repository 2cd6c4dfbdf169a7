// rnn, gru and lstm over a sequence. Contract: cpp/ops/rnn.h
#include "cpp/ops/rnn.h"
#include "cpp/autograd/node.h"
#include "cpp/ops/binary.h"
#include "cpp/ops/copy.h"
#include "cpp/ops/linear.h"

namespace lc {
namespace {

const char* name_of(RnnMode mode) { return mode == RnnMode::lstm ? "lstm" : mode == RnnMode::gru ? "gru"
                                                                                                 : "rnn"; }

struct Sizes {
    int64_t steps, batch, in, hidden, gates, out;     // out: of h, hidden or what w_hr makes of it
};

Sizes check(RnnMode mode, const Tensor& x, const Tensor& h0, const Tensor& c0, const RnnWeights& w) {
    const char* op = name_of(mode);
    LC_CHECK(x.dim() == 3, ValueError, op, ": input must be [steps, batch, features], got ", x.sizes());
    LC_CHECK(w.w_ih.dim() == 2 && w.w_hh.dim() == 2, ValueError, op, ": weights must be matrices, got ", w.w_ih.sizes(), " and ", w.w_hh.sizes());
    LC_CHECK(!w.w_hr || w.w_hr.dim() == 2, ValueError, op, ": weight_hr must be a matrix, got ", w.w_hr.sizes());
    const Sizes s{x.size(0), x.size(1), x.size(2), w.w_hr ? w.w_hr.size(1) : w.w_hh.size(1), rnn_gates(mode), w.w_hr ? w.w_hr.size(0) : w.w_hh.size(1)};
    LC_CHECK(w.w_ih.sizes() == Dims({s.gates * s.hidden, s.in}), ValueError, op, ": weight_ih is ", w.w_ih.sizes(), ", ", s.gates,
             " gates of ", s.hidden, " units on ", s.in, " features want ", Dims({s.gates * s.hidden, s.in}));
    LC_CHECK(w.w_hh.sizes() == Dims({s.gates * s.hidden, s.out}), ValueError, op, ": weight_hh is ", w.w_hh.sizes(), ", must be ", Dims({s.gates * s.hidden, s.out}));
    LC_CHECK(bool(w.b_ih) == bool(w.b_hh), ValueError, op, ": give both biases or neither");
    for (const Tensor* b : {&w.b_ih, &w.b_hh})
        LC_CHECK(!*b || b->sizes() == Dims({s.gates * s.hidden}), ValueError, op, ": a bias is ", b->sizes(), ", must be ", Dims({s.gates * s.hidden}));
    for (const auto& [state, width] : {std::pair{&h0, s.out}, std::pair{&c0, s.hidden}})
        LC_CHECK(!*state || state->sizes() == Dims({s.batch, width}), ValueError, op, ": a state is ", state->sizes(), ", must be ", Dims({s.batch, width}));
    for (const Tensor* t : {&h0, &c0, &w.w_ih, &w.w_hh, &w.b_ih, &w.b_hh, &w.w_hr}) {
        LC_CHECK(!*t || t->dtype() == x.dtype(), TypeError, op, ": input is ", x.dtype(), " but a state or weight is ", t->dtype());
        if (*t) check_same_device(op, x.device(), t->device());
    }
    return s;
}

detail::Matrix matrix(const void* data, int64_t cols) { return {data, cols, 1}; }
detail::Matrix transposed(const void* data, int64_t cols) { return {data, 1, cols}; }

// What backward needs. gates: [steps, batch, gates * hidden]; extra: c [steps, batch, hidden] (lstm), q_n (gru);
// whole: h before w_hr, or y itself.
struct Run {
    Tensor x, h0, c0, w_ih, w_hh, w_hr, y, whole, gates, extra;
};

// The step that is computed i-th, and the one before it in that order.
struct Order {
    int64_t steps;
    bool reverse;
    int64_t step(int64_t i) const { return reverse ? steps - 1 - i : i; }
};

// Enough steps to repay a copy of w_hh that each of them reads faster.
bool runs_together(const Sizes& s, const Tensor& w_hh, const Tensor& w_hr) { return w_hh.device().is_cpu() && s.steps >= 8 && s.batch * s.hidden > 0 && !w_hr; }

// ---- forward ------------------------------------------------------------------------------------------------------

template <class T> Run forward(RnnMode mode, const Sizes& s, const Tensor& x, const Tensor& h0, const Tensor& c0, const RnnWeights& w, Order order) {
    const int64_t H = s.hidden, G = s.gates * H, state = s.batch * H, width = s.batch * G, out = s.batch * s.out;
    const bool gru = mode == RnnMode::gru, lstm = mode == RnnMode::lstm;
    const DType dtype = x.dtype();
    const Device d = x.device();
    const auto dense = [](const Tensor& a) { return a ? contiguous(a) : a; };
    const auto sequence = [&](int64_t cols) { return Tensor::empty({s.steps, s.batch, cols}, dtype, d); };
    const Tensor all = sequence(s.out);
    const Run r{dense(x), dense(h0), dense(c0), dense(w.w_ih), dense(w.w_hh), dense(w.w_hr), all, w.w_hr ? sequence(H) : all, sequence(G),
                lstm || gru ? sequence(H) : Tensor()};
    const Tensor b_p = !w.b_ih ? Tensor() : gru ? contiguous(w.b_ih)
                                                : contiguous(add(w.b_ih.detach(), w.b_hh.detach()));
    const Tensor b_q = w.b_hh && gru ? contiguous(w.b_hh) : Tensor();
    const Tensor q = gru ? Tensor::empty({s.batch, G}, dtype, d) : Tensor();

    T* z = r.gates.mutable_data_on<T>(d);
    detail::multiply(dtype, {.a = matrix(r.x.raw_on(d), s.in), .b = transposed(r.w_ih.raw_on(d), s.in), .y = z, .y_row = G, .m = s.steps * s.batch, .n = G, .k = s.in, .bias = b_p ? b_p.raw_on(d) : nullptr}, d);
    T *y = r.y.mutable_data_on<T>(d), *whole = r.whole.mutable_data_on<T>(d), *extra = r.extra ? r.extra.mutable_data_on<T>(d) : nullptr;
    const T *h = r.h0.template data_on<T>(d), *c = lstm ? r.c0.template data_on<T>(d) : nullptr;
    const auto step = [&](int64_t t) -> RnnForward<T> {
        return {.mode = mode, .batch = s.batch, .hidden = H, .z = z + t * width, .q = gru ? q.template data_on<T>(d) : nullptr, .b_q = b_q ? b_q.template data_on<T>(d) : nullptr, .h_before = h, .c_before = c, .q_n = gru ? extra + t * state : nullptr, .h = whole + t * state, .c = lstm ? extra + t * state : nullptr};
    };
    if (runs_together(s, r.w_hh, r.w_hr)) {
        cpu::rnn_steps_forward<T>({step(order.step(0)), s.steps, order.reverse ? -1 : 1, r.w_hh.template data_on<T>(d), gru ? q.mutable_data_on<T>(d) : nullptr});
        return r;
    }
    for (int64_t i = 0; i < s.steps; ++i) {
        const int64_t t = order.step(i);
        detail::multiply(dtype, {.a = matrix(h, s.out), .b = transposed(r.w_hh.raw_on(d), s.out), .y = gru ? q.mutable_raw_on(d) : z + t * width, .y_row = G, .m = s.batch, .n = G, .k = s.out, .add = !gru}, d);
        on::rnn_forward<T>(d, step(t));
        if (r.w_hr)
            detail::multiply(dtype, {.a = matrix(whole + t * state, H), .b = transposed(r.w_hr.raw_on(d), H), .y = y + t * out, .y_row = s.out, .m = s.batch, .n = s.out, .k = H}, d);
        h = y + t * out;
        if (lstm) c = extra + t * state;
    }
    return r;
}

// A state of its own, not a window of the sequence.
Tensor step_of(const Tensor& sequence, int64_t t, const Tensor& none) {
    if (sequence.size(0) == 0) return clone(none);
    return clone(Tensor::view_of(sequence, {sequence.size(1), sequence.size(2)}, {sequence.stride(1), sequence.stride(2)}, sequence.offset() + t * sequence.stride(0)));
}

// ---- backward -----------------------------------------------------------------------------------------------------

template <class T> Tensor column_sums(const Tensor& dz, int64_t cols) {
    const Device d = dz.device();
    const Tensor db = Tensor::empty({cols}, dz.dtype(), d);
    on::linear_backward<T>(d, {dz.data_on<T>(d), nullptr, nullptr, db.mutable_data_on<T>(d), cols ? dz.numel() / cols : 0, cols, Activation::none});
    return db;
}

// dw_hh = sum over steps of dq' h[before]: all steps but the first at once, then the first, whose h is h0.
Tensor recurrent_weight_gradient(const Run& r, const Sizes& s, const Tensor& dq, Order order) {
    const int64_t H = s.out, G = s.gates * s.hidden, size = int64_t(item_size(dq.dtype()));
    const Device d = dq.device();
    const Tensor dw = Tensor::zeros({G, H}, dq.dtype(), d);
    if (s.steps == 0) return dw;
    const int64_t later = order.reverse ? 0 : 1, earlier = 1 - later, first = order.step(0);
    const char *rows = static_cast<const char*>(dq.raw_on(d)), *states = static_cast<const char*>(r.y.raw_on(d));
    detail::multiply(dq.dtype(), {.a = transposed(rows + later * s.batch * G * size, G), .b = matrix(states + earlier * s.batch * H * size, H), .y = dw.mutable_raw_on(d), .y_row = H, .m = G, .n = H, .k = (s.steps - 1) * s.batch}, d);
    detail::multiply(dq.dtype(), {.a = transposed(rows + first * s.batch * G * size, G), .b = matrix(r.h0.raw_on(d), H), .y = dw.mutable_raw_on(d), .y_row = H, .m = G, .n = H, .k = s.batch, .add = true}, d);
    return dw;
}

struct Needs {
    bool x, w_ih, w_hh, bias, w_hr;
};

template <class T> Tensors backward(RnnMode mode, const Sizes& s, const Run& r, const Tensors& dys, const Needs& needs, Order order) {
    const int64_t H = s.hidden, G = s.gates * H, state = s.batch * H, width = s.batch * G, out = s.batch * s.out;
    const bool gru = mode == RnnMode::gru, lstm = mode == RnnMode::lstm;
    const DType dtype = r.x.dtype();
    const Device d = r.x.device();
    const Tensor dy = dys[0] ? contiguous(dys[0]) : Tensor();
    const Tensor dh = dys[1] ? clone(dys[1]) : Tensor::zeros({s.batch, s.out}, dtype, d);
    const Tensor dc = !lstm ? Tensor() : dys[2] ? clone(dys[2])
                                                : Tensor::zeros({s.batch, H}, dtype, d);
    const Tensor dz = Tensor::empty_like(r.gates), dq = gru ? Tensor::empty_like(r.gates) : dz;
    const Tensor dp = r.w_hr ? Tensor::empty_like(r.y) : Tensor(), d_whole = r.w_hr ? Tensor::empty({s.batch, H}, dtype, d) : dh;     // dp: all that reaches y

    const T *y = r.whole.template data_on<T>(d), *extra = r.extra ? r.extra.template data_on<T>(d) : nullptr;
    const T *h0 = r.h0.template data_on<T>(d), *c0 = lstm ? r.c0.template data_on<T>(d) : nullptr;
    const auto step = [&](int64_t t) -> RnnBackward<T> {
        return {.mode = mode, .batch = s.batch, .hidden = H, .gates = r.gates.template data_on<T>(d) + t * width, .q_n = gru ? extra + t * state : nullptr, .h = y + t * state, .c = lstm ? extra + t * state : nullptr, .dy = dy && !r.w_hr ? dy.template data_on<T>(d) + t * state : nullptr, .dh = d_whole.template mutable_data_on<T>(d), .dc = lstm ? dc.template mutable_data_on<T>(d) : nullptr, .dz = dz.template mutable_data_on<T>(d) + t * width, .dq = gru ? dq.template mutable_data_on<T>(d) + t * width : nullptr};
    };
    const bool together = runs_together(s, r.w_hh, r.w_hr);
    if (together) cpu::rnn_steps_backward<T>({step(order.step(s.steps - 1)), s.steps, order.reverse ? 1 : -1, r.w_hh.template data_on<T>(d), h0, c0});
    for (int64_t i = together ? -1 : s.steps - 1; i >= 0; --i) {
        const int64_t t = order.step(i), before = i > 0 ? order.step(i - 1) : 0;
        if (r.w_hr) {
            const Tensor sum = Tensor::view_of(dp, {s.batch, s.out}, {s.out, 1}, t * out);
            detail::copy_into(sum, dy ? add(dh, Tensor::view_of(dy, {s.batch, s.out}, {s.out, 1}, dy.offset() + t * out)) : dh);
            detail::multiply(dtype, {.a = matrix(sum.raw_on(d), s.out), .b = matrix(r.w_hr.raw_on(d), H), .y = d_whole.mutable_raw_on(d), .y_row = H, .m = s.batch, .n = H, .k = s.out}, d);
        }
        RnnBackward<T> p = step(t);
        p.h_before = i > 0 ? y + before * state : h0;
        p.c_before = lstm && i > 0 ? extra + before * state : c0;
        on::rnn_backward<T>(d, p);
        detail::multiply(dtype, {.a = matrix(dq.template data_on<T>(d) + t * width, G), .b = matrix(r.w_hh.raw_on(d), s.out), .y = dh.mutable_raw_on(d), .y_row = s.out, .m = s.batch, .n = s.out, .k = G, .add = gru}, d);
    }

    Tensor dx, dw_ih, dw_hh, db_ih, db_hh, dw_hr;
    const int64_t rows = s.steps * s.batch;
    if (needs.x) {
        dx = Tensor::empty_like(r.x);
        detail::multiply(dtype, {.a = matrix(dz.raw_on(d), G), .b = matrix(r.w_ih.raw_on(d), s.in), .y = dx.mutable_raw_on(d), .y_row = s.in, .m = rows, .n = s.in, .k = G}, d);
    }
    if (needs.w_ih) {
        dw_ih = Tensor::empty_like(r.w_ih);
        detail::multiply(dtype, {.a = transposed(dz.raw_on(d), G), .b = matrix(r.x.raw_on(d), s.in), .y = dw_ih.mutable_raw_on(d), .y_row = s.in, .m = G, .n = s.in, .k = rows}, d);
    }
    if (needs.w_hh) dw_hh = recurrent_weight_gradient(r, s, dq, order);
    if (needs.bias) {
        db_ih = column_sums<T>(dz, G);
        db_hh = gru ? column_sums<T>(dq, G) : clone(db_ih);
    }
    if (needs.w_hr) {
        dw_hr = Tensor::empty_like(r.w_hr);
        detail::multiply(dtype, {.a = transposed(dp.raw_on(d), s.out), .b = matrix(r.whole.raw_on(d), H), .y = dw_hr.mutable_raw_on(d), .y_row = H, .m = s.out, .n = H, .k = rows}, d);
    }
    Tensors grads{dx, dh, dw_ih, dw_hh, db_ih, db_hh};
    if (lstm) {
        grads.insert(grads.begin() + 2, dc);
        grads.push_back(dw_hr);
    }
    return grads;
}

// ---- the three layers ---------------------------------------------------------------------------------------------

Tensors layer(RnnMode mode, const Tensor& x, const Tensor& h0, const Tensor& c0, const RnnWeights& w, bool reverse) {
    const Sizes s = check(mode, x, h0, c0, w);
    const Order order{s.steps, reverse};
    const bool lstm = mode == RnnMode::lstm;
    return visit_float(x.dtype(), name_of(mode), [&]<class T>() {
        const Run r = forward<T>(mode, s, x, h0, c0, w, order);
        Tensors ys{r.y, step_of(r.y, order.step(s.steps - 1), r.h0)};
        if (lstm) ys.push_back(step_of(r.extra, order.step(s.steps - 1), r.c0));

        Tensors xs{x, h0, w.w_ih, w.w_hh, w.b_ih, w.b_hh};
        if (lstm) {
            xs.insert(xs.begin() + 2, c0);
            xs.push_back(w.w_hr);
        }
        bool wanted = false;
        for (const Tensor& t : xs) wanted |= wants_grad({t});
        if (wanted) {
            struct Kept {
                Saved x, h0, c0, w_ih, w_hh, w_hr, y, whole, gates, extra;
            };
            Kept kept{Saved(r.x), Saved(r.h0), Saved(r.c0), Saved(r.w_ih), Saved(r.w_hh), Saved(r.w_hr), Saved(r.y), Saved(r.whole), Saved(r.gates), Saved(r.extra)};
            record(name_of(mode), xs, ys, [mode, s, order, lstm, kept = std::move(kept)](const Grads& g) {
                const Run run{kept.x(), kept.h0(), kept.c0(), kept.w_ih(), kept.w_hh(), kept.w_hr(), kept.y(), kept.whole(), kept.gates(), kept.extra()};
                const int w_at = lstm ? 3 : 2;
                return backward<T>(mode, s, run, {g[0], g[1], lstm ? g[2] : Tensor()},
                                   {g.needs(0), g.needs(w_at), g.needs(w_at + 1), g.needs(w_at + 2) || g.needs(w_at + 3), lstm && g.needs(w_at + 4)}, order);
            });
        }
        return ys;
    });
}

}  // namespace

Tensors rnn_layer(const Tensor& x, const Tensor& h0, const RnnWeights& w, bool relu, bool reverse) {
    return layer(relu ? RnnMode::rnn_relu : RnnMode::rnn_tanh, x, h0, {}, w, reverse);
}
Tensors gru_layer(const Tensor& x, const Tensor& h0, const RnnWeights& w, bool reverse) { return layer(RnnMode::gru, x, h0, {}, w, reverse); }
Tensors lstm_layer(const Tensor& x, const Tensor& h0, const Tensor& c0, const RnnWeights& w, bool reverse) {
    LC_CHECK(bool(c0), ValueError, "lstm: needs both states, h0 and c0");
    return layer(RnnMode::lstm, x, h0, c0, w, reverse);
}

}  // namespace lc
