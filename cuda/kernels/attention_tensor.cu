// attention of 16-bit elements by mma.sync and cp.async, for sm_80 and later. Contract and formulas: cpp/ops/attention.h
//
// A block has 128 queries, 32 for each of 4 warps, so that a fragment of keys or values serves twice; tiles of keys and of
// their values pass by in a ring of three: two are under way while one is used. Scores, probabilities and the sums of o stay
// in registers; a probability is rounded to 16 bits where it becomes an operand. Compute bound: 128 * width products for 2
// bytes from L2. 40 or 56 KB of shared memory, and half of the registers: two blocks a multiprocessor. With a mask or dropout
// a warp has 16 queries: the registers of the others hold the mask's elements, on their way during the product.
#include <math.h>
#include "cuda/core/launch.h"
#include "cuda/kernels/attention_kernels.h"
#include "cuda/kernels/attention_scores.cuh"
#include "cuda/kernels/attention_tile.cuh"

namespace lc::cuda {
namespace {

constexpr int kThreads = 128, kRing = 3;

template <class T, int width, bool plain> struct Shared {
    AttentionTile<T, attention_queries(plain), width> q;
    AttentionTile<T, attention_keys(width, plain), width> ring[kRing];      // keys and values in turn
    uint64_t keep[plain ? 1 : attention_queries(plain)];                    // dropout: a bit a key, of one tile
};

// ---- device -----------------------------------------------------------------------------------------------------------

// A warp's state of its rows: a lane holds rows g and g + 8 of each half.
template <int width, int kHalves, int kKeys> struct Rows {
    float o[kHalves][width / 8][4], max[kHalves][2], sum[kHalves][2];       // max before scaling; sum over the lane's columns

    // Scores become probabilities under the largest score so far, and what was summed under the last one shrinks.
    __device__ __forceinline__ void take(float (&s)[kHalves][kKeys / 8][4], float scale) {
#pragma unroll
        for (int m = 0; m < kHalves; ++m)
#pragma unroll
            for (int e = 0; e < 2; ++e) {
                float largest = max[m][e];
#pragma unroll
                for (int c = 0; c < kKeys / 8; ++c) largest = fmaxf(largest, fmaxf(s[m][c][2 * e], s[m][c][2 * e + 1]));
                largest = fmaxf(largest, __shfl_xor_sync(kAllLanes, largest, 1));      // four lanes share a row
                largest = fmaxf(largest, __shfl_xor_sync(kAllLanes, largest, 2));
                const float shift = scaled_shift(largest, scale), shrink = fast_exp2(fmaf(max[m][e], scale, -shift));
                if (__any_sync(kAllLanes, largest > max[m][e])) {            // rare after the first tiles; else it is a product with 1
                    sum[m][e] *= shrink;
#pragma unroll
                    for (int d = 0; d < width / 8; ++d) {
                        o[m][d][2 * e] *= shrink;
                        o[m][d][2 * e + 1] *= shrink;
                    }
                }
                max[m][e] = largest;
#pragma unroll
                for (int c = 0; c < kKeys / 8; ++c)
#pragma unroll
                    for (int i = 2 * e; i < 2 * e + 2; ++i) {
                        s[m][c][i] = fast_exp2(fmaf(s[m][c][i], scale, -shift));
                        sum[m][e] += s[m][c][i];
                    }
            }
    }
    // Nothing seen so far: 2^(-inf - 0) is 0, and no difference of infinities.
    static __device__ __forceinline__ float scaled_shift(float largest, float scale) { return largest == -INFINITY ? 0.0f : largest * scale; }
};

template <class T, int width, bool plain> __global__ __launch_bounds__(kThreads, 2) void attention_tensor_kernel(AttentionForward<T> a) {
    constexpr int kQueries = attention_queries(plain), kKeys = attention_keys(width, plain);
    constexpr int kWarpRows = kQueries / (kThreads / 32), kHalves = kWarpRows / 16;           // of 16 rows, what a fragment has
    auto& shared = shared_memory<Shared<T, width, plain>>();
    const AttentionShape& s = a.shape;
    // Heads in two axes: the tile and the head of one number would take registers that heads of 128 do not have.
    const unsigned head = blockIdx.z * gridDim.y + blockIdx.y;
    if (head >= unsigned(s.batch * s.heads)) return;
    const int64_t row0 = int64_t(gridDim.x - 1 - blockIdx.x) * kQueries;     // causal: the longest rows begin first
    const int64_t b = head / unsigned(s.heads), h = head % unsigned(s.heads), hk = int(h) / (int(s.heads) / int(s.kv_heads));
    const HeadRows<const T> keys = head_rows(a.k, b, hk, s.tk, s.dim), values = head_rows(a.v, b, hk, s.tk, s.dim_v);
    const int64_t steps = 2 * key_tiles(row0 + kQueries < s.tq ? row0 + kQueries : s.tq, s.tk, s.causal, kKeys);
    const auto start = [&](int64_t step, const HeadRows<const T>& x) {
        if (step < steps) {
            fill<kThreads>(shared.ring[step % kRing], x, step / 2 * kKeys);
            // With the values: all have done with the last tile's scores, and the next ones are two barriers away.
            if constexpr (!plain)
                if (step % 2 == 1 && a.dropout.probability > 0) draw_kept<kQueries>(shared.keep, s, a.dropout, (b * s.heads + h) * s.tq + row0, step / 2 * kKeys);
        }
        copy_async_commit();                          // also an empty group: the wait counts them
    };
    // The tile of this step, once it is complete for all and all have done with the one before, whose place is filled anew.
    const auto next = [&](int64_t step, const HeadRows<const T>& x) -> AttentionTile<T, kKeys, width>& {
        copy_async_wait<kRing - 2>();
        __syncthreads();
        start(step + kRing - 1, x);
        return shared.ring[step % kRing];
    };
    fill<kThreads>(shared.q, head_rows(a.q, b, h, s.tq, s.dim), row0);      // in the first group
    start(0, keys);
    start(1, values);

    const int g = lane_id() / 4, t = lane_id() % 4, own = warp_id() * kWarpRows;
    const float scale = float(s.scale * kLog2E);
    Rows<width, kHalves, kKeys> rows;
#pragma unroll
    for (int m = 0; m < kHalves; ++m) {
#pragma unroll
        for (int d = 0; d < width / 8; ++d)
#pragma unroll
            for (int e = 0; e < 4; ++e) rows.o[m][d][e] = 0;
#pragma unroll
        for (int e = 0; e < 2; ++e) {
            rows.max[m][e] = -INFINITY;
            rows.sum[m][e] = 0;
        }
    }
    for (int64_t step = 0; step < steps; step += 2) {
        auto& k = next(step, keys);
        const int64_t key0 = step / 2 * kKeys;
        MaskFragment<kKeys / 8> mask;
        if constexpr (!plain)
            if (a.mask.data)
                mask.load(a.mask, b * a.mask.batch + h * a.mask.head + (row0 + own) * a.mask.row + key0 * a.mask.col, a.mask.row, a.mask.col, s.tq - row0 - own, s.tk - key0);
        float p[kHalves][kKeys / 8][4] = {};
#pragma unroll
        for (int d = 0; d < width; d += 16) {
            uint32_t fq[kHalves][4];
#pragma unroll
            for (int m = 0; m < kHalves; ++m) load_a(fq[m], shared.q, own + 16 * m, d);
#pragma unroll
            for (int c = 0; c < kKeys / 16; ++c) {
                uint32_t fk[4];
                load_b(fk, k, 16 * c, d);
#pragma unroll
                for (int m = 0; m < kHalves; ++m) {
                    mma_16x8x16<T>(p[m][2 * c], fq[m], {fk[0], fk[1]});
                    mma_16x8x16<T>(p[m][2 * c + 1], fq[m], {fk[2], fk[3]});
                }
            }
        }
        if constexpr (!plain) {                       // one half: its scores are scaled before the largest is found
#pragma unroll
            for (int c = 0; c < kKeys / 8; ++c)
#pragma unroll
                for (int e = 0; e < 4; ++e) {
                    p[0][c][e] *= scale;
                    if (a.mask.data) p[0][c][e] = mask.template apply<T>(a.mask, c, e / 2, e % 2, p[0][c][e]);
                }
        }
        if (key0 + kKeys > s.tk || (s.causal && key0 + kKeys > row0 + own + 1)) {
#pragma unroll
            for (int m = 0; m < kHalves; ++m)
#pragma unroll
                for (int c = 0; c < kKeys / 8; ++c)
#pragma unroll
                    for (int e = 0; e < 4; ++e) {
                        const int64_t row = row0 + own + 16 * m + g + e / 2 * 8, key = key0 + 8 * c + 2 * t + e % 2;
                        if (key >= s.tk || (s.causal && key > row)) p[m][c][e] = -INFINITY;
                    }
        }
        rows.take(p, plain ? scale : 1.0f);
        if constexpr (!plain)
            if (a.dropout.probability > 0) {
#pragma unroll
                for (int e = 0; e < 2; ++e) {
                    const uint64_t keep = shared.keep[own + g + 8 * e] >> 2 * t;
#pragma unroll
                    for (int c = 0; c < kKeys / 8; ++c)
#pragma unroll
                        for (int i = 0; i < 2; ++i)
                            if (!(keep >> (8 * c + i) & 1)) p[0][c][2 * e + i] = 0;
                }
            }

        auto& v = next(step + 1, values);
#pragma unroll
        for (int c = 0; c < kKeys / 16; ++c) {
            uint32_t fp[kHalves][4];
#pragma unroll
            for (int m = 0; m < kHalves; ++m) as_a<T>(fp[m], p[m], c);
#pragma unroll
            for (int d = 0; d < width / 16; ++d) {
                uint32_t fv[4];
                load_b_transposed(fv, v, 16 * c, 16 * d);
#pragma unroll
                for (int m = 0; m < kHalves; ++m) {
                    mma_16x8x16<T>(rows.o[m][2 * d], fp[m], {fv[0], fv[1]});
                    mma_16x8x16<T>(rows.o[m][2 * d + 1], fp[m], {fv[2], fv[3]});
                }
            }
        }
    }
    copy_async_wait<0>();                             // the queries, if there was no key; and a block must not end with any under way
    __syncthreads();                                  // also for the rows of q that others brought here

    const HeadRows<T> y = head_rows(a.o, b, h, s.tq, s.dim_v);
#pragma unroll
    for (int m = 0; m < kHalves; ++m) {
#pragma unroll
        for (int e = 0; e < 2; ++e) {
            float sum = rows.sum[m][e];
            sum += __shfl_xor_sync(kAllLanes, sum, 1);
            sum += __shfl_xor_sync(kAllLanes, sum, 2);
            float factor = sum == 0.0f ? 0.0f : 1.0f / sum;                  // nothing seen: o = 0
            if constexpr (!plain) factor *= float(1 / (1 - a.dropout.probability));
#pragma unroll
            for (int d = 0; d < width / 8; ++d) {
                rows.o[m][d][2 * e] *= factor;
                rows.o[m][d][2 * e + 1] *= factor;
            }
            const int64_t row = row0 + own + 16 * m + g + 8 * e;
            if (t == 0 && row < s.tq)
                a.lse[(b * s.heads + h) * s.tq + row] = sum == 0.0f ? INFINITY : rows.scaled_shift(rows.max[m][e], plain ? scale : 1.0f) + log2f(sum);
        }
        store_rows(shared.q, own + 16 * m, rows.o[m], y, row0);
    }
}

// ---- host ---------------------------------------------------------------------------------------------------------------

template <class T, int width, bool plain> void forward(const AttentionForward<T>& a) {
    const AttentionShape& s = a.shape;
    const int64_t heads = s.batch * s.heads, z = div_up(heads, 65535);
    launch("attention", attention_tensor_kernel<T, width, plain>,
           {Blocks(div_up(s.tq, attention_queries(plain)), div_up(heads, z), z), dim3(kThreads), shared_bytes<Shared<T, width, plain>>}, a);
}

}  // namespace

template <class T> void attention_tensor_forward(const AttentionForward<T>& a, const CudaAttentionPlan& p) {
    if (p.width == 64) p.plain ? forward<T, 64, true>(a) : forward<T, 64, false>(a);
    else p.plain ? forward<T, 128, true>(a) : forward<T, 128, false>(a);
}

template void attention_tensor_forward(const AttentionForward<bfloat16>&, const CudaAttentionPlan&);
template void attention_tensor_forward(const AttentionForward<float16>&, const CudaAttentionPlan&);

}  // namespace lc::cuda
