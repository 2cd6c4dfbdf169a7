// Rows of a head in shared memory, and fragments of them for mma.sync.
//
// A row is `width` elements, zero from the head's own width on; its 16-byte chunks are permuted by its number, so that eight
// rows of one chunk lie in eight different groups of banks.
#pragma once
#include "cpp/ops/attention.h"
#include "cuda/arch/async_copy.cuh"
#include "cuda/arch/convert.cuh"
#include "cuda/arch/matrix.cuh"
#include "cuda/arch/warp.cuh"

namespace lc::cuda {

constexpr int kChunk = 8;                             // elements of 16 bytes, what is moved at once

template <class T, int rows, int width> struct alignas(sizeof(T) * width) AttentionTile {
    T x[rows * width];

    __device__ __forceinline__ T* chunk(int row, int d) { return x + row * width + ((d / kChunk) ^ (row & 7)) * kChunk; }
    // The same, where d is a multiple of 16 and `odd` 0 or 8 more: d flips bits of an address that is the same for all of them,
    // since a row begins at a multiple of its size. Registers for one address and not for width / 16.
    __device__ __forceinline__ T* chunk(int row, int odd, int d) { return reinterpret_cast<T*>(reinterpret_cast<uintptr_t>(chunk(row, odd)) ^ uintptr_t(d * int(sizeof(T)))); }
};

// One head of a matrix: rows of `cols` elements.
template <class T> struct HeadRows {
    T* data;
    int64_t row, rows;                                // stride, how many
    int cols;
    bool direct;                                      // 16-byte chunks can be copied as they are
};
template <class T> __device__ __forceinline__ HeadRows<T> head_rows(const AttentionMatrix<T>& x, int64_t b, int64_t h, int64_t rows, int64_t cols) {
    T* data = x.at(b, h, 0);
    return {data, x.row, rows, int(cols), reinterpret_cast<uintptr_t>(data) % 16 == 0 && x.row % kChunk == 0};
}

// Elements of a chunk that exist.
template <class T> __device__ __forceinline__ int existing(const HeadRows<T>& x, int64_t row, int d) {
    const int left = row < x.rows ? x.cols - d : 0;
    if (left <= 0) return 0;
    return left < kChunk ? left : kChunk;
}

// Starts filling a tile with rows from row0 on; zero outside the head.
template <int threads, class T, int rows, int width> __device__ __forceinline__ void fill(AttentionTile<T, rows, width>& tile, const HeadRows<const T>& x, int64_t row0) {
    constexpr int kPerRow = width / kChunk, kStep = threads / kPerRow;
    const int first = int(threadIdx.x) / kPerRow, d = int(threadIdx.x) % kPerRow * kChunk;
    const T* line = x.data + (row0 + first) * x.row + d;
#pragma unroll
    for (int i = 0; i < rows / kStep; ++i) {
        const int r = first + i * kStep, count = existing(x, row0 + r, d);
        const T* from = count ? line + i * kStep * x.row : x.data;
        T* to = tile.chunk(r, d);
        if (x.direct) {
            copy_async(to, from, count * int(sizeof(T)));
        } else {
            Pack<T> pack;
#pragma unroll
            for (int j = 0; j < kChunk; ++j) pack.x[j] = j < count ? from[j] : T{0};
            store_pack(to, pack);
        }
    }
}

// 16 rows x 16 of d as a fragment of a.
template <class T, int rows, int width> __device__ __forceinline__ void load_a(uint32_t (&r)[4], AttentionTile<T, rows, width>& tile, int row, int d) {
    load_matrices(r, tile.chunk(row + lane_id() % 16, lane_id() / 16 * 8, d));
}
// Two fragments of b in {b0[0], b0[1], b1[0], b1[1]}: 16 rows of the tile as columns and 16 of d as depth; or transposed, 16
// of d as columns and 16 rows as depth.
template <class T, int rows, int width> __device__ __forceinline__ void load_b(uint32_t (&r)[4], AttentionTile<T, rows, width>& tile, int row, int d) {
    const int i = lane_id() / 8, j = lane_id() % 8;
    load_matrices(r, tile.chunk(row + i / 2 * 8 + j, i % 2 * 8, d));
}
template <class T, int rows, int width> __device__ __forceinline__ void load_b_transposed(uint32_t (&r)[4], AttentionTile<T, rows, width>& tile, int row, int d) {
    const int i = lane_id() / 8, j = lane_id() % 8;
    load_matrices_transposed(r, tile.chunk(row + i % 2 * 8 + j, i / 2 * 8, d));
}

// Columns 16 c to 16 c + 15 of 16 rows of sums, as a fragment of a.
template <class T, int n> __device__ __forceinline__ void as_a(uint32_t (&r)[4], const float (&x)[n][4], int c) {
#pragma unroll
    for (int i = 0; i < 4; ++i) r[i] = narrow_pair<T>(x[2 * c + i / 2][i % 2 * 2], x[2 * c + i / 2][i % 2 * 2 + 1]);
}

// Writes a warp's sums, 16 rows from `row` of the tile on, by way of those rows: they are the warp's own, and read no more.
template <class T, int rows, int width, int n> __device__ __forceinline__ void store_rows(AttentionTile<T, rows, width>& tile, int row, const float (&sum)[n][4], const HeadRows<T>& y,
                                                                                          int64_t row0) {
    static_assert(8 * n == width);
    const int g = lane_id() / 4, t = lane_id() % 4;
    __syncwarp();                                     // all lanes have read the rows
#pragma unroll
    for (int i = 0; i < n; ++i)
#pragma unroll
        for (int e = 0; e < 2; ++e)
            *reinterpret_cast<uint32_t*>(tile.chunk(row + g + 8 * e, 8 * i) + 2 * t) = narrow_pair<T>(sum[i][2 * e], sum[i][2 * e + 1]);
    __syncwarp();                                     // the rows are complete
#pragma unroll
    for (int at = lane_id(); at < 16 * n; at += 32) {
        const int r = row + at / n, d = at % n * kChunk, count = existing(y, row0 + r, d);
        T* to = y.data + (row0 + r) * y.row + d;
        const Pack<T> pack = load_pack(tile.chunk(r, d));
        if (y.direct && count == kChunk) {
            store_pack(to, pack);
        } else {
#pragma unroll
            for (int j = 0; j < kChunk; ++j)
                if (j < count) to[j] = pack.x[j];
        }
    }
}

}  // namespace lc::cuda
