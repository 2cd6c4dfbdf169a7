// The asynchronous engines: cp.async, mbarriers, TMA boxes. Each does its work when it is waited for, not before.
#include <cstring>
#include "cpp/core/error.h"
#include "cuda/emulator/machine.h"
#include "cuda/emulator/tensor_map.h"

namespace emulator {

void fence_async_proxy() { ++current->fences; }

// ---- cp.async -------------------------------------------------------------------------------------------------------

void copy_async(void* to, const void* from, int bytes, Place at) {
    Thread& t = *current;
    t.at = at;
    const uint32_t offset = shared_offset(to, 16);
    if (uint64_t(to) % 16 || (bytes > 0 && uint64_t(from) % 16)) fail("cp.async: both addresses must be multiples of 16");
    if (bytes < 0 || bytes > 16) fail(lc::text("cp.async: ", bytes, " bytes of 16"));
    engine_will_write(offset, 16, "cp.async");
    t.open_copies.pieces.push_back({offset, from, bytes});
}
void copy_async_commit() {
    Thread& t = *current;
    t.copies.push_back(std::exchange(t.open_copies, {}));
}
void copy_async_wait(int pending, Place at) {
    Thread& t = *current;
    t.at = at;
    for (; int(t.copies.size()) > pending; t.copies.pop_front())
        for (const CopyGroup::Piece& p : t.copies.front().pieces) {
            check_global_read(p.from, uint64_t(p.bytes));
            std::memset(shared_memory + p.to, 0, 16);
            std::memcpy(shared_memory + p.to, p.from, size_t(p.bytes));
            engine_wrote(p.to, 16, t.id, t.clock[size_t(t.id)], false);
        }
}

// ---- mbarriers --------------------------------------------------------------------------------------------------------

namespace {

MBarrier& barrier_at(const void* p, const char* who, Block& block = *current->block) {
    Thread& t = *current;
    const uint32_t offset = shared_offset(p, 8);
    if (block.live == 0) fail(lc::text(who, ": block ", block.rank, " of the cluster has ended"));
    const auto found = block.mbarriers.find(offset);
    if (found == block.mbarriers.end()) fail(lc::text(who, ": no mbarrier was initialized at shared byte ", offset));
    MBarrier& b = found->second;
    if (b.made_by != t.id && b.made_at > t.clock[size_t(b.made_by)]) fail(lc::text(who, ": thread ", b.made_by, " initialized the mbarrier with no barrier in between"));
    return b;
}

void complete_if_due(MBarrier& b) {
    if (b.pending > 0 || b.bytes != 0) return;
    b.pending = b.count;
    ++b.phase;
    b.complete = std::exchange(b.clock, {});
}

}  // namespace

void mbarrier_init(void* p, int count) {
    Thread& t = *current;
    const uint32_t offset = shared_offset(p, 8);
    if (offset % 8 || count < 1) fail("mbarrier.init: needs 8-byte alignment and a count of at least 1");
    if (t.block->mbarriers.count(offset)) fail("mbarrier.init: it is initialized already");
    MBarrier& b = t.block->mbarriers[offset];
    b.count = b.pending = count;
    b.made_by = t.id;
    b.made_at = t.clock[size_t(t.id)];
    b.made_fences = t.fences;
}
void mbarrier_fence_init() { ++current->fences; }

void mbarrier_arrive(void* p, int64_t bytes, Place at, int rank) {
    Thread& t = *current;
    t.at = at;
    MBarrier& b = barrier_at(p, "mbarrier.arrive", rank < 0 ? *t.block : *t.block->cluster->at(size_t(rank)));
    if (b.pending == 0) fail("mbarrier.arrive: more arrivals than its count in one phase");
    b.bytes += bytes;
    --b.pending;
    release_into(t, b.clock);
    complete_if_due(b);
}

void mbarrier_wait(void* p, int parity, Place at) {
    MBarrier& b = barrier_at(p, "mbarrier.wait");
    wait_until("an mbarrier", at, [&b, parity] { return int(b.phase & 1) != (parity & 1); });
    acquire_from(*current, b.complete);
}

// ---- TMA ----------------------------------------------------------------------------------------------------------------

namespace {

// Where a line of pixels goes on: along w, then h, then to the next image, within the corners.
struct Pixel {
    int64_t w, h, n;
};
void go_on(const TensorMap& m, Pixel& p) {
    if ((p.w += m.step[0]) <= int64_t(m.size[1]) - 1 + m.upper[0]) return;
    p.w = m.lower[0];
    if ((p.h += m.step[1]) <= int64_t(m.size[2]) - 1 + m.upper[1]) return;
    p.h = m.lower[1];
    ++p.n;
}

// Calls f(shared offset, global address or null where out of bounds, bytes) for every element of a box.
template <class F> void each_piece(const CUtensorMap* opaque, uint32_t shared, const int* at, F&& f) {
    const TensorMap& m = *reinterpret_cast<const TensorMap*>(opaque);
    const uint32_t row_bytes = m.box[0] * m.item, rows = m.box_bytes() / row_bytes;
    Pixel p{at[1], at[2], at[3]};
    for (uint32_t r = 0; r < rows; ++r, go_on(m, p)) {
        const uint8_t* global = static_cast<const uint8_t*>(m.base);
        bool inside = true;
        uint32_t rest = r;
        const int64_t moved[5] = {0, p.w + at[4], p.h + at[5], p.n, 0};
        for (int d = 1; d < m.rank; ++d) {
            const int64_t i = m.pixels ? moved[d] : int64_t(at[d]) + rest % m.box[d];
            rest /= m.box[d];
            inside = inside && i >= 0 && i < int64_t(m.size[d]);
            global += i * int64_t(m.stride[d]);
        }
        for (uint32_t c = 0; c < row_bytes; c += m.item) {
            const int64_t i = int64_t(at[0]) + c / m.item;
            uint32_t offset = shared + r * row_bytes + c;
            if (m.swizzle_128) offset ^= (offset >> 7 & 7) << 4;
            f(offset, inside && i >= 0 && i < int64_t(m.size[0]) ? global + i * m.item : nullptr, m.item);
        }
    }
}

const TensorMap& checked(const CUtensorMap* opaque, uint32_t offset, bool pixels, const char* who) {
    const TensorMap& m = *reinterpret_cast<const TensorMap*>(opaque);
    if (m.magic != kTensorMapMagic) fail(lc::text(who, ": the tensor map was not encoded"));
    if (bool(m.pixels) != pixels) fail(lc::text(who, ": the tensor map is of ", m.pixels ? "pixels" : "boxes"));
    if (offset % (m.swizzle_128 ? 1024 : 128)) fail(lc::text(who, ": shared address ", offset, " is not a multiple of ", m.swizzle_128 ? 1024 : 128));
    return m;
}

}  // namespace

// f(block) for those of the cluster whose bit is set, each entered.
template <class F> void each_block(Block& own, uint32_t blocks, F f) {
    if (blocks >> own.cluster->size()) fail("TMA load: a block that the cluster does not have");
    for (const auto& block : *own.cluster)
        if (blocks >> block->rank & 1) {
            enter(*block);
            f(*block);
        }
    enter(own);
}

void load(void* to, const CUtensorMap* map, void* barrier, const int (&at)[6], bool pixels, Place place, uint32_t blocks) {
    Thread& t = *current;
    t.at = place;
    if (blocks == 0) blocks = 1u << t.block->rank;
    const uint32_t offset = shared_offset(to, 16), barrier_offset = shared_offset(barrier, 8);
    const TensorMap& m = checked(map, offset, pixels, "TMA load");
    const uint32_t bytes = m.box_bytes();
    for (int d = 0; d < 2 && pixels; ++d) {
        if (at[1 + d] < m.lower[d] || at[1 + d] > int64_t(m.size[1 + d]) - 1 + m.upper[d]) fail(lc::text("TMA load: the first pixel, at ", at[1 + d], ", is outside of the corners"));
        if (at[4 + d] < 0 || at[4 + d] > 255) fail(lc::text("TMA load: an offset of ", at[4 + d], ", of 0 to 255"));
    }
    shared_offset(to, bytes);
    each_block(*t.block, blocks, [&](Block& block) {
        MBarrier& b = barrier_at(shared_memory + barrier_offset, "TMA load", block);
        if (t.block->thread(b.made_by).fences <= b.made_fences) fail("TMA load: the mbarrier was initialized without barrier_fence_init()");
        engine_will_write(offset, bytes, "TMA load");
    });
    each_piece(map, offset, at, [](uint32_t, const uint8_t* global, uint32_t n) { if (global) check_global_read(global, n); });
    BoxLoad load{map, offset, barrier_offset, {}, blocks, t.id, {}};
    std::memcpy(load.at, at, sizeof(load.at));
    release_into(t, load.clock);
    t.block->loads.push_back(std::move(load));
}

void box_load(void* to, const CUtensorMap* map, void* barrier, const int (&at)[6], Place place, uint32_t blocks) { load(to, map, barrier, at, false, place, blocks); }
void pixels_load(void* to, const CUtensorMap* map, void* barrier, const int (&at)[6], Place place, uint32_t blocks) { load(to, map, barrier, at, true, place, blocks); }

// To 10 bits of mantissa, halves to even; what is not finite stays.
void round_to_tf32(uint8_t* floats, uint32_t bytes) {
    for (uint32_t i = 0; i < bytes; i += 4) {
        uint32_t x;
        std::memcpy(&x, floats + i, 4);
        if ((x & 0x7f800000u) != 0x7f800000u) x = (x + 0xfff + (x >> 13 & 1)) & 0xffffe000u;
        std::memcpy(floats + i, &x, 4);
    }
}

bool deliver_one(Block& block) {
    if (block.loads.empty()) return false;
    BoxLoad load = std::move(block.loads.front());
    block.loads.pop_front();
    const TensorMap& map = *reinterpret_cast<const TensorMap*>(load.map);
    const uint32_t bytes = map.box_bytes();
    each_block(block, load.blocks, [&](Block& to) {
        if (to.live == 0) fail(lc::text("TMA load: block ", to.rank, " of the cluster has ended"));
        each_piece(load.map, load.to, load.at, [&](uint32_t offset, const uint8_t* global, uint32_t n) {
            if (global) std::memcpy(shared_memory + offset, global, n);
            else std::memset(shared_memory + offset, 0, n);
            if (map.tf32) round_to_tf32(shared_memory + offset, n);
        });
        engine_wrote(load.to, bytes, load.by, load.clock[size_t(load.by)], true);
        MBarrier& b = to.mbarriers.at(load.barrier);
        join(b.clock, load.clock);
        b.bytes -= bytes;
        complete_if_due(b);
    });
    return true;
}

void box_store(const CUtensorMap* map, const void* from, const int (&at)[6], Place place) {
    Thread& t = *current;
    t.at = place;
    const uint32_t offset = shared_offset(from, 16);
    const uint32_t bytes = checked(map, offset, false, "TMA store").box_bytes();
    shared_offset(from, bytes);
    engine_reads(offset, bytes, "TMA store");
    set_busy(offset, bytes, +1);
    StoreGroup::Box box{map, offset, {}};
    std::memcpy(box.at, at, sizeof(box.at));
    t.open_stores.boxes.push_back(box);
}
void box_store_commit() {
    Thread& t = *current;
    t.stores.push_back(std::exchange(t.open_stores, {}));
}
void box_store_wait(int pending, Place at) {
    Thread& t = *current;
    t.at = at;
    for (; int(t.stores.size()) > pending; t.stores.pop_front())
        for (const StoreGroup::Box& box : t.stores.front().boxes) {
            each_piece(box.map, box.from, box.at, [&](uint32_t offset, const uint8_t* global, uint32_t bytes) {
                if (!global) return;
                check_global_write(global, bytes);
                std::memcpy(const_cast<uint8_t*>(global), shared_memory + offset, bytes);
            });
            const uint32_t bytes = reinterpret_cast<const TensorMap*>(box.map)->box_bytes();
            set_busy(box.from, bytes, -1);
            mark_read(box.from, bytes, t);
        }
}

void check_exit(Thread& t) {
    if (!t.open_copies.pieces.empty() || !t.copies.empty()) {
        bool any = !t.open_copies.pieces.empty();
        for (const CopyGroup& g : t.copies) any = any || !g.pieces.empty();
        if (any) fail("ends before its cp.async copies were waited for");
    }
    if (!t.open_stores.boxes.empty() || !t.stores.empty()) fail("ends before its TMA stores were waited for");
    if (t.groups != t.group_end.size() || (!t.group_end.empty() && t.group_end.back() > t.block->groups[size_t(t.group())].first))
        fail("ends before its wgmma groups were waited for");
}

}  // namespace emulator
