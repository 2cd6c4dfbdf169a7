// Size classes, eight to a doubling, each with a free list. Small blocks are cut from 32 MiB chunks; a large block is a
// mapping of its own. Both are aligned to 2 MiB and asked to be huge pages.
#include "cpp/core/allocator.h"
#include <pthread.h>
#include <sys/mman.h>
#include <algorithm>
#include <atomic>
#include <bit>
#include <cstring>
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
    Header* free[kClasses] = {};
    int64_t live = 0;                                 // blocks
    bool dropped = false;
};

namespace {

constexpr size_t kHugePage = size_t(2) << 20;
constexpr size_t kChunk = size_t(32) << 20;
constexpr size_t kLarge = size_t(4) << 20;            // from here a block is its own mapping
constexpr int kReuseClasses = 4;                      // a large block may serve a request up to a half smaller
[[gnu::tls_model("initial-exec")]] thread_local Region* region_in_use = nullptr;
[[gnu::tls_model("initial-exec")]] thread_local Workspace* workspace_in_use = nullptr;

}  // namespace

struct Chunk {
    int64_t live = 0;
    size_t used = 0;
    Chunk* next = nullptr;
};

// Stands before every block, one alignment unit wide.
struct alignas(kAlignment) Header {
    size_t capacity;                                  // bytes behind the header
    size_t requested;
    Chunk* chunk;                                     // null: a mapping of its own
    Header* next;                                     // in a free list
    int size_class;
    bool guarded;                                     // poisoned, with a guard of kAlignment bytes behind what was requested
    Region* region;
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
        const int c = class_of(poison ? bytes + kAlignment : bytes);
        Region& region = region_in_use ? *region_in_use : common_;
        Header* block = nullptr;
        {
            Lock lock(*this);
            ++stats_.allocations;
            if (fail_at_ > 0 && --fail_at_ == 0) fail(bytes);
            block = pop(region, c);
            if (!block && class_bytes(c) < kLarge) block = cut(region, c);
            if (block) hand_out(block, bytes);
        }
        if (!block) {                                 // the system is asked without the lock
            block = map_block(region, c);
            if (!block) {
                empty_cache();
                block = map_block(region, c);
            }
            if (!block) fail(bytes);
            Lock lock(*this);
            stats_.reserved_bytes += int64_t(mapped(block));
            ++stats_.system_allocations;
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
        if (block->chunk) --block->chunk->live;
        Region* region = block->region;
        block->next = region->free[block->size_class];
        region->free[block->size_class] = block;
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
                Header* block = *at;
                if (block->chunk && block->chunk->live > 0) {
                    at = &block->next;
                    continue;
                }
                *at = block->next;
                if (!block->chunk) unmap(block, mapped(block));
            }
        for (Chunk** at = &region.chunks; *at;) {
            Chunk* chunk = *at;
            if (chunk->live > 0) {
                at = &chunk->next;
                continue;
            }
            *at = chunk->next;
            unmap(chunk, kChunk);
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

    void lock() {
        while (busy_.test_and_set(std::memory_order_acquire)) busy_.wait(true, std::memory_order_relaxed);
    }
    void unlock() {
        busy_.clear(std::memory_order_release);
        busy_.notify_one();
    }

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

    static Header* pop(Region& region, int c) {
        const int last = class_bytes(c) < kLarge ? c : std::min(c + kReuseClasses, kClasses - 1);
        for (int i = c; i <= last; ++i)
            if (Header* block = region.free[i]) {
                region.free[i] = block->next;
                return block;
            }
        return nullptr;
    }

    Header* cut(Region& region, int c) {
        const size_t bytes = class_bytes(c) + sizeof(Header);
        if (!region.chunks || region.chunks->used + bytes > kChunk) {
            void* memory = map(kChunk);
            if (!memory) return nullptr;
            Chunk* chunk = new (memory) Chunk;
            chunk->used = kAlignment;
            chunk->next = region.chunks;
            region.chunks = chunk;
            stats_.reserved_bytes += int64_t(kChunk);
            ++stats_.system_allocations;
        }
        Header* block = reinterpret_cast<Header*>(reinterpret_cast<char*>(region.chunks) + region.chunks->used);
        region.chunks->used += bytes;
        *block = {class_bytes(c), 0, region.chunks, nullptr, c, false, &region};
        return block;
    }

    void hand_out(Header* block, size_t bytes) {
        block->requested = bytes;
        if (block->chunk) ++block->chunk->live;
        ++block->region->live;
        ++stats_.live_blocks;
        stats_.live_bytes += int64_t(bytes);
        stats_.peak_bytes = std::max(stats_.peak_bytes, stats_.live_bytes);
    }

    static size_t mapped(const Header* block) { return (block->capacity + sizeof(Header) + kHugePage - 1) / kHugePage * kHugePage; }

    static Header* map_block(Region& region, int c) {
        const size_t capacity = class_bytes(c);
        Header probe{capacity, 0, nullptr, nullptr, c, false, &region};
        Header* block = static_cast<Header*>(map(mapped(&probe)));
        if (block) *block = probe;
        return block;
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

    void unmap(void* p, size_t bytes) {
        munmap(p, bytes);
        stats_.reserved_bytes -= int64_t(bytes);
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

}  // namespace

namespace {

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
