// attention of 16-bit elements on Hopper: wgmma fed by the copy engine. Contract and formulas: cpp/ops/attention.h
//
// One block a multiprocessor takes stretches of queries in turn, the longest ones of some heads first. A producer thread keeps
// a ring of tiles of keys and values full; consumers, warpgroups of 64 queries, hold scores, probabilities and sums of o in
// registers. The products of the next scores and of the last probabilities are under way while the scores between them pass
// through exp2; and consumers take turns at starting products, so that one's exp2 runs beside the products of another.
// Heads of 64: as many cycles of exp2 as of products. Heads of 128: half as many.
#include "cuda/kernels/attention_kernels.h"
#include "cuda/kernels/attention_sm90.cuh"

namespace lc::cuda {
namespace {

constexpr int kKeys = 128, kTurn = 1, kOwn = 4;        // keys of a tile; first named barriers of the turns, of each warpgroup

// 65536 registers: 128 x 32 + 384 x 160, or 128 x 40 + 256 x 232.
template <class T, int width> struct alignas(1024) Shared {
    static constexpr int kConsumers = attention_consumers(width), kQueries = 64 * kConsumers, kStages = width == 64 ? 6 : 5;
    HeadTile<T, kQueries, width> q;
    HeadTile<T, kKeys, width> ring[kStages];           // keys and values in the order of their use: k0 k1 v0 k2 v1 ...
    HeadTile<T, 64, width> out[kConsumers];
    PhaseBarrier full[kStages], empty[kStages], q_full, q_empty;
};
static_assert(shared_bytes<Shared<bfloat16, 64>> <= 232448 && shared_bytes<Shared<bfloat16, 128>> <= 232448, "what a block of sm_90 may have");

struct Problem {
    int heads, heads_per_key, tq, tk, row_tiles, items, group;
    bool causal;
    float scale;                                       // times log2 e
    float* lse;
};

// ---- device -----------------------------------------------------------------------------------------------------------

// The n-th stretch of this block, or one past the last.
struct Item {
    bool valid;
    int row, b, h, tiles;                              // first query; tiles of keys that one of them sees

    __device__ __forceinline__ Item(const Problem& p, int n, int queries) {
        const int number = attention_item_number(n, int(blockIdx.x), int(gridDim.x));
        valid = number < p.items;
        const AttentionItem at = attention_item(valid ? number : 0, p.row_tiles, p.items / p.row_tiles, p.group);
        row = at.row_tile * queries;
        b = at.head / p.heads;
        h = at.head % p.heads;
        tiles = int(key_tiles(row + queries < p.tq ? row + queries : p.tq, p.tk, p.causal, kKeys));
    }
};

template <class T, int width>
__device__ __forceinline__ void produce(Shared<T, width>& s, const CUtensorMap& map_q, const CUtensorMap& map_k, const CUtensorMap& map_v, const Problem& p) {
    using S = Shared<T, width>;
    RingPlace<S::kStages> at;
    for (int n = 0;; ++n) {
        const Item item(p, n, S::kQueries);
        if (!item.valid) return;
        const int hk = item.h / p.heads_per_key;
        const auto load = [&](const CUtensorMap& map, int tile) {
            phase_wait(s.empty[at.stage], at.lap ^ 1);                       // the first lap finds every stage empty
            phase_arrive_expecting(s.full[at.stage], s.ring[0].kBytes);      // a box counts whole, also outside the head
            s.ring[at.stage].load(map, s.full[at.stage], tile * kKeys, hk, item.b);
            at.advance();
        };
        phase_wait(s.q_empty, ~n & 1);
        phase_arrive_expecting(s.q_full, s.q.kBytes);
        s.q.load(map_q, s.q_full, item.row, item.h, item.b);
        load(map_k, 0);
        for (int j = 1; j < item.tiles; ++j) {
            load(map_k, j);
            load(map_v, j - 1);
        }
        load(map_v, item.tiles - 1);
    }
}

// A thread's two rows of a consumer's 64: g and g + 8 of its warp's. max before scaling, sum over the thread's columns.
struct Rows {
    float max[2] = {-INFINITY, -INFINITY}, sum[2] = {};

    // Nothing seen so far: 2^(-inf - 0) is 0, and no difference of infinities.
    static __device__ __forceinline__ float scaled_shift(float largest, float scale) { return largest == -INFINITY ? 0.0f : largest * scale; }

    // Scores become probabilities under the largest score so far; shrink is what sums under the last one are to be multiplied by.
    __device__ __forceinline__ void take(float (&s)[kKeys / 2], float (&shrink)[2], float scale) {
#pragma unroll
        for (int e = 0; e < 2; ++e) {
            float largest = max[e];
#pragma unroll
            for (int c = 0; c < kKeys / 8; ++c) largest = fmaxf(largest, fmaxf(s[4 * c + 2 * e], s[4 * c + 2 * e + 1]));
            largest = fmaxf(largest, __shfl_xor_sync(kAllLanes, largest, 1));          // four lanes share a row
            largest = fmaxf(largest, __shfl_xor_sync(kAllLanes, largest, 2));
            const float shift = scaled_shift(largest, scale);
            shrink[e] = fast_exp2(fmaf(max[e], scale, -shift));
            max[e] = largest;
            sum[e] *= shrink[e];
#pragma unroll
            for (int c = 0; c < kKeys / 8; ++c) {
                float &x = s[4 * c + 2 * e], &y = s[4 * c + 2 * e + 1];
                x = fast_exp2(fmaf(x, scale, -shift));
                y = fast_exp2(fmaf(y, scale, -shift));
                sum[e] += x + y;
            }
        }
    }
};

// Scores that are not to be seen, of 64 queries from `row` on.
__device__ __forceinline__ void mask(float (&s)[kKeys / 2], const Problem& p, int row, int key) {
    if (key + kKeys <= p.tk && !(p.causal && key + kKeys > row + 1)) return;
    const int first = row + warp_id() % 4 * 16 + lane_id() / 4, t = lane_id() % 4;
#pragma unroll
    for (int i = 0; i < kKeys / 2; ++i) {
        const int j = key + i / 4 * 8 + 2 * t + i % 2, r = first + i / 2 % 2 * 8;
        if (j >= p.tk || (p.causal && j > r)) s[i] = -INFINITY;
    }
}

template <class T, int width>
__device__ __forceinline__ void consume(Shared<T, width>& s, const CUtensorMap& map_o, const Problem& p, int consumer) {
    using S = Shared<T, width>;
    const bool first_thread = threadIdx.x % 128 == 0;
    RingPlace<S::kStages> at;
    const auto release = [&](int stage) {
        if (first_thread) phase_arrive(s.empty[stage]);
    };
    if (consumer == S::kConsumers - 1) arrive_at<kTurn>(0, 256);
    for (int n = 0;; ++n) {
        const Item item(p, n, S::kQueries);
        if (!item.valid) break;
        const int row = item.row + consumer * 64;
        Rows rows;
        float score[kKeys / 2], o[width / 2], shrink[2];
        uint32_t prob[kKeys / 16][4];

        phase_wait(s.q_full, n & 1);
        phase_wait(s.full[at.stage], at.lap);
        warpgroup_fence();
        multiply_heads(score, s.q, consumer * 64, s.ring[at.stage]);
        warpgroup_commit();
        warpgroup_wait<0>();
        release(at.stage);
        at.advance();
        mask(score, p, row, 0);
        rows.take(score, shrink, p.scale);
        as_operand<T>(prob, score);

        for (int j = 1; j < item.tiles; ++j) {
            const int key_stage = at.stage;
            phase_wait(s.full[at.stage], at.lap);
            sync_at<kTurn>(consumer, 256);
            warpgroup_fence();
            multiply_heads(score, s.q, consumer * 64, s.ring[at.stage]);
            warpgroup_commit();
            at.advance();
            phase_wait(s.full[at.stage], at.lap);
            warpgroup_fence();
            multiply_rows(o, prob, s.ring[at.stage], j > 1);
            warpgroup_commit();
            arrive_at<kTurn>(consumer + 1 < S::kConsumers ? consumer + 1 : 0, 256);
            warpgroup_wait<1>();                       // the scores
            release(key_stage);
            mask(score, p, row, j * kKeys);
            rows.take(score, shrink, p.scale);
            warpgroup_wait<0>();
            warpgroup_hold(prob);
            release(at.stage);
            at.advance();
#pragma unroll
            for (int i = 0; i < width / 2; ++i) o[i] *= shrink[i / 2 % 2];
            as_operand<T>(prob, score);
        }
        if (first_thread) phase_arrive(s.q_empty);
        phase_wait(s.full[at.stage], at.lap);
        warpgroup_fence();
        multiply_rows(o, prob, s.ring[at.stage], item.tiles > 1);
        warpgroup_commit();
        warpgroup_wait<0>();
        warpgroup_hold(prob);
        release(at.stage);
        at.advance();

#pragma unroll
        for (int e = 0; e < 2; ++e) {
            float sum = rows.sum[e];
            sum += __shfl_xor_sync(kAllLanes, sum, 1);
            sum += __shfl_xor_sync(kAllLanes, sum, 2);
            const float factor = sum == 0.0f ? 0.0f : 1.0f / sum;            // nothing seen: o = 0
#pragma unroll
            for (int i = 0; i < width / 2; ++i)
                if (i / 2 % 2 == e) o[i] *= factor;
            const int r = row + warp_id() % 4 * 16 + lane_id() / 4 + 8 * e;
            if (lane_id() % 4 == 0 && r < p.tq)
                p.lse[int64_t(item.b * p.heads + item.h) * p.tq + r] = sum == 0.0f ? INFINITY : Rows::scaled_shift(rows.max[e], p.scale) + log2f(sum);
        }
        if (row < p.tq) store_rows<T, width, kOwn>(s.out[consumer], o, map_o, row, item.h, item.b, consumer);
    }
    if (consumer == 0) sync_at<kTurn>(0, 256);         // the last turn, given to nobody
    if (first_thread) box_store_wait<0>();             // shared memory must outlive its last reader
}

template <class T, int width>
__global__ __launch_bounds__(128 * (attention_consumers(width) + 1), 1) void attention_hopper_kernel(const __grid_constant__ CUtensorMap map_q, const __grid_constant__ CUtensorMap map_k,
                                                                                                     const __grid_constant__ CUtensorMap map_v, const __grid_constant__ CUtensorMap map_o,
                                                                                                     const __grid_constant__ Problem p) {
    using S = Shared<T, width>;
    auto& s = shared_memory<S>();
    if (threadIdx.x == 0) {
        for (int i = 0; i < S::kStages; ++i) {
            phase_init(s.full[i], 1);
            phase_init(s.empty[i], S::kConsumers);
        }
        phase_init(s.q_full, 1);
        phase_init(s.q_empty, S::kConsumers);
        phase_fence_init();
        box_prefetch(map_q);
        box_prefetch(map_k);
        box_prefetch(map_v);
    }
    __syncthreads();                                   // everybody sees the barriers

    if (threadIdx.x >= 128 * S::kConsumers) {
        give_registers<S::kConsumers == 3 ? 32 : 40>();
        if (threadIdx.x == 128 * S::kConsumers) produce(s, map_q, map_k, map_v, p);
    } else {
        take_registers<S::kConsumers == 3 ? 160 : 232>();
        consume(s, map_o, p, int(threadIdx.x) / 128);
    }
}

template <class T> __global__ __launch_bounds__(256) void copy_heads_kernel(T* y, AttentionMatrix<const T> x, int64_t heads, int64_t rows, int64_t cols, int64_t n) {
    const int64_t i = int64_t(blockIdx.x) * 256 + threadIdx.x;
    if (i < n) y[i] = x.at(i / cols / rows / heads, i / cols / rows % heads, i / cols % rows)[i % cols];
}

// ---- host ---------------------------------------------------------------------------------------------------------------

template <class T, int width> void run(const AttentionForward<T>& a) {
    using S = Shared<T, width>;
    const AttentionShape& s = a.shape;
    const HeadsView<T> q(a.q, s.batch, s.heads, s.tq, s.dim), k(a.k, s.batch, s.kv_heads, s.tk, s.dim), v(a.v, s.batch, s.kv_heads, s.tk, s.dim_v);
    const CUtensorMap o = heads_out(a.o, s.batch, s.heads, s.tq, s.dim_v);
    const int64_t row_tiles = div_up(s.tq, S::kQueries), items = row_tiles * s.batch * s.heads;
    const Problem p{int(s.heads), int(s.heads / s.kv_heads), int(s.tq), int(s.tk), int(row_tiles), int(items), attention_group(s.tk, width, s.heads / s.kv_heads, s.batch * s.heads),
                    s.causal, float(s.scale * kAttentionLog2E), a.lse};
    const int64_t blocks = items < properties().multiprocessors ? items : properties().multiprocessors;
    launch("attention", attention_hopper_kernel<T, width>, {Blocks(blocks), dim3(128 * (S::kConsumers + 1)), shared_bytes<S>}, q.map(S::kQueries), k.map(kKeys), v.map(kKeys), o, p);
}

}  // namespace

template <class T> void copy_heads(T* y, const AttentionMatrix<const T>& x, int64_t heads, int64_t rows, int64_t cols, int64_t n) {
    launch("attention", copy_heads_kernel<T>, thread_each(n, 256), y, x, heads, rows, cols, n);
}
template void copy_heads(bfloat16*, const AttentionMatrix<const bfloat16>&, int64_t, int64_t, int64_t, int64_t);
template void copy_heads(float16*, const AttentionMatrix<const float16>&, int64_t, int64_t, int64_t, int64_t);

template <class T> void attention_hopper_forward(const AttentionForward<T>& a, const CudaAttentionPlan& p) {
    if (p.width == 64) run<T, 64>(a);
    else run<T, 128>(a);
}

template void attention_hopper_forward(const AttentionForward<bfloat16>&, const CudaAttentionPlan&);
template void attention_hopper_forward(const AttentionForward<float16>&, const CudaAttentionPlan&);

}  // namespace lc::cuda
