#include "cpp/core/pool.h"
#include <new>

namespace lc {
namespace {

constexpr size_t kStep = 32, kLargest = 1024;         // larger ones are rare and go to the system
constexpr int kKept = 256;                            // of a size: a thread that only frees must not hoard

struct Free {
    Free* next;
};
struct List {
    Free* first;
    int length;
};

// Trivial, so that an object that dies after its thread's destructors have run finds them still usable.
LC_THREAD_LOCAL List lists[kLargest / kStep];
LC_THREAD_LOCAL bool ending = false;

// Gives a thread's lists back when it ends.
struct Cleaner {
    ~Cleaner() {
        ending = true;
        for (List& list : lists)
            while (Free* block = list.first) {
                list.first = block->next;
                ::operator delete(block);
            }
    }
    bool here = false;
};
thread_local Cleaner cleaner;

size_t list_of(size_t bytes) { return (bytes - 1) / kStep; }

LC_NOINLINE void* fresh(size_t bytes) {
    cleaner.here = true;                              // registers its destructor
    return ::operator new((list_of(bytes) + 1) * kStep);
}

}  // namespace

void* pool_allocate(size_t bytes) {
    if (LC_UNLIKELY(bytes - 1 >= kLargest)) return ::operator new(bytes);
    List& list = lists[list_of(bytes)];
    Free* block = list.first;
    if (LC_UNLIKELY(!block)) return fresh(bytes);
    list.first = block->next;
    --list.length;
    return block;
}

void pool_release(void* p, size_t bytes) noexcept {
    if (LC_UNLIKELY(bytes - 1 >= kLargest)) return ::operator delete(p);
    List& list = lists[list_of(bytes)];
    if (LC_UNLIKELY(list.length >= kKept || ending)) return ::operator delete(p);
    Free* block = static_cast<Free*>(p);
    block->next = list.first;
    list.first = block;
    ++list.length;
}

}  // namespace lc
