// The FMA peak: independent chains that never leave the registers.
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

template void fma_chains(const FmaChains<float>&);

}  // namespace lc::cpu::LC_ISA
