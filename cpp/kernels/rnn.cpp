// rnn on CPU: the pointwise part of a step, alone or for all steps with the product of each. Math: cpp/ops/rnn.h
// One sequence is bound by reading w_hh at every step, from L2 where each thread keeps its units' part of it; many by FMA issue.
#include "cpp/ops/rnn.h"
#include "cpp/core/allocator.h"
#include "cpp/core/parallel_steps.h"
#include "cpp/kernels/gemm.h"
#include "cpp/ops/matmul_plan.h"
#include "cpp/simd/vec_math.h"

namespace lc::cpu::LC_ISA {
namespace {

template <class T> LC_INLINE vec<T> one() { return splat(T(1)); }

// Batch entries [row, row_end) and `units` hidden units from `unit` on.
struct Window {
    int64_t row, row_end, unit, units;
};

// Calls f(the window's first element of a row of [batch, hidden], of [batch, gates * hidden]).
template <class F> LC_INLINE void each_row(const Window& w, int64_t hidden, int64_t gates, F&& f) {
    for (int64_t i = w.row; i < w.row_end; ++i) f(i * hidden + w.unit, i * hidden * gates + w.unit);
}

// f(window) for parts of the batch, all units.
template <class F> LC_INLINE void each_window(int64_t batch, int64_t hidden, int64_t gates, F&& f) {
    const int64_t grain = 4096 / (hidden + 1) + 1;
    parallel_ranges(batch, grain, batch * hidden * gates * 2, [&](int64_t begin, int64_t end) { f(Window{begin, end, 0, hidden}); });
}

// ---- forward ------------------------------------------------------------------------------------------------------

template <class T> void lstm_forward(const RnnForward<T>& p, const Window& w) {
    const int64_t H = p.hidden;
    each_row(w, H, 4, [&](int64_t row, int64_t gates) {
        T* z = p.z + gates;
        each_vec<T>(w.units, [&](int64_t j, auto k) {
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

template <class T> void gru_forward(const RnnForward<T>& p, const Window& w) {
    const int64_t H = p.hidden;
    each_row(w, H, 3, [&](int64_t row, int64_t gates) {
        T* z = p.z + gates;
        const auto q = [&](int64_t at, auto k) {
            const vec<T> sum = load(p.q + gates + at, k);
            return p.b_q ? sum + load(p.b_q + w.unit + at, k) : sum;
        };
        each_vec<T>(w.units, [&](int64_t j, auto k) {
            const vec<T> r = sigmoid(load(z + j, k) + q(j, k)), u = sigmoid(load(z + H + j, k) + q(H + j, k));
            const vec<T> q_n = q(2 * H + j, k), n = tanh(fma(r, q_n, load(z + 2 * H + j, k)));
            store(z + j, r, k);
            store(z + H + j, u, k);
            store(z + 2 * H + j, n, k);
            store(p.q_n + row + j, q_n, k);
            store(p.h + row + j, fma(u, load(p.h_before + row + j, k) - n, n), k);
        });
    });
}

template <class T> void plain_forward(const RnnForward<T>& p, const Window& w) {
    const bool relu = p.mode == RnnMode::rnn_relu;
    each_row(w, p.hidden, 1, [&](int64_t row, int64_t) {
        each_vec<T>(w.units, [&](int64_t j, auto k) {
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

template <class T> void lstm_backward(const RnnBackward<T>& p, const Window& w) {
    const int64_t H = p.hidden;
    each_row(w, H, 4, [&](int64_t row, int64_t gates) {
        const T* s = p.gates + gates;
        T* dz = p.dz + gates;
        each_vec<T>(w.units, [&](int64_t j, auto k) {
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

template <class T> void gru_backward(const RnnBackward<T>& p, const Window& w) {
    const int64_t H = p.hidden;
    each_row(w, H, 3, [&](int64_t row, int64_t gates) {
        const T* s = p.gates + gates;
        T *dz = p.dz + gates, *dq = p.dq + gates;
        each_vec<T>(w.units, [&](int64_t j, auto k) {
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

template <class T> void plain_backward(const RnnBackward<T>& p, const Window& w) {
    const bool relu = p.mode == RnnMode::rnn_relu;
    each_row(w, p.hidden, 1, [&](int64_t row, int64_t) {
        each_vec<T>(w.units, [&](int64_t j, auto k) {
            const vec<T> h = load(p.h + row + j, k), dh = dh_of(p, row + j, k);
            store(p.dz + row + j, relu ? select(h <= zero<T>(), zero<T>(), dh) : dh * (one<T>() - h * h), k);
        });
    });
}

template <class T> LC_INLINE void pointwise(const RnnForward<T>& p, const Window& w) {
    if (p.mode == RnnMode::lstm) lstm_forward(p, w);
    else if (p.mode == RnnMode::gru) gru_forward(p, w);
    else plain_forward(p, w);
}
template <class T> LC_INLINE void pointwise(const RnnBackward<T>& p, const Window& w) {
    if (p.mode == RnnMode::lstm) lstm_backward(p, w);
    else if (p.mode == RnnMode::gru) gru_backward(p, w);
    else plain_backward(p, w);
}

// ---- a step's product ---------------------------------------------------------------------------------------------

// A layer's sizes, and its units in parts of whole panels; a panel is as many columns of a gate as are multiplied at once.
template <class T> struct Layer {
    bool gru, lstm;
    int64_t batch, H, gates, row, width, per_part;    // row: of all gates
    int parts;

    Layer(RnnMode mode, int64_t batch, int64_t hidden)
        : gru(mode == RnnMode::gru), lstm(mode == RnnMode::lstm), batch(batch), H(hidden), gates(rnn_gates(mode)), row(gates * H),
          width(panel_cols(batch, tile_size(Isa::LC_ISA, int(sizeof(T))))), per_part(ceil_div(ceil_div(H, width), kMostParts) * width), parts(int(ceil_div(H, per_part))) {}

    int64_t panel_size() const { return parts * per_part * row; }
    // Rough time of a step on one thread.
    int64_t step_ns() const { return batch * row * H / (160 / int64_t(sizeof(T))) + row * H * int64_t(sizeof(T)) / 50 + 2 * batch * row; }
    // f(unit, n) for every panel of a part.
    template <class F> LC_INLINE void each_panel(int part, F&& f) const {
        const int64_t last = (part + 1) * per_part, end = last < H ? last : H;
        for (int64_t unit = part * per_part; unit < end; unit += width) f(unit, width < end - unit ? width : end - unit);
    }
};

// b[k, n] with strides (depth, col) -> panel, block by block of matmul's.
template <class T> void pack_panel(const T* b, int64_t depth, int64_t col, int64_t n, int64_t k, int64_t width, T* panel) {
    const int64_t block = k_block(k);
    for (int64_t kk = 0; kk < k; kk += block)
        pack_columns(b + kk * depth, depth, col, n, Depths{block < k - kk ? block : k - kk, k_chains(k, int(sizeof(T)))}, panel + kk * width, width);
}

// c[m, n] = a[m, k] b or c += a b; sums in matmul's order.
template <class T>
void multiply_panel(int64_t m, int64_t k, const T* a, const T* panel, int64_t width, const TileOut<T>& out) {
    const int64_t block = k_block(k), tiles = ceil_div(m, kTileRows<T>);
    for (int64_t kk = 0; kk < k; kk += block, panel += block * width) {
        const Depths depths{block < k - kk ? block : k - kk, k_chains(k, int(sizeof(T)))};
        for (int r = 0; r < depths.chains; ++r) {
            int64_t i = 0;
            for (int64_t t = 0; t < tiles; ++t) {
                const int rows = int(m / tiles + (t < m % tiles));
                multiply_any_tile<T>(rows, int(width / lanes<T>), depths.length(r), {a + i * k + kk + r, k, depths.chains}, panel + depths.begin(r) * width,
                                     width, {out.c + i * out.ldc, out.ldc, out.cols, out.add || kk + r > 0});
                i += rows;
            }
        }
    }
}

// Asks for a line of each of `lines` groups of units in every row, which lie too far apart for the hardware to foresee.
template <class T> LC_INLINE void ask_for(const T* x, int64_t rows, int64_t row, int64_t lines, int64_t line) {
    for (int64_t i = 0; i < rows; ++i)
        for (int64_t j = 0; j < lines; ++j) __builtin_prefetch(x + i * row + j * line, 0, 2);
}

}  // namespace

template <class T> void rnn_forward(const RnnForward<T>& p) {
    each_window(p.batch, p.hidden, rnn_gates(p.mode), [&](const Window& w) { pointwise(p, w); });
}

template <class T> void rnn_backward(const RnnBackward<T>& p) {
    each_window(p.batch, p.hidden, rnn_gates(p.mode), [&](const Window& w) { pointwise(p, w); });
}

// A part computes its units' columns of every gate and at once what they become.
template <class T> void rnn_steps_forward(const RnnStepsForward<T>& s) {
    const Layer<T> l(s.first.mode, s.first.batch, s.first.hidden);
    const Buffer<T> panels(l.panel_size());
    parallel_steps(s.steps + 1, l.parts, l.step_ns(), [&](int64_t step, int part) {
        const int64_t at = step > 0 ? (step - 1) * s.next : 0, states = at * l.batch * l.H, before = states - s.next * l.batch * l.H;
        RnnForward<T> p = s.first;
        if (step > 1) {
            p.h_before = p.h + before;
            p.c_before = l.lstm ? p.c + before : nullptr;
        }
        p.z += at * l.batch * l.row;
        p.h += states;
        if (l.lstm) p.c += states;
        if (l.gru) p.q_n += states;
        T* sums = l.gru ? s.q : p.z;
        l.each_panel(part, [&](int64_t unit, int64_t n) {
            if (step > 0) {
                ask_for(p.z + unit, l.batch, l.row, l.gates, l.H);
                ask_for(p.h + unit, l.batch, l.H, 1, 0);
                if (l.lstm) ask_for(p.c + unit, l.batch, l.H, 1, 0);
            }
            for (int64_t gate = 0; gate < l.gates; ++gate) {
                T* panel = panels.data() + (unit * l.gates + gate * l.width) * l.H;
                if (step == 0) pack_panel(s.w_hh + (gate * l.H + unit) * l.H, int64_t(1), l.H, n, l.H, l.width, panel);
                else multiply_panel(l.batch, l.H, p.h_before, panel, l.width, {sums + gate * l.H + unit, l.row, int(n), !l.gru});
            }
            if (step > 0) pointwise(p, {0, l.batch, unit, n});
        });
    });
}

// A part computes its units' dh from the step after, then their gradients; at the end, dh of the state before the first step.
template <class T> void rnn_steps_backward(const RnnStepsBackward<T>& s) {
    const Layer<T> l(s.last.mode, s.last.batch, s.last.hidden);
    const Buffer<T> panels(l.panel_size());
    parallel_steps(s.steps + 2, l.parts, l.step_ns(), [&](int64_t step, int part) {
        const bool inside = step > 0 && step <= s.steps;
        const int64_t at = inside ? (step - 1) * s.next : 0, states = at * l.batch * l.H, before = states + s.next * l.batch * l.H;
        RnnBackward<T> p = s.last;
        p.h_before = step < s.steps ? p.h + before : s.h0;
        p.c_before = l.lstm && step < s.steps ? p.c + before : s.c0;
        p.gates += at * l.batch * l.row;
        p.dz += at * l.batch * l.row;
        p.h += states;
        if (l.gru) p.dq += at * l.batch * l.row, p.q_n += states;
        if (l.lstm) p.c += states;
        if (p.dy) p.dy += states;
        l.each_panel(part, [&](int64_t unit, int64_t n) {
            T* panel = panels.data() + unit * l.row;
            if (inside) {
                ask_for(p.gates + unit, l.batch, l.row, l.gates, l.H);
                ask_for(p.dz + unit, l.batch, l.row, l.gates, l.H);
                if (l.lstm) ask_for(p.c_before + unit, l.batch, l.H, 1, 0);
                if (p.dy) ask_for(p.dy + unit, l.batch, l.H, 1, 0);
            }
            if (step == 0) pack_panel(s.w_hh + unit, l.H, int64_t(1), n, l.row, l.width, panel);
            if (step > 1) multiply_panel(l.batch, l.row, (l.gru ? s.last.dq : s.last.dz) + (step - 2) * s.next * l.batch * l.row, panel, l.width, {s.last.dh + unit, l.H, int(n), l.gru});
            if (inside) pointwise(p, {0, l.batch, unit, n});
        });
    });
}

template void rnn_forward(const RnnForward<float>&);
template void rnn_forward(const RnnForward<double>&);
template void rnn_backward(const RnnBackward<float>&);
template void rnn_backward(const RnnBackward<double>&);
template void rnn_steps_forward(const RnnStepsForward<float>&);
template void rnn_steps_forward(const RnnStepsForward<double>&);
template void rnn_steps_backward(const RnnStepsBackward<float>&);
template void rnn_steps_backward(const RnnStepsBackward<double>&);

}  // namespace lc::cpu::LC_ISA
