// matmul of 16-bit elements, and of floats rounded to tf32, on Hopper: wgmma fed by the copy engine. Contract: cpp/ops/matmul.h
//
// One block a multiprocessor takes tiles of 128 x 256 (or 128) of y in turn. A producer thread keeps a ring of slices of a and
// b full, 128 bytes deep; floats lie along the depth, and the copy engine rounds them. Two warpgroups of consumers hold 64 rows
// of the tile each, and store it through the copy engine while the producer is already loading the next tile's slices. Where k
// is cut into parts, a tile is taken once for each, and its sums go to that part's floats. A pair of blocks has tiles below each other; each loads half of b's slice for both, so
// that a pair reads 64 KB of L2 a slice instead of 96. Compute bound: 48 KB a stage for 4.2 million products.
#include "cuda/arch/cluster.cuh"
#include "cuda/arch/matrix.cuh"
#include "cuda/arch/pipeline.cuh"
#include "cuda/arch/warp.cuh"
#include "cuda/core/launch.h"
#include "cuda/core/tensor_map.h"
#include "cuda/kernels/matmul_epilogue.cuh"
#include "cuda/kernels/matmul_kernels.h"
#include "cuda/kernels/matmul_slices.cuh"

namespace lc::cuda {
namespace {

constexpr int kConsumers = 2, kThreads = 128 * (kConsumers + 1), kRows = 128;
template <class T> constexpr int kLine = 128 / int(sizeof(T));    // depth of a slice; columns of a slab: 64 rows of y, what one store moves
template <class T> using SlabSums = float[kLine<T> / 2];          // what a thread has of one
constexpr int kStages = 4;
// 65536 registers: 128 x 40 + 256 x 232. A consumer holds 128 sums and the epilogue's addresses.
constexpr int kProducerRegisters = 40, kConsumerRegisters = 232;

// Swizzled tiles begin at multiples of 1024 bytes.
template <class T, int cols> struct alignas(1024) Shared {
    T a[kStages][kRows * kLine<T>], b[kStages][cols * kLine<T>];
    T out[kConsumers][2][64 * kLine<T>];              // one is written while the other one is stored
    PhaseBarrier full[kStages], empty[kStages];
};
static_assert(shared_bytes<Shared<bfloat16, 256>> <= 232448, "what a block of sm_90 may have");

// The activations as three formulas, so that the kernel holds few. sigmoid: z or 1 times a sigmoid of c1 z + c3 z^3.
struct Curve {
    enum class Kind : uint8_t { none,
                                relu,
                                gelu,
                                sigmoid } kind;
    float c1 = 0, c3 = 0, scale = 0, shift = 0;       // c1, c3: times -log2 e
    bool times_z = false;
};

struct Problem {
    int m, n, k, tiles_m, tiles_n, parts, part_k, group;
    int pair;                                         // 1: two blocks make a cluster
    float* sums;                                      // of the parts, or null
    const void *bias, *residual, *slope_of;           // the last two as y
    int64_t y_row;
    bool keep_before;
    Curve curve;
};

// ---- device -----------------------------------------------------------------------------------------------------------

// What a block does at once: a tile, and a part of its depth. A pair of blocks counts as one.
struct Work {
    int part, row, col, begin, end;
};
template <int cols> __device__ __forceinline__ Work work(int number, const Problem& p) {
    const int rows = p.tiles_m >> p.pair, tiles = rows * p.tiles_n, part = number / tiles, begin = part * p.part_k;
    const TilePlace tile = tile_place(number - part * tiles, rows, p.tiles_n, p.group);
    return {part, ((tile.m << p.pair) + (int(blockIdx.x) & p.pair)) * kRows, tile.n * cols, begin, begin + p.part_k < p.k ? begin + p.part_k : p.k};
}

__device__ __forceinline__ float sigmoid(const Curve& c, float z) { return fast_reciprocal(1.0f + fast_exp2(z * (c.c1 + c.c3 * z * z))); }

// Phi(z), and exp(-z^2 / 2) on the way: Phi(-|z|) is that times a polynomial of 1 / (1 + 0.31 |z|), to within 5e-6 of it.
__device__ __forceinline__ float normal(float z, float& bell) {
    const float t = fast_reciprocal(1.0f + 0.31f * ::fabsf(z));
    bell = fast_exp2(z * z * -0x1.715476p-1f);
    const float tail = bell * t * (0.12386099f + t * (0.12043791f + t * (0.1334441f + t * (0.01571651f + t * (0.18047634f - t * 0.07393819f)))));
    return z < 0.0f ? tail : 1.0f - tail;
}

template <int sums> __device__ __forceinline__ void bend(const Curve& c, float (&z)[sums]) {
    if (c.kind == Curve::Kind::relu) {
#pragma unroll
        for (float& x : z) x = x < 0.0f ? 0.0f : x;
    } else if (c.kind == Curve::Kind::gelu) {
#pragma unroll
        for (float& x : z) {
            float bell;
            x *= normal(x, bell);
        }
    } else if (c.kind == Curve::Kind::sigmoid) {
#pragma unroll
        for (float& x : z) {
            const float s = sigmoid(c, x);
            x = c.times_z ? x * s : c.scale * s + c.shift;
        }
    }
}

// The activation's slope where x was saved of it: its result for relu, sigmoid and tanh, else the sum before it.
__device__ __forceinline__ float slope(const Curve& c, float x) {
    if (c.kind == Curve::Kind::relu) return x <= 0.0f ? 0.0f : 1.0f;
    if (c.kind == Curve::Kind::gelu) {
        float bell;
        const float phi = normal(x, bell);
        return phi + x * bell * 0x1.988454p-2f;       // 1 / sqrt(2 pi)
    }
    if (c.kind == Curve::Kind::none) return 1.0f;
    constexpr float kLn2 = 0x1.62e43p-1f;
    if (!c.times_z) {
        const float s = (x - c.shift) * fast_reciprocal(c.scale);
        return -kLn2 * c.c1 * c.scale * s * (1.0f - s);
    }
    const float s = sigmoid(c, x);
    return s + x * s * (1.0f - s) * -kLn2 * (c.c1 + 3.0f * c.c3 * x * x);
}

constexpr int kTogether = 8;                          // pairs under way at once

// f(i, x) for the elements of x that stand where a slab's sums z[i] do; zeros outside of the matrix. Two are read at once.
template <class T, class F> __device__ __forceinline__ void each_beside(const void* x, const Problem& p, int row, int col, F&& f) {
    struct alignas(2 * sizeof(T)) Pair {
        T x[2];
    };
    const int at = row + warp_id() % 4 * 16 + lane_id() / 4, j = col + lane_id() % 4 * 2;
    const T* from = static_cast<const T*>(x) + at * p.y_row + j;
#pragma unroll
    for (int first = 0; first < kLine<T> / 4; first += kTogether) {
        Pair pairs[kTogether];
#pragma unroll
        for (int k = 0; k < kTogether; ++k) {
            const int i = first + k, below = i % 2 * 8, right = i / 2 * 8;
            pairs[k] = Pair{};
            if (at + below < p.m && j + right < p.n) pairs[k] = *reinterpret_cast<const Pair*>(from + below * p.y_row + right);
        }
#pragma unroll
        for (int k = 0; k < kTogether; ++k) {
            f(2 * (first + k), widen(pairs[k].x[0]));
            f(2 * (first + k) + 1, widen(pairs[k].x[1]));
        }
    }
}

using Place = RingPlace<kStages>;

template <class T, int cols, bool a_across, bool b_across>
__device__ __forceinline__ void produce(Shared<T, cols>& s, const CUtensorMap& map_a, const CUtensorMap& map_b, const Problem& p) {
    constexpr int kBytes = (kRows + cols) * 128;         // a box counts whole, also outside the matrix
    const int own = cols >> p.pair, first = p.pair ? cluster_rank() * own : 0;      // columns of b that this block loads
    Place at;
    for (int number = first_work(p); number < all_work(p); number += next_work(p)) {
        const Work w = work<cols>(number, p);
        for (int k = w.begin; k < w.end; k += kLine<T>) {
            phase_wait(s.empty[at.stage], at.lap ^ 1);                       // the first lap finds every stage empty
            PhaseBarrier& full = s.full[at.stage];
            phase_arrive_expecting(full, kBytes);
            if (a_across)
                for (int i = 0; i < kRows; i += 64) box_load(&s.a[at.stage][i * kLine<T>], map_a, full, w.row + i, k);
            else box_load(s.a[at.stage], map_a, full, k, w.row);
            for (int j = first; j < first + own; j += b_across ? 64 : own) {
                T* to = &s.b[at.stage][j * kLine<T>];
                const int x = b_across ? w.col + j : k, y = b_across ? k : w.col + j;
                if (p.pair) box_load_to(0b11, to, map_b, full, x, y);
                else box_load(to, map_b, full, x, y);
            }
            at.advance();
        }
    }
}

// The same sums to the floats of a part; whole tiles have a place there.
template <int cols> __device__ __forceinline__ void store_sums(const Problem& p, const Work& w, int consumer, const float (&sum)[cols / 2]) {
    const int64_t stride = int64_t(p.tiles_n) * cols, row = int64_t(w.part) * p.tiles_m * kRows + w.row + consumer * 64 + warp_id() % 4 * 16;
    write_sums<cols>(p.sums + row * stride + w.col, stride, sum);
}

// A slab of the consumer's rows, from registers to y (or before) by way of shared memory.
template <class T> __device__ __forceinline__ void store_slab(T* slab, const SlabSums<T>& z, const CUtensorMap& map, int col, int row, int consumer) {
    const bool first_thread = threadIdx.x % 128 == 0;
    const auto together = [&] {
        if (consumer == 0) barrier_sync<1>(128);
        else barrier_sync<2>(128);
    };
    if (first_thread) box_store_wait<1>();            // this slab's last store was the one before the last
    together();
    const int warp = warp_id() % 4, at = warp * 16 + lane_id() % 16;
    if constexpr (sizeof(T) == 4) {
#pragma unroll
        for (int i = 0; i < kLine<T> / 4; ++i) {
            const int line = warp * 16 + lane_id() / 4 + i % 2 * 8, chunk = (i / 2 * 2 + lane_id() % 4 / 2) ^ (line & 7);
            *reinterpret_cast<float2*>(slab + line * kLine<T> + chunk * 4 + lane_id() % 2 * 2) = make_float2(z[2 * i], z[2 * i + 1]);
        }
    } else {
#pragma unroll
        for (int j = 0; j < 4; ++j) {
            const int chunk = (2 * j + lane_id() / 16) ^ (at & 7);
            const uint32_t r[4] = {narrow_pair<T>(z[8 * j], z[8 * j + 1]), narrow_pair<T>(z[8 * j + 2], z[8 * j + 3]), narrow_pair<T>(z[8 * j + 4], z[8 * j + 5]),
                                   narrow_pair<T>(z[8 * j + 6], z[8 * j + 7])};
            store_matrices(slab + at * kLine<T> + chunk * 8, r);
        }
    }
    fence_async_proxy();                              // by every writer, before the barrier
    together();
    if (first_thread) {
        box_store(map, slab, col, row);
        box_store_commit();
    }
}

template <class T, int cols, bool a_across, bool b_across>
__global__ __launch_bounds__(kThreads, 1) void hopper_kernel(const __grid_constant__ CUtensorMap map_a, const __grid_constant__ CUtensorMap map_b,
                                                             const __grid_constant__ CUtensorMap map_y, const __grid_constant__ CUtensorMap map_before,
                                                             const __grid_constant__ Problem p) {
    auto& s = shared_memory<Shared<T, cols>>();
    begin_ring(s.full, s.empty, kConsumers, p.pair, map_a, map_b);

    if (threadIdx.x >= 128 * kConsumers) {
        give_registers<kProducerRegisters>();
        if (threadIdx.x == 128 * kConsumers) produce<T, cols, a_across, b_across>(s, map_a, map_b, p);
    } else {
        take_registers<kConsumerRegisters>();
        const int consumer = int(threadIdx.x) / 128, t = lane_id() % 4;
        const T* bias = static_cast<const T*>(p.bias);
        Place at;
        int stores = 0;
        for (int number = first_work(p); number < all_work(p); number += next_work(p)) {
            const Work w = work<cols>(number, p);
            const int row = w.row + consumer * 64, col = w.col;
            float sum[cols / 2];
            multiply_slices<T, cols, a_across, b_across>(s.a, consumer * 64 * kLine<T>, s.b, 0, s.full, at, (w.end - w.begin + kLine<T> - 1) / kLine<T>, sum, s.empty, p.pair);
            if constexpr (a_across) {                 // the plan cuts no other
                if (p.sums) {
                    store_sums<cols>(p, w, consumer, sum);
                    continue;
                }
            }
#pragma unroll
            for (int c = 0; c < cols / kLine<T>; ++c) {
                const int left = col + c * kLine<T>;
                if (left >= p.n) continue;
                SlabSums<T> z;
#pragma unroll
                for (int i = 0; i < kLine<T> / 2; ++i) {
                    const int j = left + i / 4 * 8 + 2 * t + i % 2;
                    z[i] = sum[c * kLine<T> / 2 + i] + (bias && j < p.n ? float(widen(bias[j])) : 0.0f);
                }
                if (p.slope_of) {
                    each_beside<T>(p.slope_of, p, row, left, [&](int i, float x) { z[i] *= slope(p.curve, x); });
                } else {
                    if (p.keep_before) store_slab(s.out[consumer][stores++ % 2], z, map_before, left, row, consumer);
                    bend(p.curve, z);
                    if (p.residual) each_beside<T>(p.residual, p, row, left, [&](int i, float x) { z[i] += x; });
                }
                store_slab(s.out[consumer][stores++ % 2], z, map_y, left, row, consumer);
            }
        }
        if (threadIdx.x % 128 == 0) box_store_finish();                      // shared memory must outlive its last reader
    }
    if (p.pair) cluster_sync();                // also the other block's last arrival here
}

// ---- host ---------------------------------------------------------------------------------------------------------------

Curve curve_of(Activation f) {
    constexpr float kLog2E = 0x1.715476p0f, kRoot = 2 * 0x1.988454p-1f;     // 2 sqrt(2 / pi)
    switch (f) {
        case Activation::relu: return {Curve::Kind::relu};
        case Activation::gelu: return {Curve::Kind::gelu};
        case Activation::gelu_tanh: return {Curve::Kind::sigmoid, -kLog2E * kRoot, -kLog2E * kRoot * 0.044715f, 0, 0, true};
        case Activation::silu: return {Curve::Kind::sigmoid, -kLog2E, 0, 0, 0, true};
        case Activation::sigmoid: return {Curve::Kind::sigmoid, -kLog2E, 0, 1, 0, false};
        case Activation::tanh: return {Curve::Kind::sigmoid, -2 * kLog2E, 0, 2, -1, false};
        default: return {Curve::Kind::none};
    }
}

// An operand of `rows` rows (or columns of b), as the copy engine reads it.
template <class T> CUtensorMap operand_map(const T* x, int64_t outer, int64_t depth, int64_t rows, int64_t k, int tile) {
    if (depth == 1) return encode({x, dtype_of<T>, k, rows, outer, kLine<T>, tile, true});
    return encode({x, dtype_of<T>, rows, k, depth, 64, kLine<T>});
}

template <class T, int cols> void run(const MatmulForward<T>& f, const CudaMatmulPlan& p, float* parts) {
    const bool a_across = f.a_depth != 1, b_across = f.b_depth != 1;
    auto kernel = hopper_kernel<T, cols, false, false>;
    if constexpr (sizeof(T) == 2) kernel = a_across ? b_across ? hopper_kernel<T, cols, true, true> : hopper_kernel<T, cols, true, false>
        : b_across                                  ? hopper_kernel<T, cols, false, true>
                                                    : hopper_kernel<T, cols, false, false>;
    const CUtensorMap a = operand_map(f.a, f.a_row, f.a_depth, f.m, f.k, kRows), b = operand_map(f.b, f.b_col, f.b_depth, f.n, f.k, cols / p.cluster);
    const CUtensorMap y = encode({f.y, dtype_of<T>, f.n, f.m, f.y_row, kLine<T>, 64});
    const CUtensorMap before = f.before ? encode({f.before, dtype_of<T>, f.n, f.m, f.y_row, kLine<T>, 64}) : y;
    const int pair = p.cluster - 1;
    const Problem problem{int(f.m), int(f.n), int(f.k), int(p.tiles_m), int(p.tiles_n), int(p.parts), int(p.part_k), p.group >> pair, pair, parts, f.bias,
                          f.residual, f.slope_of, f.y_row, f.before != nullptr, curve_of(f.activation)};
    launch("matmul", kernel, {Blocks(p.blocks), dim3(kThreads), shared_bytes<Shared<T, cols>>, p.cluster}, a, b, y, before, problem);
}

}  // namespace

template <class T> void matmul_hopper(const MatmulForward<T>& f, const CudaMatmulPlan& p, float* parts) {
    if (p.tile_n == 256) run<T, 256>(f, p, parts);
    else run<T, 128>(f, p, parts);
}

template void matmul_hopper(const MatmulForward<float>&, const CudaMatmulPlan&, float*);
template void matmul_hopper(const MatmulForward<bfloat16>&, const CudaMatmulPlan&, float*);
template void matmul_hopper(const MatmulForward<float16>&, const CudaMatmulPlan&, float*);

}  // namespace lc::cuda
