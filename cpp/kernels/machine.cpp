// The FMA peak: independent chains that never leave the registers. Bandwidths: memory passed over once.
#include "cpp/core/machine.h"
#include "cpp/simd/vec.h"

namespace lc::cpu::LC_ISA {

template <class T> void fma_chains(const FmaChains<T>& a) {
    vec<T> chain[kFmaChains];
    for (int i = 0; i < kFmaChains; ++i) chain[i] = splat(T(i));
    const vec<T> x = splat(*a.sum), y = splat(*a.sum);            // unknown to the compiler
    for (int64_t r = 0; r < a.rounds; ++r) {
#pragma GCC unroll 12
        for (int i = 0; i < kFmaChains; ++i) chain[i] = fma(chain[i], x, y);
    }
    T total = 0;
    for (int i = 0; i < kFmaChains; ++i) total += sum(chain[i]);
    *a.sum = total;
}

template <class T> void stream(const Stream<T>& s) {
    constexpr int64_t step = 8 * lanes<T>;                    // independent sums cover the latency of an addition
    vec<T> total[8] = {};
    for (int64_t i = 0; i + step <= s.n; i += step) {
#pragma GCC unroll 8
        for (int k = 0; k < 8; ++k) {
            const int64_t at = i + k * lanes<T>;
            if (s.y)
                store(s.y + at, fma(splat(*s.sum), load(s.x + at), load(s.y + at)));
            else
                total[k] = total[k] + load(s.x + at);
        }
    }
    if (s.y) return;
    for (int k = 1; k < 8; ++k) total[0] = total[0] + total[k];
    *s.sum = sum(total[0]);
}

template void fma_chains(const FmaChains<float>&);
template void stream(const Stream<float>&);

}  // namespace lc::cpu::LC_ISA
