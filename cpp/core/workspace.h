// Scratch memory of the caller's for one kernel call, instead of the allocator's: what this thread allocates while it
// uses a Workspace lies in it, and is released in reverse order, as Buffers are. And how much that will be, without the work.
#pragma once
#include <cstddef>
#include "cpp/core/macros.h"

namespace lc {

struct Workspace {
    char* data = nullptr;                             // null: the allocator's memory; only counted
    size_t size = 0, used = 0, peak = 0;
};

// While one lives, this thread's scratch comes from w, and counts. skip_tasks: no task of a kernel runs.
class LC_API UseWorkspace {
public:
    explicit UseWorkspace(Workspace& w, bool skip_tasks = false) noexcept;
    ~UseWorkspace();
    UseWorkspace(const UseWorkspace&) = delete;

private:
    bool skip_tasks_;
};

namespace detail {
void skip_tasks(bool on) noexcept;                    // in parallel.cpp
}

}  // namespace lc
