// dropout on CPU. Contract: cpp/ops/dropout.h. Reads and writes n elements; bound by the 5 instructions an element that
// make the random words.
#include "cpp/ops/dropout.h"

#include "cpp/core/parallel.h"
#include "cpp/simd/philox.h"

namespace lc::cpu::LC_ISA {
namespace {

constexpr int64_t kGroups = 512;                      // of 64 elements, to a task

// One group: 64 elements, or the last ones.
template <class T> LC_INLINE void drop(const DropoutForward<T>& a, const RandomWords& words_of, int64_t group, vec<acc_t<T>> scale) {
    using A = acc_t<T>;
    uint32_t word[kWordGroup];
    words_of(group, word);
    const int64_t from = group * kWordGroup, n = a.n - from < kWordGroup ? a.n - from : kWordGroup;
    each_vec<A>(n, [&](int64_t i, auto k) {
        typename mask<A>::native keep;
        if constexpr (sizeof(A) == 4) {
            words w;
            memcpy(&w, word + i, sizeof w);
            keep = w >= a.threshold;
        } else {
            for (int j = 0; j < lanes<A>; ++j) keep[j] = word[i + j] >= a.threshold ? -1 : 0;
        }
        store(a.y + from + i, load(a.x + from + i, k) * select(mask<A>{keep}, scale, zero<A>()), k);
    });
}

}  // namespace

template <class T> void dropout_forward(const DropoutForward<T>& a) {
    const int64_t groups = (a.n + kWordGroup - 1) / kWordGroup;
    parallel_ranges(groups, kGroups, a.n, [&](int64_t begin, int64_t end) {
        const vec<acc_t<T>> scale = splat(acc_t<T>(a.scale));
        const RandomWords words_of(a.key, begin);
        for (int64_t group = begin; group < end; ++group) drop(a, words_of, group, scale);
    });
}

template void dropout_forward(const DropoutForward<float>&);
template void dropout_forward(const DropoutForward<double>&);
template void dropout_forward(const DropoutForward<bfloat16>&);
template void dropout_forward(const DropoutForward<float16>&);

}  // namespace lc::cpu::LC_ISA
