// Fibers, barriers and warp-wide instructions; deadlock is found here.
#include <cstring>
#include <sys/mman.h>
#include "cpp/core/error.h"
#include "cuda/emulator/machine.h"

namespace emulator {

Thread* current = nullptr;
uint8_t* shared_memory = nullptr;

namespace {

constexpr size_t kStack = 256 << 10;

const char* kernel_name = "kernel";
std::string failure;
jmp_buf scheduler_context;
void (*body)(void*) = nullptr;
void* argument = nullptr;
uint32_t block_serial = 0;

uint8_t* stack_of(int thread) {
    static uint8_t* stacks = [] {
        void* p = mmap(nullptr, kStack * 1024 * kMostBlocks, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        return p == MAP_FAILED ? nullptr : static_cast<uint8_t*>(p);
    }();
    LC_CHECK(stacks, MemoryError, "emulator: no memory for the threads of a block");
    return stacks + kStack * size_t(thread);
}

void begin() {
    body(argument);
    check_exit(*current);
    current->done = true;
    --current->block->live;
    _longjmp(scheduler_context, 1);
}

void resume(Thread& t) {
    current = &t;
    enter(*t.block);
    if (!_setjmp(scheduler_context)) {
        if (t.started) _longjmp(t.context, 1);
        t.started = true;
        getcontext(&t.entry);
        t.entry.uc_stack.ss_sp = stack_of(t.id);
        t.entry.uc_stack.ss_size = kStack;
        t.entry.uc_link = nullptr;
        makecontext(&t.entry, begin, 0);
        setcontext(&t.entry);
    }
    current = nullptr;
}

std::string file_of(const Place& at) {
    const std::string path = at.file_name() ? at.file_name() : "";
    const size_t cut = path.rfind("cuda/");
    return path.empty() ? "its start" : lc::text(cut == std::string::npos ? path : path.substr(cut), ":", at.line());
}

std::string waiting(const Block& b) {
    std::string out;
    int from = 0;
    for (size_t i = 1; i <= b.threads.size(); ++i) {
        const Thread &first = b.threads[size_t(from)], *t = i < b.threads.size() ? &b.threads[i] : nullptr;
        if (t && t->done == first.done && t->wait.what == first.wait.what && t->at.line() == first.at.line() && t->warp() == first.warp()) continue;
        out += lc::text("\n  warp ", first.warp(), ", threads ", from, "-", i - 1, ": ", first.done ? "done" : lc::text("waits for ", first.wait.what, " at ", file_of(first.at)));
        from = int(i);
    }
    return out;
}

using Cluster = std::vector<std::unique_ptr<Block>>;

int live(const Cluster& cluster) {
    int threads = 0;
    for (const auto& b : cluster) threads += b->live;
    return threads;
}

void run_cluster(Cluster& cluster) {
    while (live(cluster) > 0) {
        bool moved = false;
        for (const auto& b : cluster)
            for (Thread& t : b->threads) {
                if (t.done || (t.wait.ready && !t.wait.ready())) continue;
                t.wait = {};
                moved = true;
                resume(t);
                if (!failure.empty()) return;
            }
        for (const auto& b : cluster) moved = moved || deliver_one(*b);
        if (moved) continue;
        const uint3 first = cluster[0]->index;
        failure = lc::text("[", kernel_name, "] block (", first.x, ", ", first.y, ", ", first.z, "): deadlock; no thread can go on:");
        for (const auto& b : cluster) failure += waiting(*b);
        return;
    }
    for (const auto& b : cluster)
        if (!b->loads.empty()) failure = lc::text("[", kernel_name, "] the block ended before its TMA loads were waited for");
}

Gathering& gather(const char* what, uint32_t mask, void* mine, Place at) {
    Thread& t = *current;
    Gathering& g = t.block->warps[size_t(t.warp())];
    t.at = at;
    if (!(mask >> t.lane() & 1)) fail(lc::text(what, ": the lane is not in its own mask ", mask));
    if (g.here == 0) {
        g.what = what;
        g.mask = mask;
    } else if (g.what != what || g.mask != mask) {
        fail(lc::text("the warp diverged: this lane is at ", what, ", others wait at ", g.what));
    }
    g.here |= 1u << t.lane();
    g.slot[t.lane()] = mine;
    return g;
}

// Lanes of a partial warp that do not exist are taken as present.
uint32_t existing(const Thread& t) {
    const int lanes = int(t.block->threads.size()) - t.warp() * kWarp;
    return lanes >= kWarp ? ~0u : (1u << lanes) - 1;
}

}  // namespace

// Every lane of the mask comes, then the last one calls work(slots) for all.
void warp_wide(const char* what, uint32_t mask, void* mine, Place at, const std::function<void(void**)>& work) {
    Gathering& g = gather(what, mask & existing(*current), mine, at);
    if (g.here == g.mask) {
        work(g.slot);
        g.here = 0;
        ++g.generation;
        return;
    }
    wait_until(what, at, [&g, generation = g.generation] { return g.generation != generation; });
}

std::string name_of(const Thread& t) {
    return lc::text("block (", t.block->index.x, ", ", t.block->index.y, ", ", t.block->index.z, ") thread ", t.place(), " (warp ", t.warp(), ", lane ", t.lane(),
                    "), past ", file_of(t.at));
}

void fail(const std::string& what) {
    failure = lc::text("[", kernel_name, "] ", current ? name_of(*current) + ": " : "", what);
    if (current) _longjmp(scheduler_context, 1);
    throw lc::Error("emulator: " + std::exchange(failure, ""));
}

void give_up(Place at) { fail(lc::text("what line ", at.line(), " of ", at.file_name(), " requires does not hold: an index out of range?")); }

void wait_until(const char* what, Place at, std::function<bool()> ready) {
    Thread& t = *current;
    t.at = at;
    if (ready()) return;
    t.wait = {what, std::move(ready)};
    if (!_setjmp(t.context)) _longjmp(scheduler_context, 1);
}

// ---- happened-before ------------------------------------------------------------------------------------------------

void join(Clock& into, const Clock& from) {
    if (into.size() < from.size()) into.resize(from.size());
    for (size_t i = 0; i < from.size(); ++i) into[i] = from[i] > into[i] ? from[i] : into[i];
}
void release_into(Thread& t, Clock& clock) {
    join(clock, t.clock);
    ++t.clock[size_t(t.id)];
}
void acquire_from(Thread& t, const Clock& clock) { join(t.clock, clock); }

// ---- barriers and warps ---------------------------------------------------------------------------------------------

namespace {

// One more is here; goes on when all that are wanted have come.
void meet(NamedBarrier& n, std::function<int()> wanted, bool wait, const char* what, Place at) {
    Thread& t = *current;
    ++n.here;
    release_into(t, n.clock);
    const auto advance = [&n, wanted = std::move(wanted)] {
        if (n.here < wanted()) return;
        n.here = 0;
        n.complete = std::exchange(n.clock, {});
        ++n.generation;
    };
    if (!wait) return advance();
    wait_until(what, at, [&n, advance, generation = n.generation] {
        if (n.generation == generation) advance();
        return n.generation != generation;
    });
    acquire_from(t, n.complete);
}

}  // namespace

void named_barrier(int id, int wanted, bool wait, Place at) {
    Thread& t = *current;
    NamedBarrier& n = t.block->barriers[id];
    if (id < 0 || id > 15) fail(lc::text("barrier ", id, ": there are 0 to 15"));
    if (wanted > 0 && (wanted % kWarp || wanted > int(t.block->threads.size()))) fail(lc::text("barrier ", id, " of ", wanted, " threads: must be a multiple of 32, at most the block"));
    if (n.here > 0 && n.wanted != wanted) fail(lc::text("barrier ", id, ": this thread counts to ", wanted, ", others to ", n.wanted));
    n.wanted = wanted;
    meet(n, [&n, block = t.block] { return n.wanted ? n.wanted : block->live; }, wait, "a barrier", at);
}

int cluster_rank() { return current->block->rank; }
void cluster_sync(Place at) {
    const Cluster& cluster = *current->block->cluster;
    meet(cluster[0]->of_cluster, [&cluster] { return live(cluster); }, true, "the cluster's barrier", at);
}

void syncthreads(Place at) { named_barrier(0, 0, true, at); }

void syncwarp(uint32_t mask, Place at) {
    Thread& t = *current;
    warp_wide("__syncwarp", mask, &t, at, [](void** slot) {
        Clock all;
        for (int i = 0; i < kWarp; ++i)
            if (slot[i]) release_into(*static_cast<Thread*>(slot[i]), all);
        for (int i = 0; i < kWarp; ++i)
            if (slot[i]) acquire_from(*static_cast<Thread*>(slot[i]), all);
        std::memset(slot, 0, sizeof(void*) * kWarp);
    });
}

uint64_t shuffle(uint64_t value, int from_lane, uint32_t mask, Place at) {
    struct Lane {
        uint64_t value, result;
        int from;
    } mine{value, value, from_lane};
    warp_wide("a shuffle", mask, &mine, at, [mask](void** slot) {
        for (int i = 0; i < kWarp; ++i) {
            if (!(mask >> i & 1) || !slot[i]) continue;
            Lane& lane = *static_cast<Lane*>(slot[i]);
            if (lane.from < kWarp && (mask >> lane.from & 1) && slot[lane.from]) lane.result = static_cast<Lane*>(slot[lane.from])->value;
        }
        std::memset(slot, 0, sizeof(void*) * kWarp);
    });
    return mine.result;
}

uint32_t ballot(bool value, uint32_t mask, Place at) {
    struct Lane {
        bool value;
        uint32_t result;
    } mine{value, 0};
    warp_wide("a vote", mask, &mine, at, [](void** slot) {
        uint32_t bits = 0;
        for (int i = 0; i < kWarp; ++i)
            if (slot[i] && static_cast<Lane*>(slot[i])->value) bits |= 1u << i;
        for (int i = 0; i < kWarp; ++i)
            if (slot[i]) static_cast<Lane*>(slot[i])->result = bits;
        std::memset(slot, 0, sizeof(void*) * kWarp);
    });
    return mine.result;
}

// ---- launches -------------------------------------------------------------------------------------------------------

const uint3& thread_index() { return current->index; }
const uint3& block_index() { return current->block->index; }
const dim3& block_size() { return current->block->size; }
const dim3& grid_size() { return current->block->grid; }
void* dynamic_shared() { return shared_memory + kSharedBase; }
void name_launch(const char* name) { kernel_name = name; }
const char* launch_name() { return kernel_name; }

void run(const cudaLaunchConfig_t& c, void (*f)(void*), void* a) {
    const unsigned threads = c.blockDim.x * c.blockDim.y * c.blockDim.z;
    LC_CHECK(threads >= 1 && threads <= 1024, Error, "emulator: [", kernel_name, "] a block of ", threads, " threads");
    LC_CHECK(c.gridDim.x && c.gridDim.y && c.gridDim.z && c.gridDim.y < 65536 && c.gridDim.z < 65536, Error, "emulator: [", kernel_name, "] a grid of ",
             c.gridDim.x, " x ", c.gridDim.y, " x ", c.gridDim.z);
    LC_CHECK(c.dynamicSmemBytes <= kSharedLimit, Error, "emulator: [", kernel_name, "] ", c.dynamicSmemBytes, " bytes of shared memory");
    const unsigned blocks = c.numAttrs ? c.attrs->val.clusterDim.x : 1;
    LC_CHECK(blocks >= 1 && blocks <= kMostBlocks && c.gridDim.x % blocks == 0, Error, "emulator: [", kernel_name, "] ", c.gridDim.x, " blocks in clusters of ", blocks);
    body = f;
    argument = a;
    for (unsigned z = 0; z < c.gridDim.z; ++z)
        for (unsigned y = 0; y < c.gridDim.y; ++y)
            for (unsigned x = 0; x < c.gridDim.x; x += blocks) {
                Cluster cluster;
                for (unsigned rank = 0; rank < blocks; ++rank) {
                    cluster.push_back(std::make_unique<Block>());
                    Block& b = *cluster.back();
                    b.cluster = &cluster;
                    b.rank = int(rank);
                    b.index = {x + rank, y, z};
                    b.size = c.blockDim;
                    b.grid = c.gridDim;
                    b.serial = ++block_serial;
                    b.shared_bytes = uint32_t(c.dynamicSmemBytes);
                    b.live = int(threads);
                    b.threads = std::vector<Thread>(threads);
                    b.warps.resize((threads + kWarp - 1) / kWarp);
                    b.groups.resize((threads + kWarpgroup - 1) / kWarpgroup);
                    for (unsigned i = 0; i < threads; ++i) {
                        Thread& t = b.threads[i];
                        t.block = &b;
                        t.id = int(rank * threads + i);
                        t.index = {i % c.blockDim.x, i / c.blockDim.x % c.blockDim.y, i / c.blockDim.x / c.blockDim.y};
                        t.clock.assign(blocks * threads, 0);
                        t.clock[size_t(t.id)] = 1;
                    }
                    begin_block(b);
                }
                run_cluster(cluster);
                if (!failure.empty()) {
                    const std::string what = std::exchange(failure, "");
                    throw lc::Error("emulator: " + what);
                }
            }
}

}  // namespace emulator
