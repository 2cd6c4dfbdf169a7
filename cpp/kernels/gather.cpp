// gather on CPU: one index an element. Contract: cpp/ops/gather.h
// Memory bound: 8 bytes of index an element, x touched at random along dim.
#include "cpp/ops/gather.h"
#include "cpp/core/parallel.h"
#include "cpp/simd/move.h"

namespace lc::cpu::LC_ISA {
namespace {

constexpr int64_t kTask = 16 * 1024;                  // elements of a task: a few tens of microseconds

// Where an index leads; held by value, so that stores cannot change it.
struct Along {
    int64_t size, step;
    bool* outside;
    int64_t bad = 0;

    explicit LC_INLINE Along(const GatherPlan& plan) : size(plan.size), step(plan.step), outside(plan.outside) {}
    LC_INLINE ~Along() {
        if (bad) __atomic_store_n(outside, true, __ATOMIC_RELAXED);
    }
    LC_INLINE int64_t element(int64_t index) {
        const int64_t at = index + (index >> 63 & size), inside = uint64_t(at) < uint64_t(size) ? at : 0;
        bad |= at ^ inside;
        return inside;
    }
    LC_INLINE int64_t operator()(int64_t index) { return element(index) * step; }
};

// Random accesses find no prefetcher: the lines of a row that most of them will be in are asked for ahead.
template <class T> LC_INLINE void fetch_row(const T* x, const GatherPlan& plan) {
    const int64_t bytes = plan.size * int64_t(sizeof(T));
    if (plan.step != 1 || bytes > 64 * plan.count || bytes > 16 * 1024) return;
    for (int64_t at = 0; at < bytes; at += 64) __builtin_prefetch(reinterpret_cast<const char*>(x) + at);
}

// One row of indices into one row of x: f(i, offset). A few at a time are looked at first: mostly all are places as they stand.
template <class F> LC_INLINE void each_place(const GatherPlan& plan, const int64_t* index, int64_t n, F&& f) {
    constexpr int64_t kTogether = 512;
    Along place(plan);
    const int64_t step = plan.step, last = plan.size - 1;
    for (int64_t begin = 0; begin < n; begin += kTogether) {
        const int64_t end = begin + kTogether < n ? begin + kTogether : n;
        int64_t outside = 0;                          // negative where an index is, or would be from the end of x
        for (int64_t i = begin; i < end; ++i) outside |= index[i] | (last - index[i]);
        if (LC_UNLIKELY(outside < 0))
            for (int64_t i = begin; i < end; ++i) f(i, place(index[i]));
        else if (step == 1)
            for (int64_t i = begin; i < end; ++i) f(i, index[i]);
        else
            for (int64_t i = begin; i < end; ++i) f(i, index[i] * step);
    }
}

// Indices may repeat along dim, so a task owns part of the lead or of the tail and meets every i in order.
template <class T, class Write> void scatter(const GatherScatter<T>& a, Write write) {
    const GatherPlan& plan = *a.plan;
    const int64_t leads = plan.lead.count, tails = plan.tail.count, row = plan.count * tails;
    if (leads * row == 0) return;
    const int64_t each = a.rows ? row + plan.size / 4 : row, grain = each >= kTask ? 1 : kTask / each, blocks = (leads + grain - 1) / grain;
    const int64_t wanted = kTask / plan.count, chunk = leads > 1 ? tails : wanted < 64 ? 64
                                                                                       : wanted;
    const int64_t chunks = (tails + chunk - 1) / chunk;
    parallel_for(blocks * chunks, leads * each, [&](int64_t task, int) {
        const int64_t first = task / chunks * grain, last = first + grain < leads ? first + grain : leads;
        const int64_t begin = task % chunks * chunk, end = begin + chunk < tails ? begin + chunk : tails;
        for (int64_t l = first; l < last; ++l) {
            T* x = a.x + plan.lead.offset(l);
            if (tails == 1) {
                const T* v = a.v + l * row;
                if (a.rows && a.from) copy_run(a.from + l * plan.size, x, plan.size);
                else if (a.rows) fill_run(T(0), x, plan.size);
                else if (l + 1 < last) fetch_row(a.x + plan.lead.offset(l + 1), plan);
                each_place(plan, plan.index + l * row, row, [&](int64_t i, int64_t at) { write(x[at], v[i]); });
                continue;
            }
            Along place(plan);
            for (int64_t i = 0; i < plan.count; ++i) {
                const int64_t at = (l * plan.count + i) * tails;
                each_run(plan.tail, begin, end, [&](int64_t t, int64_t offset, int64_t n) {
                    const int64_t step = plan.tail.step();
                    for (int64_t j = 0; j < n; ++j)
                        write(x[offset + j * step + place(plan.index[at + t + j])], a.v[at + t + j]);
                });
            }
        }
    });
}

}  // namespace

template <class T> void gather_forward(const GatherForward<T>& a) {
    const GatherPlan& plan = *a.plan;
    const int64_t tails = plan.tail.count, row = plan.count * tails, n = plan.lead.count * row;
    if (n == 0) return;
    const int64_t rows = tails == 1 ? plan.lead.count : plan.lead.count * plan.count, length = n / rows;
    parallel_ranges(rows, length >= kTask ? 1 : kTask / length, n, [&](int64_t begin, int64_t end) {
        if (row == 1 && plan.lead.rank <= 1) {        // one of each row: short enough that many are on their way at once
            const int64_t step = plan.lead.step();
            Along place(plan);
            for (int64_t r = begin; r < end; ++r) a.y[r] = a.x[r * step + place(plan.index[r])];
            return;
        }
        for (int64_t r = begin; r < end; ++r) {
            const int64_t* index = plan.index + r * length;
            T* y = a.y + r * length;
            if (tails == 1) {
                const T* x = a.x + plan.lead.offset(r);
                if (r + 1 < end) fetch_row(a.x + plan.lead.offset(r + 1), plan);
                each_place(plan, index, length, [&](int64_t i, int64_t at) { y[i] = x[at]; });
                continue;
            }
            const T* x = a.x + plan.lead.offset(r / plan.count);
            Along place(plan);
            each_run(plan.tail, 0, tails, [&](int64_t t, int64_t offset, int64_t run) {
                const int64_t step = plan.tail.step();
                for (int64_t j = 0; j < run; ++j) y[t + j] = x[offset + j * step + place(index[t + j])];
            });
        }
    });
}

template <class T> void gather_scatter(const GatherScatter<T>& a) {
    scatter(a, [](T& x, T v) { x = v; });
}
template <class T> void gather_backward(const GatherScatter<T>& a) {
    scatter(a, [](T& x, T v) { x += v; });
}

template void gather_forward(const GatherForward<uint8_t>&);
template void gather_forward(const GatherForward<uint16_t>&);
template void gather_forward(const GatherForward<uint32_t>&);
template void gather_forward(const GatherForward<uint64_t>&);
template void gather_scatter(const GatherScatter<uint8_t>&);
template void gather_scatter(const GatherScatter<uint16_t>&);
template void gather_scatter(const GatherScatter<uint32_t>&);
template void gather_scatter(const GatherScatter<uint64_t>&);
template void gather_backward(const GatherScatter<float>&);
template void gather_backward(const GatherScatter<double>&);
template void gather_backward(const GatherScatter<int64_t>&);
template void gather_backward(const GatherScatter<int32_t>&);

}  // namespace lc::cpu::LC_ISA
