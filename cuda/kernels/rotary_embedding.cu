// rotary_embedding on CUDA: a warp per row. Contract: cpp/ops/rotary_embedding.h
// Memory bound: x is read and y written once; the tables of a position are shared by the batch.
#include "cpp/ops/rotary_embedding.h"
#include "cuda/arch/convert.cuh"
#include "cuda/arch/warp.cuh"
#include "cuda/core/launch.h"

namespace lc::cuda {
namespace {

constexpr int kThreads = 256, kRows = kThreads / 32;

// sign is 1, or -1 to turn back.
template <class T> __global__ __launch_bounds__(kThreads) void turn_kernel(RotaryEmbeddingForward<T> a, acc_t<T> sign) {
    using A = acc_t<T>;
    const int64_t r = int64_t(blockIdx.x) * kRows + warp_id();
    if (r >= a.batch * a.seq) return;
    const T* x = a.x + r * a.dim;
    T* y = a.y + r * a.dim;
    const int64_t table = r % a.seq * a.pairs;
    for (int64_t i = lane_id(); i < a.pairs; i += 32) {
        const int64_t one = a.interleaved ? 2 * i : i, other = a.interleaved ? one + 1 : i + a.pairs;
        const A u = widen(x[one]), v = widen(x[other]), c = a.cos[table + i], s = a.sin[table + i] * sign;
        y[one] = narrow<T>(u * c - v * s);
        y[other] = narrow<T>(u * s + v * c);
    }
    for (int64_t i = 2 * a.pairs + lane_id(); i < a.dim; i += 32) y[i] = x[i];
}

template <class T> void turn(const char* name, const RotaryEmbeddingForward<T>& a, acc_t<T> sign) {
    launch(name, turn_kernel<T>, {Blocks(div_up(a.batch * a.seq, kRows)), dim3(kThreads)}, a, sign);
}

}  // namespace

template <class T> void rotary_embedding_forward(const RotaryEmbeddingForward<T>& a) { turn("rotary_embedding", a, acc_t<T>(1)); }
template <class T> void rotary_embedding_backward(const RotaryEmbeddingBackward<T>& a) { turn("rotary_embedding_backward", a, acc_t<T>(-1)); }

#define LC_INSTANTIATE(T) \
    template void rotary_embedding_forward(const RotaryEmbeddingForward<T>&); \
    template void rotary_embedding_backward(const RotaryEmbeddingBackward<T>&);
LC_INSTANTIATE(float)
LC_INSTANTIATE(double)
LC_INSTANTIATE(bfloat16)
LC_INSTANTIATE(float16)
#undef LC_INSTANTIATE

}  // namespace lc::cuda
