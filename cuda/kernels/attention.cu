// attention on CUDA: the choice of the kernel, and the ones for every dtype, width and mask. Contract: cpp/ops/attention.h
//
// Compute bound, on ordinary cores: 4 * dim flops a score forward, 14 backward, where dq and (dk, dv) are found by kernels
// of their own: nothing is added up between blocks. A warp has a row; the other side passes by in tiles of 32, one a lane.
#include "cpp/ops/attention.h"
#include "cuda/arch/shared.cuh"
#include "cuda/arch/warp.cuh"
#include "cpp/core/log.h"
#include "cuda/core/launch.h"
#include "cuda/kernels/attention_kernels.h"
#include "cuda/kernels/attention_scores.cuh"

namespace lc::cuda {
namespace {

constexpr int kWarps = 8, kThreads = 32 * kWarps, kTile = 32;

// ---- device: shared memory ----------------------------------------------------------------------------------------------

// A tile of rows, a lane a row when it is walked along: an odd stride puts 32 rows into 32 banks.
__host__ __device__ constexpr int64_t stride_of(int64_t cols) { return cols | 1; }

template <class A> struct Tiles {
    A *first, *second, *row, *other, *sum, *sum2;     // [kTile][..] twice, then one row a warp: two inputs, two results

    __device__ __forceinline__ Tiles(int64_t dim, int64_t dim_v) {
        first = reinterpret_cast<A*>(&shared_memory<double>());
        second = first + kTile * stride_of(dim);
        A* own = second + kTile * stride_of(dim_v) + warp_id() * 2 * (dim + dim_v);
        row = own;
        other = row + dim;
        sum = other + dim_v;
        sum2 = sum + dim;
    }
    static int64_t bytes(int64_t dim, int64_t dim_v) {
        return int64_t(sizeof(A)) * (kTile * (stride_of(dim) + stride_of(dim_v)) + kWarps * 2 * (dim + dim_v)) + int64_t(sizeof(double));
    }
};

// Rows [begin, begin + 32) of x, zero from `rows` on; by the whole block.
template <class T, class A> __device__ __forceinline__ void load_tile(A* tile, const AttentionMatrix<const T>& x, int64_t b, int64_t h, int64_t begin, int64_t rows, int64_t cols) {
    const int n = int(cols);                          // shared memory ends long before: no division of 64 bits
#pragma unroll 2
    for (int at = int(threadIdx.x); at < kTile * n; at += kThreads) {
        const int r = at / n, d = at % n;
        tile[r * stride_of(cols) + d] = begin + r < rows ? widen(x.at(b, h, begin + r)[d]) : A(0);
    }
}
template <class T, class A> __device__ __forceinline__ void load_row(A* to, const T* from, int64_t cols) {
    for (int64_t d = lane_id(); d < cols; d += 32) to[d] = widen(from[d]);
}
template <class A> __device__ __forceinline__ A dot(const A* row, const A* tile, int64_t cols) {
    A sum = 0;
#pragma unroll 4
    for (int64_t d = 0; d < cols; ++d) sum += row[d] * tile[lane_id() * stride_of(cols) + d];
    return sum;
}
// sum += the tile's rows, row r times the factor of lane r; in the order of rows.
template <class A> __device__ __forceinline__ void add_rows(A* sum, const A* tile, A factor, int64_t cols) {
    for (int64_t begin = 0; begin < cols; begin += 32) {
        const int64_t d = begin + lane_id(), at = d < cols ? d : 0;
        A total = 0;
#pragma unroll 8
        for (int r = 0; r < kTile; ++r) total += __shfl_sync(kAllLanes, factor, r) * tile[r * stride_of(cols) + at];
        if (d < cols) sum[d] += total;
    }
}

struct Place {
    int64_t b, h, first, row;                         // the block's first row, the warp's
    bool valid;
};
__device__ __forceinline__ Place place(int64_t heads, int64_t rows) {
    const AttentionBlock at = attention_block(blockIdx.x, rows, kWarps);
    const int64_t first = int64_t(at.tile) * kWarps, row = first + warp_id();
    const unsigned h = unsigned(heads);
    return {at.head / h, at.head % h, first, row < rows ? row : rows - 1, row < rows};           // a row too many does the last one again
}
// Keys that the block's last query may see.
__device__ __forceinline__ int64_t last_key(const AttentionShape& s, const Place& at) {
    const int64_t end = at.first + kWarps;
    return s.causal && end < s.tk ? end : s.tk;
}

// ---- device: forward ------------------------------------------------------------------------------------------------------

template <class T> __global__ __launch_bounds__(kThreads) void forward_kernel(AttentionForward<T> a) {
    using A = acc_t<T>;
    const AttentionShape& s = a.shape;
    const Place at = place(s.heads, s.tq);
    const int64_t hk = int(at.h) / (int(s.heads) / int(s.kv_heads)), end = last_key(s, at);
    const Tiles<A> t(s.dim, s.dim_v);
    load_row(t.row, a.q.at(at.b, at.h, at.row), s.dim);
    for (int64_t d = lane_id(); d < s.dim_v; d += 32) t.other[d] = A(0);
    __syncwarp();

    A max = -INFINITY, sum = 0;
    for (int64_t j = 0; j < end; j += kTile) {
        __syncthreads();                              // all have done with the last tile
        load_tile(t.first, a.k, at.b, hk, j, s.tk, s.dim);
        load_tile(t.second, a.v, at.b, hk, j, s.tk, s.dim_v);
        __syncthreads();
        const int64_t key = j + lane_id();
        const A score = masked<T>(s, a.mask, at.b, at.h, at.row, key, A(s.scale * kLog2E) * dot(t.row, t.first, s.dim));
        const A larger = warp_reduce(score > max ? score : max, [](A x, A y) { return x > y ? x : y; });
        const A shift = larger == A(-INFINITY) ? A(0) : larger, shrink = ::exp2(max - shift);
        const A p = ::exp2(score - shift);
        sum = sum * shrink + warp_reduce(p, [](A x, A y) { return x + y; });
        max = larger;
        for (int64_t d = lane_id(); d < s.dim_v; d += 32) t.other[d] *= shrink;
        add_rows(t.other, t.second, key < s.tk ? p * kept<A>(s, a.dropout, at.b, at.h, at.row, key) : A(0), s.dim_v);
    }
    if (!at.valid) return;
    const A factor = sum == A(0) ? A(0) : A(1) / sum;                        // nothing seen: o = 0
    T* o = a.o.at(at.b, at.h, at.row);
    for (int64_t d = lane_id(); d < s.dim_v; d += 32) o[d] = narrow<T>(t.other[d] * factor);
    if (lane_id() == 0) a.lse[(at.b * s.heads + at.h) * s.tq + at.row] = sum == A(0) ? A(INFINITY) : max + ::log2(sum);
}

// ---- device: backward -----------------------------------------------------------------------------------------------------

// dq, a warp per query; delta on the way, and ds where the mask's gradient is wanted.
template <class T> __global__ __launch_bounds__(kThreads) void query_kernel(AttentionBackward<T> a, acc_t<T>* delta, acc_t<T>* ds_out) {
    using A = acc_t<T>;
    const AttentionShape& s = a.shape;
    const Place at = place(s.heads, s.tq);
    const int64_t hk = int(at.h) / (int(s.heads) / int(s.kv_heads)), end = last_key(s, at), row = (at.b * s.heads + at.h) * s.tq + at.row;
    const Tiles<A> t(s.dim, s.dim_v);
    load_row(t.row, a.q.at(at.b, at.h, at.row), s.dim);
    load_row(t.other, a.d_o.at(at.b, at.h, at.row), s.dim_v);
    for (int64_t d = lane_id(); d < s.dim; d += 32) t.sum[d] = A(0);
    __syncwarp();
    A mine = 0;
    for (int64_t d = lane_id(); d < s.dim_v; d += 32) mine += t.other[d] * A(widen(a.o.at(at.b, at.h, at.row)[d]));
    const A own_delta = warp_reduce(mine, [](A x, A y) { return x + y; }), lse = a.lse[row];
    if (lane_id() == 0 && at.valid) delta[row] = own_delta;

    for (int64_t j = 0; j < end; j += kTile) {
        __syncthreads();                              // all have done with the last tile
        load_tile(t.first, a.k, at.b, hk, j, s.tk, s.dim);
        load_tile(t.second, a.v, at.b, hk, j, s.tk, s.dim_v);
        __syncthreads();
        const int64_t key = j + lane_id();
        const A score = masked<T>(s, a.mask, at.b, at.h, at.row, key, A(s.scale * kLog2E) * dot(t.row, t.first, s.dim));
        const A p = ::exp2(score - lse), up = dot(t.other, t.second, s.dim_v);
        const A ds = key < s.tk ? p * (kept<A>(s, a.dropout, at.b, at.h, at.row, key) * up - own_delta) : A(0);
        if (ds_out && at.valid && key < s.tk) ds_out[row * s.tk + key] = ds;
        add_rows(t.sum, t.first, ds, s.dim);
    }
    if (!at.valid) return;
    T* dq = a.dq.at(at.b, at.h, at.row);
    for (int64_t d = lane_id(); d < s.dim; d += 32) dq[d] = narrow<T>(A(s.scale) * t.sum[d]);
}

// dk and dv, a warp per key: query heads of its group in order, queries in order.
template <class T> __global__ __launch_bounds__(kThreads) void key_kernel(AttentionBackward<T> a, const acc_t<T>* delta) {
    using A = acc_t<T>;
    const AttentionShape& s = a.shape;
    const Place at = place(s.kv_heads, s.tk);
    const int64_t group = int(s.heads) / int(s.kv_heads);
    const int64_t first_query = s.causal ? at.first / kTile * kTile : 0;      // no earlier one sees the block's keys
    const Tiles<A> t(s.dim, s.dim_v);
    load_row(t.row, a.k.at(at.b, at.h, at.row), s.dim);
    load_row(t.other, a.v.at(at.b, at.h, at.row), s.dim_v);
    for (int64_t d = lane_id(); d < s.dim; d += 32) t.sum[d] = A(0);
    for (int64_t d = lane_id(); d < s.dim_v; d += 32) t.sum2[d] = A(0);
    __syncwarp();
    for (int64_t h = at.h * group; h < (at.h + 1) * group; ++h)
        for (int64_t i = first_query; i < s.tq; i += kTile) {
            __syncthreads();                          // all have done with the last tile
            load_tile(t.first, a.q, at.b, h, i, s.tq, s.dim);
            load_tile(t.second, a.d_o, at.b, h, i, s.tq, s.dim_v);
            __syncthreads();
            const int64_t query = i + lane_id(), row = (at.b * s.heads + h) * s.tq + query;
            const A score = A(s.scale * kLog2E) * dot(t.row, t.first, s.dim), up = dot(t.other, t.second, s.dim_v);
            A p = 0, z = 0, ds = 0;
            if (query < s.tq) {
                p = ::exp2(masked<T>(s, a.mask, at.b, h, query, at.row, score) - a.lse[row]);
                z = kept<A>(s, a.dropout, at.b, h, query, at.row);
                ds = p * (z * up - delta[row]);
            }
            add_rows(t.sum, t.first, ds, s.dim);
            add_rows(t.sum2, t.second, z * p, s.dim_v);
        }
    if (!at.valid) return;
    T *dk = a.dk.at(at.b, at.h, at.row), *dv = a.dv.at(at.b, at.h, at.row);
    for (int64_t d = lane_id(); d < s.dim; d += 32) dk[d] = narrow<T>(A(s.scale) * t.sum[d]);
    for (int64_t d = lane_id(); d < s.dim_v; d += 32) dv[d] = narrow<T>(t.sum2[d]);
}

// A thread per element of the mask's gradient: the sum over what it was broadcast along, in order. What no kernel wrote is
// what no query sees.
template <class T> __global__ __launch_bounds__(kThreads) void mask_kernel(AttentionShape s, const acc_t<T>* ds, AttentionMaskGradient<T> m) {
    const int64_t i = int64_t(blockIdx.x) * kThreads + threadIdx.x;
    if (i >= m.batch * m.heads * m.rows * m.cols) return;
    const int64_t j = i % m.cols, r = i / m.cols % m.rows, h = i / m.cols / m.rows % m.heads, b = i / m.cols / m.rows / m.heads;
    acc_t<T> sum = 0;
    for (int64_t b1 = b; b1 < (m.batch == 1 ? s.batch : b + 1); ++b1)
        for (int64_t h1 = h; h1 < (m.heads == 1 ? s.heads : h + 1); ++h1)
            for (int64_t r1 = r; r1 < (m.rows == 1 ? s.tq : r + 1); ++r1)
                for (int64_t j1 = j; j1 < (m.cols == 1 ? s.tk : j + 1); ++j1) sum += ds[((b1 * s.heads + h1) * s.tq + r1) * s.tk + j1];
    m.data[i] = narrow<T>(sum);
}

// ---- host ---------------------------------------------------------------------------------------------------------------

template <class A> int shared_for(const AttentionShape& s) {
    const int64_t bytes = Tiles<A>::bytes(s.dim, s.dim_v);
    LC_CHECK(bytes <= properties().shared_bytes, ValueError, "scaled_dot_product_attention: heads of width ", s.dim, " and ", s.dim_v, " need ", bytes, " bytes of shared memory, this GPU has ",
             properties().shared_bytes, "; use more and narrower heads");
    return int(bytes);
}
Blocks grid_of(int64_t rows, int64_t batch, int64_t heads) {
    return Blocks(div_up(rows, kWarps) * batch * heads);
}
void check_rows(const AttentionShape& s) {
    LC_CHECK(s.batch * s.heads * s.tq <= INT32_MAX && s.batch * s.kv_heads * s.tk <= INT32_MAX, ValueError, "scaled_dot_product_attention: batch ", s.batch, " of ", s.heads, " heads of ", s.tq, " queries and ",
             s.tk, " keys; on CUDA the rows of all heads together may be 2^31 - 1");
}
Device here() { return {Device::Type::cuda, int8_t(device_in_use())}; }

template <class Args> CudaAttentionPlan plan_for(const Args& a, int bytes) {
    const AttentionShape& s = a.shape;
    const CudaAttentionPlan p = cuda_attention_plan({s.dim, s.dim_v, s.scale, bytes, a.mask.data != nullptr, a.dropout.probability > 0, properties().architecture});
    if (LC_UNLIKELY(log_enabled())) {
        if (p.kernel == CudaAttentionPlan::Kernel::hopper) log(text("[attention] cuda hopper, heads of ", p.width));
        else if (p.kernel == CudaAttentionPlan::Kernel::tensor) log(text("[attention] cuda mma, heads of ", p.width));
        else log("[attention] cuda scalar");
    }
    return p;
}

}  // namespace

template <class T> void attention_forward(const AttentionForward<T>& a) {
    const AttentionShape& s = a.shape;
    if (s.batch * s.heads * s.tq == 0) return;
    check_rows(s);
    const CudaAttentionPlan p = plan_for(a, int(sizeof(T)));
    if constexpr (sizeof(T) == 2) {
        if (p.kernel == CudaAttentionPlan::Kernel::hopper && s.tk > 0) return attention_hopper_forward(a, p);
        if (p.kernel != CudaAttentionPlan::Kernel::scalar) return attention_tensor_forward(a, p);
    }
    launch("attention", forward_kernel<T>, {grid_of(s.tq, s.batch, s.heads), dim3(kThreads), shared_for<acc_t<T>>(s)}, a);
}

template <class T> void attention_backward(const AttentionBackward<T>& a) {
    using A = acc_t<T>;
    const AttentionShape& s = a.shape;
    const int64_t queries = s.batch * s.heads * s.tq;
    const CudaAttentionPlan p = plan_for(a, int(sizeof(T)));
    const Scratch<A> delta(queries), ds(a.dmask.data ? queries * s.tk : 0);
    if (a.dmask.data) fill_bytes(ds.data(), 0, size_t(queries * s.tk) * sizeof(A), here());
    const auto scalar = [&] {
        const int shared = shared_for<A>(s);
        if (queries > 0) launch("attention_backward", query_kernel<T>, {grid_of(s.tq, s.batch, s.heads), dim3(kThreads), shared}, a, delta.data(), a.dmask.data ? ds.data() : nullptr);
        if (s.batch * s.kv_heads * s.tk > 0) launch("attention_backward", key_kernel<T>, {grid_of(s.tk, s.batch, s.kv_heads), dim3(kThreads), shared}, a, delta.data());
    };
    if constexpr (sizeof(T) == 2) {
        if (p.kernel == CudaAttentionPlan::Kernel::hopper && s.tq > 0 && s.tk > 0) attention_hopper_backward(a, p, delta.data());
        else if (p.kernel != CudaAttentionPlan::Kernel::scalar) attention_tensor_backward(a, p, delta.data(), a.dmask.data ? ds.data() : nullptr);
        else scalar();
    } else {
        scalar();
    }
    if (const int64_t n = a.dmask.data ? a.dmask.batch * a.dmask.heads * a.dmask.rows * a.dmask.cols : 0)
        launch("attention_backward", mask_kernel<T>, thread_each(n, kThreads), s, ds.data(), a.dmask);
}

template void attention_forward(const AttentionForward<float>&);
template void attention_forward(const AttentionForward<double>&);
template void attention_forward(const AttentionForward<bfloat16>&);
template void attention_forward(const AttentionForward<float16>&);
template void attention_backward(const AttentionBackward<float>&);
template void attention_backward(const AttentionBackward<double>&);
template void attention_backward(const AttentionBackward<bfloat16>&);
template void attention_backward(const AttentionBackward<float16>&);

}  // namespace lc::cuda
