// Between the layouts of tensors and those that conv2d_sm90.cu multiplies. Memory bound: an element read, an element written.
#include "cuda/arch/convert.cuh"
#include "cuda/arch/shared.cuh"
#include "cuda/arch/warp.cuh"
#include "cuda/core/launch.h"
#include "cuda/kernels/conv2d_kernels.h"

namespace lc::cuda {
namespace {

constexpr int kThreads = 256, kEdge = 64;

template <class T> struct Square {
    T x[kEdge][kEdge + 2];                            // by pixels; two more channels send neighbouring pixels to other banks
};

// 64 channels of 64 pixels: a warp reads a run of pixels of each of its 8 channels, and writes four pixels' channels at once.
template <class T> __global__ __launch_bounds__(kThreads) void channels_last_kernel(const T* x, int c, int plane, Divider across, Divider down, bool pairs, T* y) {
    auto& square = shared_memory<Square<T>>();
    const int rest = across.divide(int(blockIdx.x)), image = down.divide(rest);
    const int p0 = (int(blockIdx.x) - rest * int(across.d)) * kEdge, c0 = (rest - image * int(down.d)) * kEdge;
    const int pixel = 2 * lane_id();
    x += (int64_t(image) * c + c0) * plane + p0;
#pragma unroll
    for (int i = 0; i < kEdge / 8; ++i) {
        const int channel = i * 8 + warp_id();
        if (c0 + channel >= c) continue;
        const T* from = x + int64_t(channel) * plane + pixel;
        T two[2] = {};
        if (pairs) {
            if (p0 + pixel < plane) *reinterpret_cast<uint32_t*>(two) = *reinterpret_cast<const uint32_t*>(from);
        } else {
            for (int e = 0; e < 2; ++e)
                if (p0 + pixel + e < plane) two[e] = from[e];
        }
        square.x[pixel][channel] = two[0];
        square.x[pixel + 1][channel] = two[1];
    }
    __syncthreads();
    const int channel = int(threadIdx.x) % 8 * 8;
    if (c0 + channel >= c) return;
#pragma unroll
    for (int i = 0; i < 2; ++i) {
        const int p = i * 32 + int(threadIdx.x) / 8;
        if (p0 + p >= plane) continue;
        Pack<T> pack;
#pragma unroll
        for (int e = 0; e < 8; e += 2) *reinterpret_cast<uint32_t*>(pack.x + e) = *reinterpret_cast<const uint32_t*>(&square.x[p][channel + e]);
        store_pack(y + (int64_t(image) * plane + p0 + p) * c + c0 + channel, pack);
    }
}

template <class T> __global__ __launch_bounds__(kThreads) void taps_first_kernel(const T* w, int c, int taps, int outer, int inner, bool swapped, T* y) {
    const int64_t at = int64_t(blockIdx.x) * kThreads + threadIdx.x;
    if (at >= int64_t(taps) * outer * inner) return;
    const int i = int(at % inner), o = int(at / inner % outer), tap = int(at / inner / outer);
    y[at] = w[(int64_t(swapped ? i : o) * c + (swapped ? o : i)) * taps + tap];
}

template <class T>
__global__ __launch_bounds__(kThreads) void add_filter_parts_kernel(const float* sums, int parts, int64_t part, int cols, int channels, int c, int taps, int64_t count, T* w) {
    const int64_t at = int64_t(blockIdx.x) * kThreads + threadIdx.x;
    if (at >= count) return;
    const int channel = int(at % c), tap = int(at / c % taps);
    const int64_t k = at / c / taps;
    const float* from = sums + k * cols + tap * channels + channel;
    float sum = from[0];
    for (int p = 1; p < parts; ++p) sum += from[p * part];
    w[(k * c + channel) * taps + tap] = narrow<T>(sum);
}

}  // namespace

template <class T> void channels_last(const T* x, int64_t n, int64_t c, int64_t plane, T* y) {
    const int64_t across = div_up(plane, kEdge), down = div_up(c, kEdge);
    const bool pairs = plane % 2 == 0 && reinterpret_cast<uintptr_t>(x) % 4 == 0;
    launch("conv2d", channels_last_kernel<T>, {dim3(unsigned(n * across * down)), dim3(kThreads), shared_bytes<Square<T>>}, x, int(c), int(plane), Divider(across), Divider(down),
           pairs, y);
}
template <class T> void taps_first(const T* w, int64_t k, int64_t c, int64_t taps, bool swapped, T* y) {
    launch("conv2d", taps_first_kernel<T>, thread_each(k * c * taps, kThreads), w, int(c), int(taps), int(swapped ? c : k), int(swapped ? k : c), swapped, y);
}
template <class T> void add_filter_parts(const float* sums, int64_t parts, int64_t rows, int64_t cols, int64_t channels, int64_t k, int64_t c, int64_t taps, T* w) {
    launch("conv2d", add_filter_parts_kernel<T>, thread_each(k * c * taps, kThreads), sums, int(parts), rows * cols, int(cols), int(channels), int(c), int(taps), k * c * taps, w);
}

template void channels_last(const bfloat16*, int64_t, int64_t, int64_t, bfloat16*);
template void channels_last(const float16*, int64_t, int64_t, int64_t, float16*);
template void taps_first(const bfloat16*, int64_t, int64_t, int64_t, bool, bfloat16*);
template void taps_first(const float16*, int64_t, int64_t, int64_t, bool, float16*);
template void add_filter_parts(const float*, int64_t, int64_t, int64_t, int64_t, int64_t, int64_t, int64_t, bfloat16*);
template void add_filter_parts(const float*, int64_t, int64_t, int64_t, int64_t, int64_t, int64_t, int64_t, float16*);

}  // namespace lc::cuda
