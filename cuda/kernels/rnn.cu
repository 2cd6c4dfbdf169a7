// rnn on CUDA: the pointwise part of a step, an element of the state a thread; the products around it are matmul's.
// Contract and formulas: cpp/ops/rnn.h. Memory bound, and for small states bound by the launch.
#include "cpp/ops/rnn.h"
#include <math.h>
#include "cuda/core/launch.h"

namespace lc::cuda {
namespace {

constexpr int kThreads = 256;

template <class T> __device__ __forceinline__ T sigmoid(T x) { return T(1) / (T(1) + ::exp(-x)); }

// Where a thread's element is: in [batch, hidden], and its first gate in [batch, gates * hidden].
struct Place {
    int64_t at, gate, unit;
    bool inside;
    __device__ __forceinline__ Place(int64_t batch, int64_t hidden, int gates) {
        const int64_t row = blockIdx.x;
        unit = int64_t(blockIdx.y) * kThreads + threadIdx.x;
        inside = unit < hidden;
        at = row * hidden + unit;
        gate = row * hidden * gates + unit;
    }
};

// ---- forward ------------------------------------------------------------------------------------------------------------

template <class T> __global__ __launch_bounds__(kThreads) void lstm_forward_kernel(RnnForward<T> p) {
    const Place here(p.batch, p.hidden, 4);
    if (!here.inside) return;
    T* z = p.z + here.gate;
    const int64_t H = p.hidden;
    const T i = sigmoid(z[0]), f = sigmoid(z[H]), g = ::tanh(z[2 * H]), o = sigmoid(z[3 * H]);
    const T c = f * p.c_before[here.at] + i * g;
    z[0] = i;
    z[H] = f;
    z[2 * H] = g;
    z[3 * H] = o;
    p.c[here.at] = c;
    p.h[here.at] = o * ::tanh(c);
}

template <class T> __global__ __launch_bounds__(kThreads) void gru_forward_kernel(RnnForward<T> p) {
    const Place here(p.batch, p.hidden, 3);
    if (!here.inside) return;
    T* z = p.z + here.gate;
    const T* q = p.q + here.gate;
    const int64_t H = p.hidden;
    const auto q_of = [&](int g) { return p.b_q ? q[g * H] + p.b_q[g * H + here.unit] : q[g * H]; };
    const T r = sigmoid(z[0] + q_of(0)), u = sigmoid(z[H] + q_of(1)), q_n = q_of(2), n = ::tanh(z[2 * H] + r * q_n);
    z[0] = r;
    z[H] = u;
    z[2 * H] = n;
    p.q_n[here.at] = q_n;
    p.h[here.at] = n + u * (p.h_before[here.at] - n);
}

template <class T> __global__ __launch_bounds__(kThreads) void plain_forward_kernel(RnnForward<T> p) {
    const Place here(p.batch, p.hidden, 1);
    if (!here.inside) return;
    const T z = p.z[here.at];
    p.h[here.at] = p.mode == RnnMode::rnn_relu ? (z <= T(0) ? T(0) : z) : ::tanh(z);
}

// ---- backward -----------------------------------------------------------------------------------------------------------

// The whole gradient of h: from the output of this step and from the step after.
template <class T> __device__ __forceinline__ T dh_of(const RnnBackward<T>& p, int64_t at) { return p.dy ? p.dy[at] + p.dh[at] : p.dh[at]; }

template <class T> __global__ __launch_bounds__(kThreads) void lstm_backward_kernel(RnnBackward<T> p) {
    const Place here(p.batch, p.hidden, 4);
    if (!here.inside) return;
    const T* s = p.gates + here.gate;
    T* dz = p.dz + here.gate;
    const int64_t H = p.hidden;
    const T i = s[0], f = s[H], g = s[2 * H], o = s[3 * H], y = ::tanh(p.c[here.at]), dh = dh_of(p, here.at);
    const T dc = dh * o * (T(1) - y * y) + p.dc[here.at];
    dz[0] = dc * g * (i * (T(1) - i));
    dz[H] = dc * p.c_before[here.at] * (f * (T(1) - f));
    dz[2 * H] = dc * i * (T(1) - g * g);
    dz[3 * H] = dh * y * (o * (T(1) - o));
    p.dc[here.at] = dc * f;
}

template <class T> __global__ __launch_bounds__(kThreads) void gru_backward_kernel(RnnBackward<T> p) {
    const Place here(p.batch, p.hidden, 3);
    if (!here.inside) return;
    const T* s = p.gates + here.gate;
    T *dz = p.dz + here.gate, *dq = p.dq + here.gate;
    const int64_t H = p.hidden;
    const T r = s[0], u = s[H], n = s[2 * H], dh = dh_of(p, here.at);
    const T dz_n = dh * (T(1) - u) * (T(1) - n * n);
    const T dz_r = dz_n * p.q_n[here.at] * (r * (T(1) - r)), dz_u = dh * (p.h_before[here.at] - n) * (u * (T(1) - u));
    dz[0] = dq[0] = dz_r;
    dz[H] = dq[H] = dz_u;
    dz[2 * H] = dz_n;
    dq[2 * H] = dz_n * r;
    p.dh[here.at] = dh * u;
}

template <class T> __global__ __launch_bounds__(kThreads) void plain_backward_kernel(RnnBackward<T> p) {
    const Place here(p.batch, p.hidden, 1);
    if (!here.inside) return;
    const T h = p.h[here.at], dh = dh_of(p, here.at);
    p.dz[here.at] = p.mode == RnnMode::rnn_relu ? (h <= T(0) ? T(0) : dh) : dh * (T(1) - h * h);
}

// ---- host ---------------------------------------------------------------------------------------------------------------

template <class Args> void run(const char* name, const Args& p, void (*lstm)(Args), void (*gru)(Args), void (*plain)(Args)) {
    if (p.batch * p.hidden == 0) return;
    const Grid grid{Blocks(p.batch, div_up(p.hidden, kThreads)), dim3(kThreads)};
    launch(name, p.mode == RnnMode::lstm ? lstm : p.mode == RnnMode::gru ? gru
                                                                         : plain,
           grid, p);
}

}  // namespace

template <class T> void rnn_forward(const RnnForward<T>& p) { run("rnn", p, lstm_forward_kernel<T>, gru_forward_kernel<T>, plain_forward_kernel<T>); }
template <class T> void rnn_backward(const RnnBackward<T>& p) { run("rnn_backward", p, lstm_backward_kernel<T>, gru_backward_kernel<T>, plain_backward_kernel<T>); }

template void rnn_forward(const RnnForward<float>&);
template void rnn_forward(const RnnForward<double>&);
template void rnn_backward(const RnnBackward<float>&);
template void rnn_backward(const RnnBackward<double>&);

}  // namespace lc::cuda
