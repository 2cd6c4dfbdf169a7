// embedding on CPU: copies rows; the gradient adds them up where they came from. Contract: cpp/ops/embedding.h
// Memory bound: forward 2 * count * cols; backward writes each row of dw once and reads each row of dy once.
#include "cpp/ops/embedding.h"
#include <string.h>
#include "cpp/core/parallel.h"
#include "cpp/simd/move.h"

namespace lc::cpu::LC_ISA {
namespace {

constexpr int64_t kTask = 64 * 1024;                  // elements of a task: a few tens of microseconds
constexpr int64_t kStrip = 512;                       // columns summed together: 4 KiB of doubles, in L1 over all p

template <class T> void sum_rows(const T* dy, const int64_t* order, int64_t n, int64_t cols, bool add, T* dw) {
    using A = acc_t<T>;
    A sum[kStrip];
    for (int64_t begin = 0; begin < cols; begin += kStrip) {
        const int64_t width = cols - begin < kStrip ? cols - begin : kStrip;
        const T* row = dy + order[0] * cols + begin;
        each_vec<A>(width, [&](int64_t c, auto k) { store(sum + c, load(row + c, k), k); });
        for (int64_t i = 1; i < n; ++i) {
            row = dy + order[i] * cols + begin;
            each_vec<A>(width, [&](int64_t c, auto k) { store(sum + c, load(sum + c, k) + load(row + c, k), k); });
        }
        T* to = dw + begin;
        if (add) each_vec<A>(width, [&](int64_t c, auto k) { store(to + c, load(to + c, k) + load(sum + c, k), k); });
        else each_vec<A>(width, [&](int64_t c, auto k) { store(to + c, load(sum + c, k), k); });
    }
}

}  // namespace

template <class T> void embedding_forward(const EmbeddingForward<T>& a) {
    if (a.cols == 0) return;
    const int64_t grain = a.cols >= kTask ? 1 : kTask / a.cols;
    const int64_t row = a.cols * int64_t(sizeof(T)), ahead = row < 512 ? row : 512;
    parallel_ranges(a.count, grain, a.count * a.cols / 2, [&](int64_t begin, int64_t end) {
        for (int64_t p = begin; p < end; ++p) {
            const char* next = reinterpret_cast<const char*>(a.w + a.index[p + 1 < end ? p + 1 : p] * a.cols);
            for (int64_t at = 0; at < ahead; at += 64) __builtin_prefetch(next + at);       // until its own prefetcher sees the row
            copy_run(a.w + a.index[p] * a.cols, a.y + p * a.cols, a.cols);
        }
    });
}

template <class T> void embedding_backward(const EmbeddingBackward<T>& a) {
    if (a.rows * a.cols == 0) return;
    const int64_t work = (a.rows + a.count) * a.cols, blocks = work / kTask + 1;
    const int64_t grain = (a.rows + blocks - 1) / blocks;
    parallel_ranges(a.rows, grain, work / 2, [&](int64_t begin, int64_t end) {
        for (int64_t v = begin; v < end;) {
            const int64_t first = a.starts[v], n = a.starts[v + 1] - first;
            T* dw = a.dw + v * a.cols;
            if (n == 1 && !a.add) {
                copy_run(a.dy + a.order[first] * a.cols, dw, a.cols);
                ++v;
            } else if (n > 0) {
                sum_rows(a.dy, a.order + first, n, a.cols, a.add, dw);
                ++v;
            } else {                                  // all unused rows in a row at once
                int64_t u = v + 1;
                while (u < end && a.starts[u + 1] == first) ++u;
                if (!a.add) memset(static_cast<void*>(dw), 0, size_t((u - v) * a.cols) * sizeof(T));
                v = u;
            }
        }
    });
}

template void embedding_forward(const EmbeddingForward<uint8_t>&);
template void embedding_forward(const EmbeddingForward<uint16_t>&);
template void embedding_forward(const EmbeddingForward<uint32_t>&);
template void embedding_forward(const EmbeddingForward<uint64_t>&);
template void embedding_backward(const EmbeddingBackward<float>&);
template void embedding_backward(const EmbeddingBackward<double>&);
template void embedding_backward(const EmbeddingBackward<bfloat16>&);
template void embedding_backward(const EmbeddingBackward<float16>&);

}  // namespace lc::cpu::LC_ISA
