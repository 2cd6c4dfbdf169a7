// Every load and store of a kernel comes through here: is it memory, was it written, did the write happen before?
#include <cstring>
#include <dlfcn.h>
#include <sys/mman.h>
#include "cpp/core/error.h"
#include "cuda/emulator/machine.h"

namespace emulator {
namespace {

// ---- global memory: one reserved range, a byte of state for each of its bytes -----------------------------------------

constexpr size_t kArena = size_t(4) << 30, kGranule = 256;
constexpr uint8_t kForeign = 0, kOwned = 1, kWritten = 2;

struct LastWrite {                                    // of two bytes, by the running launch
    uint32_t block = 0, moment = 0;
    uint16_t thread = 0, atomic = 0;
};

template <class T> T* reserve(size_t count) {
    void* p = mmap(nullptr, count * sizeof(T), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return p == MAP_FAILED ? nullptr : static_cast<T*>(p);
}

struct Arena {
    uint8_t* base = reserve<uint8_t>(kArena);
    uint8_t* state = reserve<uint8_t>(kArena);
    LastWrite* last = reserve<LastWrite>(kArena / 2);
    std::map<size_t, size_t> used;                    // offset -> bytes

    bool holds(uint64_t p) const { return p - uint64_t(base) < kArena; }
};
Arena& arena() {
    static Arena* a = new Arena;
    return *a;
}

uint32_t first_block_of_launch = 0;                   // serials from here on belong to the running launch
uint64_t atomic_at = 0;
uint32_t atomic_bytes = 0;

void global_access(uint64_t p, uint32_t bytes, bool write) {
    Arena& a = arena();
    const size_t at = p - uint64_t(a.base);
    const bool atomic = p == atomic_at && bytes == atomic_bytes;
    for (uint32_t i = 0; i < bytes; ++i) {
        uint8_t& state = a.state[at + i];
        if (state == kForeign) fail(lc::text(write ? "writes " : "reads ", bytes, " bytes of global memory at ", i, " of which an allocation ends, or is none"));
        if (!write && state != kWritten) fail(lc::text("reads ", bytes, " bytes of global memory that nothing wrote"));
        if (write) state = kWritten;
    }
    Thread& t = *current;
    for (uint32_t i = 0; i < bytes; i += 2) {
        LastWrite& w = a.last[(at + i) / 2];
        if (w.block >= first_block_of_launch && !(atomic && w.atomic)) {
            const bool other_block = w.block != t.block->serial;
            const bool unordered = !other_block && w.thread != t.id && t.clock[w.thread] < w.moment;
            if (bytes > 1 && (other_block || unordered) && !w.atomic)
                fail(lc::text("race: ", write ? "writes" : "reads", " global memory that ", other_block ? "another block" : lc::text("thread ", w.thread), " wrote",
                              other_block ? " in this launch" : " with no barrier in between"));
        }
        if (write) w = {t.block->serial, t.clock[size_t(t.id)], uint16_t(t.id), atomic};
    }
}

// ---- shared memory ----------------------------------------------------------------------------------------------------

constexpr uint32_t kSharedStride = (kSharedLimit + 2048 + 1023) / 1024 * 1024;

Cell all_cells[kMostBlocks][kSharedLimit + 2048];
Cell* cells = all_cells[0];                           // of the entered block
Block* entered = nullptr;

Cell& cell(uint32_t offset) {
    Cell& c = cells[offset];
    if (c.block != entered->serial) {
        c = {};
        c.block = entered->serial;
    }
    return c;
}

void note_reader(Cell& c, Thread& t, uint32_t moment) {
    if (c.readers < 0 && (!c.read || c.reader == t.id)) {
        c.read = true;
        c.reader = uint16_t(t.id);
        c.read_at = moment;
        return;
    }
    auto& lists = t.block->readers;
    if (c.readers < 0) {
        c.readers = int32_t(lists.size());
        lists.emplace_back(t.block->warps.size());
        lists.back()[size_t(t.block->thread(c.reader).warp())] = {c.reader, c.read_at};
    }
    lists[size_t(c.readers)][size_t(t.warp())] = {uint16_t(t.id), moment};
}

void check_readers(const Cell& c, const Thread& t, uint32_t offset, const char* who) {
    const auto check = [&](uint32_t reader, uint32_t moment) {
        if (int(reader) != t.id && moment > t.clock[reader])
            fail(lc::text("race: ", who, " shared memory at byte ", offset, ", which thread ", reader, " reads with no barrier in between"));
    };
    if (c.readers >= 0) {
        for (const auto& [reader, moment] : entered->readers[size_t(c.readers)])
            if (moment) check(reader, moment);
    } else if (c.read) {
        check(c.reader, c.read_at);
    }
}

void check_writer(const Cell& c, const Thread& t, uint32_t offset, const char* who) {
    if (c.written && c.writer != t.id && c.write_at > t.clock[c.writer])
        fail(lc::text("race: ", who, " shared memory at byte ", offset, ", which thread ", c.writer, " wrote with no barrier in between"));
}

void shared_access(uint32_t offset, uint32_t bytes, bool write) {
    Thread& t = *current;
    if (offset + bytes > kSharedBase + t.block->shared_bytes)
        fail(lc::text(write ? "writes" : "reads", " shared memory at byte ", offset, ", past the ", t.block->shared_bytes, " bytes the launch asked for"));
    for (uint32_t i = 0; i < bytes; ++i) {
        Cell& c = cell(offset + i);
        if (c.in_flight) fail(lc::text(write ? "writes" : "reads", " shared memory at byte ", offset, ", which an asynchronous copy is still writing; a wait is missing"));
        if (write) {
            if (c.busy) fail(lc::text("writes shared memory at byte ", offset, ", which an asynchronous operation is still reading; a wait is missing"));
            check_writer(c, t, offset + i, "writes");
            check_readers(c, t, offset + i, "writes");
            c.written = true;
            c.read = c.by_engine = false;
            c.readers = -1;
            c.writer = uint16_t(t.id);
            c.write_at = t.clock[size_t(t.id)];
            c.write_fences = t.fences;
        } else {
            if (!c.written) fail(lc::text("reads shared memory at byte ", offset, " that nothing wrote"));
            check_writer(c, t, offset + i, "reads");
            note_reader(c, t, t.clock[size_t(t.id)]);
        }
    }
}

void access(uint64_t p, uint32_t bytes, bool write) {
    if (!current || bytes == 0) return;
    if (p - uint64_t(shared_memory) < kSharedLimit + 2048) shared_access(uint32_t(p - uint64_t(shared_memory)), bytes, write);
    else if (arena().holds(p)) global_access(p, bytes, write);
    else if (p < 4096) fail(lc::text(write ? "writes" : "reads", " through a null pointer"));
}

}  // namespace

void enter(Block& b) {
    static uint8_t* memory = static_cast<uint8_t*>(aligned_alloc(1024, kMostBlocks * kSharedStride));
    entered = &b;
    cells = all_cells[b.rank];
    shared_memory = memory + uint32_t(b.rank) * kSharedStride;
}
void begin_block(Block& b) {
    enter(b);
    if (b.index.x == 0 && b.index.y == 0 && b.index.z == 0) first_block_of_launch = b.serial;
    std::memset(shared_memory + kSharedBase, 0xFF, b.shared_bytes);      // NaN, should a value be used all the same
}

void check_read(uint64_t p, uint32_t bytes) { access(p, bytes, false); }
void check_write(uint64_t p, uint32_t bytes) { access(p, bytes, true); }

void atomic_access(const void* p, uint32_t bytes) {
    atomic_at = uint64_t(p);
    atomic_bytes = bytes;
    if (current && arena().holds(atomic_at)) {
        global_access(atomic_at, bytes, false);
        global_access(atomic_at, bytes, true);
    }
    atomic_at = 0;
}

uint32_t shared_offset(const void* p, uint32_t bytes) {
    const uint64_t offset = uint64_t(p) - uint64_t(shared_memory);
    if (offset < kSharedBase || offset + bytes > kSharedBase + current->block->shared_bytes) fail("needs an address in the block's shared memory");
    return uint32_t(offset);
}
uint32_t shared_address(const void* p) { return uint32_t(uint64_t(p) - uint64_t(shared_memory)); }

void check_global_read(const void* p, uint64_t bytes) {
    const Arena& a = arena();
    const uint64_t at = uint64_t(p) - uint64_t(a.base);
    for (uint64_t i = 0; i < bytes; ++i)
        if (at + i >= kArena || a.state[at + i] != kWritten) fail("an asynchronous copy reads global memory that is not allocated or that nothing wrote");
}
void check_global_write(const void* p, uint64_t bytes) {
    Arena& a = arena();
    const uint64_t at = uint64_t(p) - uint64_t(a.base);
    for (uint64_t i = 0; i < bytes; ++i) {
        if (at + i >= kArena || a.state[at + i] == kForeign) fail("an asynchronous copy writes global memory that is not allocated");
        LastWrite& w = a.last[(at + i) / 2];
        if (w.block >= first_block_of_launch && w.block != current->block->serial) fail("race: an asynchronous copy writes global memory that another block wrote in this launch");
        w = {current->block->serial, 0, uint16_t(current->id), 0};
        a.state[at + i] = kWritten;
    }
}

void engine_reads(uint32_t offset, uint32_t bytes, const char* who) {
    Thread& t = *current;
    for (uint32_t i = 0; i < bytes; ++i) {
        Cell& c = cell(offset + i);
        if (c.in_flight) fail(lc::text(who, " reads shared memory at byte ", offset + i, ", which an asynchronous copy is still writing; a wait is missing"));
        if (!c.written) fail(lc::text(who, " reads shared memory at byte ", offset + i, " that nothing wrote"));
        check_writer(c, t, offset + i, who);
        if (!c.by_engine && t.block->thread(c.writer).fences <= c.write_fences)
            fail(lc::text(who, " reads shared memory at byte ", offset + i, ", which thread ", c.writer, " wrote without fence_async_proxy()"));
    }
}
void mark_read(uint32_t offset, uint32_t bytes, Thread& t) {
    for (uint32_t i = 0; i < bytes; ++i) note_reader(cell(offset + i), t, t.clock[size_t(t.id)]);
}
void engine_will_write(uint32_t offset, uint32_t bytes, const char* who) {
    Thread& t = *current;
    for (uint32_t i = 0; i < bytes; ++i) {
        Cell& c = cell(offset + i);
        if (c.in_flight || c.busy) fail(lc::text(who, " writes shared memory at byte ", offset + i, ", which another asynchronous operation still uses; a wait is missing"));
        check_writer(c, t, offset + i, who);
        check_readers(c, t, offset + i, who);
        c.in_flight = 1;
    }
}
void engine_wrote(uint32_t offset, uint32_t bytes, int by, uint32_t moment, bool by_engine) {
    for (uint32_t i = 0; i < bytes; ++i) {
        Cell& c = cells[offset + i];
        c.in_flight = 0;
        c.written = true;
        c.read = false;
        c.readers = -1;
        c.writer = uint16_t(by);
        c.write_at = moment;
        c.by_engine = by_engine;
        c.write_fences = by_engine ? 0 : current->block->thread(by).fences;
    }
}
void set_busy(uint32_t offset, uint32_t bytes, int change) {
    for (uint32_t i = 0; i < bytes; ++i) cells[offset + i].busy = uint8_t(cells[offset + i].busy + change);
}

// ---- allocations --------------------------------------------------------------------------------------------------------

void own_now(void* p, size_t bytes) { std::memset(arena().state + (static_cast<uint8_t*>(p) - arena().base), kOwned, bytes); }
void disown_now(void* p, size_t bytes) { std::memset(arena().state + (static_cast<uint8_t*>(p) - arena().base), kForeign, bytes); }
cudaError_t copy_now(void* to, const void* from, size_t bytes) {
    Arena& a = arena();
    const bool to_device = a.holds(uint64_t(to)), from_device = a.holds(uint64_t(from));
    for (size_t i = 0; to_device && i < bytes; ++i)
        if (a.state[static_cast<uint8_t*>(to) - a.base + ptrdiff_t(i)] == kForeign) return cudaErrorInvalidValue;
    for (size_t i = 0; from_device && i < bytes; ++i)
        if (a.state[static_cast<const uint8_t*>(from) - a.base + ptrdiff_t(i)] == kForeign) return cudaErrorInvalidValue;
    std::memmove(to, from, bytes);
    for (size_t i = 0; to_device && i < bytes; ++i)
        a.state[static_cast<uint8_t*>(to) - a.base + ptrdiff_t(i)] = from_device ? a.state[static_cast<const uint8_t*>(from) - a.base + ptrdiff_t(i)] : kWritten;
    return cudaSuccess;
}
void fill_now(void* p, int byte, size_t bytes) {
    Arena& a = arena();
    std::memset(p, byte, bytes);
    std::memset(a.state + (static_cast<uint8_t*>(p) - a.base), kWritten, bytes);
}

}  // namespace emulator

using namespace emulator;

cudaError_t cudaMalloc(void** p, size_t bytes) {
    Arena& a = arena();
    if (!a.base || !a.state || !a.last) return cudaErrorMemoryAllocation;
    const size_t need = (bytes + kGranule - 1) / kGranule * kGranule + kGranule;      // a gap behind every allocation
    size_t at = kGranule;
    for (const auto& [offset, size] : a.used) {
        if (offset - at >= need) break;
        at = offset + size;
    }
    if (at + need > kArena) return cudaErrorMemoryAllocation;
    a.used[at] = need;
    own_now(a.base + at, bytes);
    *p = a.base + at;
    return cudaSuccess;
}
cudaError_t cudaFree(void* p) {
    if (!p) return cudaSuccess;
    Arena& a = arena();
    const auto found = a.used.find(size_t(static_cast<uint8_t*>(p) - a.base));
    if (found == a.used.end()) return cudaErrorInvalidValue;
    cudaDeviceSynchronize();                          // as CUDA does
    disown_now(p, found->second);
    a.used.erase(found);
    return cudaSuccess;
}
// ---- what the compiler calls before every access ------------------------------------------------------------------------

extern "C" {
#define LC_ACCESS(n) \
    void __tsan_read##n(void* p) { access(uint64_t(p), n, false); } \
    void __tsan_write##n(void* p) { access(uint64_t(p), n, true); } \
    void __tsan_unaligned_read##n(void* p) { access(uint64_t(p), n, false); } \
    void __tsan_unaligned_write##n(void* p) { access(uint64_t(p), n, true); } \
    void __tsan_volatile_read##n(void* p) { access(uint64_t(p), n, false); } \
    void __tsan_volatile_write##n(void* p) { access(uint64_t(p), n, true); }
LC_ACCESS(1)
LC_ACCESS(2)
LC_ACCESS(4)
LC_ACCESS(8)
LC_ACCESS(16)
void __tsan_read_range(void* p, size_t n) { access(uint64_t(p), uint32_t(n), false); }
void __tsan_write_range(void* p, size_t n) { access(uint64_t(p), uint32_t(n), true); }
void __tsan_init() {}
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}
void __tsan_vptr_update(void**, void*) {}
void __tsan_vptr_read(void**) {}
int __tsan_atomic32_fetch_add(volatile int* p, int x, int) { return __atomic_fetch_add(p, x, __ATOMIC_RELAXED); }
long __tsan_atomic64_fetch_add(volatile long* p, long x, int) { return __atomic_fetch_add(p, x, __ATOMIC_RELAXED); }
int __tsan_atomic32_load(const volatile int* p, int) { return __atomic_load_n(p, __ATOMIC_RELAXED); }
signed char __tsan_atomic8_load(const volatile signed char* p, int) { return __atomic_load_n(p, __ATOMIC_RELAXED); }
long __tsan_atomic64_load(const volatile long* p, int) { return __atomic_load_n(p, __ATOMIC_RELAXED); }
void __tsan_atomic32_store(volatile int* p, int x, int) { __atomic_store_n(p, x, __ATOMIC_RELAXED); }
}
