// The emulated GPU: what its parts share. Kernels see only emulator.h and include/cuda_runtime.h.
//
// A launch runs its blocks one after the other, those of a cluster together. The threads of a block are fibers on the
// caller's own thread; a fiber runs until it must wait. Asynchronous work (cp.async, TMA, wgmma) is done as late as the program allows: when it is
// waited for, or when nothing else can go on. So what forgets to wait reads what is not there, and is told.
//
// The .cu sources are compiled with -fsanitize=thread, but it is memory.cpp, not that tool's runtime, that the
// compiler's calls reach: every load and store of a kernel is checked against what is allocated, what was written, and,
// by vector clocks, whether the write happened before.
#pragma once
#include <csetjmp>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <ucontext.h>
#include <vector>
#include "cuda_runtime.h"
#include "cuda/emulator/emulator.h"

namespace emulator {

constexpr int kWarp = 32, kWarpgroup = 128;
constexpr uint32_t kSharedLimit = 232448, kSharedBase = 16;   // 16: nothing may rely on more than the program aligns itself
constexpr int kMostBlocks = 2;                        // of a cluster

using Clock = std::vector<uint32_t>;                  // per thread of the cluster: the last of its moments known here
void join(Clock& into, const Clock& from);

struct Block;

// What a thread waits for: goes on once ready() is true.
struct Waiting {
    const char* what = nullptr;
    std::function<bool()> ready;
};

struct CopyGroup {
    struct Piece {
        uint32_t to;
        const void* from;
        int bytes;                                    // the rest of 16 is zero
    };
    std::vector<Piece> pieces;
};
struct StoreGroup {
    struct Box {
        const CUtensorMap* map;
        uint32_t from;
        int at[6];
    };
    std::vector<Box> boxes;
};

struct Thread {
    Block* block = nullptr;
    int id = 0;                                       // in the cluster
    uint3 index{};
    bool started = false, done = false;
    Waiting wait;
    Place at{};                                       // where it last synchronized
    Clock clock;
    uint32_t fences = 0;                              // proxy fences so far
    CopyGroup open_copies;
    std::deque<CopyGroup> copies;
    StoreGroup open_stores;
    std::deque<StoreGroup> stores;
    uint64_t products = 0, groups = 0;                // wgmma: issued, committed
    std::vector<uint64_t> group_end;                  // products issued before each commit
    bool registers_fenced = false;
    jmp_buf context;
    ucontext_t entry;

    int place() const;                                // in the block
    int warp() const { return place() / kWarp; }
    int lane() const { return place() % kWarp; }
    int group() const { return place() / kWarpgroup; }
};

// A warp-wide instruction: every lane of the mask brings its operands, the last one to come does the work for all.
struct Gathering {
    const char* what = nullptr;
    uint32_t mask = 0, here = 0;
    uint64_t generation = 0;
    void* slot[kWarp] = {};
};

struct NamedBarrier {
    int here = 0;
    int wanted = 0;
    uint64_t generation = 0;
    Clock clock, complete;                            // of those here, of the last complete generation
};

struct MBarrier {
    int count = 0, pending = 0;
    int64_t bytes = 0;
    uint64_t phase = 0;
    Clock clock, complete;                            // of this phase so far, of the last complete one
    int made_by = 0;
    uint32_t made_at = 0, made_fences = 0;
};

struct BoxLoad {                                      // a TMA load under way
    const CUtensorMap* map;
    uint32_t to, barrier;
    int at[6];                                        // the last two: offsets of pixels
    uint32_t blocks;                                  // of the cluster that get it, a bit each
    int by;
    Clock clock;
};

struct Product {                                      // a wgmma under way
    int columns = 0;
    bool accumulate = false;
    uint64_t a = 0, b = 0;
    bool a_transposed = false, b_transposed = false;
    Element element{};
    float* d[kWarpgroup] = {};
    const uint32_t* a_registers[kWarpgroup] = {};     // null: a lies in shared memory
    uint32_t a_issued[kWarpgroup][4] = {};            // what they held then: to be the same at the end
    int here = 0;
};
struct Accumulator {                                  // its value while products on it are under way
    std::vector<float> value;
    int open = 0;
};
struct Warpgroup {
    std::deque<Product> products;
    uint64_t first = 0;                               // number of products.front()
    std::map<float*, Accumulator> accumulators;
    Clock clock;
};

// What is known of a byte of shared memory.
struct Cell {
    uint32_t block = 0;                               // serial of the block it was last used by; else all is stale
    uint16_t writer = 0, reader = 0;
    uint32_t write_at = 0, read_at = 0;
    uint32_t write_fences = 0;
    int32_t readers = -1;                             // index in Block::readers, one (thread, moment) per warp
    bool written = false, read = false, by_engine = false;
    uint8_t in_flight = 0, busy = 0;                  // an asynchronous write, or reads, under way
};

struct Block {
    std::vector<std::unique_ptr<Block>>* cluster = nullptr;
    int rank = 0;                                     // in its cluster
    uint3 index{};
    dim3 size{}, grid{};
    uint32_t serial = 0, shared_bytes = 0;
    int live = 0;
    std::vector<Thread> threads;
    std::vector<Gathering> warps;
    std::vector<Warpgroup> groups;
    NamedBarrier barriers[16], of_cluster;            // of_cluster: rank 0's serves for all
    std::map<uint32_t, MBarrier> mbarriers;
    std::deque<BoxLoad> loads;
    std::vector<std::vector<std::pair<uint16_t, uint32_t>>> readers;

    Thread& thread(int id) const { return (*cluster)[size_t(id) / threads.size()]->threads[size_t(id) % threads.size()]; }
};
inline int Thread::place() const { return id % int(block->threads.size()); }

extern Thread* current;                               // null outside of kernels
extern uint8_t* shared_memory;                        // the entered block's, kSharedLimit + 1 KiB bytes

// scheduler.cpp
[[noreturn]] void fail(const std::string& what);      // with kernel, block, thread and place; ends the launch
void wait_until(const char* what, Place at, std::function<bool()> ready);
void release_into(Thread& t, Clock& clock);           // what t did so far happened before whoever acquires clock
void acquire_from(Thread& t, const Clock& clock);
std::string name_of(const Thread& t);

// memory.cpp
uint32_t shared_offset(const void* p, uint32_t bytes);       // fails unless p lies in the block's shared memory
void enter(Block& b);                                 // shared offsets and their checks are b's from here on
void begin_block(Block& b);
const char* launch_name();
void own_now(void* p, size_t bytes);                  // what streams do in their order
void disown_now(void* p, size_t bytes);
cudaError_t copy_now(void* to, const void* from, size_t bytes);
void fill_now(void* p, int byte, size_t bytes);
void check_read(uint64_t address, uint32_t bytes);
void check_write(uint64_t address, uint32_t bytes);
void check_global_read(const void* p, uint64_t bytes);       // by the copy engine: accessible and written
void check_global_write(const void* p, uint64_t bytes);
void engine_reads(uint32_t offset, uint32_t bytes, const char* who);      // written, happened before, fenced
void engine_will_write(uint32_t offset, uint32_t bytes, const char* who);
void engine_wrote(uint32_t offset, uint32_t bytes, int by, uint32_t moment, bool by_engine);
void set_busy(uint32_t offset, uint32_t bytes, int change);
void mark_read(uint32_t offset, uint32_t bytes, Thread& t);

// engines.cpp, tensor_core.cpp
bool deliver_one(Block& b);                           // the oldest asynchronous load; false if there is none
void check_exit(Thread& t);                           // nothing it started is left

}  // namespace emulator
