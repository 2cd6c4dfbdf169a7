// The backward of attention of 16-bit elements on Hopper: wgmma fed by the copy engine. Formulas: cpp/ops/attention.h
//
// Probabilities are made anew from lse, twice: by blocks of 128 queries, which find dq, and by blocks of 128 keys, which find
// dk and dv. A sum has one owner that adds in order, and nothing passes through shared or global memory between products: P
// and dS leave one product in the registers that the next one takes. The price is 7 products where 5 would do: at best 5 / 7
// of the rate of a backward that adds dq up with atomics. delta comes first, from a kernel of its own: bound by memory.
#include "cuda/kernels/attention_kernels.h"
#include "cuda/kernels/attention_sm90.cuh"

namespace lc::cuda {
namespace {

constexpr int kConsumers = 2, kThreads = 128 * (kConsumers + 1), kOwnRows = 64 * kConsumers, kWarps = 4 * kConsumers;
constexpr int kOwnBarrier = 1;                         // first named barrier of each warpgroup
// 65536 registers: 128 x 40 + 256 x 232. A consumer's thread holds to 192 sums and 32 registers of operands at once.
constexpr int kProducerRegisters = 40, kConsumerRegisters = 232;

constexpr int passing_keys(int width) { return width == 64 ? 128 : 64; }
constexpr int kPassingQueries = 64;

template <class T, int n, int width> struct alignas(1024) Shared {
    static constexpr int kStages = width == 64 ? 4 : 3;
    HeadTile<T, kOwnRows, width> own[2];               // q and do, or k and v
    HeadTile<T, n, width> ring[kStages][2];            // k and v, or q and do
    HeadTile<T, 64, width> out[kConsumers];
    float lse[kStages][n], delta[kStages][n];          // of queries that pass by
    PhaseBarrier full[kStages], empty[kStages], own_full, own_empty;
};
static_assert(shared_bytes<Shared<bfloat16, 128, 64>> <= 232448 && shared_bytes<Shared<bfloat16, 64, 128>> <= 232448, "what a block of sm_90 may have");

struct Problem {
    int heads, heads_per_key, tq, tk, own_tiles, items, group;
    bool causal;
    float scale, factor;                               // scale times log2 e, for scores; scale, for gradients
    const float *lse, *delta;
};
struct Maps {
    CUtensorMap own[2], passing[2], out[2];            // out: dq, or dk and dv
};

// ---- device: delta --------------------------------------------------------------------------------------------------------

// 16 lanes a row, 16 bytes each.
template <class T> __global__ __launch_bounds__(256) void attention_delta_kernel(AttentionMatrix<const T> o, AttentionMatrix<const T> d_o, AttentionShape s, float* delta) {
    const int64_t row = int64_t(blockIdx.x) * 16 + threadIdx.x / 16, d = threadIdx.x % 16 * Pack<T>::kCount;
    float sum = 0;
    if (row < s.batch * s.heads * s.tq && d < s.dim_v) {
        const int64_t b = row / s.tq / s.heads, h = row / s.tq % s.heads, i = row % s.tq;
        const Pack<T> x = load_pack(o.at(b, h, i) + d), y = load_pack(d_o.at(b, h, i) + d);
#pragma unroll
        for (int j = 0; j < Pack<T>::kCount; ++j) sum += widen(x.x[j]) * widen(y.x[j]);
    }
#pragma unroll
    for (int lanes = 8; lanes > 0; lanes /= 2) sum += __shfl_xor_sync(kAllLanes, sum, lanes);
    if (threadIdx.x % 16 == 0 && row < s.batch * s.heads * s.tq) delta[row] = sum;
}

// ---- device: what both directions share -----------------------------------------------------------------------------------

// The n-th stretch of this block, or one past the last: own rows of one head, the longest work first.
struct Item {
    bool valid;
    int own, b, h, first, tiles;                       // first own row; own head; first tile that passes by, tiles of each head

    template <int n, bool keys> static __device__ __forceinline__ Item at(const Problem& p, int lap) {
        const int number = attention_item_number(lap, int(blockIdx.x), int(gridDim.x)), heads = keys ? p.heads / p.heads_per_key : p.heads;
        const AttentionItem x = attention_item(number < p.items ? number : 0, p.own_tiles, p.items / p.own_tiles, p.group);
        const int own = (keys ? p.own_tiles - 1 - x.row_tile : x.row_tile) * kOwnRows, first = keys && p.causal ? own / n : 0;
        const int end = own + kOwnRows < p.tq ? own + kOwnRows : p.tq, tiles = keys ? (p.tq + n - 1) / n - first : int(key_tiles(end, p.tk, p.causal, n));
        return {number < p.items, own, x.head / heads, x.head % heads, first, tiles > 0 ? tiles : 0};
    }
};

// A warp: one lane starts the copies, all of them bring lse and delta of queries that pass by.
template <bool keys, class T, int n, int width> __device__ __forceinline__ void produce(Shared<T, n, width>& s, const Maps& maps, const Problem& p) {
    using S = Shared<T, n, width>;
    const int lane = lane_id();
    RingPlace<S::kStages> at;
    for (int lap = 0;; ++lap) {
        const Item item = Item::at<n, keys>(p, lap);
        if (!item.valid) return;
        phase_wait(s.own_empty, ~lap & 1);
        if (lane == 0) {
            phase_arrive_expecting(s.own_full, 2 * s.own[0].kBytes);
            for (int i = 0; i < 2; ++i) s.own[i].load(maps.own[i], s.own_full, item.own, item.h, item.b);
        }
        for (int q = 0; q < (keys ? p.heads_per_key : 1); ++q) {
            const int h = keys ? item.h * p.heads_per_key + q : item.h / p.heads_per_key;
            for (int j = 0; j < item.tiles; ++j) {
                const int row = (item.first + j) * n;
                phase_wait(s.empty[at.stage], at.lap ^ 1);                   // the first lap finds every stage empty
                if (lane == 0) {
                    phase_arrive_expecting(s.full[at.stage], 2 * s.ring[0][0].kBytes);         // a box counts whole, also outside the head
                    for (int i = 0; i < 2; ++i) s.ring[at.stage][i].load(maps.passing[i], s.full[at.stage], row, h, item.b);
                }
                if (keys) {
                    const int64_t saved = int64_t(item.b * p.heads + h) * p.tq;
#pragma unroll
                    for (int i = lane; i < n; i += 32) {
                        s.lse[at.stage][i] = row + i < p.tq ? p.lse[saved + row + i] : INFINITY;       // a row too many: probabilities of 0
                        s.delta[at.stage][i] = row + i < p.tq ? p.delta[saved + row + i] : 0.0f;
                    }
                    __syncwarp();
                    if (lane == 0) phase_arrive(s.full[at.stage]);
                }
                at.advance();
            }
        }
    }
}

// A warp has read what it waited for.
__device__ __forceinline__ void release(PhaseBarrier& empty) {
    __syncwarp();
    if (lane_id() == 0) phase_arrive(empty);
}

// Starts the products of a consumer's own rows with the tile that passes by, once it is there: scores and do v, or transposed.
template <class T, int n, int width> __device__ __forceinline__ void multiply_both(float (&score)[n / 2], float (&up)[n / 2], Shared<T, n, width>& s, int stage, int lap, int consumer) {
    phase_wait(s.full[stage], lap);
    warpgroup_fence();
    multiply_heads(score, s.own[0], consumer * 64, s.ring[stage][0]);
    multiply_heads(up, s.own[1], consumer * 64, s.ring[stage][1]);
    warpgroup_commit();
}

// ---- device: dq -----------------------------------------------------------------------------------------------------------

template <class T, int n, int width> __device__ __forceinline__ void consume_keys(Shared<T, n, width>& s, const Maps& maps, const Problem& p, int consumer) {
    using S = Shared<T, n, width>;
    RingPlace<S::kStages> at;
    for (int lap = 0;; ++lap) {
        const Item item = Item::at<n, false>(p, lap);
        if (!item.valid) break;
        const int row = item.own + consumer * 64, mine = row + warp_id() % 4 * 16 + lane_id() / 4;
        const int64_t saved = int64_t(item.b * p.heads + item.h) * p.tq;
        float lse[2], delta[2], score[n / 2], up[n / 2], dq[width / 2];
        uint32_t ds[n / 16][4];
#pragma unroll
        for (int e = 0; e < 2; ++e) {
            lse[e] = mine + 8 * e < p.tq ? p.lse[saved + mine + 8 * e] : INFINITY;
            delta[e] = mine + 8 * e < p.tq ? p.delta[saved + mine + 8 * e] : 0.0f;
        }
        const auto multiply = [&] { multiply_both(score, up, s, at.stage, at.lap, consumer); };
        const auto differentiate = [&](int key) {
#pragma unroll
            for (int i = 0; i < n / 2; ++i) score[i] = fast_exp2(fmaf(score[i], p.scale, -lse[i / 2 % 2])) * (up[i] - delta[i / 2 % 2]);
            if (key + n > p.tk || (p.causal && key + n > row + 1)) {
#pragma unroll
                for (int i = 0; i < n / 2; ++i) {
                    const int j = key + i / 4 * 8 + 2 * (lane_id() % 4) + i % 2;
                    if (j >= p.tk || (p.causal && j > mine + i / 2 % 2 * 8)) score[i] = 0;
                }
            }
        };
        phase_wait(s.own_full, lap & 1);
        multiply();
        warpgroup_wait<0>();
        differentiate(0);
        as_operand<T>(ds, score);
        int last = at.stage;
        at.advance();
        for (int j = 1; j < item.tiles; ++j) {
            multiply();
            warpgroup_fence();
            multiply_rows(dq, ds, s.ring[last][0], j > 1);
            warpgroup_commit();
            warpgroup_wait<1>();
            differentiate(j * n);
            warpgroup_wait<0>();
            warpgroup_hold(ds);
            release(s.empty[last]);
            as_operand<T>(ds, score);
            last = at.stage;
            at.advance();
        }
        release(s.own_empty);
        warpgroup_fence();
        multiply_rows(dq, ds, s.ring[last][0], item.tiles > 1);
        warpgroup_commit();
        warpgroup_wait<0>();
        warpgroup_hold(ds);
        release(s.empty[last]);
#pragma unroll
        for (int i = 0; i < width / 2; ++i) dq[i] *= p.factor;
        if (row < p.tq) store_rows<T, width, kOwnBarrier>(s.out[consumer], dq, maps.out[0], row, item.h, item.b, consumer);
    }
    if (threadIdx.x % 128 == 0) box_store_wait<0>();   // shared memory must outlive its last reader
}

// ---- device: dk and dv ----------------------------------------------------------------------------------------------------

// Query heads of the group in order, queries in order; scores transposed: a warpgroup has 64 keys.
template <class T, int n, int width> __device__ __forceinline__ void consume_queries(Shared<T, n, width>& s, const Maps& maps, const Problem& p, int consumer) {
    using S = Shared<T, n, width>;
    constexpr bool kOverlap = width == 64;             // else two sums and the next scores would not fit into the registers
    RingPlace<S::kStages> at;
    for (int lap = 0;; ++lap) {
        const Item item = Item::at<n, true>(p, lap);
        if (!item.valid) break;
        const int key = item.own + consumer * 64, tiles = item.tiles * p.heads_per_key;
        int row = item.first * n;                      // of the tile that is at hand
        float score[n / 2], up[n / 2], dk[width / 2] = {}, dv[width / 2] = {};        // zero also where no query sees these keys
        uint32_t prob[n / 16][4], ds[n / 16][4];
        const auto multiply = [&] { multiply_both(score, up, s, at.stage, at.lap, consumer); };
        const auto accumulate = [&](int stage) {
            warpgroup_fence();
            multiply_rows(dv, prob, s.ring[stage][1], true);
            multiply_rows(dk, ds, s.ring[stage][0], true);
            warpgroup_commit();
        };
        const auto differentiate = [&] {
            const float *lse = s.lse[at.stage], *delta = s.delta[at.stage];
            const int t = 2 * (lane_id() % 4);
            if (p.causal && key + 63 > row) {
                const int mine = key + warp_id() % 4 * 16 + lane_id() / 4 - row;
#pragma unroll
                for (int i = 0; i < n / 2; ++i)
                    if (mine + i / 2 % 2 * 8 > i / 4 * 8 + t + i % 2) score[i] = -INFINITY;
            }
#pragma unroll
            for (int i = 0; i < n / 2; i += 4) {
                const float2 l = *reinterpret_cast<const float2*>(lse + 2 * i + t), d = *reinterpret_cast<const float2*>(delta + 2 * i + t);
#pragma unroll
                for (int j = i; j < i + 4; ++j) {
                    score[j] = fast_exp2(fmaf(score[j], p.scale, j % 2 ? -l.y : -l.x));
                    up[j] = score[j] * (up[j] - (j % 2 ? d.y : d.x));
                }
            }
            row = row + n < p.tq ? row + n : item.first * n;       // the next head begins where this one did
        };
        const auto operands = [&] {
            as_operand<T>(prob, score);
            as_operand<T>(ds, up);
        };
        const auto finish = [&](int stage) {
            warpgroup_wait<0>();
            warpgroup_hold(prob);
            warpgroup_hold(ds);
            release(s.empty[stage]);
        };
        phase_wait(s.own_full, lap & 1);
        if constexpr (kOverlap) {
            if (tiles > 0) {
                multiply();
                warpgroup_wait<0>();
                differentiate();
                operands();
                int last = at.stage;
                at.advance();
                for (int j = 1; j < tiles; ++j) {
                    multiply();
                    accumulate(last);
                    warpgroup_wait<1>();
                    differentiate();
                    finish(last);
                    operands();
                    last = at.stage;
                    at.advance();
                }
                accumulate(last);
                finish(last);
            }
        } else {
            for (int j = 0; j < tiles; ++j) {
                multiply();
                warpgroup_wait<0>();
                differentiate();
                operands();
                accumulate(at.stage);
                finish(at.stage);
                at.advance();
            }
        }
        release(s.own_empty);
#pragma unroll
        for (int i = 0; i < width / 2; ++i) dk[i] *= p.factor;
        if (key < p.tk) {
            store_rows<T, width, kOwnBarrier>(s.out[consumer], dk, maps.out[0], key, item.h, item.b, consumer);
            store_rows<T, width, kOwnBarrier>(s.out[consumer], dv, maps.out[1], key, item.h, item.b, consumer);
        }
    }
    if (threadIdx.x % 128 == 0) box_store_wait<0>();   // shared memory must outlive its last reader
}

template <class T, int n, int width, bool keys> __global__ __launch_bounds__(kThreads, 1) void attention_hopper_backward_kernel(const __grid_constant__ Maps maps, const __grid_constant__ Problem p) {
    using S = Shared<T, n, width>;
    auto& s = shared_memory<S>();
    if (threadIdx.x == 0) {
        for (int i = 0; i < S::kStages; ++i) {
            phase_init(s.full[i], keys ? 2 : 1);
            phase_init(s.empty[i], kWarps);
        }
        phase_init(s.own_full, 1);
        phase_init(s.own_empty, kWarps);
        phase_fence_init();
    }
    __syncthreads();                                   // everybody sees the barriers

    if (threadIdx.x >= 128 * kConsumers) {
        give_registers<kProducerRegisters>();
        if (threadIdx.x < 128 * kConsumers + 32) produce<keys>(s, maps, p);
    } else {
        take_registers<kConsumerRegisters>();
        if constexpr (keys) consume_queries(s, maps, p, int(threadIdx.x) / 128);
        else consume_keys(s, maps, p, int(threadIdx.x) / 128);
    }
}

// ---- host ---------------------------------------------------------------------------------------------------------------

template <class T, int n, int width, bool keys> void run_half(const Maps& maps, Problem p, int64_t rows, int64_t heads, int64_t passing_rows) {
    using S = Shared<T, n, width>;
    const int64_t own_tiles = div_up(rows, kOwnRows), items = own_tiles * heads;
    p.own_tiles = int(own_tiles);
    p.items = int(items);
    p.group = attention_group(passing_rows, width, keys ? 1 : p.heads_per_key, heads);
    const int64_t blocks = items < properties().multiprocessors ? items : properties().multiprocessors;
    launch("attention_backward", attention_hopper_backward_kernel<T, n, width, keys>, {Blocks(blocks), dim3(kThreads), shared_bytes<S>}, maps, p);
}

template <class T, int width> void run(const AttentionBackward<T>& a, float* delta) {
    const AttentionShape& s = a.shape;
    const HeadsView<T> q(a.q, s.batch, s.heads, s.tq, s.dim), k(a.k, s.batch, s.kv_heads, s.tk, s.dim), v(a.v, s.batch, s.kv_heads, s.tk, s.dim_v);
    const HeadsView<T> d_o(a.d_o, s.batch, s.heads, s.tq, s.dim_v), o(a.o, s.batch, s.heads, s.tq, s.dim_v);
    const int64_t queries = s.batch * s.heads * s.tq;
    launch("attention_backward", attention_delta_kernel<T>, {Blocks(div_up(queries, 16)), dim3(256)}, o.matrix(), d_o.matrix(), s, delta);
    const Problem p{int(s.heads), int(s.heads / s.kv_heads), int(s.tq), int(s.tk), 0, 0, 0, s.causal, float(s.scale * kAttentionLog2E), float(s.scale), a.lse, delta};
    constexpr int kKeys = passing_keys(width);
    const CUtensorMap dq = heads_out(a.dq, s.batch, s.heads, s.tq, s.dim), dk = heads_out(a.dk, s.batch, s.kv_heads, s.tk, s.dim), dv = heads_out(a.dv, s.batch, s.kv_heads, s.tk, s.dim_v);
    run_half<T, kKeys, width, false>({{q.map(kOwnRows), d_o.map(kOwnRows)}, {k.map(kKeys), v.map(kKeys)}, {dq, dq}}, p, s.tq, s.batch * s.heads, s.tk);
    run_half<T, kPassingQueries, width, true>({{k.map(kOwnRows), v.map(kOwnRows)}, {q.map(kPassingQueries), d_o.map(kPassingQueries)}, {dk, dv}}, p, s.tk, s.batch * s.kv_heads,
                                              s.tq * (s.heads / s.kv_heads));
}

}  // namespace

template <class T> void attention_hopper_backward(const AttentionBackward<T>& a, const CudaAttentionPlan& p, float* delta) {
    if (p.width == 64) run<T, 64>(a, delta);
    else run<T, 128>(a, delta);
}

template void attention_hopper_backward(const AttentionBackward<bfloat16>&, const CudaAttentionPlan&, float*);
template void attention_hopper_backward(const AttentionBackward<float16>&, const CudaAttentionPlan&, float*);

}  // namespace lc::cuda
