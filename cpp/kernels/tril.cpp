// tril on CPU: a row is a copied and a zeroed part. Its backward is itself. Contract: cpp/ops/tril.h
// Memory bound: reads half of x, writes y.
#include "cpp/ops/tril.h"
#include <string.h>
#include "cpp/core/parallel.h"

namespace lc::cpu::LC_ISA {

template <class T> void tril_forward(const TrilForward<T>& a) {
    if (a.matrices * a.rows * a.cols == 0) return;
    const int64_t grain = a.cols >= 32 * 1024 ? 1 : 32 * 1024 / a.cols;
    parallel_ranges(a.matrices * a.rows, grain, a.matrices * a.rows * a.cols / 2, [&](int64_t begin, int64_t end) {
        for (int64_t r = begin; r < end; ++r) {
            const int64_t edge = r % a.rows + a.diagonal + !a.upper;           // the first column of the right part
            const int64_t left = edge < 0 ? 0 : edge > a.cols ? a.cols
                                                              : edge;
            const T* x = a.x + r * a.cols;
            T* y = a.y + r * a.cols;
            const int64_t from = a.upper ? left : 0, to = a.upper ? a.cols : left;
            memset(y, 0, size_t(from) * sizeof(T));
            memcpy(y + from, x + from, size_t(to - from) * sizeof(T));
            memset(y + to, 0, size_t(a.cols - to) * sizeof(T));
        }
    });
}

template void tril_forward(const TrilForward<uint8_t>&);
template void tril_forward(const TrilForward<uint16_t>&);
template void tril_forward(const TrilForward<uint32_t>&);
template void tril_forward(const TrilForward<uint64_t>&);

}  // namespace lc::cpu::LC_ISA
