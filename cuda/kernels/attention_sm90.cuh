// What attention's kernels for Hopper share: tiles as the copy engine writes them, operands of wgmma in them, and results on
// their way out.
#pragma once
#include <math.h>
#include "cpp/ops/attention.h"
#include "cuda/arch/convert.cuh"
#include "cuda/arch/matrix.cuh"
#include "cuda/arch/pipeline.cuh"
#include "cuda/arch/warp.cuh"
#include "cuda/arch/wgmma.cuh"
#include "cuda/core/launch.h"
#include "cuda/core/tensor_map.h"

namespace lc::cuda {

constexpr int kSlab = 64;                              // columns of 128 bytes, what is swizzled together
constexpr double kAttentionLog2E = 1.4426950408889634; // scores are in units of base 2, as lse is

// Rows of a head, zero from its own width on: slabs of 64 columns one after the other.
template <class T, int rows, int width> struct alignas(1024) HeadTile {
    T slab[width / kSlab][rows * kSlab];

    static constexpr int kBytes = rows * width * int(sizeof(T));
    // An operand whose depth is d, from `row` on.
    __device__ __forceinline__ uint64_t along(int row) const { return tile_descriptor(&slab[0][row * kSlab], 16, 1024); }
    static __device__ __forceinline__ uint64_t step_along(uint64_t x, int d) { return advanced(x, d / kSlab * rows * 128 + d % kSlab * 2); }
    // An operand whose depth is the rows.
    __device__ __forceinline__ uint64_t across() const { return tile_descriptor(slab, rows * 128, 1024); }
    static __device__ __forceinline__ uint64_t step_across(uint64_t x, int row) { return advanced(x, row * 128); }

    __device__ __forceinline__ void load(const CUtensorMap& map, PhaseBarrier& full, int row, int h, int b) {
#pragma unroll
        for (int i = 0; i < width / kSlab; ++i) box_load(slab[i], map, full, i * kSlab, row, h, b);
    }
};

// d (+)= a b, depth along the heads' width: 64 rows of one tile, from `row` on, with n rows of another one.
template <class T, int n, int rows_a, int width>
__device__ __forceinline__ void multiply_heads(float (&d)[n / 2], const HeadTile<T, rows_a, width>& a, int row, const HeadTile<T, n, width>& b) {
    const uint64_t first_a = a.along(row), first_b = b.along(0);
#pragma unroll
    for (int i = 0; i < width; i += 16)
        warpgroup_multiply<T, n, false, false>(d, a.step_along(first_a, i), b.step_along(first_b, i), i > 0);
}
// sum (+)= x times the tile's rows.
template <class T, int n, int width>
__device__ __forceinline__ void multiply_rows(float (&sum)[width / 2], const uint32_t (&x)[n / 16][4], const HeadTile<T, n, width>& tile, bool accumulate) {
    const uint64_t first = tile.across();
#pragma unroll
    for (int i = 0; i < n / 16; ++i) warpgroup_multiply<T, width, true>(sum, x[i], tile.step_across(first, 16 * i), accumulate || i > 0);
}
// Sums of a product, rounded, as the rows of a of the next one.
template <class T, int k> __device__ __forceinline__ void as_operand(uint32_t (&x)[k][4], const float (&s)[8 * k]) {
#pragma unroll
    for (int i = 0; i < 4 * k; ++i) x[i / 4][i % 4] = narrow_pair<T>(s[2 * i], s[2 * i + 1]);
}

// Named barrier first + i of up to three: an id must be an immediate.
template <int first> __device__ __forceinline__ void sync_at(int i, int threads LC_AND_PLACE) {
#ifdef LC_EMULATED
    emulator::named_barrier(first + i, threads, true, place);
#else
    if (i == 0) barrier_sync<first>(threads);
    else if (i == 1) barrier_sync<first + 1>(threads);
    else barrier_sync<first + 2>(threads);
#endif
}
template <int first> __device__ __forceinline__ void arrive_at(int i, int threads) {
    if (i == 0) barrier_arrive<first>(threads);
    else if (i == 1) barrier_arrive<first + 1>(threads);
    else barrier_arrive<first + 2>(threads);
}

// A warpgroup's 64 rows of sums, rounded, into its own tile and from there to y; barrier: one of its own. What is outside of
// the head is not written.
template <class T, int width, int first_barrier>
__device__ __forceinline__ void store_rows(HeadTile<T, 64, width>& tile, const float (&sum)[width / 2], const CUtensorMap& y, int row, int h, int b, int consumer) {
    const bool first_thread = threadIdx.x % 128 == 0;
    if (first_thread) box_store_wait<0>();             // what the tile held before has been read
    sync_at<first_barrier>(consumer, 128);
    const int at = warp_id() % 4 * 16 + lane_id() % 16;
#pragma unroll
    for (int j = 0; j < width / 16; ++j) {
        const int chunk = (2 * (j % 4) + lane_id() / 16) ^ (at & 7);
        uint32_t r[4];
#pragma unroll
        for (int i = 0; i < 4; ++i) r[i] = narrow_pair<T>(sum[8 * j + 2 * i], sum[8 * j + 2 * i + 1]);
        store_matrices(&tile.slab[j / 4][at * kSlab + chunk * 8], r);
    }
    fence_async_proxy();                               // by every writer, before the barrier
    sync_at<first_barrier>(consumer, 128);
    if (first_thread) {
#pragma unroll
        for (int i = 0; i < width / kSlab; ++i) box_store(y, tile.slab[i], i * kSlab, row, h, b);
        box_store_commit();
    }
}

// ---- host ---------------------------------------------------------------------------------------------------------------

// A matrix as the copy engine reads it. A view whose strides or address it cannot take is copied first, so that the kernel,
// and with it every bit, is the same for all views.
template <class T> bool boxes_reach(const AttentionMatrix<const T>& x, int64_t batch, int64_t heads, int64_t rows) {
    const auto fits = [](int64_t size, int64_t stride) { return size <= 1 || (stride > 0 && stride % (16 / int(sizeof(T))) == 0); };
    return reinterpret_cast<uintptr_t>(x.data) % 16 == 0 && fits(rows, x.row) && fits(heads, x.head) && fits(batch, x.batch);
}

// y: dense, of n elements.
template <class T> void copy_heads(T* y, const AttentionMatrix<const T>& x, int64_t heads, int64_t rows, int64_t cols, int64_t n);

template <class T> class HeadsView {
public:
    HeadsView(const AttentionMatrix<const T>& x, int64_t batch, int64_t heads, int64_t rows, int64_t cols)
        : x_(x), batch_(batch), heads_(heads), rows_(rows), cols_(cols), direct_(boxes_reach(x, batch, heads, rows)), dense_(direct_ ? 0 : batch * heads * rows * cols) {
        if (direct_) return;
        const int64_t n = batch * heads * rows * cols;
        copy_heads(dense_.data(), x, heads, rows, cols, n);
        x_ = {dense_.data(), heads * rows * cols, rows * cols, cols};
    }
    const AttentionMatrix<const T>& matrix() const { return x_; }              // dense rows of whole 16 bytes
    CUtensorMap map(int box_rows) const { return encode_matrices({x_.data, dtype_of<T>, {cols_, rows_, heads_, batch_}, {1, x_.row, x_.head, x_.batch}, kSlab, box_rows}); }

private:
    AttentionMatrix<const T> x_;
    int64_t batch_, heads_, rows_, cols_;
    bool direct_;
    Scratch<T> dense_;
};
// What store_rows writes to.
template <class T> CUtensorMap heads_out(const AttentionMatrix<T>& y, int64_t batch, int64_t heads, int64_t rows, int64_t cols) {
    return encode_matrices({y.data, dtype_of<T>, {cols, rows, heads, batch}, {1, y.row, y.head, y.batch}, kSlab, 64});
}

}  // namespace lc::cuda
