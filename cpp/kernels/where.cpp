// where on CPU. Contract: cpp/ops/where.h. Memory bound.
#include "cpp/ops/where.h"

#include "cpp/core/parallel.h"

namespace lc::cpu::LC_ISA {
namespace {

// By bits, not by a branch: a random condition is guessed wrong every other time (10x).
template <class T> void choose(const bool* condition, const T* a, const T* b, T* y, int64_t n) {
#pragma GCC ivdep                                     // y is new memory
    for (int64_t i = 0; i < n; ++i) y[i] = T(b[i] ^ ((a[i] ^ b[i]) & -T(condition[i])));
}

}  // namespace

template <class T> void where_forward(const WhereForward<T>& args) {
    parallel_ranges(args.walk.numel, kGrain, args.walk.numel * int64_t(sizeof(T)) / 8, [&](int64_t begin, int64_t end) {
        ChunkReader<bool> condition(args.condition);
        ChunkReader<T> a(args.a), b(args.b);
        ChunkWriter<T> y(args.y);
        each_chunk(args.walk, begin, end, [&](const Position<4>& at, int64_t n) {
            const bool* c = condition(args.walk, 1, at, n);
            const T *from_a = a(args.walk, 2, at, n), *from_b = b(args.walk, 3, at, n);
            T* to = y.open(args.walk, 0, at, n);
            choose(c, from_a, from_b, to, n);
            y.close(args.walk, 0, at, n);
        });
    });
}

template void where_forward(const WhereForward<uint8_t>&);
template void where_forward(const WhereForward<uint16_t>&);
template void where_forward(const WhereForward<uint32_t>&);
template void where_forward(const WhereForward<uint64_t>&);

}  // namespace lc::cpu::LC_ISA
