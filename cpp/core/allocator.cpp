// Size classes, eight to a doubling, each with a free list. Small blocks are cut from 32 MiB chunks and keep their size.
// Large ones divide a chunk: the smallest free one that is large enough gives what it has too much to another, and free
// neighbours join. Chunks are aligned to 2 MiB and asked to be huge pages.
#include "cpp/core/allocator.h"
#include <pthread.h>
#include <sys/mman.h>
#include <algorithm>
#include <atomic>
#include <bit>
#include <cstring>
#include <thread>
#include <utility>
#include "cpp/core/error.h"
#include "cpp/core/workspace.h"

namespace lc {

struct Chunk;
struct Header;

constexpr int kClasses = 8 * 58;

// Chunks and free lists: the common one, and one for each plan.
struct Region {
    Chunk* chunks = nullptr;
    Chunk* divided = nullptr;                         // chunks of large blocks
    Header* free[kClasses] = {};                      // small blocks
    Header* large[kClasses] = {};                     // by the largest class they hold
    int64_t live = 0;                                 // blocks
    bool dropped = false;
};

namespace {

constexpr size_t kHugePage = size_t(2) << 20;
constexpr size_t kChunk = size_t(32) << 20;
constexpr size_t kLarge = size_t(256) << 10;           // from here blocks divide and join
constexpr int kSpins = 100;                           // looks at the lock before others may run
constexpr size_t kPage = 4096;                        // large blocks are so many with their header
LC_THREAD_LOCAL Region* region_in_use = nullptr;
LC_THREAD_LOCAL Workspace* workspace_in_use = nullptr;

}  // namespace

struct Chunk {
    int64_t live = 0;
    size_t bytes = 0;
    size_t used = 0;                                  // by small blocks
    Chunk* next = nullptr;
};

// Stands before every block, one alignment unit wide.
struct alignas(kAlignment) Header {
    size_t capacity;                                  // bytes behind the header
    size_t requested;
    Chunk* chunk;
    Region* region;
    Header *next, *previous;                          // in a free list; previous: of large blocks
    Header* before;                                   // the large block that ends where this one begins
    int size_class;                                   // -1: large
    bool guarded;                                     // poisoned, with a guard of kAlignment bytes behind what was requested
    bool free;                                        // large and in a list
};
static_assert(sizeof(Header) == kAlignment);

namespace {

// 64 * (8 + m) / 8 * 2^e for m in 0..7: at most an eighth is wasted.
int class_of(size_t bytes) {
    const size_t units = std::max<size_t>((bytes + 7) / 8, 8);               // in eighths of 64 bytes
    const int e = int(std::bit_width(units)) - 4;
    const size_t step = size_t(1) << e;
    const size_t m = (units + step - 1) / step - 8;                          // may be 8: the next doubling's first
    return 8 * e + int(m);
}
size_t class_bytes(int c) {
    const size_t bytes = (size_t(8 + c % 8) << (c / 8)) * 8;
    return (bytes + kAlignment - 1) / kAlignment * kAlignment;
}

class Heap {
public:
    void* allocate(size_t bytes) {
        if (bytes > size_t(1) << 60) fail(bytes);
        const bool poison = poison_.load(std::memory_order_relaxed);
        const size_t wanted = poison ? bytes + kAlignment : bytes;
        const int c = class_of(wanted);
        const bool large = class_bytes(c) >= kLarge;
        const size_t whole = (wanted + sizeof(Header) + kPage - 1) / kPage * kPage;
        Region& region = region_in_use ? *region_in_use : common_;
        Header* block = nullptr;
        {
            Lock lock(*this);
            ++stats_.allocations;
            if (fail_at_ > 0 && --fail_at_ == 0) fail(bytes);
            block = large ? take(region, whole - sizeof(Header)) : pop(region, c);
            if (block) hand_out(block, bytes);
        }
        if (!block) {                                 // the system is asked without the lock
            const size_t size = large ? std::max((kAlignment + whole + kHugePage - 1) / kHugePage * kHugePage, kChunk) : kChunk;
            void* memory = map(size);
            if (!memory) {
                empty_cache();
                memory = map(size);
            }
            if (!memory) fail(bytes);
            Lock lock(*this);
            add_chunk(region, memory, size, large);
            block = large ? take(region, whole - sizeof(Header)) : pop(region, c);
            hand_out(block, bytes);
        }
        void* data = block + 1;
        block->guarded = poison && !region_in_use;    // replays write a plan's block at all the sizes it was used with
        if (LC_UNLIKELY(poison)) std::memset(data, 0xFF, bytes + kAlignment);
        return data;
    }

    void release(void* data) noexcept {
        if (!data) return;
        Header* block = static_cast<Header*>(data) - 1;
        const bool overrun = LC_UNLIKELY(block->guarded) && !guard_is_whole(static_cast<char*>(data) + block->requested);
        Lock lock(*this);
        stats_.overruns += overrun;
        stats_.live_bytes -= int64_t(block->requested);
        --stats_.live_blocks;
        --block->chunk->live;
        Region* region = block->region;
        if (block->size_class < 0) {
            join(*region, block);
        } else {
            block->next = region->free[block->size_class];
            region->free[block->size_class] = block;
        }
        --region->live;
        if (LC_UNLIKELY(region->dropped) && region->live == 0) end(region);
    }

    void drop(Region* region) {
        Lock lock(*this);
        region->dropped = true;
        if (region->live == 0) end(region);
    }
    int64_t live(const Region* region) {
        Lock lock(*this);
        return region->live;
    }

    void empty_cache() {
        Lock lock(*this);
        clear(common_);
    }

    void clear(Region& region) {
        for (Header*& head : region.free)
            for (Header** at = &head; *at;) {
                if ((*at)->chunk->live > 0) at = &(*at)->next;
                else *at = (*at)->next;
            }
        for (Chunk* chunk = region.divided; chunk; chunk = chunk->next)
            if (chunk->live == 0) leave(region, first_block(chunk));
        unmap_unused(region.chunks);
        unmap_unused(region.divided);
    }

    void unmap_unused(Chunk*& head) {
        for (Chunk** at = &head; *at;) {
            Chunk* chunk = *at;
            if (chunk->live > 0) {
                at = &chunk->next;
                continue;
            }
            *at = chunk->next;
            stats_.reserved_bytes -= int64_t(chunk->bytes);
            munmap(chunk, chunk->bytes);
        }
    }

    void end(Region* region) {
        clear(*region);
        delete region;
    }

    MemoryStats stats() {
        Lock lock(*this);
        return stats_;
    }
    void reset_peak() {
        Lock lock(*this);
        stats_.peak_bytes = stats_.live_bytes;
    }
    void fail_at(int64_t n) {
        Lock lock(*this);
        fail_at_ = n;
    }
    void count(size_t bytes) {
        Lock lock(*this);
        if (fail_at_ > 0 && --fail_at_ == 0) fail(bytes);
    }
    std::atomic<bool> poison_{false};

    // Held for some 20 ns. Without wait and notify: libstdc++'s notify calls the system while anybody sleeps at an address of
    // the same hash of 16, as a parked worker may: 0.5 us for every block.
    void lock() {
        while (busy_.test_and_set(std::memory_order_acquire))
            for (int spin = 0; busy_.test(std::memory_order_relaxed); ++spin)
                if (spin >= kSpins) std::this_thread::yield();
    }
    void unlock() { busy_.clear(std::memory_order_release); }

private:
    struct Lock {
        explicit Lock(Heap& h) : heap(h) { heap.lock(); }
        ~Lock() { heap.unlock(); }
        Heap& heap;
    };

    [[noreturn]] static void fail(size_t bytes) { throw MemoryError(text("allocator: cannot get ", bytes, " bytes")); }

    static bool guard_is_whole(const char* guard) {
        return std::all_of(guard, guard + kAlignment, [](char byte) { return byte == char(0xFF); });
    }

    // A small block: one that is free, or cut from the newest chunk.
    static Header* pop(Region& region, int c) {
        if (Header* block = region.free[c]) {
            region.free[c] = block->next;
            return block;
        }
        const size_t bytes = class_bytes(c) + sizeof(Header);
        Chunk* chunk = region.chunks;
        if (!chunk || chunk->used + bytes > chunk->bytes) return nullptr;
        Header* block = reinterpret_cast<Header*>(reinterpret_cast<char*>(chunk) + chunk->used);
        chunk->used += bytes;
        *block = {class_bytes(c), 0, chunk, &region, nullptr, nullptr, nullptr, c, false, false};
        return block;
    }

    void add_chunk(Region& region, void* memory, size_t bytes, bool large) {
        Chunk* chunk = new (memory) Chunk;
        Chunk*& head = large ? region.divided : region.chunks;
        chunk->bytes = bytes;
        chunk->used = kAlignment;
        chunk->next = head;
        head = chunk;
        stats_.reserved_bytes += int64_t(bytes);
        ++stats_.system_allocations;
        if (!large) return;
        Header* block = first_block(chunk);
        *block = {bytes - kAlignment - sizeof(Header), 0, chunk, &region, nullptr, nullptr, nullptr, -1, false, false};
        enter(region, block);
    }

    // ---- large blocks -------------------------------------------------------------------------------------------------

    static Header* first_block(Chunk* chunk) { return reinterpret_cast<Header*>(reinterpret_cast<char*>(chunk) + kAlignment); }
    static Header* behind(Header* block) {                // null: the chunk ends there
        char* end = reinterpret_cast<char*>(block + 1) + block->capacity;
        return end < reinterpret_cast<char*>(block->chunk) + block->chunk->bytes ? reinterpret_cast<Header*>(end) : nullptr;
    }
    static int list_of(size_t capacity) {
        const int c = class_of(capacity);
        return class_bytes(c) > capacity ? c - 1 : c;
    }
    static void enter(Region& region, Header* block) {
        Header*& head = region.large[list_of(block->capacity)];
        block->free = true;
        block->previous = nullptr;
        block->next = head;
        if (head) head->previous = block;
        head = block;
    }
    static void leave(Region& region, Header* block) {
        (block->previous ? block->previous->next : region.large[list_of(block->capacity)]) = block->next;
        if (block->next) block->next->previous = block->previous;
        block->free = false;
    }

    static Header* take(Region& region, size_t capacity) {
        Header* best = nullptr;
        for (int i = list_of(capacity); i < kClasses && !best; ++i)
            for (Header* block = region.large[i]; block; block = block->next)
                if (block->capacity >= capacity && (!best || block->capacity < best->capacity)) best = block;
        if (!best) return nullptr;
        leave(region, best);
        if (best->capacity - capacity >= kLarge) {
            Header* rest = reinterpret_cast<Header*>(reinterpret_cast<char*>(best + 1) + capacity);
            *rest = {best->capacity - capacity - sizeof(Header), 0, best->chunk, &region, nullptr, nullptr, best, -1, false, false};
            best->capacity = capacity;
            if (Header* next = behind(rest)) next->before = rest;
            enter(region, rest);
        }
        return best;
    }

    static void join(Region& region, Header* block) {
        const auto swallow = [](Header* a, const Header* b) { a->capacity += sizeof(Header) + b->capacity; };
        if (Header* next = behind(block); next && next->free) {
            leave(region, next);
            swallow(block, next);
        }
        if (Header* before = block->before; before && before->free) {
            leave(region, before);
            swallow(before, block);
            block = before;
        }
        if (Header* next = behind(block)) next->before = block;
        enter(region, block);
    }

    void hand_out(Header* block, size_t bytes) {
        block->requested = bytes;
        ++block->chunk->live;
        ++block->region->live;
        ++stats_.live_blocks;
        stats_.live_bytes += int64_t(bytes);
        stats_.peak_bytes = std::max(stats_.peak_bytes, stats_.live_bytes);
    }

    // 2 MiB aligned: map a little more and give the ends back.
    static void* map(size_t bytes) {
        const size_t whole = bytes + kHugePage;
        void* p = mmap(nullptr, whole, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (p == MAP_FAILED) return nullptr;
        char* begin = static_cast<char*>(p);
        char* aligned = reinterpret_cast<char*>((reinterpret_cast<uintptr_t>(begin) + kHugePage - 1) / kHugePage * kHugePage);
        if (aligned > begin) munmap(begin, size_t(aligned - begin));
        const size_t tail = whole - size_t(aligned - begin) - bytes;
        if (tail) munmap(aligned + bytes, tail);
#ifdef MADV_HUGEPAGE
        madvise(aligned, bytes, MADV_HUGEPAGE);
#endif
        return aligned;
    }

    std::atomic_flag busy_ = ATOMIC_FLAG_INIT;
    MemoryStats stats_{};
    int64_t fail_at_ = 0;
    Region common_;
};

// Never destroyed: tensors may outlive static destruction.
Heap& heap() {
    static Heap* h = [] {
        static Heap* self = new Heap;
        pthread_atfork([] { self->lock(); }, [] { self->unlock(); }, [] { self->unlock(); });   // a child must not inherit a held lock
        return self;
    }();
    return *h;
}

size_t rounded(size_t bytes) { return std::max((bytes + kAlignment - 1) / kAlignment * kAlignment, kAlignment); }

void* allocate_from(Workspace& w, size_t bytes) {
    const size_t at = w.used, end = at + rounded(bytes);
    LC_CHECK(!w.data || end <= w.size, MemoryError, "workspace: ", end, " bytes are needed, ", w.size, " were given");
    w.used = end;
    w.peak = std::max(w.peak, end);
    return w.data ? w.data + at : heap().allocate(bytes);
}

void release_from(Workspace& w, void* p) noexcept {
    if (!p) return;
    if (w.data) {
        w.used = size_t(static_cast<char*>(p) - w.data);
        return;
    }
    w.used -= rounded((static_cast<Header*>(p) - 1)->requested);
    heap().release(p);
}

}  // namespace

void* allocate(size_t bytes) { return LC_UNLIKELY(workspace_in_use != nullptr) ? allocate_from(*workspace_in_use, bytes) : heap().allocate(bytes); }
void release(void* p) noexcept { LC_UNLIKELY(workspace_in_use != nullptr) ? release_from(*workspace_in_use, p) : heap().release(p); }

UseWorkspace::UseWorkspace(Workspace& w, bool skip_tasks) noexcept : skip_tasks_(skip_tasks) {
    workspace_in_use = &w;
    if (skip_tasks) detail::skip_tasks(true);
}
UseWorkspace::~UseWorkspace() {
    workspace_in_use = nullptr;
    if (skip_tasks_) detail::skip_tasks(false);
}

namespace memory {
MemoryStats stats() { return heap().stats(); }
void reset_peak() { heap().reset_peak(); }
void empty_cache() { heap().empty_cache(); }
void fail_at(int64_t n) { heap().fail_at(n); }
LC_API void count_allocation(size_t bytes);            // for the devices' allocators: their blocks count for fail_at, too
void count_allocation(size_t bytes) { heap().count(bytes); }
void poison(bool on) { heap().poison_ = on; }
bool poisoned() { return heap().poison_; }

Region* new_region() { return new Region; }
void drop_region(Region* region) noexcept { heap().drop(region); }
Region* use_region(Region* region) noexcept { return std::exchange(region_in_use, region); }
Region* region_of(const void* data) { return (static_cast<const Header*>(data) - 1)->region; }
int64_t live_blocks(const Region* region) { return heap().live(region); }
}  // namespace memory

}  // namespace lc
