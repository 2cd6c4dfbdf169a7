// resample on CPU. Math: cpp/ops/resample.h
// Memory bound: each place of y is written once, from the few rows of x its entries name.
#include "cpp/ops/resample.h"
#include "cpp/core/parallel.h"
#include "cpp/simd/vec.h"

namespace lc::cpu::LC_ISA {
namespace {

constexpr int64_t kTaskElements = 16 * 1024;

template <class T> LC_INLINE acc_t<T> widened(T x) {
    if constexpr (std::is_same_v<T, acc_t<T>>) return x;
    else return to_float(x);
}

// One place of y: `inner` neighbours, each the sum of the same entries.
template <class T> LC_INLINE void sum_entries(const ResampleForward<T>& a, const T* x, int64_t i, T* y) {
    using A = acc_t<T>;
    const int64_t begin = a.start[i], end = a.start[i + 1];
    if (begin == end) {
        const T fill = from_float<T>(A(a.fill));
        for (int64_t c = 0; c < a.inner; ++c) y[c] = fill;
    } else if (end == begin + 1 && !a.weight) {
        const T* row = x + a.from[begin] * a.inner;
        for (int64_t c = 0; c < a.inner; ++c) y[c] = row[c];
    } else {
        for (int64_t c = 0; c < a.inner; ++c) {
            A total = 0;
            for (int64_t e = begin; e < end; ++e) {
                const A v = widened(x[a.from[e] * a.inner + c]);
                total = A(total + (a.weight ? A(a.weight[e]) * v : v));
            }
            y[c] = from_float<T>(total);
        }
    }
}

// The same for float and double with long rows, a register at a time.
template <class T> LC_INLINE void sum_entries_wide(const ResampleForward<T>& a, const T* x, int64_t i, T* y) {
    const int64_t begin = a.start[i], end = a.start[i + 1];
    each_vec<T>(a.inner, [&](int64_t c, auto k) {
        vec<T> total = zero<T>();
        for (int64_t e = begin; e < end; ++e) {
            const vec<T> v = load(x + a.from[e] * a.inner + c, k);
            total = total + (a.weight ? splat(T(a.weight[e])) * v : v);
        }
        store(y + c, total, k);
    });
}

}  // namespace

template <class T> void resample_forward(const ResampleForward<T>& a) {
    const int64_t places = a.outer * a.out, grain = a.inner > kTaskElements ? 1 : kTaskElements / (a.inner + 1) + 1;
    parallel_ranges(places, grain, places * a.inner, [&](int64_t begin, int64_t end) {
        for (int64_t p = begin; p < end; ++p) {
            const int64_t i = p % a.out;
            const T* x = a.x + p / a.out * a.in * a.inner;
            T* y = a.y + p * a.inner;
            if constexpr (std::is_same_v<T, float> || std::is_same_v<T, double>) {
                if (a.inner >= lanes<T> && a.start[i + 1] > a.start[i]) {
                    sum_entries_wide(a, x, i, y);
                    continue;
                }
            }
            sum_entries(a, x, i, y);
        }
    });
}

template void resample_forward(const ResampleForward<float>&);
template void resample_forward(const ResampleForward<double>&);
template void resample_forward(const ResampleForward<bfloat16>&);
template void resample_forward(const ResampleForward<float16>&);
template void resample_forward(const ResampleForward<int64_t>&);
template void resample_forward(const ResampleForward<int32_t>&);
template void resample_forward(const ResampleForward<uint8_t>&);

}  // namespace lc::cpu::LC_ISA
