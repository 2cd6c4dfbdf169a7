// gather on CPU: one index an element. Contract: cpp/ops/gather.h
// Memory bound: 8 bytes of index an element, x touched at random along dim.
#include "cpp/ops/gather.h"
#include "cpp/core/parallel.h"

namespace lc::cpu::LC_ISA {
namespace {

constexpr int64_t kTask = 16 * 1024;                  // elements of a task: a few tens of microseconds

// Where an index leads; held by value, so that stores cannot change it.
struct Along {
    int64_t size, step;
    LC_INLINE int64_t operator()(int64_t index) const { return (index + (index >> 63 & size)) * step; }
};

// Indices may repeat along dim, so a task owns part of the lead or of the tail and meets every i in order.
template <class T, class Write> void scatter(const GatherScatter<T>& a, Write write) {
    const GatherPlan& plan = *a.plan;
    const int64_t leads = plan.lead.count, tails = plan.tail.count, row = plan.count * tails;
    if (leads * row == 0) return;
    const int64_t grain = row >= kTask ? 1 : kTask / row, blocks = (leads + grain - 1) / grain;
    const int64_t wanted = kTask / plan.count, chunk = leads > 1 ? tails : wanted < 64 ? 64
                                                                                       : wanted;
    const int64_t chunks = (tails + chunk - 1) / chunk;
    const Along place{plan.size, plan.step};
    parallel_for(blocks * chunks, leads * row * 2, [&](int64_t task, int) {
        const int64_t first = task / chunks * grain, last = first + grain < leads ? first + grain : leads;
        const int64_t begin = task % chunks * chunk, end = begin + chunk < tails ? begin + chunk : tails;
        for (int64_t l = first; l < last; ++l) {
            T* x = a.x + plan.lead.offset(l);
            if (tails == 1) {
                const int64_t *index = plan.index + l * row, n = row;
                const T* v = a.v + l * row;
                for (int64_t i = 0; i < n; ++i) write(x[place(index[i])], v[i]);
                continue;
            }
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
    const int64_t each = tails == 1 ? 1 : plan.count;                  // rows under one l
    const Along place{plan.size, plan.step};
    parallel_ranges(rows, length >= kTask ? 1 : kTask / length, n * 2, [&](int64_t begin, int64_t end) {
        for (int64_t r = begin; r < end; ++r) {
            const T* x = a.x + plan.lead.offset(r / each);
            const int64_t* index = plan.index + r * length;
            T* y = a.y + r * length;
            if (tails == 1)
                for (int64_t i = 0; i < length; ++i) y[i] = x[place(index[i])];
            else
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
