// What this machine can do at most, measured when asked: the yardstick of the benches.
#pragma once
#include <cstddef>
#include <cstdint>
#include "cpp/core/cpu_kernel.h"
#include "cpp/core/macros.h"

namespace lc {

LC_API double fma_peak();                             // GFLOP/s in float32, num_threads() threads, the ISA in use
LC_API double copy_bandwidth(size_t working_set);     // GB/s read + written while copying one half of it to the other

template <class T> struct FmaChains {
    int64_t rounds;                                   // each of kFmaChains registers takes one fma a round
    T* sum;                                           // out: keeps the work from being optimised away
};
constexpr int kFmaChains = 12;                        // covers 2 ports x 5 cycles of latency and leaves registers over

}  // namespace lc

LC_CPU_KERNEL(fma_chains, FmaChains)
