// create on CPU: numbers in steps. Contract: cpp/ops/create.h. Memory bound: y is written once.
#include "cpp/ops/create.h"
#include "cpp/core/parallel.h"
#include "cpp/simd/vec.h"

namespace lc::cpu::LC_ISA {

template <class T> void create_range(const CreateRange<T>& a) {
    T lane[lanes<T>];
    for (int i = 0; i < lanes<T>; ++i) lane[i] = T(i);
    const vec<T> start = splat(a.start), step = splat(a.step), apart = splat(T(lanes<T>));
    parallel_ranges(a.n, 32 * 1024, a.n / 2, [&](int64_t begin, int64_t end) {
        vec<T> index = splat(T(begin)) + load(lane);
        if constexpr (std::is_integral_v<T>) {        // no product a register: AVX2 has none of 64 bits
            vec<T> y = start + index * step;
            const vec<T> next = apart * step;
            each_vec<T>(end - begin, [&](int64_t i, auto k) { store(a.y + begin + i, y, k), y = y + next; });
        } else {
            each_vec<T>(end - begin, [&](int64_t i, auto k) { store(a.y + begin + i, start + index * step, k), index = index + apart; });
        }
    });
}

template void create_range(const CreateRange<int64_t>&);
template void create_range(const CreateRange<double>&);

}  // namespace lc::cpu::LC_ISA
