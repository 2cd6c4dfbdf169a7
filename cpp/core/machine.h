// What this machine can do at most, measured when asked: the yardstick of the benches.
#pragma once
#include <cstddef>
#include <cstdint>
#include "cpp/core/cpu_kernel.h"
#include "cpp/core/macros.h"

namespace lc {

LC_API double fma_peak();                             // GFLOP/s in float32, num_threads() threads, the ISA in use
LC_API double copy_bandwidth(size_t working_set);     // GB/s read + written while copying one half of it to the other
LC_API double read_bandwidth(size_t working_set);     // GB/s while adding up all of it
LC_API double update_bandwidth(size_t working_set);   // GB/s read + written of y += a x, as an optimizer moves its state

template <class T> struct FmaChains {
    int64_t rounds;                                   // each of kFmaChains registers takes one fma a round
    T* sum;                                           // out: keeps the work from being optimised away
};
// y += a x, or without y the sum of x.
template <class T> struct Stream {
    const T* x;
    T* y;
    int64_t n;
    T* sum;                                           // out: keeps the work from being optimised away
};
constexpr int kFmaChains = 12;                        // covers 2 ports x 5 cycles of latency and leaves registers over

}  // namespace lc

LC_CPU_KERNEL(fma_chains, FmaChains)
LC_CPU_KERNEL(stream, Stream)
