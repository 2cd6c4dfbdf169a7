// matmul of 16-bit elements, and of floats rounded to tf32, by mma.sync and cp.async, for sm_80 and later.
// Contract: cpp/ops/matmul.h
//
// A block computes 128 x 128 of y: 8 warps of 64 x 32, three stages of 128 x 128-byte slices of a and b under way. Compute
// bound: a stage is 32 KB for 2 (tf32: 1) million products. 96 KB of shared memory, which the smallest chips of sm_8x have.
#include <bit>
#include "cuda/arch/async_copy.cuh"
#include "cuda/arch/matrix.cuh"
#include "cuda/arch/warp.cuh"
#include "cuda/core/launch.h"
#include "cuda/kernels/matmul_epilogue.cuh"
#include "cuda/kernels/matmul_kernels.h"

namespace lc::cuda {
namespace {

constexpr int kThreads = 256, kTile = kTensorTile, kStages = kTensorStages;
template <class T> constexpr int kDepth = 128 / int(sizeof(T));
template <class T> constexpr int kChunk = 16 / int(sizeof(T));     // what is moved at once

template <class T> struct Slice {
    T x[kTile * kDepth<T>];
};
template <class T> struct alignas(128) Ring {
    Slice<T> a[kStages], b[kStages];
};
static_assert(sizeof(Ring<bfloat16>) <= 99 << 10, "what a block of sm_86 and sm_89 may have");

// ---- device: slices in shared memory ------------------------------------------------------------------------------------
// along: [128 rows][128 bytes of k], across: [of k][128 rows]; 16-byte chunks of a row are permuted by its number, so that
// eight rows of one chunk lie in eight different groups of banks. Floats across are read one by one: two chunks of four rows.

template <class T, bool across> __device__ __forceinline__ T* chunk_at(Slice<T>& s, int row, int k) {
    constexpr int c = kChunk<T>;
    if (across) return s.x + k * kTile + ((row / c) ^ (sizeof(T) == 2 ? k & 7 : 2 * (k & 3))) * c;
    return s.x + row * kDepth<T> + ((k / c) ^ (row & 7)) * c;
}

struct Operand {
    int64_t outer, depth, rows, k;                    // strides and sizes
    bool direct;                                      // 16-byte chunks can be copied as they are
};

// The tiles of y, and where k is cut: the depth of a part, and where the parts' sums go, or null.
struct Cut {
    int tiles_m, tiles_n;
    int64_t part_k;
    float* sums;
};

// Starts filling a slice with rows [row0, row0 + 128) and depth from k0 on; zero outside the operand.
template <class T, bool across> __device__ __forceinline__ void fill(Slice<T>& s, const T* x, const Operand& o, int64_t row0, int64_t k0) {
    constexpr int c = kChunk<T>, kPerLine = (across ? kTile : kDepth<T>) / c, kLines = across ? kDepth<T> : kTile;
#pragma unroll
    for (int i = 0; i < kLines * kPerLine / kThreads; ++i) {
        const int at = i * kThreads + int(threadIdx.x), line = at / kPerLine, first = at % kPerLine * c;
        const int64_t row = row0 + (across ? first : line), k = k0 + (across ? line : first);
        T* to = chunk_at<T, across>(s, across ? first : line, across ? line : first);
        const int64_t left = (across ? k < o.k : row < o.rows) ? (across ? o.rows - row : o.k - k) : 0;
        const int count = left >= c ? c : left > 0 ? int(left)
                                                   : 0;
        const T* from = x + (count ? row * o.outer + k * o.depth : 0);
        if (o.direct) {
            copy_async(to, from, count * int(sizeof(T)));
        } else {
            const int64_t step = across ? o.outer : o.depth;
            Pack<T> pack;
#pragma unroll
            for (int j = 0; j < c; ++j) pack.x[j] = j < count ? from[j * step] : T{0};
            store_pack(to, pack);
        }
    }
}

// As a load of four matrices that transposes floats, if there were one: bit row_bit of i steps 8 rows, the other one 4 of k.
template <int row_bit> __device__ __forceinline__ void load_floats(uint32_t (&r)[4], Slice<float>& s, int row, int k) {
    const int g = lane_id() / 4, t = lane_id() % 4;
#pragma unroll
    for (int i = 0; i < 4; ++i) {
        const int at = row + (i >> row_bit & 1) * 8 + g;
        r[i] = std::bit_cast<uint32_t>(chunk_at<float, true>(s, at, k + (i >> (1 - row_bit) & 1) * 4 + t)[at % 4]);
    }
}
__device__ __forceinline__ void round_all(uint32_t (&r)[4]) {
#pragma unroll
    for (uint32_t& x : r) x = round_to_tf32(x);
}

// 16 rows x two chunks of k as the fragment of a; as two fragments of b, of 8 columns each, in {b0[0], b0[1], b1[0], b1[1]}.
// A float takes the place of two 16-bit elements.
template <class T, bool across> __device__ __forceinline__ void load_a(uint32_t (&r)[4], Slice<T>& s, int row, int k) {
    const int i = lane_id() / 8, j = lane_id() % 8;
    if constexpr (!across) load_matrices(r, chunk_at<T, false>(s, row + i % 2 * 8 + j, k + i / 2 * kChunk<T>));
    else if constexpr (sizeof(T) == 2) load_matrices_transposed(r, chunk_at<T, true>(s, row + i % 2 * 8, k + i / 2 * 8 + j));
    else load_floats<0>(r, s, row, k);
    if constexpr (sizeof(T) == 4) round_all(r);
}
template <class T, bool across> __device__ __forceinline__ void load_b(uint32_t (&r)[4], Slice<T>& s, int col, int k) {
    const int i = lane_id() / 8, j = lane_id() % 8;
    if constexpr (!across) load_matrices(r, chunk_at<T, false>(s, col + i / 2 * 8 + j, k + i % 2 * kChunk<T>));
    else if constexpr (sizeof(T) == 2) load_matrices_transposed(r, chunk_at<T, true>(s, col + i / 2 * 8, k + i % 2 * 8 + j));
    else load_floats<1>(r, s, col, k);
    if constexpr (sizeof(T) == 4) round_all(r);
}

template <class T> __device__ __forceinline__ void multiply(float (&sum)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
    if constexpr (sizeof(T) == 2) mma_16x8x16<T>(sum, a, b);
    else mma_16x8x8_tf32(sum, a, b);
}

// ---- device: the kernel -------------------------------------------------------------------------------------------------

template <class T, bool a_across, bool b_across>
__global__ __launch_bounds__(kThreads) void tensor_kernel(MatmulForward<T> f, Operand oa, Operand ob, Cut cut) {
    auto& ring = shared_memory<Ring<T>>();
    const int tiles = cut.tiles_m * cut.tiles_n, number = int(blockIdx.x) / tiles;
    const TilePlace tile = tile_place(int(blockIdx.x) - number * tiles, cut.tiles_m, cut.tiles_n, 8);
    const int64_t row0 = int64_t(tile.m) * kTile, col0 = int64_t(tile.n) * kTile, entry = cut.sums ? 0 : number, k0 = cut.sums ? number * cut.part_k : 0;
    const T* a = f.a + (f.a_offsets ? f.a_offsets[entry] : entry * f.a_batch);
    const T* b = f.b + (f.b_offsets ? f.b_offsets[entry] : entry * f.b_batch);
    const int64_t depth = f.k - k0 < cut.part_k ? f.k - k0 : cut.part_k, steps = (depth + kDepth<T> - 1) / kDepth<T>;
    const auto start = [&](int64_t s) {
        if (s < steps) {
            fill<T, a_across>(ring.a[s % kStages], a, oa, row0, k0 + s * kDepth<T>);
            fill<T, b_across>(ring.b[s % kStages], b, ob, col0, k0 + s * kDepth<T>);
        }
        copy_async_commit();                          // also an empty group: the wait counts them
    };
    for (int s = 0; s < kStages - 1; ++s) start(s);

    const int warp_row = warp_id() / 4 * 64, warp_col = warp_id() % 4 * 32;
    float sum[4][4][4] = {};                          // 16-row tiles, 8-column tiles, a fragment
    for (int64_t s = 0; s < steps; ++s) {
        copy_async_wait<kStages - 2>();
        __syncthreads();                              // stage s is complete for all, and all have done with stage s - 1
        start(s + kStages - 1);                       // into the place of s - 1
        Slice<T>&sa = ring.a[s % kStages], &sb = ring.b[s % kStages];
#pragma unroll
        for (int k = 0; k < kDepth<T>; k += 2 * kChunk<T>) {
            uint32_t fa[4][4], fb[2][4];
#pragma unroll
            for (int i = 0; i < 4; ++i) load_a<T, a_across>(fa[i], sa, warp_row + 16 * i, k);
#pragma unroll
            for (int j = 0; j < 2; ++j) load_b<T, b_across>(fb[j], sb, warp_col + 16 * j, k);
#pragma unroll
            for (int i = 0; i < 4; ++i)
#pragma unroll
                for (int j = 0; j < 4; ++j) multiply<T>(sum[i][j], fa[i], {fb[j / 2][j % 2 * 2], fb[j / 2][j % 2 * 2 + 1]});
        }
    }
    copy_async_wait<0>();                             // empty groups, but the block must not end with any under way

    const int g = lane_id() / 4, t = lane_id() % 4;
#pragma unroll
    for (int i = 0; i < 4; ++i)
#pragma unroll
        for (int j = 0; j < 4; ++j)
#pragma unroll
            for (int e = 0; e < 4; ++e) {
                const int64_t row = row0 + warp_row + 16 * i + g + 8 * (e / 2), col = col0 + warp_col + 8 * j + 2 * t + e % 2;
                if (cut.sums) cut.sums[(int64_t(number) * cut.tiles_m * kTile + row) * cut.tiles_n * kTile + col] = sum[i][j][e];
                else if (row < f.m && col < f.n) finish(f, sum[i][j][e], col, entry * f.y_batch + row * f.y_row + col);
            }
}

// ---- host ---------------------------------------------------------------------------------------------------------------

template <class T> bool direct(const T* x, int64_t outer, int64_t depth, int64_t batch_stride, const int64_t* offsets) {
    const int64_t line = depth == 1 ? outer : depth;
    return (depth == 1 || outer == 1) && reinterpret_cast<uintptr_t>(x) % 16 == 0 && line % kChunk<T> == 0 && batch_stride % kChunk<T> == 0 && !offsets;
}

}  // namespace

template <class T> void matmul_tensor(const MatmulForward<T>& f, const CudaMatmulPlan& p, float* parts) {
    const Operand oa{f.a_row, f.a_depth, f.m, f.k, direct(f.a, f.a_row, f.a_depth, f.a_batch, f.a_offsets)};
    const Operand ob{f.b_col, f.b_depth, f.n, f.k, direct(f.b, f.b_col, f.b_depth, f.b_batch, f.b_offsets)};
    const bool a_across = f.a_depth != 1 && f.a_row == 1, b_across = f.b_depth != 1 && f.b_col == 1;
    const auto kernel = a_across ? b_across ? tensor_kernel<T, true, true> : tensor_kernel<T, true, false>
        : b_across               ? tensor_kernel<T, false, true>
                                 : tensor_kernel<T, false, false>;
    launch("matmul", kernel, {Blocks(p.tiles_m * p.tiles_n * f.batch * p.parts), dim3(kThreads), shared_bytes<Ring<T>>}, f, oa, ob, Cut{int(p.tiles_m), int(p.tiles_n), p.part_k, parts});
}

template void matmul_tensor(const MatmulForward<float>&, const CudaMatmulPlan&, float*);
template void matmul_tensor(const MatmulForward<bfloat16>&, const CudaMatmulPlan&, float*);
template void matmul_tensor(const MatmulForward<float16>&, const CudaMatmulPlan&, float*);

}  // namespace lc::cuda
