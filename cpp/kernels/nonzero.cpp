// nonzero on CPU: a pass that counts, a pass that writes. Contract: cpp/ops/nonzero.h
// Memory bound: reads x twice, writes 8 bytes a coordinate.
#include "cpp/ops/nonzero.h"
#include "cpp/core/parallel.h"

namespace lc::cpu::LC_ISA {
namespace {

template <class T> LC_INLINE bool set(T x) {
    if constexpr (sizeof(T) == 2) return (x.bits & 0x7fff) != 0;       // 16-bit floats: either zero
    else return x != T(0);
}

}  // namespace

template <class T> void nonzero_count(const NonzeroCount<T>& a) {
    parallel_ranges(a.n, kNonzeroBlock, a.n / 2, [&](int64_t begin, int64_t end) {
        int32_t count = 0;                            // of a block: so that registers of them are added
        for (int64_t i = begin; i < end; ++i) count += set(a.x[i]);
        a.counts[begin / kNonzeroBlock] = count;
    });
}

template <class T> void nonzero_forward(const NonzeroForward<T>& a) {
    const int rank = a.sizes->size();
    const int64_t* sizes = a.sizes->begin();
    const int64_t width = sizes[rank - 1];
    parallel_ranges(a.n, kNonzeroBlock, a.n * 2, [&](int64_t begin, int64_t end) {
        constexpr int64_t kPiece = 512;
        int64_t* y = a.y + a.starts[begin / kNonzeroBlock] * rank;
        int64_t at[kMaxDims], columns[kPiece];
        for (int64_t k = rank - 1, left = begin; k >= 0; --k) at[k] = left % sizes[k], left /= sizes[k];
        while (begin < end) {                         // a piece of a row: no branch on what it holds
            int64_t n = width - at[rank - 1], found = 0;
            n = n < end - begin ? n : end - begin;
            n = n < kPiece ? n : kPiece;
            for (int64_t i = 0; i < n; ++i) {
                columns[found] = at[rank - 1] + i;
                found += set(a.x[begin + i]);
            }
            for (int64_t f = 0; f < found; ++f, y += rank) {
                for (int k = 0; k + 1 < rank; ++k) y[k] = at[k];
                y[rank - 1] = columns[f];
            }
            begin += n;
            at[rank - 1] += n;
            for (int k = rank - 1; k > 0 && at[k] == sizes[k]; --k) at[k] = 0, ++at[k - 1];
        }
    });
}

#define INSTANTIATE(T) \
    template void nonzero_count(const NonzeroCount<T>&); \
    template void nonzero_forward(const NonzeroForward<T>&);
INSTANTIATE(float)
INSTANTIATE(double)
INSTANTIATE(bfloat16)
INSTANTIATE(float16)
INSTANTIATE(int64_t)
INSTANTIATE(int32_t)
INSTANTIATE(uint8_t)
INSTANTIATE(bool)
#undef INSTANTIATE

}  // namespace lc::cpu::LC_ISA
