// Threads of the embedding program's instead of the pool's own.
#pragma once
#include "cpp/core/macros.h"

namespace lc {

// run() calls work(job, i) once for every i in [0, participants), on any threads, and returns when all have returned.
struct ThreadPool {
    int threads;                                      // the most participants
    void (*run)(void* context, int participants, void (*work)(void* job, int i), void* job);
    void* context;
};
LC_API void set_thread_pool(const ThreadPool*);       // null: our own again. Not while a kernel runs

}  // namespace lc
