// dropout on CUDA. Contract: cpp/ops/dropout.h. The CPU's numbers: word i is a function of the key and of i (random.h).
// Memory bound: moves 2 elements each; ten rounds of Philox make four words, some 20 instructions an element.
#include "cpp/ops/dropout.h"
#include "cuda/arch/convert.cuh"
#include "cuda/core/launch.h"

namespace lc::cuda {
namespace {

constexpr int kThreads = 256;

// A thread has the four words of a block, which stand 16 apart; 16 neighbours fill the places between.
template <class T> __global__ __launch_bounds__(kThreads) void dropout_kernel(DropoutForward<T> a) {
    using A = acc_t<T>;
    const int64_t block = int64_t(blockIdx.x) * kThreads + threadIdx.x, first = block / 16 * 64 + block % 16;
    if (first >= a.n) return;
    const PhiloxBlock random = philox(a.key, uint64_t(block));
    A x[4];
#pragma unroll
    for (int j = 0; j < 4; ++j)                       // all loads are under way before the first is used
        x[j] = first + 16 * j < a.n ? A(widen(a.x[first + 16 * j])) : A(0);
#pragma unroll
    for (int j = 0; j < 4; ++j)
        if (const int64_t i = first + 16 * j; i < a.n) a.y[i] = narrow<T>(x[j] * (random.word[j] >= a.threshold ? A(a.scale) : A(0)));
}

}  // namespace

template <class T> void dropout_forward(const DropoutForward<T>& a) {
    if (a.n == 0) return;
    launch("dropout", dropout_kernel<T>, {Blocks(div_up(div_up(a.n, 64) * 16, kThreads)), dim3(kThreads)}, a);
}

template void dropout_forward(const DropoutForward<float>&);
template void dropout_forward(const DropoutForward<double>&);
template void dropout_forward(const DropoutForward<bfloat16>&);
template void dropout_forward(const DropoutForward<float16>&);

}  // namespace lc::cuda
