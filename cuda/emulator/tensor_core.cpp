// ldmatrix, stmatrix, mma and wgmma on the fragment layouts and shared-memory descriptors of the real ones.
#include <bit>
#include <cstring>
#include "cpp/core/dtype.h"
#include "cpp/core/error.h"
#include "cuda/emulator/machine.h"

namespace emulator {

void warp_wide(const char* what, uint32_t mask, void* mine, Place at, const std::function<void(void**)>& work);

namespace {

float widen(uint32_t bits, Element e) {
    if (e == Element::bfloat16) return lc::to_float(lc::bfloat16{uint16_t(bits)});
    if (e == Element::float16) return lc::to_float(lc::float16{uint16_t(bits)});
    return std::bit_cast<float>(bits & 0xffffe000u);                 // tf32: 10 bits of mantissa
}

void move_matrix(uint32_t* r, void* row, bool transposed, bool store, Place at) {
    struct Lane {
        uint32_t* r;
        void* row;
    } mine{r, row};
    if (uint64_t(row) % 16) fail("ldmatrix, stmatrix: a row's address must be a multiple of 16");
    shared_offset(row, 16);
    if (store) check_write(uint64_t(row), 16);
    else check_read(uint64_t(row), 16);
    warp_wide(store ? "stmatrix" : "ldmatrix", ~0u, &mine, at, [&](void** slot) {
        for (int m = 0; m < 4; ++m)
            for (int lane = 0; lane < kWarp; ++lane)
                for (int half = 0; half < 2; ++half) {
                    const int i = transposed ? 2 * (lane % 4) + half : lane / 4, j = transposed ? lane / 4 : 2 * (lane % 4) + half;
                    uint16_t* element = static_cast<uint16_t*>(static_cast<Lane*>(slot[8 * m + i])->row) + j;
                    uint32_t& reg = static_cast<Lane*>(slot[lane])->r[m];
                    if (store) *element = uint16_t(reg >> 16 * half);
                    else reg = half ? (reg & 0xffff) | uint32_t(*element) << 16 : *element;
                }
    });
}

struct MmaLane {
    float* d;
    const uint32_t *a, *b;
};

// d += a b for one warp; a is 16 x depth, b depth x 8.
void multiply_warp(void** slot, int depth, Element e) {
    float a[16][16], b[16][8];
    for (int lane = 0; lane < kWarp; ++lane) {
        const MmaLane& l = *static_cast<MmaLane*>(slot[lane]);
        const int g = lane / 4, t = lane % 4;
        if (e == Element::tf32) {
            for (int i = 0; i < 4; ++i) a[g + 8 * (i % 2)][t + 4 * (i / 2)] = widen(l.a[i], e);
            for (int i = 0; i < 2; ++i) b[t + 4 * i][g] = widen(l.b[i], e);
        } else {
            for (int i = 0; i < 4; ++i)
                for (int half = 0; half < 2; ++half) a[g + 8 * (i % 2)][2 * t + half + 8 * (i / 2)] = widen(l.a[i] >> 16 * half, e);
            for (int i = 0; i < 2; ++i)
                for (int half = 0; half < 2; ++half) b[2 * t + half + 8 * i][g] = widen(l.b[i] >> 16 * half, e);
        }
    }
    for (int lane = 0; lane < kWarp; ++lane) {
        float* d = static_cast<MmaLane*>(slot[lane])->d;
        for (int i = 0; i < 4; ++i) {
            const int row = lane / 4 + 8 * (i / 2), col = 2 * (lane % 4) + i % 2;
            float sum = 0;
            for (int k = 0; k < depth; ++k) sum += a[row][k] * b[k][col];
            d[i] += sum;
        }
    }
}

// ---- wgmma ----------------------------------------------------------------------------------------------------------

uint32_t field(uint64_t descriptor, int from, int bits) { return uint32_t(descriptor >> from & ((1ull << bits) - 1)); }

int bytes_of(Element e) { return e == Element::tf32 ? 4 : 2; }

// Shared offset of element (i, k) of an operand: i counts rows of a or columns of b. 128-byte swizzle.
uint32_t element_offset(uint64_t descriptor, bool transposed, int i, int k, int bytes) {
    const uint32_t start = field(descriptor, 0, 14) << 4, leading = field(descriptor, 16, 14) << 4, stride = field(descriptor, 32, 14) << 4;
    const uint32_t at = transposed ? start + uint32_t(i / 64) * leading + uint32_t(k / 8) * stride + uint32_t(k % 8) * 128 + uint32_t(i % 64) * 2
                                   : start + uint32_t(i / 8) * stride + uint32_t(i % 8) * 128 + uint32_t(k * bytes);
    return at ^ ((at >> 7 & 7) << 4);
}

template <class F> void each_element(const Product& p, F&& f) {
    const int bytes = bytes_of(p.element);
    for (int k = 0; k < 32 / bytes; ++k) {
        for (int i = 0; i < 64 && !p.a_registers[0]; ++i) f(false, i, k, element_offset(p.a, p.a_transposed, i, k, bytes));
        for (int i = 0; i < p.columns; ++i) f(true, i, k, element_offset(p.b, p.b_transposed, i, k, bytes));
    }
}

void execute(Warpgroup& w, Product& p, Thread& t) {
    const uint32_t bytes = uint32_t(bytes_of(p.element));
    std::vector<float> a(64 * 16), b(size_t(p.columns) * 16);         // tf32 fills half a depth of 16, and adds zeros
    each_element(p, [&](bool second, int i, int k, uint32_t offset) {
        uint32_t bits = 0;
        std::memcpy(&bits, shared_memory + offset, bytes);
        (second ? b : a)[size_t(i) * 16 + size_t(k)] = widen(bits, p.element);
        set_busy(offset, bytes, -1);
        mark_read(offset, bytes, t);
    });
    for (int thread = 0; thread < kWarpgroup && p.a_registers[0]; ++thread) {
        const uint32_t* r = p.a_registers[thread];
        if (std::memcmp(r, p.a_issued[thread], sizeof p.a_issued[thread]) != 0) fail(lc::text("wgmma: thread ", thread, " of the warpgroup changed registers of a before the wait"));
        for (int i = 0; i < 8; ++i)
            a[size_t(thread / kWarp * 16 + thread % kWarp / 4 + 8 * (i / 2 % 2)) * 16 + size_t(2 * (thread % 4) + i % 2 + 8 * (i / 4))] = widen(r[i / 2] >> 16 * (i % 2), p.element);
    }
    for (int thread = 0; thread < kWarpgroup; ++thread) {
        Accumulator& acc = w.accumulators.at(p.d[thread]);
        for (int r = 0; r < p.columns / 2; ++r) {
            const int row = thread / kWarp * 16 + thread % kWarp / 4 + 8 * (r % 4 / 2), col = r / 4 * 8 + 2 * (thread % 4) + r % 2;
            float sum = p.accumulate ? acc.value[size_t(r)] : 0;
            for (int k = 0; k < 16; ++k) sum += a[size_t(row) * 16 + size_t(k)] * b[size_t(col) * 16 + size_t(k)];
            acc.value[size_t(r)] = sum;
        }
        if (--acc.open == 0) {
            std::memcpy(p.d[thread], acc.value.data(), acc.value.size() * sizeof(float));
            w.accumulators.erase(p.d[thread]);
        }
    }
}

}  // namespace

void load_matrix(uint32_t (&r)[4], const void* row, bool transposed, Place at) { move_matrix(r, const_cast<void*>(row), transposed, false, at); }
void store_matrix(void* row, const uint32_t (&r)[4], bool transposed, Place at) { move_matrix(const_cast<uint32_t*>(r), row, transposed, true, at); }

void mma_16x8x16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], Element e, Place at) {
    MmaLane mine{d, a, b};
    warp_wide("mma", ~0u, &mine, at, [e](void** slot) { multiply_warp(slot, 16, e); });
}
void mma_16x8x8_tf32(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], Place at) {
    MmaLane mine{d, a, b};
    warp_wide("mma", ~0u, &mine, at, [](void** slot) { multiply_warp(slot, 8, Element::tf32); });
}

void warpgroup_fence() { current->registers_fenced = true; }

void warpgroup_multiply(float* d, int columns, const uint32_t* a_registers, uint64_t a, uint64_t b, bool accumulate, bool a_transposed, bool b_transposed, Element e, Place at) {
    Thread& t = *current;
    t.at = at;
    if (!t.registers_fenced) fail("wgmma: warpgroup_fence() is missing before the first product of a group");
    if (t.block->threads.size() % kWarpgroup) fail("wgmma: the block is not made of warpgroups");
    for (const uint64_t descriptor : {a_registers ? b : a, b})
        if (field(descriptor, 62, 2) != 1 || field(descriptor, 49, 3) != 0) fail("wgmma: only descriptors with 128-byte swizzle and base offset 0 are known here");
    if (e == Element::tf32 && (a_transposed || b_transposed)) fail("wgmma: tf32 lies along the depth");
    Warpgroup& w = t.block->groups[size_t(t.group())];
    const uint64_t number = t.products++;
    if (number - w.first >= w.products.size()) {
        Product p;
        p.columns = columns;
        p.accumulate = accumulate;
        p.a = a;
        p.b = b;
        p.a_transposed = a_transposed;
        p.b_transposed = b_transposed;
        p.element = e;
        p.a_registers[0] = a_registers;
        w.products.push_back(p);
        each_element(p, [&p](bool, int, int, uint32_t offset) { set_busy(offset, uint32_t(bytes_of(p.element)), +1); });
    }
    Product& p = w.products[size_t(number - w.first)];
    if (p.columns != columns || p.a != a || p.b != b || p.accumulate != accumulate) fail("wgmma: the threads of the warpgroup give different shapes or descriptors");
    if (t.lane() == 0) each_element(p, [&p](bool, int, int, uint32_t offset) { engine_reads(offset, uint32_t(bytes_of(p.element)), "wgmma"); });
    Accumulator& acc = w.accumulators[d];
    if (acc.open++ == 0) {
        acc.value.assign(d, d + columns / 2);
        for (int i = 0; i < columns / 2; ++i) d[i] = __builtin_nanf("");   // not to be used before the wait
    }
    p.d[t.id % kWarpgroup] = d;
    p.a_registers[t.id % kWarpgroup] = a_registers;
    if (a_registers) std::memcpy(p.a_issued[t.id % kWarpgroup], a_registers, sizeof p.a_issued[0]);
    ++p.here;
}

void warpgroup_commit() {
    Thread& t = *current;
    ++t.groups;
    t.group_end.push_back(t.products);
    t.registers_fenced = false;
}

void warpgroup_wait(int pending, Place at) {
    Thread& t = *current;
    Warpgroup& w = t.block->groups[size_t(t.group())];
    const int64_t last = int64_t(t.group_end.size()) - 1 - pending;
    t.at = at;
    if (last < 0) return;
    const uint64_t until = t.group_end[size_t(last)];
    while (w.first < until) {
        wait_until("the other warps of a wgmma", at, [&w, until] { return w.first >= until || (!w.products.empty() && w.products.front().here == kWarpgroup); });
        if (w.first >= until) break;
        execute(w, w.products.front(), t);
        w.products.pop_front();
        ++w.first;
        release_into(t, w.clock);
    }
    acquire_from(t, w.clock);
}

}  // namespace emulator
