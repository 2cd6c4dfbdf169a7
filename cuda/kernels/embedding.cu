// embedding on CUDA. Contract: cpp/ops/embedding.h
// Memory bound: forward reads and writes count * cols elements; backward reads as many and writes rows * cols. The order
// in which gradients of a row are added is that of p: p is sorted by row, and every row of dw has a block of its own.
#include "cpp/ops/embedding.h"
#include "cuda/arch/check.cuh"
#include "cuda/arch/convert.cuh"
#include "cuda/kernels/radix_sort.cuh"
#include "cuda/kernels/strided.cuh"

namespace lc::cuda {
namespace {

constexpr int kThreads = 256;

template <class V> __global__ __launch_bounds__(kThreads) void gather_kernel(const V* w, const int64_t* index, int64_t count, int64_t rows, int64_t cols, V* y) {
    const int64_t i = int64_t(blockIdx.x) * kThreads + threadIdx.x;
    if (i >= count * cols) return;
    const int64_t p = i / cols, v = index[p];
    require(v >= 0 && v < rows);
    y[i] = w[v * cols + i % cols];
}

// The padding's key is beyond all rows.
__global__ __launch_bounds__(kThreads) void keys_kernel(const int64_t* index, int64_t count, int64_t rows, int64_t padding, uint32_t* keys, uint32_t* order) {
    const int64_t p = int64_t(blockIdx.x) * kThreads + threadIdx.x;
    if (p >= count) return;
    require(index[p] >= 0 && index[p] < rows);
    keys[p] = uint32_t(index[p] == padding ? rows : index[p]);
    order[p] = uint32_t(p);
}
// Where each key begins and ends; both are 0 for a key that does not occur.
__global__ __launch_bounds__(kThreads) void bounds_kernel(const uint32_t* keys, int64_t count, uint32_t* begins, uint32_t* ends) {
    const int64_t i = int64_t(blockIdx.x) * kThreads + threadIdx.x;
    if (i >= count) return;
    if (i == 0 || keys[i] != keys[i - 1]) begins[keys[i]] = uint32_t(i);
    if (i == count - 1 || keys[i] != keys[i + 1]) ends[keys[i]] = uint32_t(i + 1);
}
template <class T> __global__ __launch_bounds__(kThreads) void rows_kernel(EmbeddingBackwardUnsorted<T> a, const uint32_t* order, const uint32_t* begins, const uint32_t* ends) {
    const int64_t v = blockIdx.x;
    const uint32_t begin = begins[v], end = ends[v];
    if (a.add && begin == end) return;
    for (int64_t c = threadIdx.x; c < a.cols; c += kThreads) {
        acc_t<T> sum = 0;
        for (uint32_t i = begin; i < end; ++i) sum += widen(a.dy[int64_t(order[i]) * a.cols + c]);
        T& to = a.dw[v * a.cols + c];
        to = narrow<T>(a.add ? widen(to) + sum : sum);
    }
}

template <class V> void gather(const void* w, const int64_t* index, int64_t count, int64_t rows, int64_t cols, void* y) {
    launch("embedding", gather_kernel<V>, thread_each(count * cols, kThreads), static_cast<const V*>(w), index, count, rows, cols, static_cast<V*>(y));
}

}  // namespace

template <class T> void embedding_forward(const EmbeddingForward<T>& a) {
    if (a.count * a.cols == 0) return;
    const int64_t bytes = a.cols * int64_t(sizeof(T));
    if (bytes % 16 == 0 && aligned(a.w, 16) && aligned(a.y, 16)) gather<uint4>(a.w, a.index, a.count, a.rows, bytes / 16, a.y);
    else gather<T>(a.w, a.index, a.count, a.rows, a.cols, a.y);
}

template <class T> void embedding_backward_unsorted(const EmbeddingBackwardUnsorted<T>& a) {
    if (a.rows * a.cols == 0) return;
    LC_CHECK(a.rows < int64_t(1) << 31 && a.count < int64_t(1) << 31, ValueError, "embedding: ", a.rows, " rows and ", a.count, " indices; on CUDA there may be 2^31 - 1 of each");
    const Scratch<uint32_t> work(4 * a.count + 2 * (a.rows + 1));
    uint32_t* const keys[2] = {work.data(), work.data() + a.count};
    uint32_t* const order[2] = {work.data() + 2 * a.count, work.data() + 3 * a.count};
    uint32_t *const begins = work.data() + 4 * a.count, *const ends = begins + a.rows + 1;
    fill_bytes(begins, 0, size_t(2 * (a.rows + 1)) * sizeof(uint32_t), {Device::Type::cuda, int8_t(device_in_use())});
    int at = 0;
    if (a.count > 0) {
        const Grid grid = thread_each(a.count, kThreads);
        launch("embedding_backward", keys_kernel, grid, a.index, a.count, a.rows, a.padding_index, keys[0], order[0]);
        at = radix_sort("embedding_backward", keys, order, a.count, bits_of(a.rows));
        launch("embedding_backward", bounds_kernel, grid, keys[at], a.count, begins, ends);
    }
    launch("embedding_backward", rows_kernel<T>, {Blocks(a.rows), dim3(kThreads)}, a, order[at], begins, ends);
}

template void embedding_forward(const EmbeddingForward<uint8_t>&);
template void embedding_forward(const EmbeddingForward<uint16_t>&);
template void embedding_forward(const EmbeddingForward<uint32_t>&);
template void embedding_forward(const EmbeddingForward<uint64_t>&);
template void embedding_backward_unsorted(const EmbeddingBackwardUnsorted<float>&);
template void embedding_backward_unsorted(const EmbeddingBackwardUnsorted<double>&);
template void embedding_backward_unsorted(const EmbeddingBackwardUnsorted<bfloat16>&);
template void embedding_backward_unsorted(const EmbeddingBackwardUnsorted<float16>&);

}  // namespace lc::cuda
