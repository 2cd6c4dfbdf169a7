// pool2d on CUDA. Contract: cpp/ops/pool2d.h
// Memory bound: a thread per output forward, per element backward, which visits the windows that may hold it in the order
// of the outputs: the same sums as the CPU's, and no atomics. What several windows share comes from the caches.
#include "cpp/ops/pool2d.h"
#include <math.h>
#include "cuda/arch/convert.cuh"
#include "cuda/core/launch.h"
#include "cuda/kernels/pool2d_plan.h"

namespace lc::cuda {
namespace {

constexpr int kThreads = 256;

// ---- device -----------------------------------------------------------------------------------------------------------

struct Planes {
    PoolLine rows, cols;
    Divider in, in_line, out, out_line;               // elements of a plane and of its lines
    double divisor;

    template <class A> __device__ __forceinline__ A divided_by(int i, int j) const {
        return divisor != 0 ? A(divisor) : A(int64_t(rows.count(i)) * cols.count(j));
    }
};
struct Element {
    int plane, row, col;
};
__device__ __forceinline__ Element element(int i, const Divider& plane, const Divider& line) {
    const int p = plane.divide(i), at = i - p * int(plane.d), row = line.divide(at);
    return {p, row, at - row * int(line.d)};
}

template <class T> __global__ __launch_bounds__(kThreads) void max_forward_kernel(Planes p, int n, const T* x, T* y, int64_t* index) {
    using A = acc_t<T>;
    const int64_t o = int64_t(blockIdx.x) * kThreads + threadIdx.x;
    if (o >= n) return;
    const Element e = element(int(o), p.out, p.out_line);
    const PoolSpan rows = p.rows.window(e.row), cols = p.cols.window(e.col);
    x += int64_t(e.plane) * p.in.d;
    A best = -A(INFINITY);
    int at = -1;
    for (int r = rows.begin; r < rows.end; r += p.rows.step)
        for (int c = cols.begin; c < cols.end; c += p.cols.step) {
            const int place = r * p.cols.size + c;
            const A v = widen(x[place]);
            if (at < 0 || v > best || (v != v && best == best)) best = v, at = place;
        }
    y[o] = narrow<T>(best);
    if (index) index[o] = at;
}

template <class T> __global__ __launch_bounds__(kThreads) void max_backward_kernel(Planes p, int n, const T* dy, const int64_t* index, T* dx) {
    const int64_t o = int64_t(blockIdx.x) * kThreads + threadIdx.x;
    if (o >= n) return;
    const Element e = element(int(o), p.in, p.in_line);
    const PoolSpan rows = p.rows.covering(e.row), cols = p.cols.covering(e.col);
    const int64_t out = int64_t(e.plane) * p.out.d;
    const int place = e.row * p.cols.size + e.col;
    acc_t<T> sum = 0;
    for (int i = rows.begin; i < rows.end; ++i)
        for (int j = cols.begin; j < cols.end; ++j) {
            const int64_t from = out + i * p.cols.outputs + j;
            if (index[from] == place) sum += widen(dy[from]);
        }
    dx[o] = narrow<T>(sum);
}

template <class T> __global__ __launch_bounds__(kThreads) void avg_forward_kernel(Planes p, int n, const T* x, T* y) {
    using A = acc_t<T>;
    const int64_t o = int64_t(blockIdx.x) * kThreads + threadIdx.x;
    if (o >= n) return;
    const Element e = element(int(o), p.out, p.out_line);
    const PoolSpan rows = p.rows.window(e.row), cols = p.cols.window(e.col);
    x += int64_t(e.plane) * p.in.d;
    A sum = 0;
    for (int c = cols.begin; c < cols.end; ++c) {
        A column = 0;
        for (int r = rows.begin; r < rows.end; ++r) column += widen(x[r * p.cols.size + c]);
        sum += column;
    }
    y[o] = narrow<T>(sum / p.divided_by<A>(e.row, e.col));
}

template <class T> __global__ __launch_bounds__(kThreads) void avg_backward_kernel(Planes p, int n, const T* dy, T* dx) {
    using A = acc_t<T>;
    const int64_t o = int64_t(blockIdx.x) * kThreads + threadIdx.x;
    if (o >= n) return;
    const Element e = element(int(o), p.in, p.in_line);
    const PoolSpan rows = p.rows.covering(e.row), cols = p.cols.covering(e.col);
    dy += int64_t(e.plane) * p.out.d;
    A sum = 0;
    for (int i = rows.begin; i < rows.end; ++i) {
        A line = 0;
#pragma unroll 1                                      // a division is a call: more at once only spill
        for (int j = cols.begin; j < cols.end; ++j) line += widen(dy[i * p.cols.outputs + j]) / p.divided_by<A>(i, j);
        sum += line;
    }
    dx[o] = narrow<T>(sum);
}

// ---- host ---------------------------------------------------------------------------------------------------------------

Planes planes(const Pool2dShape& s) {
    LC_CHECK(pool_fits(s), ValueError, "pool2d: ", s.planes, " planes of ", s.h, " x ", s.w, " are too large for CUDA; give fewer than 2^31 elements at once");
    return {pool_line(s.rows, s.h, s.oh), pool_line(s.cols, s.w, s.ow), s.h * s.w, s.w, s.oh * s.ow, s.ow, s.divisor};
}

template <class... P, class... A> void each(int64_t n, void (*kernel)(Planes, int, P...), const Pool2dShape& s, A... operands) {
    if (n == 0) return;
    if (s.oh * s.ow == 0) return;
    launch("pool2d", kernel, thread_each(n, kThreads), planes(s), int(n), operands...);
}
int64_t inputs(const Pool2dShape& s) { return s.planes * s.h * s.w; }
int64_t outputs(const Pool2dShape& s) { return s.planes * s.oh * s.ow; }

// No output, no gradient.
template <class T> bool nothing(const Pool2dShape& s, T* dx) {
    if (outputs(s) > 0) return false;
    fill_bytes(dx, 0, size_t(inputs(s)) * sizeof(T), {Device::Type::cuda, int8_t(device_in_use())});
    return true;
}

}  // namespace

template <class T> void max_pool2d_forward(const MaxPool2dForward<T>& a) { each(outputs(a.shape), max_forward_kernel<T>, a.shape, a.x, a.y, a.index); }
template <class T> void max_pool2d_backward(const MaxPool2dBackward<T>& a) {
    if (!nothing(a.shape, a.dx)) each(inputs(a.shape), max_backward_kernel<T>, a.shape, a.dy, a.index, a.dx);
}
template <class T> void avg_pool2d_forward(const AvgPool2dForward<T>& a) { each(outputs(a.shape), avg_forward_kernel<T>, a.shape, a.x, a.y); }
template <class T> void avg_pool2d_backward(const AvgPool2dBackward<T>& a) {
    if (!nothing(a.shape, a.dx)) each(inputs(a.shape), avg_backward_kernel<T>, a.shape, a.dy, a.dx);
}

template void max_pool2d_forward(const MaxPool2dForward<float>&);
template void max_pool2d_forward(const MaxPool2dForward<double>&);
template void max_pool2d_forward(const MaxPool2dForward<bfloat16>&);
template void max_pool2d_forward(const MaxPool2dForward<float16>&);
template void max_pool2d_backward(const MaxPool2dBackward<float>&);
template void max_pool2d_backward(const MaxPool2dBackward<double>&);
template void max_pool2d_backward(const MaxPool2dBackward<bfloat16>&);
template void max_pool2d_backward(const MaxPool2dBackward<float16>&);
template void avg_pool2d_forward(const AvgPool2dForward<float>&);
template void avg_pool2d_forward(const AvgPool2dForward<double>&);
template void avg_pool2d_forward(const AvgPool2dForward<bfloat16>&);
template void avg_pool2d_forward(const AvgPool2dForward<float16>&);
template void avg_pool2d_backward(const AvgPool2dBackward<float>&);
template void avg_pool2d_backward(const AvgPool2dBackward<double>&);
template void avg_pool2d_backward(const AvgPool2dBackward<bfloat16>&);
template void avg_pool2d_backward(const AvgPool2dBackward<float16>&);

}  // namespace lc::cuda
