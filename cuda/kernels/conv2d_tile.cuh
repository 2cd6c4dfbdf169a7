// The product of two slices in shared memory, for conv2d: on tensor cores, or by multiply-adds. A tile takes units of
// the depth (8 elements, or 1) of a row of either operand; two halves are filled and multiplied in turn.
#pragma once
#include "cuda/arch/convert.cuh"
#include "cuda/arch/matrix.cuh"
#include "cuda/arch/warp.cuh"
#include "cuda/kernels/conv2d_plan.h"

namespace lc::cuda {

// Each of 16 x 16 threads has 4 x 4 sums. 32 multiply-adds per 8 loads from shared memory.
template <class T> struct ScalarTile {
    static constexpr int kM = conv_tile_m, kN = conv_tile_n(false), kDepth = conv_depth(false), kUnit = 1;
    struct Slices {
        T a[2][kDepth][kM + 16 / sizeof(T)];          // a row's padding sends neighbours in depth to other banks
        T b[2][kDepth][kN + 16 / sizeof(T)];
    };
    T sum[4][4] = {};

    static __device__ __forceinline__ void put_a(Slices& s, int half, int i, int unit, const T (&x)[1]) { s.a[half][unit][i] = x[0]; }
    static __device__ __forceinline__ void put_b(Slices& s, int half, int j, int unit, const T (&x)[1]) { s.b[half][unit][j] = x[0]; }
    __device__ __forceinline__ void multiply(Slices& s, int half) {
        const int ti = int(threadIdx.x) / 16 * 4, tj = int(threadIdx.x) % 16 * 4;
#pragma unroll
        for (int d = 0; d < kDepth; ++d) {
            T va[4], vb[4];
#pragma unroll
            for (int i = 0; i < 4; ++i) va[i] = s.a[half][d][ti + i];
#pragma unroll
            for (int j = 0; j < 4; ++j) vb[j] = s.b[half][d][tj + j];
#pragma unroll
            for (int i = 0; i < 4; ++i)
#pragma unroll
                for (int j = 0; j < 4; ++j) sum[i][j] += va[i] * vb[j];
        }
    }
    template <class F> __device__ __forceinline__ void each(F f) const {
#pragma unroll
        for (int i = 0; i < 4; ++i)
#pragma unroll
            for (int j = 0; j < 4; ++j) f(int(threadIdx.x) / 16 * 4 + i, int(threadIdx.x) % 16 * 4 + j, sum[i][j]);
    }
};

// 2 x 4 warps have 32 x 32 sums each. A row of a slice is 4 chunks of 16 bytes, or 8 of floats, permuted by its number, so
// that eight rows of one chunk lie in eight different groups of banks. Floats are rounded to tf32 on their way there.
template <class T> struct TensorTile {
    static constexpr int kM = conv_tile_m, kN = conv_tile_n(true), kDepth = conv_depth(true), kUnit = 8;
    static constexpr int kChunk = Pack<T>::kCount, kChunks = kDepth / kChunk;
    struct alignas(16) Slices {
        T a[2][kM * kDepth], b[2][kN * kDepth];
    };
    float sum[2][4][4] = {};

    static __device__ __forceinline__ T* chunk_at(T* slice, int row, int chunk) { return slice + row * kDepth + (chunk ^ (row * kChunks / 8 % kChunks)) * kChunk; }
    static __device__ __forceinline__ void put(T* slice, int row, int unit, const T (&x)[kUnit]) {
#pragma unroll
        for (int c = 0; c < kUnit / kChunk; ++c) {
            Pack<T> pack;
#pragma unroll
            for (int e = 0; e < kChunk; ++e) {
                if constexpr (sizeof(T) == 4) pack.x[e] = std::bit_cast<float>(round_to_tf32(std::bit_cast<uint32_t>(x[c * kChunk + e])));
                else pack.x[e] = x[c * kChunk + e];
            }
            store_pack(chunk_at(slice, row, unit * (kUnit / kChunk) + c), pack);
        }
    }
    static __device__ __forceinline__ void multiply(float (&sum)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
        if constexpr (sizeof(T) == 4) mma_16x8x8_tf32(sum, a, b);
        else mma_16x8x16<T>(sum, a, b);
    }
    static __device__ __forceinline__ void put_a(Slices& s, int half, int i, int unit, const T (&x)[kUnit]) { put(s.a[half], i, unit, x); }
    static __device__ __forceinline__ void put_b(Slices& s, int half, int j, int unit, const T (&x)[kUnit]) { put(s.b[half], j, unit, x); }
    __device__ __forceinline__ void multiply(Slices& s, int half) {
        const int row = warp_id() / 4 * 32, col = warp_id() % 4 * 32, i8 = lane_id() / 8, j = lane_id() % 8;
#pragma unroll
        for (int chunk = 0; chunk < kChunks; chunk += 2) {
            uint32_t fa[2][4], fb[2][4];
#pragma unroll
            for (int i = 0; i < 2; ++i) load_matrices(fa[i], chunk_at(s.a[half], row + 16 * i + i8 % 2 * 8 + j, chunk + i8 / 2));
#pragma unroll
            for (int i = 0; i < 2; ++i) load_matrices(fb[i], chunk_at(s.b[half], col + 16 * i + i8 / 2 * 8 + j, chunk + i8 % 2));
#pragma unroll
            for (int i = 0; i < 2; ++i)
#pragma unroll
                for (int k = 0; k < 4; ++k) multiply(sum[i][k], fa[i], {fb[k / 2][k % 2 * 2], fb[k / 2][k % 2 * 2 + 1]});
        }
    }
    template <class F> __device__ __forceinline__ void each(F f) const {
        const int row = warp_id() / 4 * 32 + lane_id() / 4, col = warp_id() % 4 * 32 + lane_id() % 4 * 2;
#pragma unroll
        for (int i = 0; i < 2; ++i)
#pragma unroll
            for (int j = 0; j < 4; ++j)
#pragma unroll
                for (int e = 0; e < 4; ++e) f(row + 16 * i + e / 2 * 8, col + 8 * j + e % 2, sum[i][j][e]);
    }
};

}  // namespace lc::cuda
