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

// Places first.. of one line, `inner` neighbours each; every neighbour is the sum of the same entries.
template <class T> void sum_entries(const ResampleForward<T>& a, const T* x, int64_t first, int64_t places, T* y) {
    using A = acc_t<T>;
    const int64_t inner = a.inner, *from = a.from;
    const double* weight = a.weight;
    for (int64_t i = first; i < first + places; ++i, y += inner) {
        const int64_t begin = a.start[i], end = a.start[i + 1];
        for (int64_t c = 0; c < inner; ++c) {
            A total = 0;
            for (int64_t e = begin; e < end; ++e) {
                const A v = widened(x[from[e] * inner + c]);
                total = A(total + (weight ? A(weight[e]) * v : v));
            }
            y[c] = from_float<T>(total);
        }
    }
}

// The same for float and double with long rows, a register at a time.
template <class T> void sum_entries_wide(const ResampleForward<T>& a, const T* x, int64_t first, int64_t places, T* y) {
    for (int64_t i = first; i < first + places; ++i, y += a.inner) {
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
}

// Every place has one entry of weight 1. Places whose entries follow one another go together; run[i] of them from i on.
template <class T> void pick(const ResampleForward<T>& a, const int64_t* run, const T* x, int64_t first, int64_t places, T* y) {
    const int64_t inner = a.inner, last = first + places;
    for (int64_t i = first, n; i < last; i += n) {
        n = run[i] < last - i ? run[i] : last - i;
        const T* source = x + a.from[i] * inner;
        const int64_t count = n * inner;
        if (count < 8)
            for (int64_t c = 0; c < count; ++c) y[c] = source[c];
        else memcpy(y, source, size_t(count) * sizeof(T));
        y += count;
    }
}

}  // namespace

template <class T> void resample_forward(const ResampleForward<T>& a) {
    const int64_t total = a.outer * a.out, grain = a.inner > kTaskElements ? 1 : kTaskElements / (a.inner + 1) + 1;
    bool single = !a.weight;
    for (int64_t i = 0; i < a.out && single; ++i) single = a.start[i + 1] == i + 1;
    Buffer<int64_t> run(single ? a.out : 0);
    for (int64_t i = a.out - 1; i >= 0 && single; --i) run[i] = i + 1 < a.out && a.from[i + 1] == a.from[i] + 1 ? run[i + 1] + 1 : 1;
    parallel_ranges(total, grain, total * a.inner, [&](int64_t begin, int64_t end) {
        for (int64_t p = begin, places; p < end; p += places) {       // line by line
            const int64_t first = p % a.out;
            places = a.out - first < end - p ? a.out - first : end - p;
            const T* x = a.x + p / a.out * a.in * a.inner;
            T* y = a.y + p * a.inner;
            if (single) pick(a, run.data(), x, first, places, y);
            else if constexpr (std::is_same_v<T, float> || std::is_same_v<T, double>)
                (a.inner < lanes<T> ? sum_entries<T> : sum_entries_wide<T>)(a, x, first, places, y);
            else sum_entries(a, x, first, places, y);
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
