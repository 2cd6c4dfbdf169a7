// resample on CPU. Math: cpp/ops/resample.h
// Memory bound: each place of y is written once, from the few rows of x its entries name.
#include "cpp/ops/resample.h"
#include "cpp/core/allocator.h"
#include "cpp/core/parallel.h"
#include "cpp/simd/move.h"

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

// The same for float and double with long rows, a register at a time. weight: null, or in T.
template <class T> void sum_entries_wide(const ResampleForward<T>& a, const T* weight, const T* x, int64_t first, int64_t places, T* y) {
    for (int64_t i = first; i < first + places; ++i, y += a.inner) {
        const int64_t begin = a.start[i], end = a.start[i + 1];
        each_vec<T>(a.inner, [&](int64_t c, auto k) {
            vec<T> total = zero<T>();
            for (int64_t e = begin; e < end; ++e) {
                const vec<T> v = load(x + a.from[e] * a.inner + c, k);
                total = total + (weight ? splat(weight[e]) * v : v);
            }
            store(y + c, total, k);
        });
    }
}

// A register's lanes of lines at once, for an axis that is the innermost: transposed, so that a lane is a line.
template <class T> void sum_entries_across(const ResampleForward<T>& a, const T* weight, int64_t first, int64_t lines, T* y, T* scratch) {
    constexpr int w = lanes<T>;
    T* across = scratch + (a.in + w) * w;
    const T* line[w];
    for (int l = 0; l < w; ++l) line[l] = a.x + row_of(a, first + (l < lines ? l : lines - 1)) * a.in;
    for (int64_t i = 0; i < a.in; i += w) {
        vec<T> r[w];
        const int k = a.in - i < w ? int(a.in - i) : w;
#pragma GCC unroll 16
        for (int l = 0; l < w; ++l) r[l] = k == w ? load(line[l] + i) : load(line[l] + i, k);
        transpose(r);
#pragma GCC unroll 16
        for (int l = 0; l < w; ++l) store(scratch + (i + l) * w, r[l]);
    }
    for (int64_t i = 0; i < a.out; ++i) {
        vec<T> total = zero<T>();
        for (int64_t e = a.start[i]; e < a.start[i + 1]; ++e) {
            const vec<T> v = load(scratch + a.from[e] * w);
            total = total + (weight ? splat(weight[e]) * v : v);
        }
        store(across + i * w, total);
    }
    for (int64_t i = 0; i < a.out; i += w) {
        vec<T> r[w];
#pragma GCC unroll 16
        for (int l = 0; l < w; ++l) r[l] = load(across + (i + l) * w);
        transpose(r);
        const int k = a.out - i < w ? int(a.out - i) : w;
#pragma GCC unroll 16
        for (int l = 0; l < w; ++l) {
            if (l >= lines) break;
            if (k == w) store(y + l * a.out + i, r[l]);
            else store(y + l * a.out + i, r[l], k);
        }
    }
}

// Every place has one entry of weight 1. Places whose entries follow one another go together; run[i] of them from i on.
template <class T> void pick(const ResampleForward<T>& a, const int64_t* run, const T* x, int64_t first, int64_t places, T* y) {
    const int64_t inner = a.inner, last = first + places;
    for (int64_t i = first, n; i < last; i += n) {
        n = run[i] < last - i ? run[i] : last - i;
        copy_run(x + a.from[i] * inner, y, n * inner);
        y += n * inner;
    }
}

// A whole line of adjacent places, most of them one run: calls of copy_run for single places would cost more than they move.
template <class T> LC_INLINE void pick_line(const ResampleForward<T>& a, int64_t begin, int64_t n, const T* x, T* y) {
    for (int64_t i = 0; i < begin; ++i) y[i] = x[a.from[i]];
    copy_run(x + a.from[begin], y + begin, n);
    for (int64_t i = begin + n; i < a.out; ++i) y[i] = x[a.from[i]];
}

template <class T> constexpr bool kVectors = std::is_same_v<T, float> || std::is_same_v<T, double>;

}  // namespace

template <class T> void resample_forward(const ResampleForward<T>& a) {
    const int64_t total = a.outer * a.out, entries = a.start[a.out], work = a.outer * (a.in + a.out + entries) * a.inner;
    bool single = !a.weight;
    for (int64_t i = 0; i < a.out && single; ++i) single = a.start[i + 1] == i + 1;
    Buffer<int64_t> run(single ? a.out : 0);
    int64_t runs = 0, longest = 0;                    // where the longest begins
    for (int64_t i = a.out - 1; i >= 0 && single; --i) {
        run[i] = i + 1 < a.out && a.from[i + 1] == a.from[i] + 1 ? run[i + 1] + 1 : 1;
        runs += run[i] == 1;
        if (i + 1 == a.out || run[i] > run[longest]) longest = i;
    }
    const bool one_run = single && a.inner == 1 && a.out > 0 && run[longest] * 2 >= a.out && a.out - run[longest] <= 16;
    const Buffer<T> weight(a.weight && kVectors<T> ? entries : 0);
    if constexpr (kVectors<T>) {
        for (int64_t e = 0; e < entries && a.weight; ++e) weight[e] = T(a.weight[e]);
        constexpr int w = lanes<T>;
        if (a.inner == 1 && !one_run && !(single && runs * 4 <= a.out) && a.in + a.out <= kTaskElements) {
            const int64_t grain = (1 + kTaskElements / (a.in + a.out) / w) * w, room = (a.in + a.out + 2 * w) * w;
            const Buffer<T> scratch(num_threads() * room);
            return parallel_for((a.outer + grain - 1) / grain, work / 4, [&](int64_t task, int worker) {
                const int64_t end = (task + 1) * grain < a.outer ? (task + 1) * grain : a.outer;
                for (int64_t l = task * grain; l < end; l += w)
                    sum_entries_across(a, a.weight ? weight.data() : nullptr, l, end - l, a.y + l * a.out, scratch.data() + worker * room);
            });
        }
    }
    const int64_t grain = a.inner > kTaskElements ? 1 : kTaskElements / (a.inner + 1) + 1;
    parallel_ranges(total, grain, single ? work / 8 : a.inner < lanes<float> ? work
                                                                             : work / 4,
                    [&](int64_t begin, int64_t end) {
                        int64_t first = begin % a.out;
                        int64_t line = begin / a.out;
                        for (int64_t p = begin, places; p < end; p += places, first = 0, ++line) {
                            const T* x = a.x + row_of(a, line) * a.in * a.inner;
                            places = a.out - first < end - p ? a.out - first : end - p;
                            T* y = a.y + p * a.inner;
                            if (one_run && places == a.out) {
                                pick_line(a, longest, run[longest], x, y);
                                continue;
                            }
                            if (single) {
                                pick(a, run.data(), x, first, places, y);
                                continue;
                            }
                            if constexpr (kVectors<T>)
                                if (a.inner >= lanes<T>) {
                                    sum_entries_wide(a, a.weight ? weight.data() : nullptr, x, first, places, y);
                                    continue;
                                }
                            sum_entries(a, x, first, places, y);
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
