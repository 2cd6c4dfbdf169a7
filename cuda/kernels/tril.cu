// tril on CUDA: a warp per row. Contract: cpp/ops/tril.h. Memory bound: reads one side of x, writes y.
#include "cpp/ops/tril.h"
#include "cuda/arch/warp.cuh"
#include "cuda/core/launch.h"

namespace lc::cuda {
namespace {

constexpr int kThreads = 256, kRows = kThreads / 32;

template <class T> __global__ __launch_bounds__(kThreads) void tril_kernel(TrilForward<T> a) {
    const int64_t r = int64_t(blockIdx.x) * kRows + warp_id();
    if (r >= a.matrices * a.rows) return;
    const int64_t edge = r % a.rows + a.diagonal;     // the column on the diagonal
    for (int64_t c = lane_id(); c < a.cols; c += 32) a.y[r * a.cols + c] = (a.upper ? c >= edge : c <= edge) ? a.x[r * a.cols + c] : T(0);
}

}  // namespace

template <class T> void tril_forward(const TrilForward<T>& a) {
    if (a.matrices * a.rows * a.cols == 0) return;
    launch("tril", tril_kernel<T>, {Blocks(div_up(a.matrices * a.rows, kRows)), dim3(kThreads)}, a);
}

template void tril_forward(const TrilForward<uint8_t>&);
template void tril_forward(const TrilForward<uint16_t>&);
template void tril_forward(const TrilForward<uint32_t>&);
template void tril_forward(const TrilForward<uint64_t>&);

}  // namespace lc::cuda
