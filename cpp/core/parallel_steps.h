// Steps that need each other's results, in one job of the thread pool: threads meet after every step by spinning, for a
// tenth of a microsecond instead of a job's start and end.
#pragma once
#include "cpp/core/parallel.h"

namespace lc {

inline constexpr int kMostParts = 64;

namespace detail {
using StepFunction = void (*)(void* context, int64_t step, int part);
LC_API void run_steps(int64_t steps, int parts, int64_t step_ns, StepFunction, void* context);
}  // namespace detail

// Calls f(step, part) for all parts of a step, 1 to kMostParts, after all of the step before. A part mostly stays with its
// thread, in whose cache it finds what it needs at every step. step_ns: rough time of a step on one thread. f must not throw.
template <class F> LC_INLINE void parallel_steps(int64_t steps, int parts, int64_t step_ns, F&& f) {
    using Body = std::remove_reference_t<F>;
    detail::run_steps(steps, parts, step_ns, [](void* context, int64_t step, int part) noexcept { (*static_cast<Body*>(context))(step, part); }, const_cast<void*>(static_cast<const void*>(&f)));
}

}  // namespace lc
