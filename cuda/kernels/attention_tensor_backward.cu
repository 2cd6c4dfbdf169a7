// The backward of attention of 16-bit elements by mma.sync and cp.async, for sm_80 and later. Formulas: cpp/ops/attention.h
//
// Probabilities are made anew from lse, twice: by blocks of 64 queries, which find delta and dq, and by blocks of 64 keys,
// which find dk and dv. So a sum has one owner that adds in order, at the price of 7 products where 5 would do. The block of
// keys computes transposed scores: they leave the product as what the next one takes, without a way through shared memory.
// Compute bound; two blocks a multiprocessor. With a mask or dropout the same in kernels of their own, which need the registers.
#include <math.h>
#include "cuda/core/launch.h"
#include "cuda/kernels/attention_kernels.h"
#include "cuda/kernels/attention_scores.cuh"
#include "cuda/kernels/attention_tile.cuh"

namespace lc::cuda {
namespace {

constexpr int kThreads = 128, kOwn = 64;               // rows of a block, 16 for each of 4 warps
constexpr int passing(int width) { return width == 64 ? 64 : 32; }          // rows of a tile that passes by

template <class T, int width> struct Shared {
    AttentionTile<T, kOwn, width> own[2];              // q and do, or k and v
    AttentionTile<T, passing(width), width> ring[2][2];
    float lse[2][passing(width)], delta[2][passing(width)], own_delta[kOwn];
    uint64_t keep[2][kOwn];                            // dropout: which of 64 keys each query keeps
};
static_assert(sizeof(Shared<bfloat16, 128>) <= 99 << 10, "what a block of sm_86 and sm_89 may have");

// ---- device -----------------------------------------------------------------------------------------------------------

// x += 16 rows of a, from `row` on, times rows of b.
template <class T, int n, int rows_a, int rows_b, int width>
__device__ __forceinline__ void add_products(float (&x)[n][4], AttentionTile<T, rows_a, width>& a, int row, AttentionTile<T, rows_b, width>& b) {
#pragma unroll(width == 64 ? 4 : 2)                  // of heads of 128, all eight at once: 150 bytes of spills
    for (int d = 0; d < width; d += 16) {
        uint32_t fa[4];
        load_a(fa, a, row, d);
#pragma unroll
        for (int c = 0; c < n / 2; ++c) {
            uint32_t fb[4];
            load_b(fb, b, 16 * c, d);
            mma_16x8x16<T>(x[2 * c], fa, {fb[0], fb[1]});
            mma_16x8x16<T>(x[2 * c + 1], fa, {fb[2], fb[3]});
        }
    }
}
// sum += x, rounded to 16 bits, times the tile.
template <class T, int n, int rows, int width> __device__ __forceinline__ void add_rows(float (&sum)[width / 8][4], const float (&x)[n][4], AttentionTile<T, rows, width>& tile) {
#pragma unroll
    for (int c = 0; c < n / 2; ++c) {
        uint32_t fx[4];
        as_a<T>(fx, x, c);
#pragma unroll
        for (int d = 0; d < width / 16; ++d) {
            uint32_t fb[4];
            load_b_transposed(fb, tile, 16 * c, 16 * d);
            mma_16x8x16<T>(sum[2 * d], fx, {fb[0], fb[1]});
            mma_16x8x16<T>(sum[2 * d + 1], fx, {fb[2], fb[3]});
        }
    }
}
template <int n> __device__ __forceinline__ void times(float (&x)[n][4], float factor) {
#pragma unroll
    for (int i = 0; i < n; ++i)
#pragma unroll
        for (int e = 0; e < 4; ++e) x[i][e] *= factor;
}

// delta, and dq; ds, for the mask's gradient. A warp has 16 queries.
template <class T, int width, bool plain> __global__ __launch_bounds__(kThreads, 2) void attention_tensor_query_kernel(AttentionBackward<T> a, float* delta, float* ds_out) {
    constexpr int kKeys = passing(width), kDrawn = 64 / kKeys;               // tiles that share their random numbers
    auto& shared = shared_memory<Shared<T, width>>();
    const AttentionShape& s = a.shape;
    const AttentionBlock at = attention_block(blockIdx.x, s.tq, kOwn);
    const int64_t row0 = int64_t(at.tiles - 1 - at.tile) * kOwn;         // causal: the longest rows begin first
    const int64_t b = at.head / unsigned(s.heads), h = at.head % unsigned(s.heads), hk = int(h) / (int(s.heads) / int(s.kv_heads));
    const HeadRows<const T> keys = head_rows(a.k, b, hk, s.tk, s.dim), values = head_rows(a.v, b, hk, s.tk, s.dim_v);
    const int64_t tiles = key_tiles(row0 + kOwn < s.tq ? row0 + kOwn : s.tq, s.tk, s.causal, kKeys), saved = (b * s.heads + h) * s.tq;
    const auto start = [&](int64_t n) {
        if (n < tiles) {
            fill<kThreads>(shared.ring[n % 2][0], keys, n * kKeys);
            fill<kThreads>(shared.ring[n % 2][1], values, n * kKeys);
            if constexpr (!plain)
                if (a.dropout.probability > 0 && n % kDrawn == 0) draw_kept<kOwn>(shared.keep[n / kDrawn % 2], s, a.dropout, saved + row0, n * kKeys);
        }
        copy_async_commit();
    };
    auto &q = shared.own[0], &d_o = shared.own[1];
    fill<kThreads>(q, head_rows(a.q, b, h, s.tq, s.dim), row0);
    fill<kThreads>(d_o, head_rows(a.d_o, b, h, s.tq, s.dim_v), row0);
    start(0);

    const int g = lane_id() / 4, t = lane_id() % 4, own = warp_id() * 16;
    for (int r = own; r < own + 16; ++r) {
        float sum = 0;
        if (row0 + r < s.tq)
            for (int d = lane_id(); d < int(s.dim_v); d += 32) sum += widen(a.d_o.at(b, h, row0 + r)[d]) * widen(a.o.at(b, h, row0 + r)[d]);
        sum = warp_reduce(sum, [](float x, float y) { return x + y; });
        if (lane_id() == 0) {
            shared.own_delta[r] = sum;
            if (row0 + r < s.tq) delta[saved + row0 + r] = sum;
        }
    }
    __syncwarp();
    float lse[2], own_delta[2], dq[width / 8][4] = {};
#pragma unroll
    for (int e = 0; e < 2; ++e) {
        const int64_t row = row0 + own + g + 8 * e;
        lse[e] = row < s.tq ? a.lse[saved + row] : INFINITY;                 // a row too many: probabilities of 0
        own_delta[e] = shared.own_delta[own + g + 8 * e];
    }
    const float scale = float(s.scale * kLog2E), larger = float(1 / (1 - a.dropout.probability));
    for (int64_t n = 0; n < tiles; ++n) {
        copy_async_wait<0>();
        __syncthreads();                              // tile n is complete for all, and all have done with tile n - 1
        start(n + 1);
        auto &k = shared.ring[n % 2][0], &v = shared.ring[n % 2][1];
        MaskFragment<kKeys / 8> mask;
        if constexpr (!plain)
            if (a.mask.data)
                mask.load(a.mask, b * a.mask.batch + h * a.mask.head + (row0 + own) * a.mask.row + n * kKeys * a.mask.col, a.mask.row, a.mask.col, s.tq - row0 - own, s.tk - n * kKeys);
        float p[kKeys / 8][4] = {}, ds[kKeys / 8][4] = {};
        add_products(p, q, own, k);
        add_products(ds, d_o, own, v);
        uint64_t keep[2] = {~uint64_t{0}, ~uint64_t{0}};
        if constexpr (!plain)
            if (a.dropout.probability > 0) {
#pragma unroll
                for (int e = 0; e < 2; ++e) keep[e] = shared.keep[n / kDrawn % 2][own + g + 8 * e] >> (n % kDrawn * kKeys + 2 * t);
            }
#pragma unroll
        for (int c = 0; c < kKeys / 8; ++c)
#pragma unroll
            for (int e = 0; e < 4; ++e) {
                const int64_t row = row0 + own + g + e / 2 * 8, key = n * kKeys + 8 * c + 2 * t + e % 2;
                const bool seen = key < s.tk && !(s.causal && key > row);
                float score = p[c][e] * scale, up = ds[c][e];
                if constexpr (!plain) {
                    if (a.mask.data) score = mask.template apply<T>(a.mask, c, e / 2, e % 2, score);
                    up = keep[e / 2] >> (8 * c + e % 2) & 1 ? up * larger : 0.0f;
                }
                ds[c][e] = seen ? fast_exp2(score - lse[e / 2]) * (up - own_delta[e / 2]) : 0.0f;
                if constexpr (!plain)
                    if (ds_out && row < s.tq && key < s.tk) ds_out[(saved + row) * s.tk + key] = ds[c][e];
            }
        add_rows(dq, ds, k);
    }
    copy_async_wait<0>();                             // the queries, if there was no key; and a block must not end with any under way
    __syncthreads();
    times(dq, float(s.scale));
    store_rows(q, own, dq, head_rows(a.dq, b, h, s.tq, s.dim), row0);
}

// dk and dv: query heads of the group in order, queries in order. A warp has 16 keys.
template <class T, int width, bool plain> __global__ __launch_bounds__(kThreads, 2) void attention_tensor_key_kernel(AttentionBackward<T> a, const float* delta) {
    constexpr int kQueries = passing(width);
    auto& shared = shared_memory<Shared<T, width>>();
    const AttentionShape& s = a.shape;
    const AttentionBlock at = attention_block(blockIdx.x, s.tk, kOwn);
    const int64_t key0 = int64_t(at.tile) * kOwn, b = at.head / unsigned(s.kv_heads), hk = at.head % unsigned(s.kv_heads);
    const int group = int(s.heads) / int(s.kv_heads);
    const int64_t first = s.causal ? key0 / kQueries : 0, all = (s.tq + kQueries - 1) / kQueries;         // no earlier query sees the block's keys
    const int tiles = int(all > first ? all - first : 0), items = group * tiles;
    const auto start = [&](int n) {
        if (n < items) {
            const int64_t h = hk * group + n / tiles, i = (first + n % tiles) * kQueries, row = i + threadIdx.x, saved = (b * s.heads + h) * s.tq + row;
            fill<kThreads>(shared.ring[n % 2][0], head_rows(a.q, b, h, s.tq, s.dim), i);
            fill<kThreads>(shared.ring[n % 2][1], head_rows(a.d_o, b, h, s.tq, s.dim_v), i);
            if (threadIdx.x < kQueries) {
                shared.lse[n % 2][threadIdx.x] = row < s.tq ? a.lse[saved] : INFINITY;       // a row too many: probabilities of 0
                shared.delta[n % 2][threadIdx.x] = row < s.tq ? delta[saved] : 0.0f;
            }
            if constexpr (!plain)
                if (a.dropout.probability > 0) draw_kept<kQueries>(shared.keep[n % 2], s, a.dropout, (b * s.heads + h) * s.tq + i, key0);
        }
        copy_async_commit();
    };
    auto &k = shared.own[0], &v = shared.own[1];
    fill<kThreads>(k, head_rows(a.k, b, hk, s.tk, s.dim), key0);
    fill<kThreads>(v, head_rows(a.v, b, hk, s.tk, s.dim_v), key0);
    start(0);

    const int g = lane_id() / 4, t = lane_id() % 4, own = warp_id() * 16;
    const float scale = float(s.scale * kLog2E), larger = float(1 / (1 - a.dropout.probability));
    float dk[width / 8][4] = {}, dv[width / 8][4] = {};
    for (int n = 0; n < items; ++n) {
        copy_async_wait<0>();
        __syncthreads();                              // item n is complete for all, and all have done with item n - 1
        start(n + 1);
        auto &q = shared.ring[n % 2][0], &d_o = shared.ring[n % 2][1];
        const int64_t row0 = (first + n % tiles) * kQueries;
        MaskFragment<kQueries / 8> mask;
        if constexpr (!plain)
            if (a.mask.data)
                mask.load(a.mask, b * a.mask.batch + (hk * group + n / tiles) * a.mask.head + row0 * a.mask.row + (key0 + own) * a.mask.col, a.mask.col, a.mask.row,
                          s.tk - key0 - own, s.tq - row0);
        float p[kQueries / 8][4] = {}, ds[kQueries / 8][4] = {};
        add_products(p, k, own, q);
        add_products(ds, v, own, d_o);
#pragma unroll
        for (int c = 0; c < kQueries / 8; ++c)
#pragma unroll
            for (int e = 0; e < 4; ++e) {
                const int query = 8 * c + 2 * t + e % 2;
                const bool seen = !(s.causal && key0 + own + g + e / 2 * 8 > row0 + query);
                float score = p[c][e] * scale, up = ds[c][e];
                bool kept = true;
                if constexpr (!plain) {
                    if (a.mask.data) score = mask.template apply<T>(a.mask, c, e / 2, e % 2, score);
                    if (a.dropout.probability > 0) kept = shared.keep[n % 2][query] >> (own + g + e / 2 * 8) & 1;
                    up = kept ? up * larger : 0.0f;
                }
                const float probability = seen ? fast_exp2(score - shared.lse[n % 2][query]) : 0.0f;
                p[c][e] = kept ? probability : 0.0f;
                ds[c][e] = probability * (up - shared.delta[n % 2][query]);
            }
        add_rows(dv, p, d_o);
        add_rows(dk, ds, q);
    }
    copy_async_wait<0>();
    __syncthreads();
    times(dk, float(s.scale));
    if constexpr (!plain) times(dv, larger);
    store_rows(k, own, dk, head_rows(a.dk, b, hk, s.tk, s.dim), key0);
    store_rows(v, own, dv, head_rows(a.dv, b, hk, s.tk, s.dim_v), key0);
}

// ---- host ---------------------------------------------------------------------------------------------------------------

template <class T, int width, bool plain> void backward(const AttentionBackward<T>& a, float* delta, float* ds) {
    const AttentionShape& s = a.shape;
    constexpr int bytes = shared_bytes<Shared<T, width>>;
    if (s.batch * s.heads * s.tq > 0)
        launch("attention_backward", attention_tensor_query_kernel<T, width, plain>, {Blocks(div_up(s.tq, kOwn) * s.batch * s.heads), dim3(kThreads), bytes}, a, delta, ds);
    if (s.batch * s.kv_heads * s.tk > 0)
        launch("attention_backward", attention_tensor_key_kernel<T, width, plain>, {Blocks(div_up(s.tk, kOwn) * s.batch * s.kv_heads), dim3(kThreads), bytes}, a, delta);
}

}  // namespace

template <class T> void attention_tensor_backward(const AttentionBackward<T>& a, const CudaAttentionPlan& p, float* delta, float* ds) {
    if (p.width == 64) p.plain ? backward<T, 64, true>(a, delta, ds) : backward<T, 64, false>(a, delta, ds);
    else p.plain ? backward<T, 128, true>(a, delta, ds) : backward<T, 128, false>(a, delta, ds);
}

template void attention_tensor_backward(const AttentionBackward<bfloat16>&, const CudaAttentionPlan&, float*, float*);
template void attention_tensor_backward(const AttentionBackward<float16>&, const CudaAttentionPlan&, float*, float*);

}  // namespace lc::cuda
