// The thread pool: tasks numbered 0..n-1. Each thread starts on a stretch of its own, then takes what others have left.
//
// The bits of a result never depend on the number of threads: what a task computes is fixed by the shape, and partial
// results are combined in task order. The pool starts on first use, spins briefly before it parks, starts anew in a
// forked child, and honours LITTLECORE_NUM_THREADS and the CPU affinity of the process.
#pragma once
#include <cstdint>
#include <type_traits>
#include "cpp/core/macros.h"

namespace lc {

LC_API int num_threads();
LC_API void set_num_threads(int n);                   // ValueError unless 1 <= n <= 256

// What the caller's language wants done around long kernels; Python releases its lock and looks for signals.
struct LongCallHooks {
    void* (*enter)();                                 // before a kernel of more than about 20 us; returns a token
    void (*leave)(void* token);
    bool (*interrupted)(void* token);                 // polled every few ms on the calling thread; true: stop
};
LC_API void set_long_call_hooks(LongCallHooks);

namespace detail {
using TaskFunction = void (*)(void* context, int64_t task, int worker);
LC_API void run_tasks(int64_t tasks, int64_t work_ns, TaskFunction, void* context);
}  // namespace detail

// Calls f(task, worker) for every task in [0, tasks). worker < num_threads() identifies private scratch.
// work_ns: rough time of all tasks on one thread; small work runs on the calling thread alone. An exception thrown by
// a task is rethrown here after all threads have stopped. Nested calls run on the calling thread.
// A task should take at most a few ms, so that Ctrl-C is answered and threads finish together.
template <class F> LC_INLINE void parallel_for(int64_t tasks, int64_t work_ns, F&& f) {
    using Body = std::remove_reference_t<F>;
    detail::run_tasks(tasks, work_ns, [](void* context, int64_t task, int worker) { (*static_cast<Body*>(context))(task, worker); }, const_cast<void*>(static_cast<const void*>(&f)));
}

// Splits [0, n) into ranges of `grain` (the last one shorter): f(begin, end). For independent elements or rows.
template <class F> LC_INLINE void parallel_ranges(int64_t n, int64_t grain, int64_t work_ns, F&& f) {
    if (n <= 0) return;
    parallel_for((n + grain - 1) / grain, work_ns, [&](int64_t task, int) {
        const int64_t begin = task * grain;
        f(begin, begin + grain < n ? begin + grain : n);
    });
}

}  // namespace lc
