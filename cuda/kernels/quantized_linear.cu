// quantized_linear on CUDA: a warp for four rows of w. Contract and layout of the codes: cpp/ops/quantized_linear.h
// Bound by reading the codes, 16 bytes a lane, once for four rows of x. Many rows of x: the weight is unpacked for matmul.
#include "cpp/ops/quantized_linear.h"
#include "cuda/arch/convert.cuh"
#include "cuda/arch/warp.cuh"
#include "cuda/core/launch.h"

namespace lc::cuda {
namespace {

constexpr int kThreads = 256, kWarps = kThreads / 32, kRows = 4;      // kRows: of x, whose sums a lane keeps

// ---- device -----------------------------------------------------------------------------------------------------------

// Code e of row j in a lane's 16 bytes, e < 4; 4 bits: the low halves, then the high ones.
template <int bits> __device__ __forceinline__ int code(const Pack<uint8_t>& pack, int j, int e) {
    if (bits == 8) return int(int8_t(pack.x[4 * j + e]));
    const int b = pack.x[4 * j + e % 4];
    return ((e < 4 ? b & 15 : b >> 4) ^ 8) - 8;
}

template <int bits> __global__ __launch_bounds__(kThreads) void multiply_kernel(QuantizedLinearForward<float> a) {
    constexpr int kDepths = 32 / bits;                // in 16 bytes, of each of four rows
    const int64_t quad = int64_t(blockIdx.x) * kWarps + warp_id(), depth = quantized_depth(a.k), row = int64_t(blockIdx.y) * kRows;
    if (4 * quad >= a.n) return;
    const uint8_t* codes = a.codes + quad * depth * bits / 2;
    float sum[kRows][4] = {};
    for (int64_t chunk = lane_id(); chunk * kDepths < depth; chunk += 32) {
        const Pack<uint8_t> pack = load_pack(codes + chunk * 16);
        const int64_t k = chunk * kDepths, group = a.groups == 1 ? 0 : k / kQuantizedGroup;
        float x[kRows][kDepths];
#pragma unroll
        for (int i = 0; i < kRows; ++i)
#pragma unroll
            for (int e = 0; e < kDepths; ++e) x[i][e] = row + i < a.m ? a.x[(row + i) * depth + k + e] : 0.0f;
#pragma unroll
        for (int j = 0; j < 4; ++j) {
            const float scale = 4 * quad + j < a.n ? a.scales[(4 * quad + j) * a.groups + group] : 0.0f;
#pragma unroll
            for (int e = 0; e < kDepths; ++e) {
                const float w = float(code<bits>(pack, j, e)) * scale;
#pragma unroll
                for (int i = 0; i < kRows; ++i) sum[i][j] += x[i][e] * w;
            }
        }
    }
#pragma unroll
    for (int i = 0; i < kRows; ++i)
#pragma unroll
        for (int j = 0; j < 4; ++j) {
            const float y = warp_reduce(sum[i][j], [](float u, float v) { return u + v; });
            const int64_t column = 4 * quad + j;
            if (lane_id() == 0 && row + i < a.m && column < a.n) a.y[(row + i) * a.n + column] = a.bias ? y + a.bias[column] : y;
        }
}

template <class T> __global__ __launch_bounds__(kThreads) void unpack_kernel(QuantizedUnpack<T> a) {
    const int64_t j = int64_t(blockIdx.y) * 65535 + blockIdx.z, k = int64_t(blockIdx.x) * kThreads + threadIdx.x;
    if (j >= a.n || k >= a.k) return;
    const int64_t quad = j / 4 * (quantized_depth(a.k) * a.bits / 2);
    const uint8_t b = a.codes[quad + (a.bits == 8 ? k / 4 : k / 8) * 16 + j % 4 * 4 + k % 4];
    const int q = a.bits == 8 ? int(int8_t(b)) : ((k % 8 < 4 ? b & 15 : b >> 4) ^ 8) - 8;
    a.w[j * a.k + k] = T(q) * a.scales[j * a.groups + (a.groups == 1 ? 0 : k / kQuantizedGroup)];
}

}  // namespace

// ---- host -------------------------------------------------------------------------------------------------------------

template <class T> void quantized_linear_forward(const QuantizedLinearForward<T>& a) {
    if (a.m * a.n == 0) return;
    const Grid grid{Blocks(div_up(div_up(a.n, 4), kWarps), div_up(a.m, kRows)), dim3(kThreads)};
    launch("quantized_linear", a.bits == 8 ? multiply_kernel<8> : multiply_kernel<4>, grid, a);
}
template <class T> void quantized_unpack(const QuantizedUnpack<T>& a) {
    if (a.n * a.k == 0) return;
    const Grid grid{Blocks(div_up(a.k, kThreads), div_up(a.n, 65535), a.n < 65535 ? a.n : 65535), dim3(kThreads)};
    launch("dequantize_weight", unpack_kernel<T>, grid, a);
}

template void quantized_linear_forward(const QuantizedLinearForward<float>&);
template void quantized_unpack(const QuantizedUnpack<float>&);

}  // namespace lc::cuda
