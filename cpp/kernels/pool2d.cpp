// pool2d on CPU. Windows and math: cpp/ops/pool2d.h
// Bound by compares: each element of a window is looked at once on the way down its column, a register of columns at a
// time, and each column once on the way along the row.
#include "cpp/ops/pool2d.h"
#include <math.h>
#include "cpp/core/allocator.h"
#include "cpp/core/parallel.h"
#include "cpp/simd/vec.h"

namespace lc::cpu::LC_ISA {
namespace {

constexpr int64_t kTaskElements = 32 * 1024;          // a task is planes of about this many elements

// f(plane, scratch): scratch is `row_bytes` of its own per thread
template <class F> LC_INLINE void each_plane(const Pool2dShape& s, int64_t row_bytes, double ns_per_element, F&& f) {
    const int64_t size = s.h * s.w + s.oh * s.ow, grain = size > kTaskElements ? 1 : kTaskElements / (size + 1) + 1;
    const Buffer<char> scratch(num_threads() * row_bytes);
    parallel_for((s.planes + grain - 1) / grain, int64_t(double(s.planes * size) * ns_per_element), [&](int64_t task, int worker) {
        for (int64_t p = task * grain; p < s.planes && p < (task + 1) * grain; ++p) f(p, scratch.data() + worker * row_bytes);
    });
}

LC_INLINE int64_t row_bytes(int64_t w, size_t item) { return (w * int64_t(item) + 63) / 64 * 64; }

// ---- max ----------------------------------------------------------------------------------------------------------------

// Largest of each column over the rows of the window, and the first row that holds it.
template <class T> LC_INLINE void column_max(const T* x, int64_t w, int64_t begin, int64_t end, int64_t step, T* top, typename mask<T>::lane* row) {
    using I = typename mask<T>::lane;
    each_vec<T>(w, [&](int64_t j, auto k) {
        vec<T> best = load(x + begin * w + j, k);
        vec<I> at = splat(I(begin));
        for (int64_t r = begin + step; r < end; r += step) {
            const vec<T> v = load(x + r * w + j, k);
            const mask<T> larger = (v > best) | ((v != v) & (best == best));
            best = select(larger, v, best);
            at = select(mask<I>{larger.m}, splat(I(r)), at);
        }
        store(top + j, best, k);
        store(row + j, at, k);
    });
}

template <class T> LC_INLINE void column_max(const T* x, int64_t w, int64_t begin, int64_t end, int64_t step, T* top) {
    each_vec<T>(w, [&](int64_t j, auto k) {
        vec<T> best = load(x + begin * w + j, k);
        for (int64_t r = begin + step; r < end; r += step) best = max_nan(load(x + r * w + j, k), best);
        store(top + j, best, k);
    });
}

template <class T> void max_plane(const MaxPool2dForward<T>& a, int64_t plane, T* top, typename mask<T>::lane* row) {
    const Pool2dShape& s = a.shape;
    const T* x = a.x + plane * s.h * s.w;
    for (int64_t i = 0; i < s.oh; ++i) {
        T* y = a.y + (plane * s.oh + i) * s.ow;
        int64_t* index = a.index ? a.index + (plane * s.oh + i) * s.ow : nullptr;
        const int64_t begin = s.rows.begin[i], end = s.rows.end[i];
        if (begin < end) {
            if (index) column_max(x, s.w, begin, end, s.rows.step, top, row);
            else column_max(x, s.w, begin, end, s.rows.step, top);
        }
        for (int64_t j = 0; j < s.ow; ++j) {
            int64_t c = s.cols.begin[j];
            const int64_t last = s.cols.end[j];
            if (begin >= end || c >= last) {
                y[j] = -T(INFINITY);
                if (index) index[j] = -1;
                continue;
            }
            T best = top[c];
            if (!index) {
                for (c += s.cols.step; c < last; c += s.cols.step) best = top[c] > best || top[c] != top[c] ? top[c] : best;
                y[j] = best;
                continue;
            }
            int64_t at = c;
            for (c += s.cols.step; c < last; c += s.cols.step) {
                const T v = top[c];
                const bool nan = v != v, had_nan = best != best;
                const bool same = (v == best) | (nan & had_nan);
                const bool take = (v > best) | (nan & !had_nan) | (same & (row[c] < row[at]));
                best = take ? v : best;
                at = take ? c : at;
            }
            y[j] = best;
            index[j] = row[at] * s.w + at;
        }
    }
}

// ---- average ------------------------------------------------------------------------------------------------------------

template <class T> LC_INLINE T divisor(const Pool2dShape& s, int64_t i, int64_t j) {
    return s.divisor != 0 ? T(s.divisor) : T(s.rows.count[i] * s.cols.count[j]);
}

template <class T> void avg_plane(const AvgPool2dForward<T>& a, int64_t plane, T* column) {
    const Pool2dShape& s = a.shape;
    const T* x = a.x + plane * s.h * s.w;
    for (int64_t i = 0; i < s.oh; ++i) {
        each_vec<T>(s.w, [&](int64_t j, auto k) {
            vec<T> total = zero<T>();
            for (int64_t r = s.rows.begin[i]; r < s.rows.end[i]; ++r) total = total + load(x + r * s.w + j, k);
            store(column + j, total, k);
        });
        T* y = a.y + (plane * s.oh + i) * s.ow;
        for (int64_t j = 0; j < s.ow; ++j) {
            T total = 0;
            for (int64_t c = s.cols.begin[j]; c < s.cols.end[j]; ++c) total += column[c];
            y[j] = total / divisor<T>(s, i, j);
        }
    }
}

template <class T> void avg_plane_backward(const AvgPool2dBackward<T>& a, int64_t plane, T* column) {
    const Pool2dShape& s = a.shape;
    T* dx = a.dx + plane * s.h * s.w;
    for (int64_t i = 0; i < s.h * s.w; ++i) dx[i] = 0;
    for (int64_t i = 0; i < s.oh; ++i) {
        const T* dy = a.dy + (plane * s.oh + i) * s.ow;
        for (int64_t c = 0; c < s.w; ++c) column[c] = 0;
        for (int64_t j = 0; j < s.ow; ++j) {
            const T share = dy[j] / divisor<T>(s, i, j);
            for (int64_t c = s.cols.begin[j]; c < s.cols.end[j]; ++c) column[c] += share;
        }
        for (int64_t r = s.rows.begin[i]; r < s.rows.end[i]; ++r) {
            T* row = dx + r * s.w;
            int64_t j = 0;
            for (; j + lanes<T> <= s.w; j += lanes<T>) store(row + j, load(row + j) + load(column + j));
            for (; j < s.w; ++j) row[j] += column[j];     // planes are often 7 wide, and masked stores slow
        }
    }
}

}  // namespace

template <class T> void max_pool2d_forward(const MaxPool2dForward<T>& a) {
    using I = typename mask<T>::lane;
    const int64_t bytes = row_bytes(a.shape.w, sizeof(T));
    each_plane(a.shape, 2 * bytes, 1.0, [&](int64_t p, char* scratch) {
        max_plane(a, p, reinterpret_cast<T*>(scratch), reinterpret_cast<I*>(scratch + bytes));
    });
}

template <class T> void max_pool2d_backward(const MaxPool2dBackward<T>& a) {
    const Pool2dShape& s = a.shape;
    each_plane(s, 0, 0.5, [&](int64_t p, char*) {
        T* dx = a.dx + p * s.h * s.w;
        const T* dy = a.dy + p * s.oh * s.ow;
        const int64_t* index = a.index + p * s.oh * s.ow;
        for (int64_t i = 0; i < s.h * s.w; ++i) dx[i] = 0;
        for (int64_t i = 0; i < s.oh * s.ow; ++i)
            if (index[i] >= 0) dx[index[i]] += dy[i];
    });
}

template <class T> void avg_pool2d_forward(const AvgPool2dForward<T>& a) {
    each_plane(a.shape, row_bytes(a.shape.w, sizeof(T)), 0.5, [&](int64_t p, char* scratch) { avg_plane(a, p, reinterpret_cast<T*>(scratch)); });
}

template <class T> void avg_pool2d_backward(const AvgPool2dBackward<T>& a) {
    each_plane(a.shape, row_bytes(a.shape.w, sizeof(T)), 0.5, [&](int64_t p, char* scratch) { avg_plane_backward(a, p, reinterpret_cast<T*>(scratch)); });
}

template void max_pool2d_forward(const MaxPool2dForward<float>&);
template void max_pool2d_forward(const MaxPool2dForward<double>&);
template void max_pool2d_backward(const MaxPool2dBackward<float>&);
template void max_pool2d_backward(const MaxPool2dBackward<double>&);
template void avg_pool2d_forward(const AvgPool2dForward<float>&);
template void avg_pool2d_forward(const AvgPool2dForward<double>&);
template void avg_pool2d_backward(const AvgPool2dBackward<float>&);
template void avg_pool2d_backward(const AvgPool2dBackward<double>&);

}  // namespace lc::cpu::LC_ISA
