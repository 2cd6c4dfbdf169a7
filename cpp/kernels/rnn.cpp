// rnn on CPU: the pointwise part of a step, forward and backward; the products around it are matmul's. Math: cpp/ops/rnn.h
// Bound by exp and tanh, a few per element; every operand of a step stays in cache between its product and this pass.
#include "cpp/ops/rnn.h"
#include "cpp/core/parallel.h"
#include "cpp/simd/vec_math.h"

namespace lc::cpu::LC_ISA {
namespace {

template <class T> LC_INLINE vec<T> one() { return splat(T(1)); }

// Calls f(row's first element of [batch, hidden], of [batch, gates * hidden]) for every batch entry.
template <class F> LC_INLINE void each_row(int64_t batch, int64_t hidden, int64_t gates, F&& f) {
    const int64_t grain = 4096 / (hidden + 1) + 1;
    parallel_ranges(batch, grain, batch * hidden * gates * 2, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) f(i * hidden, i * hidden * gates);
    });
}

// ---- forward ------------------------------------------------------------------------------------------------------

template <class T> void lstm_forward(const RnnForward<T>& p) {
    const int64_t H = p.hidden;
    each_row(p.batch, H, 4, [&](int64_t row, int64_t gates) {
        T* z = p.z + gates;
        each_vec<T>(H, [&](int64_t j, auto k) {
            const vec<T> i = sigmoid(load(z + j, k)), f = sigmoid(load(z + H + j, k));
            const vec<T> g = tanh(load(z + 2 * H + j, k)), o = sigmoid(load(z + 3 * H + j, k));
            const vec<T> c = fma(f, load(p.c_before + row + j, k), i * g);
            store(z + j, i, k);
            store(z + H + j, f, k);
            store(z + 2 * H + j, g, k);
            store(z + 3 * H + j, o, k);
            store(p.c + row + j, c, k);
            store(p.h + row + j, o * tanh(c), k);
        });
    });
}

template <class T> void gru_forward(const RnnForward<T>& p) {
    const int64_t H = p.hidden;
    each_row(p.batch, H, 3, [&](int64_t row, int64_t gates) {
        T* z = p.z + gates;
        const T* q = p.q + gates;
        each_vec<T>(H, [&](int64_t j, auto k) {
            const vec<T> r = sigmoid(load(z + j, k) + load(q + j, k)), u = sigmoid(load(z + H + j, k) + load(q + H + j, k));
            const vec<T> q_n = load(q + 2 * H + j, k), n = tanh(fma(r, q_n, load(z + 2 * H + j, k)));
            store(z + j, r, k);
            store(z + H + j, u, k);
            store(z + 2 * H + j, n, k);
            store(p.q_n + row + j, q_n, k);
            store(p.h + row + j, fma(u, load(p.h_before + row + j, k) - n, n), k);
        });
    });
}

template <class T> void plain_forward(const RnnForward<T>& p) {
    const bool relu = p.mode == RnnMode::rnn_relu;
    each_row(p.batch, p.hidden, 1, [&](int64_t row, int64_t) {
        each_vec<T>(p.hidden, [&](int64_t j, auto k) {
            const vec<T> z = load(p.z + row + j, k);
            store(p.h + row + j, relu ? select(z <= zero<T>(), zero<T>(), z) : tanh(z), k);
        });
    });
}

// ---- backward -----------------------------------------------------------------------------------------------------

// The whole gradient of h: from the output of this step and from the step after.
template <class T, class K> LC_INLINE vec<T> dh_of(const RnnBackward<T>& p, int64_t at, K k) {
    const vec<T> dh = load(p.dh + at, k);
    return p.dy ? load(p.dy + at, k) + dh : dh;
}

template <class T> void lstm_backward(const RnnBackward<T>& p) {
    const int64_t H = p.hidden;
    each_row(p.batch, H, 4, [&](int64_t row, int64_t gates) {
        const T* s = p.gates + gates;
        T* dz = p.dz + gates;
        each_vec<T>(H, [&](int64_t j, auto k) {
            const vec<T> i = load(s + j, k), f = load(s + H + j, k), g = load(s + 2 * H + j, k), o = load(s + 3 * H + j, k);
            const vec<T> y = tanh(load(p.c + row + j, k)), dh = dh_of(p, row + j, k);
            const vec<T> dc = fma(dh * o, one<T>() - y * y, load(p.dc + row + j, k));
            store(dz + j, dc * g * (i * (one<T>() - i)), k);
            store(dz + H + j, dc * load(p.c_before + row + j, k) * (f * (one<T>() - f)), k);
            store(dz + 2 * H + j, dc * i * (one<T>() - g * g), k);
            store(dz + 3 * H + j, dh * y * (o * (one<T>() - o)), k);
            store(p.dc + row + j, dc * f, k);
        });
    });
}

template <class T> void gru_backward(const RnnBackward<T>& p) {
    const int64_t H = p.hidden;
    each_row(p.batch, H, 3, [&](int64_t row, int64_t gates) {
        const T* s = p.gates + gates;
        T *dz = p.dz + gates, *dq = p.dq + gates;
        each_vec<T>(H, [&](int64_t j, auto k) {
            const vec<T> r = load(s + j, k), u = load(s + H + j, k), n = load(s + 2 * H + j, k), dh = dh_of(p, row + j, k);
            const vec<T> dz_n = dh * (one<T>() - u) * (one<T>() - n * n);
            const vec<T> dz_r = dz_n * load(p.q_n + row + j, k) * (r * (one<T>() - r));
            const vec<T> dz_u = dh * (load(p.h_before + row + j, k) - n) * (u * (one<T>() - u));
            store(dz + j, dz_r, k);
            store(dz + H + j, dz_u, k);
            store(dz + 2 * H + j, dz_n, k);
            store(dq + j, dz_r, k);
            store(dq + H + j, dz_u, k);
            store(dq + 2 * H + j, dz_n * r, k);
            store(p.dh + row + j, dh * u, k);
        });
    });
}

template <class T> void plain_backward(const RnnBackward<T>& p) {
    const bool relu = p.mode == RnnMode::rnn_relu;
    each_row(p.batch, p.hidden, 1, [&](int64_t row, int64_t) {
        each_vec<T>(p.hidden, [&](int64_t j, auto k) {
            const vec<T> h = load(p.h + row + j, k), dh = dh_of(p, row + j, k);
            store(p.dz + row + j, relu ? select(h <= zero<T>(), zero<T>(), dh) : dh * (one<T>() - h * h), k);
        });
    });
}

}  // namespace

template <class T> void rnn_forward(const RnnForward<T>& p) {
    if (p.mode == RnnMode::lstm) lstm_forward(p);
    else if (p.mode == RnnMode::gru) gru_forward(p);
    else plain_forward(p);
}

template <class T> void rnn_backward(const RnnBackward<T>& p) {
    if (p.mode == RnnMode::lstm) lstm_backward(p);
    else if (p.mode == RnnMode::gru) gru_backward(p);
    else plain_backward(p);
}

template void rnn_forward(const RnnForward<float>&);
template void rnn_forward(const RnnForward<double>&);
template void rnn_backward(const RnnBackward<float>&);
template void rnn_backward(const RnnBackward<double>&);

}  // namespace lc::cpu::LC_ISA
