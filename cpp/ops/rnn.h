// rnn: one layer, one direction of a recurrent network over a whole sequence. Several layers and both directions are
// composed in nn. Gate order, weight shapes and the two biases are PyTorch's.
//
//   x: [steps, batch, in]    h0 (and c0): [batch, hidden]    w_ih: [gates * hidden, in]    w_hh: [gates * hidden, hidden]
//   b_ih, b_hh: [gates * hidden], both or neither    w_hr (lstm): [proj, hidden] or none
//
//   p = x w_ih' + b_ih                      for all steps in one product
//   q = h[t-1] w_hh' + b_hh                 one product a step; here z = p[t] + q where the gates only need the sum
//
//   forward    rnn    h = tanh(z) or relu(z)
//              gru    r = sigmoid(p_r + q_r)   u = sigmoid(p_u + q_u)   n = tanh(p_n + r q_n)   h = n + u (h[t-1] - n)
//              lstm   i, f, o = sigmoid(z_i), sigmoid(z_f), sigmoid(z_o)   g = tanh(z_g)
//                     c = f c[t-1] + i g       h = o tanh(c)
//   backward   through time from the last step: dz of a step from dh and dc, then dh[t-1] = dz w_hh (+ direct paths)
//              dx = dz w_ih    dw_ih = dz' x    dw_hh = dq' h[t-1]    db = sum dz    each one product over all steps
//
// With w_hr the lstm's h is o tanh(c) w_hr', [batch, proj], and w_hh [gates * hidden, proj].
//
// reverse walks the sequence from its end: y[t] then depends on x[t..]. Saved: x, the weights, y, the gates after their
// nonlinearity, c and o tanh(c) before w_hr (lstm), q_n (gru). float32 and float64; sums as in matmul.
#pragma once
#include "cpp/core/cpu_kernel.h"
#include "cpp/core/cuda_kernel.h"
#include "cpp/core/tensor.h"

namespace lc {

enum class RnnMode : uint8_t { rnn_tanh,
                               rnn_relu,
                               gru,
                               lstm };
constexpr int rnn_gates(RnnMode mode) { return mode == RnnMode::lstm ? 4 : mode == RnnMode::gru ? 3
                                                                                                : 1; }

// The pointwise part of one step. Rows are batch entries: z, q, dz, dq are [batch, gates * hidden], all else
// [batch, hidden], but b_q [gates * hidden].
template <class T> struct RnnForward {
    RnnMode mode;
    int64_t batch, hidden;
    T* z;                                             // in: p (gru), else p + q; out: the gates
    const T *q, *b_q, *h_before, *c_before;           // q: gru, without its bias b_q, which may be null; c_before: lstm
    T *q_n, *h, *c;                                   // q_n: gru, saved; c: lstm
};
template <class T> struct RnnBackward {
    RnnMode mode;
    int64_t batch, hidden;
    const T *gates, *q_n, *h, *h_before, *c, *c_before;
    const T* dy;                                      // gradient of this step's output, or null
    T *dh, *dc;                                       // in: from the step after; out: what reaches the step before past w_hh (dh: gru)
    T *dz, *dq;                                       // dq: gru, where it differs from dz in the n gate
};

// All steps of a layer without w_hr, with the product of each.
template <class T> struct RnnStepsForward {
    RnnForward<T> first;                              // the step computed first
    int64_t steps, next;                              // next: 1 or -1, how many steps further the next one lies
    const T* w_hh;                                    // [gates * hidden, hidden]
    T* q;                                             // first.q, which every step writes
};
template <class T> struct RnnStepsBackward {
    RnnBackward<T> last;                              // the step computed first here
    int64_t steps, next;
    const T *w_hh, *h0, *c0;
};

}  // namespace lc
LC_CPU_KERNEL(rnn_forward, RnnForward)
LC_CPU_KERNEL(rnn_backward, RnnBackward)
LC_CUDA_KERNEL(rnn_forward, RnnForward)
LC_CUDA_KERNEL(rnn_backward, RnnBackward)
LC_CPU_KERNEL(rnn_steps_forward, RnnStepsForward)
LC_CPU_KERNEL(rnn_steps_backward, RnnStepsBackward)
namespace lc {

struct RnnWeights {
    Tensor w_ih, w_hh, b_ih, b_hh, w_hr;              // biases and w_hr may be undefined
};

// {y, h_n}: y [steps, batch, hidden], h_n [batch, hidden] the last step's state (with reverse: that of step 0).
LC_API Tensors rnn_layer(const Tensor& x, const Tensor& h0, const RnnWeights& w, bool relu, bool reverse);
LC_API Tensors gru_layer(const Tensor& x, const Tensor& h0, const RnnWeights& w, bool reverse);
// {y, h_n, c_n}
LC_API Tensors lstm_layer(const Tensor& x, const Tensor& h0, const Tensor& c0, const RnnWeights& w, bool reverse);

// In Python, in littlecore._core:
//   rnn_layer(input, hx, weight_ih, weight_hh, bias_ih=None, bias_hh=None, nonlinearity="tanh", reverse=False) -> (output, h_n)
//   gru_layer(input, hx, weight_ih, weight_hh, bias_ih=None, bias_hh=None, reverse=False) -> (output, h_n)
//   lstm_layer(input, hx, cx, weight_ih, weight_hh, bias_ih=None, bias_hh=None, weight_hr=None, reverse=False)
//       -> (output, h_n, c_n)

}  // namespace lc
