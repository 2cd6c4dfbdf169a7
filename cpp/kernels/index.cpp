// index on CPU: gathers and scatters at computed places. Contract: cpp/ops/index.h
// Memory bound: y and v stream, x is touched a run of the tail at a time.
#include "cpp/ops/index.h"
#include "cpp/ops/nonzero.h"
#include <string.h>
#include "cpp/core/parallel.h"
#include "cpp/simd/move.h"

namespace lc::cpu::LC_ISA {
namespace {

constexpr int64_t kTask = 32 * 1024;                  // elements of a task: a few tens of microseconds

template <class T> void take_run(const T* x, int64_t step, T* y, int64_t n) {
    if (step == 1) copy_run(x, y, n);
    else
        for (int64_t i = 0; i < n; ++i) y[i] = x[i * step];
}

struct Put {
    template <class T> static void run(const T* v, T* x, int64_t step, int64_t n) {
        if (step == 1 && n * int64_t(sizeof(T)) >= 64) memcpy(x, v, size_t(n) * sizeof(T));
        else
            for (int64_t i = 0; i < n; ++i) x[i * step] = v[i];
    }
};
struct Add {
    template <class T> static void run(const T* v, T* x, int64_t step, int64_t n) {
        if (step == 1)
            for (int64_t i = 0; i < n; ++i) x[i] += v[i];
        else
            for (int64_t i = 0; i < n; ++i) x[i * step] += v[i];
    }
};

// Places may repeat, so a task owns part of the lead or of the tail and meets every p in order.
template <class Write, class T> void put(const IndexPut<T>& a) {
    const int64_t leads = a.lead->count, tails = a.tail->count, total = leads * a.count * tails;
    if (total == 0) return;
    const int64_t row = a.count * tails;
    const int64_t lead_grain = row >= kTask ? 1 : kTask / row;
    const int64_t wanted = kTask / a.count, chunk = leads > 1 ? tails : (wanted < 128 ? 128 : wanted);
    const int64_t chunks = (tails + chunk - 1) / chunk, blocks = (leads + lead_grain - 1) / lead_grain;
    parallel_for(blocks * chunks, total, [&](int64_t task, int) {
        const int64_t first = task / chunks * lead_grain, last = first + lead_grain < leads ? first + lead_grain : leads;
        const int64_t begin = task % chunks * chunk, end = begin + chunk < tails ? begin + chunk : tails;
        for (int64_t l = first; l < last; ++l) {
            T* x = a.x + a.lead->offset(l);
            for (int64_t p = 0; p < a.count; ++p)
                each_run(*a.tail, begin, end, [&](int64_t t, int64_t offset, int64_t n) {
                    Write::run(a.v + (l * a.count + p) * tails + t, x + a.place[p] + offset, a.tail->step(), n);
                });
        }
    });
}

}  // namespace

template <class T> void index_forward(const IndexForward<T>& a) {
    const int64_t tails = a.tail->count, rows = a.lead->count * a.count;
    if (rows * tails == 0) return;
    parallel_ranges(rows, tails >= kTask ? 1 : kTask / tails, rows * tails, [&](int64_t begin, int64_t end) {
        while (begin < end) {
            const int64_t l = begin / a.count, first = begin % a.count;
            const int64_t last = a.count - first < end - begin ? a.count : first + end - begin;
            const T* x = a.x + a.lead->offset(l);
            T* y = a.y + (begin - first) * tails;
            if (tails == 1)
                for (int64_t p = first; p < last; ++p) y[p] = x[a.place[p]];
            else
                for (int64_t p = first; p < last; ++p)
                    each_run(*a.tail, 0, tails, [&](int64_t t, int64_t offset, int64_t n) {
                        take_run(x + a.place[p] + offset, a.tail->step(), y + p * tails + t, n);
                    });
            begin += last - first;
        }
    });
}

template <class T> void index_masked(const IndexMasked<T>& a) {
    constexpr int64_t kPiece = 512;
    const auto* set = reinterpret_cast<const uint8_t*>(a.mask);
    parallel_ranges(a.n, kNonzeroBlock, a.n / 2, [&](int64_t begin, int64_t end) {
        T piece[kPiece], *y = a.y + a.starts[begin / kNonzeroBlock];
        for (int64_t n, found; begin < end; begin += n, y += found) {
            n = end - begin < kPiece ? end - begin : kPiece, found = 0;
            for (int64_t i = 0; i < n; ++i) {         // no branch on what the mask holds
                piece[found] = a.x[begin + i];
                found += set[begin + i] != 0;
            }
            copy_run(piece, y, found);
        }
    });
}

template <class T> void index_put(const IndexPut<T>& a) { put<Put>(a); }
template <class T> void index_backward(const IndexPut<T>& a) { put<Add>(a); }

template void index_forward(const IndexForward<uint8_t>&);
template void index_forward(const IndexForward<uint16_t>&);
template void index_forward(const IndexForward<uint32_t>&);
template void index_forward(const IndexForward<uint64_t>&);
template void index_masked(const IndexMasked<uint8_t>&);
template void index_put(const IndexPut<uint8_t>&);
template void index_masked(const IndexMasked<uint16_t>&);
template void index_put(const IndexPut<uint16_t>&);
template void index_masked(const IndexMasked<uint32_t>&);
template void index_put(const IndexPut<uint32_t>&);
template void index_masked(const IndexMasked<uint64_t>&);
template void index_put(const IndexPut<uint64_t>&);
template void index_backward(const IndexPut<float>&);
template void index_backward(const IndexPut<double>&);
template void index_backward(const IndexPut<int64_t>&);
template void index_backward(const IndexPut<int32_t>&);

}  // namespace lc::cpu::LC_ISA
