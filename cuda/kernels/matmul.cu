// matmul on CUDA: the choice of the kernel, and the one for float and double as they are. Contract: cpp/ops/matmul.h
//
// The scalar kernel: a block computes a tile of y, each thread rows x cols of it in registers, from slices of a and b
// in shared memory. Bound by multiply-adds: 64 of them per 16 loads from shared memory.
#include "cpp/ops/matmul.h"
#include <algorithm>
#include "cpp/core/exact.h"
#include "cpp/core/log.h"
#include "cpp/core/precision.h"
#include "cpp/ops/copy.h"
#include "cuda/arch/shared.cuh"
#include "cuda/core/launch.h"
#include "cuda/kernels/matmul_epilogue.cuh"
#include "cuda/kernels/matmul_kernels.h"
#include "cuda/kernels/matmul_plan.h"

namespace lc::cuda {
namespace {

constexpr int kThreads = 256, kDepth = 16;

// ---- device -----------------------------------------------------------------------------------------------------------

template <class T, int tile> struct Slices {
    T a[2][kDepth][tile + 16 / sizeof(T)];            // a row's padding sends neighbours in k to other banks
    T b[2][kDepth][tile + 16 / sizeof(T)];
};

// Elements of a slice this thread moves: element (i, k) of an operand, zero outside of it.
template <class T, int tile> struct Mover {
    static constexpr int kEach = tile * kDepth / kThreads;
    const T* x;
    int64_t outer, depth, rows, k;                    // strides, sizes
    bool along;                                       // neighbours in k by neighbouring threads
    T held[kEach];

    __device__ __forceinline__ void place(int e, int& i, int& d) const {
        const int at = e * kThreads + int(threadIdx.x);
        i = along ? at / kDepth : at % tile;
        d = along ? at % kDepth : at / tile;
    }
    __device__ __forceinline__ void load(int64_t row0, int64_t k0) {
#pragma unroll
        for (int e = 0; e < kEach; ++e) {
            int i, d;
            place(e, i, d);
            held[e] = row0 + i < rows && k0 + d < k ? x[(row0 + i) * outer + (k0 + d) * depth] : T(0);
        }
    }
    __device__ __forceinline__ void store(T (&to)[kDepth][tile + 16 / sizeof(T)]) const {
#pragma unroll
        for (int e = 0; e < kEach; ++e) {
            int i, d;
            place(e, i, d);
            to[d][i] = held[e];
        }
    }
};

template <class T, int tile> __global__ __launch_bounds__(kThreads) void scalar_kernel(MatmulForward<T> f, int64_t tiles_m, int64_t tiles_n) {
    constexpr int kEdge = tile / 16;                  // rows and columns of a thread: 8 x 8 floats, 4 x 4 doubles
    auto& slices = shared_memory<Slices<T, tile>>();
    const int64_t entry = blockIdx.x / (tiles_m * tiles_n), at = blockIdx.x - entry * tiles_m * tiles_n, row0 = at / tiles_n * tile, col0 = at % tiles_n * tile;
    Mover<T, tile> a{f.a + (f.a_offsets ? f.a_offsets[entry] : entry * f.a_batch), f.a_row, f.a_depth, f.m, f.k, f.a_depth == 1, {}};
    Mover<T, tile> b{f.b + (f.b_offsets ? f.b_offsets[entry] : entry * f.b_batch), f.b_col, f.b_depth, f.n, f.k, f.b_depth == 1, {}};
    // A thread's rows and columns are 16 apart in groups of adjacent ones, so that a warp's reads are broadcasts or rows.
    const int ti = int(threadIdx.x) / 16, tj = int(threadIdx.x) % 16;

    T sum[kEdge][kEdge] = {};
    const int64_t steps = (f.k + kDepth - 1) / kDepth;
    a.load(row0, 0);
    b.load(col0, 0);
    for (int64_t s = 0; s < steps; ++s) {
        const int half = int(s % 2);
        a.store(slices.a[half]);
        b.store(slices.b[half]);
        __syncthreads();                              // the slice is complete; the other half was read one barrier ago
        if (s + 1 < steps) {
            a.load(row0, (s + 1) * kDepth);
            b.load(col0, (s + 1) * kDepth);
        }
#pragma unroll
        for (int d = 0; d < kDepth; ++d) {
            T va[kEdge], vb[kEdge];
#pragma unroll
            for (int i = 0; i < kEdge; ++i) va[i] = slices.a[half][d][(i / 4) * 64 + ti * 4 + i % 4];
#pragma unroll
            for (int j = 0; j < kEdge; ++j) vb[j] = slices.b[half][d][(j / 4) * 64 + tj * 4 + j % 4];
#pragma unroll
            for (int i = 0; i < kEdge; ++i)
#pragma unroll
                for (int j = 0; j < kEdge; ++j) sum[i][j] += va[i] * vb[j];
        }
    }
#pragma unroll
    for (int i = 0; i < kEdge; ++i)
#pragma unroll
        for (int j = 0; j < kEdge; ++j) {
            const int64_t row = row0 + (i / 4) * 64 + ti * 4 + i % 4, col = col0 + (j / 4) * 64 + tj * 4 + j % 4;
            if (row < f.m && col < f.n) finish(f, sum[i][j], col, entry * f.y_batch + row * f.y_row + col);
        }
}

// y from the sums of parts [count, rows, cols], added in order; a thread has four columns.
template <class T> __global__ __launch_bounds__(kThreads) void add_parts_kernel(MatmulForward<T> f, const float* parts, int64_t count, int64_t rows, int64_t cols) {
    const int64_t fours = (f.n + 3) / 4, at = int64_t(blockIdx.x) * kThreads + threadIdx.x, row = at / fours, col = at % fours * 4;
    if (row >= f.m) return;
    const float* from = parts + row * cols + col;
    Pack<float> sum = load_pack(from);
    for (int64_t p = 1; p < count; ++p) {
        const Pack<float> part = load_pack(from + p * rows * cols);
#pragma unroll
        for (int e = 0; e < 4; ++e) sum.x[e] += part.x[e];
    }
#pragma unroll
    for (int e = 0; e < 4; ++e)
        if (col + e < f.n) finish(f, sum.x[e], col + e, row * f.y_row + col + e);
}

constexpr int64_t kOffsets = 480;                     // what 4096 bytes of arguments hold
struct Offsets {
    int64_t at[kOffsets];
};
__global__ __launch_bounds__(kThreads) void write_offsets_kernel(const __grid_constant__ Offsets from, int64_t n, int64_t* to) {
    const int64_t i = int64_t(blockIdx.x) * kThreads + threadIdx.x;
    if (i < n) to[i] = from.at[i];
}

// ---- host ---------------------------------------------------------------------------------------------------------------

bool aligned16(const void* p, int64_t stride, int bytes) { return reinterpret_cast<uintptr_t>(p) % 16 == 0 && stride * bytes % 16 == 0 && stride > 0; }

template <class T> CudaMatmulPlan plan_for(const MatmulForward<T>& f) {
    MatmulQuestion q{};
    q.batch = f.batch;
    q.m = f.m;
    q.n = f.n;
    q.k = f.k;
    q.bytes = int(sizeof(T));
    q.a = {f.a_row, f.a_depth, aligned16(f.a, f.a_depth == 1 ? f.a_row : f.a_depth, q.bytes)};
    q.b = {f.b_col, f.b_depth, aligned16(f.b, f.b_depth == 1 ? f.b_col : f.b_depth, q.bytes)};
    q.y_aligned = aligned16(f.y, f.y_row, q.bytes) && (!f.before || aligned16(f.before, f.y_row, q.bytes));
    const T* const beside[] = {f.residual, f.slope_of};
    for (const T* p : beside) q.y_aligned = q.y_aligned && (!p || (aligned16(p, f.y_row, q.bytes) && f.n % 2 == 0));
    q.accumulate = f.add;
    q.architecture = properties().architecture;
    q.multiprocessors = properties().multiprocessors;
    q.tf32 = float32_matmul_precision() != MatmulPrecision::highest && !exact();
    return cuda_matmul_plan(q);
}

// Offsets of batch entries as the kernels see them: in device memory, by way of arguments, which nobody waits for.
const int64_t* on_device(const int64_t* offsets, const Scratch<int64_t>& scratch, int64_t count) {
    if (!offsets) return nullptr;
    for (int64_t first = 0; first < count; first += kOffsets) {
        Offsets part{};
        const int64_t n = std::min(count - first, kOffsets);
        std::copy_n(offsets + first, n, part.at);
        launch("matmul", write_offsets_kernel, thread_each(n, kThreads), part, n, scratch.data() + first);
    }
    return scratch.data();
}

// b with its depth adjacent, in rows of whole 16 bytes.
template <class T> int64_t turned_row(const MatmulForward<T>& f) { return div_up(f.k, 16 / int(sizeof(T))) * (16 / int(sizeof(T))); }
template <class T> void turn_b(MatmulForward<T>& f, T* to) {
    const int64_t row = turned_row(f);
    copy_forward(CopyForward<T>{f.b, to, dtype_of<T>, {f.n * f.k, 2, {f.n, f.k}, {{row, 1}, {f.b_col, f.b_depth}}}});
    f.b = to, f.b_col = row, f.b_depth = 1;
}

}  // namespace

template <class T> void matmul_scalar(const MatmulForward<T>& f, const CudaMatmulPlan& p) {
    constexpr int tile = sizeof(T) == 4 ? 128 : 64;
    launch("matmul", scalar_kernel<T, tile>, {Blocks(p.tiles_m * p.tiles_n * f.batch), dim3(kThreads), shared_bytes<Slices<T, tile>>}, f, p.tiles_m, p.tiles_n);
}

template <class T> void matmul_forward(const MatmulForward<T>& args) {
    if (args.batch == 0 || args.m == 0 || args.n == 0) return;
    MatmulForward<T> f = args;
    const bool offsets = f.a_offsets || f.b_offsets;
    const Scratch<int64_t> a(offsets ? f.batch : 0), b(offsets ? f.batch : 0);
    f.a_offsets = on_device(args.a_offsets, a, f.batch);
    f.b_offsets = on_device(args.b_offsets, b, f.batch);
    const CudaMatmulPlan p = plan_for(f);
    if (LC_UNLIKELY(log_enabled())) {
        constexpr const char* kNames[] = {"wgmma", "mma", "scalar"};
        log(text("[matmul] cuda ", kNames[int(p.kernel)], " ", p.tile_m, "x", p.tile_n, " ", name(dtype_of<T>), " batch=", f.batch, " m=", f.m, " n=", f.n, " k=", f.k,
                 ": ", p.tiles_m * p.tiles_n * f.batch, " tiles", p.parts > 1 ? text(" in ", p.parts, " parts") : "",
                 p.cluster > 1 ? ", clusters of 2" : "", p.turns_b ? ", b turned" : ""));
    }
    const Scratch<T> turned(p.turns_b ? f.n * turned_row(f) : 0);
    if (p.turns_b) turn_b(f, turned.data());
    if constexpr (sizeof(T) == 8) {
        return matmul_scalar(f, p);
    } else {
        const auto products = [&](float* parts) {
            if (p.kernel == CudaMatmulPlan::Kernel::hopper) return matmul_hopper(f, p, parts);
            matmul_tensor(f, p, parts);
        };
        if constexpr (sizeof(T) == 4)
            if (p.kernel == CudaMatmulPlan::Kernel::scalar) return matmul_scalar(f, p);
        if (p.parts > 1) {
            const int64_t rows = p.tiles_m * p.tile_m, cols = p.tiles_n * p.tile_n;
            const Scratch<float> parts(p.parts * rows * cols);
            products(parts.data());
            return launch("matmul", add_parts_kernel<T>, thread_each(f.m * div_up(f.n, 4), kThreads), f, parts.data(), p.parts, rows, cols);
        }
        products(nullptr);
    }
}

template void matmul_forward(const MatmulForward<float>&);
template void matmul_forward(const MatmulForward<double>&);
template void matmul_forward(const MatmulForward<bfloat16>&);
template void matmul_forward(const MatmulForward<float16>&);

}  // namespace lc::cuda
