// pool2d on CPU. Windows and math: cpp/ops/pool2d.h
// Memory bound: the rows of a window are folded into a line of scratch, a register of columns at a time, then the line
// along its columns, a register of outputs at a time.
#include "cpp/ops/pool2d.h"
#include <math.h>
#include "cpp/core/allocator.h"
#include "cpp/core/parallel.h"
#include "cpp/simd/move.h"

namespace lc::cpu::LC_ISA {
namespace {

constexpr int64_t kTaskElements = 32 * 1024;          // of x, to a task
constexpr int64_t kLine = 512;                        // columns folded together where windows tile the plane

template <class T> using lane_t = typename mask<T>::lane;

// The line: the columns that the windows of a row reach, padding in front and behind. Where windows tile the planes
// exactly (no overlap, gap or padding), the lines of several rows of outputs stand end to end and are one long line.
struct Line {
    int64_t width, front, rows, size;                 // columns of x; padding before them; rows at a time; with room for whole registers

    Line(const Pool2dShape& s, int64_t lanes) : width(s.w), front(0), rows(1) {
        const PoolAxis& c = s.cols;
        int64_t reach = s.w > s.ow ? s.w : s.ow;
        if (c.stride > 0) {
            front = -c.first;
            const int64_t last = front + s.w, needed = (s.ow - 1) * c.stride + (c.taps - 1) * c.step + 1;
            reach = last > needed ? last : needed;              // at least ow
            if (tiled(c, s.w, s.ow)) rows = s.w < kLine ? kLine / s.w : 1;
        }
        size = (rows * reach + (2 + c.stride) * lanes + lanes - 1) / lanes * lanes;
    }
    static bool tiled(const PoolAxis& a, int64_t size, int64_t out) {
        return a.stride > 0 && a.first == 0 && a.step == 1 && a.taps == a.stride && a.stride * out == size;
    }
};

bool pairs(const Pool2dShape& s) {
    return s.cols.stride == 2 && s.rows.stride == 2 && Line::tiled(s.cols, s.w, s.ow) && Line::tiled(s.rows, s.h, s.oh);
}

// f(first row of outputs, rows, scratch) for groups of line.rows rows of outputs of all planes; `lines` lines of scratch per thread.
template <class T, class F> void each_group(const Pool2dShape& s, const Line& line, int lines, F&& f) {
    const int64_t rows = s.planes * s.oh, groups = (rows + line.rows - 1) / line.rows, total = s.planes * s.h * s.w;
    const int64_t grain = 1 + kTaskElements * groups / (total + 1);
    const Buffer<T> scratch(num_threads() * lines * line.size);
    parallel_for((groups + grain - 1) / grain, total / 4, [&](int64_t task, int worker) {
        for (int64_t g = task * grain; g < groups && g < (task + 1) * grain; ++g) {
            const int64_t first = g * line.rows;
            f(first, rows - first < line.rows ? rows - first : line.rows, scratch.data() + worker * lines * line.size);
        }
    });
}

// Elements of a line `stride` apart, a register of them; `known` is the stride where it is 1 or 2, else 0.
template <int known, class T> LC_INLINE vec<T> every(const T* x, int64_t stride) {
    if constexpr (known == 1) return load(x);
    if constexpr (known == 2) return evens(load(x), load(x + lanes<T>));
    vec<T> v;
#pragma GCC unroll 16
    for (int i = 0; i < lanes<T>; ++i) v.v[i] = x[i * stride];
    return v;
}
template <class F> LC_INLINE void with_stride(int64_t stride, F&& f) {
    if (stride == 1) f.template operator()<1>();
    else if (stride == 2) f.template operator()<2>();
    else f.template operator()<0>();
}

// f(j) for blocks of outputs that cover 0..n, the last one ending at n where there is more than one.
template <class T, class F> LC_INLINE void each_block(int64_t n, F&& f) {
    for (int64_t j = 0; j < n; j += lanes<T>) f(n - j < lanes<T> && n >= lanes<T> ? n - lanes<T> : j);
}
template <class T> LC_INLINE void put(T* y, vec<T> v, int64_t room) {
    if (room >= lanes<T>) return store(y, v);
    for (int i = 0; i < room; ++i) y[i] = v[i];
}

// f(row of outputs in its plane, plane, r) for `rows` rows from `row` of all planes on
template <class F> LC_INLINE void each_pooled_row(const Pool2dShape& s, int64_t row, int64_t rows, F&& f) {
    int64_t plane = row / s.oh, i = row % s.oh;
    for (int64_t r = 0; r < rows; ++r) {
        f(i, plane, r);
        if (++i == s.oh) i = 0, ++plane;
    }
}

// ---- max ----------------------------------------------------------------------------------------------------------------

template <class T> constexpr T kLowest = -T(__builtin_inf());
template <class I> constexpr I kNowhere = I(~(I(1) << (8 * sizeof(I) - 1)));      // after every place

// Takes v where it goes before best: larger, or NaN against none, or equal at an earlier place.
template <class T> LC_INLINE void take(vec<T>& best, vec<lane_t<T>>& at, vec<T> v, vec<lane_t<T>> place) {
    const mask<T> nan = v != v, had = best != best;
    const mask<T> wins = (v > best) | (nan & ~had) | (((v == best) | (nan & had)) & mask<T>{(place < at).m});
    best = select(wins, v, best);
    at = select(mask<lane_t<T>>{wins.m}, place, at);
}

// The largest of each column over rows begin, + step, ..., and its place in the plane.
template <class T> LC_INLINE void fold_rows(const T* x, int64_t w, int64_t begin, int64_t end, int64_t step, T* top, lane_t<T>* place) {
    using I = lane_t<T>;
    vec<I> count;
    for (int i = 0; i < lanes<T>; ++i) count.v[i] = i;
    each_vec<T>(w, [&](int64_t j, auto k) {
        vec<T> best = splat(kLowest<T>);
        vec<I> at = splat(kNowhere<I>);
        for (int64_t r = begin; r < end; r += step) take(best, at, load(x + r * w + j, k), count + splat(I(r * w + j)));
        store(top + j, first(best, k, splat(kLowest<T>)));
        store(place + j, first(at, k, splat(kNowhere<I>)));
    });
}
template <class T> LC_INLINE void fold_rows(const T* x, int64_t w, int64_t begin, int64_t end, int64_t step, T* top) {
    each_vec<T>(w, [&](int64_t j, auto k) {
        vec<T> best = begin < end ? load(x + begin * w + j, k) : splat(kLowest<T>);
        for (int64_t r = begin + step; r < end; r += step) best = max_nan(load(x + r * w + j, k), best);
        store(top + j, first(best, k, splat(kLowest<T>)));
    });
}

// Places as index holds them.
template <class I> struct Places {
    typedef int64_t native __attribute__((vector_size(8 * lanes<I>)));
};
template <class I> LC_INLINE vec<I> load_places(const int64_t* p) {
    typename Places<I>::native v;
    std::memcpy(&v, p, sizeof v);
    return {__builtin_convertvector(v, typename vec<I>::native)};
}
template <class I> LC_INLINE void put_places(int64_t* p, vec<I> at, int64_t room) {
    const auto v = __builtin_convertvector(at.v, typename Places<I>::native);
    if (room >= lanes<I>) std::memcpy(p, &v, sizeof v);
    else
        for (int i = 0; i < room; ++i) p[i] = at.v[i];
}

template <int stride, class T> void fold_line(const PoolAxis& a, const T* top, int64_t n, T* y) {
    each_block<T>(n, [&](int64_t j) {
        vec<T> best = every<stride>(top + j * a.stride, a.stride);
        for (int64_t t = 1; t < a.taps; ++t) best = max_nan(every<stride>(top + j * a.stride + t * a.step, a.stride), best);
        put(y + j, best, n - j);
    });
}
template <int stride, class T> void fold_line(const PoolAxis& a, const T* top, const lane_t<T>* place, int64_t n, T* y, int64_t* index) {
    using I = lane_t<T>;
    each_block<T>(n, [&](int64_t j) {
        vec<T> best = splat(kLowest<T>);
        vec<I> at = splat(kNowhere<I>);
        for (int64_t t = 0; t < a.taps; ++t) {
            const int64_t from = j * a.stride + t * a.step;
            take(best, at, every<stride>(top + from, a.stride), every<stride>(place + from, a.stride));
        }
        put(y + j, best, n - j);
        at = select(at == splat(kNowhere<I>), splat(I(-1)), at);
        put_places(index + j, at, n - j);
    });
}

// Windows of 2 x 2 that tile the planes, rows [row, row + rows) of outputs of all planes: no line, and as they are seen in the
// order of their places, the first of the largest is found by comparing alone.
template <class T> void fold_pairs(const MaxPool2dForward<T>& a, int64_t row, int64_t rows) {
    using I = lane_t<T>;
    constexpr int64_t L = lanes<T>;
    const Pool2dShape& s = a.shape;
    const int64_t room = rows * s.ow;
    vec<I> count;
    for (int i = 0; i < L; ++i) count.v[i] = 2 * i;
    each_pooled_row(s, row, rows, [&](int64_t i, int64_t, int64_t r) {
        const T* upper = a.x + (row + r) * 2 * s.w;
        each_block<T>(s.ow, [&](int64_t j) {
            const int64_t here = s.w - 2 * j;         // columns from the block's first on
            const auto read = [&](const T* x, int64_t from) { return here >= from + L ? load(x + from) : load(x + from, int(here > from ? here - from : 0)); };
            const vec<T> a0 = read(upper + 2 * j, 0), a1 = read(upper + 2 * j, L), b0 = read(upper + s.w + 2 * j, 0), b1 = read(upper + s.w + 2 * j, L);
            vec<T> best = evens(a0, a1);
            vec<I> at = count + splat(I(2 * (i * s.w + j)));
            const auto take = [&](vec<T> v, int64_t step) {
                const mask<T> wins = ~(v <= best) & (best == best);      // larger, or the first NaN
                best = select(wins, v, best);
                at = select(mask<I>{wins.m}, count + splat(I(2 * (i * s.w + j) + step)), at);
            };
            take(odds(a0, a1), 1);
            take(evens(b0, b1), s.w);
            take(odds(b0, b1), s.w + 1);
            const int64_t to = r * s.ow + j;          // a short row's last lanes are written again by the next
            put(a.y + row * s.ow + to, best, room - to);
            if (a.index) put_places(a.index + row * s.ow + to, at, room - to);
        });
    });
}

// Windows of any lengths, one output at a time.
template <class T> void fold_irregular(const PoolAxis& a, const T* top, const lane_t<T>* place, int64_t n, T* y, int64_t* index) {
    using I = lane_t<T>;
    for (int64_t j = 0; j < n; ++j) {
        T best = kLowest<T>;
        I at = kNowhere<I>;
        for (int64_t c = a.begin[j]; c < a.end[j]; c += a.step) {
            const T v = top[c];
            const bool nan = v != v, had = best != best;
            const bool wins = (v > best) | (nan & !had) | (((v == best) | (nan & had)) & (!index || place[c] < at));
            if (!wins) continue;
            best = v;
            if (index) at = place[c];
        }
        y[j] = best;
        if (index) index[j] = at == kNowhere<I> ? -1 : at;
    }
}

// ---- average ------------------------------------------------------------------------------------------------------------

// The divisors of a row of outputs, row count * column count, and one register's length more.
template <class T> void divisors(const Pool2dShape& s, int64_t i, T* d) {
    for (int64_t j = 0; j < s.ow + lanes<T>; ++j)
        d[j] = s.divisor != 0 ? T(s.divisor) : j < s.ow ? T(s.rows.count[i] * s.cols.count[j])
                                                        : T(1);
}
bool same_divisor(const Pool2dShape& s, int64_t i, int64_t k) { return s.divisor != 0 || s.rows.count[i] == s.rows.count[k]; }

// line[u] = sum over the windows j that cover column u, padding counted, of share[j]; share has zeros on both sides.
template <class T> void spread_line(const PoolAxis& a, const T* share, int64_t size, T* line) {
    const auto sum = [&](int64_t m, int64_t p) {                       // of column m * stride + p, in the order of the outputs
        vec<T> total = zero<T>();
        for (int64_t k = a.taps > p ? (a.taps - 1 - p) / a.stride : -1; k >= 0; --k) total = total + load(share + m - k);
        return total;
    };
    for (int64_t m = 0; m * a.stride < size; m += lanes<T>) {
        T* to = line + m * a.stride;
        if (a.stride == 1) {
            store(to, sum(m, 0));
        } else if (a.stride == 2) {
            const vec<T> even = sum(m, 0), odd = sum(m, 1);
            store(to, interleave_low(even, odd));
            store(to + lanes<T>, interleave_high(even, odd));
        } else {
            for (int64_t p = 0; p < a.stride; ++p) {
                const vec<T> total = sum(m, p);
                for (int i = 0; i < lanes<T>; ++i) to[i * a.stride + p] = total.v[i];
            }
        }
    }
}

// The gradient of a plane.
template <class T> void avg_plane_backward(const AvgPool2dBackward<T>& a, const Line& shape, int64_t plane, T* scratch) {
    const Pool2dShape& s = a.shape;
    const PoolAxis& c = s.cols;
    T *line = scratch, *share = scratch + 2 * shape.size, *divisor = scratch + 3 * shape.size;      // zeros before share
    T* dx = a.dx + plane * s.h * s.w;
    const bool whole = Line::tiled(s.rows, s.h, s.oh);
    if (!whole) fill_run(T(0), dx, s.h * s.w);
    for (int64_t i = 0; i < s.oh; ++i) {
        const T* dy = a.dy + (plane * s.oh + i) * s.ow;
        if (i == 0 || !same_divisor(s, i, i - 1)) divisors(s, i, divisor);
        if (whole && s.oh * s.ow == 1 && Line::tiled(c, s.w, 1)) return fill_run(dy[0] / divisor[0], dx, s.h * s.w);
        each_vec<T>(s.ow, [&](int64_t j, auto k) { store(share + j, load(dy + j, k) / load(divisor + j)); });
        if (c.stride > 0) {
            spread_line(c, share, shape.front + s.w, line);
        } else {
            fill_run(T(0), line, s.w);
            for (int64_t j = 0; j < s.ow; ++j)
                for (int64_t at = c.begin[j]; at < c.end[j]; ++at) line[at] += share[j];
        }
        for (int64_t r = s.rows.begin[i]; r < s.rows.end[i]; ++r) {
            T *row = dx + r * s.w, *from = line + shape.front;
            if (whole) copy_run(from, row, s.w);
            else
                for (int64_t j = 0; j < s.w; ++j) row[j] += from[j];
        }
    }
}

}  // namespace

template <class T> void max_pool2d_forward(const MaxPool2dForward<T>& a) {
    const Pool2dShape& s = a.shape;
    if (pairs(s)) {
        parallel_ranges(s.planes * s.oh, 1 + kTaskElements / (2 * s.w + 1), s.planes * s.h * s.w / 6, [&](int64_t begin, int64_t end) { fold_pairs(a, begin, end - begin); });
        return;
    }
    const Line line(s, lanes<T>);
    each_group<T>(s, line, 2, [&](int64_t row, int64_t rows, T* top) {
        auto* place = reinterpret_cast<lane_t<T>*>(top + line.size);
        const int64_t behind = line.front + rows * s.w;
        fill_run(kLowest<T>, top, line.front);
        fill_run(kLowest<T>, top + behind, line.size - behind);
        if (a.index) fill_run(kNowhere<lane_t<T>>, place, line.front);
        if (a.index) fill_run(kNowhere<lane_t<T>>, place + behind, line.size - behind);
        each_pooled_row(s, row, rows, [&](int64_t i, int64_t plane, int64_t r) {
            const int64_t at = line.front + r * s.w;
            const T* x = a.x + plane * s.h * s.w;
            if (a.index) fold_rows(x, s.w, s.rows.begin[i], s.rows.end[i], s.rows.step, top + at, place + at);
            else fold_rows(x, s.w, s.rows.begin[i], s.rows.end[i], s.rows.step, top + at);
        });
        T* y = a.y + row * s.ow;
        int64_t* index = a.index ? a.index + row * s.ow : nullptr;
        if (s.cols.stride == 0) return fold_irregular(s.cols, top, place, s.ow, y, index);
        with_stride(s.cols.stride, [&]<int stride>() {
            if (index) fold_line<stride>(s.cols, top, place, rows * s.ow, y, index);
            else fold_line<stride>(s.cols, top, rows * s.ow, y);
        });
    });
}

// Windows of 2 x 2 side by side: every element belongs to one, so that all of dx is written once and nothing is added.
template <class T> void spread_pairs(const Pool2dShape& s, const T* dy, const int64_t* index, T* dx) {
    using I = lane_t<T>;
    vec<I> count;
    for (int i = 0; i < lanes<T>; ++i) count.v[i] = 2 * i;
    for (int64_t i = 0; i < s.oh; ++i, dy += s.ow, index += s.ow) {
        T *upper = dx + 2 * i * s.w, *lower = upper + s.w;
        int64_t j = 0;
        for (; j + lanes<T> <= s.ow; j += lanes<T>) {
            const vec<I> at = load_places<I>(index + j);
            const vec<T> g = load(dy + j);
            const auto here = [&](int64_t place) { return select(mask<T>{(at == count + splat(I(place))).m}, g, zero<T>()); };
            const int64_t place = 2 * (i * s.w + j);
            const vec<T> a = here(place), b = here(place + 1), c = here(place + s.w), d = here(place + s.w + 1);
            store(upper + 2 * j, interleave_low(a, b));
            store(upper + 2 * j + lanes<T>, interleave_high(a, b));
            store(lower + 2 * j, interleave_low(c, d));
            store(lower + 2 * j + lanes<T>, interleave_high(c, d));
        }
        for (; j < s.ow; ++j) {
            upper[2 * j] = upper[2 * j + 1] = lower[2 * j] = lower[2 * j + 1] = 0;
            dx[index[j]] = dy[j];
        }
    }
}

template <class T> void max_pool2d_backward(const MaxPool2dBackward<T>& a) {
    const Pool2dShape& s = a.shape;
    const int64_t in = s.h * s.w, out = s.oh * s.ow;
    const bool in_pairs = s.ow >= lanes<T> && pairs(s);
    parallel_ranges(s.planes, 1 + kTaskElements / (in + 1), s.planes * (in / 8 + out), [&](int64_t begin, int64_t end) {
        for (int64_t p = begin; p < end; ++p) {
            T* dx = a.dx + p * in;
            const T* dy = a.dy + p * out;
            const int64_t* index = a.index + p * out;
            if (in_pairs) {
                spread_pairs(s, dy, index, dx);
                continue;
            }
            fill_run(T(0), dx, in);
            for (int64_t i = 0; i < out; ++i)
                if (index[i] >= 0) dx[index[i]] += dy[i];
        }
    });
}

template <class T> void avg_pool2d_forward(const AvgPool2dForward<T>& a) {
    const Pool2dShape& s = a.shape;
    const Line line(s, lanes<T>);
    each_group<T>(s, line, 2, [&](int64_t row, int64_t rows, T* column) {
        T* divisor = column + line.size;
        const int64_t behind = line.front + rows * s.w;
        fill_run(T(0), column, line.front);
        fill_run(T(0), column + behind, line.size - behind);
        each_pooled_row(s, row, rows, [&](int64_t i, int64_t plane, int64_t r) {
            const T* x = a.x + plane * s.h * s.w;
            T* to = column + line.front + r * s.w;
            each_vec<T>(s.w, [&](int64_t j, auto k) {
                vec<T> total = zero<T>();
                for (int64_t q = s.rows.begin[i]; q < s.rows.end[i]; ++q) total = total + load(x + q * s.w + j, k);
                store(to + j, total);
            });
        });
        const bool one = Line::tiled(s.rows, s.h, s.oh) && Line::tiled(s.cols, s.w, s.ow);       // divisor for all
        const int64_t together = one ? rows : 1, n = together * s.ow;
        for (int64_t r = 0; r < rows; r += together) {
            divisors(s, (row + r) % s.oh, divisor);
            T* y = a.y + (row + r) * s.ow;
            const T* from = column + r * s.w;
            with_stride(s.cols.stride, [&]<int stride>() {
                if (s.cols.stride == 0) return;
                each_block<T>(n, [&](int64_t j) {
                    vec<T> total = zero<T>();
                    for (int64_t t = 0; t < s.cols.taps; ++t) total = total + every<stride>(from + j * s.cols.stride + t * s.cols.step, s.cols.stride);
                    put(y + j, total / (one ? splat(divisor[0]) : load(divisor + j)), n - j);
                });
            });
            for (int64_t j = 0; j < n && s.cols.stride == 0; ++j) {
                T total = 0;
                for (int64_t c = s.cols.begin[j]; c < s.cols.end[j]; ++c) total += from[c];
                y[j] = total / divisor[j];
            }
        }
    });
}

template <class T> void avg_pool2d_backward(const AvgPool2dBackward<T>& a) {
    const Pool2dShape& s = a.shape;
    const Line line(s, lanes<T>);
    const int64_t room = 4 * line.size;
    const Buffer<T> scratch(num_threads() * room);
    const int64_t grain = 1 + kTaskElements / (s.h * s.w + 1);
    fill_run(T(0), scratch.data(), num_threads() * room);
    parallel_for((s.planes + grain - 1) / grain, s.planes * s.h * s.w / 4, [&](int64_t task, int worker) {
        for (int64_t p = task * grain; p < s.planes && p < (task + 1) * grain; ++p)
            avg_plane_backward(a, line, p, scratch.data() + worker * room);
    });
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
