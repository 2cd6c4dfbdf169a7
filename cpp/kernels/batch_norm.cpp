// batch_norm on CPU. Math and shapes: cpp/ops/batch_norm.h
// Memory bound. Training reads x twice and writes y; backward reads dy and x twice and writes dx.
// A channel's elements are cut into chunks by shape alone; chunk results are combined in order, in float64.
#include "cpp/ops/batch_norm.h"
#include "cpp/core/allocator.h"
#include "cpp/core/parallel.h"
#include "cpp/simd/reduce.h"

namespace lc::cpu::LC_ISA {
namespace {

template <class T> constexpr int kBlock = 8 * lanes<T>;          // channels side by side where s == 1

// How the work of a reduction is cut. s > 1: a chunk is `lines` lines of one channel, each cut to `length`.
// s == 1: a chunk is `lines` rows of kBlock channels.
template <class T> struct Chunks {
    int64_t n, c, s, length, lines, per_line, per_channel, blocks;

    Chunks(int64_t n, int64_t c, int64_t s) : n(n), c(c), s(s) {
        per_line = (s + 16383) / 16384;
        length = (s + per_line - 1) / per_line;
        lines = s == 1 ? 256 : 8192 / length + 1;
        per_channel = (n + lines - 1) / lines * per_line;
        blocks = s == 1 ? (c + kBlock<T> - 1) / kBlock<T> : c;
    }
    int64_t first_line(int64_t chunk) const { return chunk / per_line * lines; }
    int64_t end_line(int64_t chunk) const { return first_line(chunk) + lines < n ? first_line(chunk) + lines : n; }
    int64_t begin(int64_t chunk) const { return chunk % per_line * length; }
    int64_t count(int64_t chunk) const { return begin(chunk) + length < s ? length : s - begin(chunk); }
    int64_t elements(int64_t chunk) const { return (end_line(chunk) - first_line(chunk)) * count(chunk); }
    int64_t width(int64_t block) const { return c - block * kBlock<T> < kBlock<T> ? c - block * kBlock<T> : kBlock<T>; }
};

// ---- mean and variance ------------------------------------------------------------------------------------------------

// Of one chunk: how far its mean is from the channel's first element, and the sum of squared distances from the mean.
struct Spread {
    double away, squares;
};

template <class T> Spread chunk_spread(const T* x, const Chunks<T>& g, int64_t channel, int64_t chunk) {
    const int64_t count = g.count(chunk), n = g.elements(chunk);
    auto line = [&](int64_t i) { return x + (i * g.c + channel) * g.s + g.begin(chunk); };
    const T start = x[channel * g.s];
    T total = 0;
    for (int64_t i = g.first_line(chunk); i < g.end_line(chunk); ++i) {
        const T* p = line(i);
        total += sum_row<T>(count, [&](int64_t j, auto k) { return first(load(p + j, k) - splat(start), k, zero<T>()); });
    }
    const T base = start + total / T(n);
    T rest = 0, squares = 0;
    for (int64_t i = g.first_line(chunk); i < g.end_line(chunk); ++i) {
        const T* p = line(i);
        const Sums<T> s = sum_row2<T>(count, [&](int64_t j, auto k, vec<T>& deviations, vec<T>& square) {
            const vec<T> d = first(load(p + j, k) - splat(base), k, zero<T>());
            deviations = deviations + d;
            square = fma(d, d, square);
        });
        rest += s.first;
        squares += s.second;
    }
    return {(double(base) - double(start)) + double(rest) / double(n), double(squares) - double(rest) * double(rest) / double(n)};
}

// The same of neighbouring channels, one lane each; s == 1.
template <class T> void block_spread(const T* x, const Chunks<T>& g, int64_t block, int64_t chunk, Spread* out) {
    const int64_t width = g.width(block), lines = g.end_line(chunk) - g.first_line(chunk);
    const T *start = x + block * kBlock<T>, *p = start + g.first_line(chunk) * g.c;
    T base[kBlock<T>], rest[kBlock<T>] = {}, squares[kBlock<T>] = {};
    for (int64_t i = 0; i < lines; ++i)
        each_vec<T>(width, [&](int64_t j, auto k) { store(rest + j, load(rest + j) + (load(p + i * g.c + j, k) - load(start + j, k))); });
    each_vec<T>(width, [&](int64_t j, auto k) {
        store(base + j, load(start + j, k) + load(rest + j) / splat(T(lines)));
        store(rest + j, zero<T>());
    });
    for (int64_t i = 0; i < lines; ++i)
        each_vec<T>(width, [&](int64_t j, auto k) {
            const vec<T> d = load(p + i * g.c + j, k) - load(base + j);
            store(rest + j, load(rest + j) + d);
            store(squares + j, fma(d, d, load(squares + j)));
        });
    for (int64_t j = 0; j < width; ++j)
        out[j] = {(double(base[j]) - double(start[j])) + double(rest[j]) / double(lines), double(squares[j]) - double(rest[j]) * double(rest[j]) / double(lines)};
}

template <class T> void statistics(const BatchNormForward<T>& a) {
    const Chunks<T> g(a.n, a.c, a.s);
    const Buffer<Spread> parts(g.per_channel * a.c);              // [chunk, channel]
    parallel_for(g.blocks * g.per_channel, a.n * a.c * a.s / 4, [&](int64_t task, int) {
        const int64_t block = task / g.per_channel, chunk = task % g.per_channel;
        Spread* out = parts.data() + chunk * a.c;
        if (a.s == 1) block_spread(a.x, g, block, chunk, out + block * kBlock<T>);
        else out[block] = chunk_spread(a.x, g, block, chunk);
    });
    for (int64_t c = 0; c < a.c; ++c) {
        double count = 0, mean = 0, squares = 0;                  // mean: from the first element on
        for (int64_t chunk = 0; chunk < g.per_channel; ++chunk) {
            const Spread& p = parts[chunk * a.c + c];
            const double n = double(g.elements(chunk)), away = p.away - mean, share = n / (count + n);
            mean += away * share;
            squares += p.squares + away * away * count * share;
            count += n;
        }
        const double start = double(a.x[c * a.s]), base = start + mean, moved = base - start;
        a.base[c] = base;
        a.rest[c] = (start - (base - moved)) + (mean - moved);    // what base lacks of start + mean, exactly
        a.var[c] = squares > 0 || squares != squares ? squares / count : 0;
    }
}

// ---- the affine maps that are left once the statistics are known ----------------------------------------------------------

// f(begin, channel, count): every run of elements; one channel, or (s == 1) `count` neighbouring channels of one row.
template <class F> LC_INLINE void each_line(int64_t n, int64_t c, int64_t s, F&& f) {
    if (n * c * s == 0) return;
    const int64_t length = s == 1 ? c : s, lines = n * c * s / length;
    parallel_ranges(lines, 16384 / length + 1, n * c * s / 4, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) f(i * length, s == 1 ? 0 : i % c, length);
    });
}

// The mean as T takes it, and what is left of it.
template <class T> struct Split {
    T base, rest;
    Split(double mean, double more) : base(T(mean)), rest(T((mean - double(base)) + more)) {}
};

double rstd_of(double var, double eps) { return 1 / __builtin_sqrt(var + eps); }

// ---- backward: sums of dy and of dy * h over a channel -------------------------------------------------------------------

struct ChannelSums {
    double dy, dyh;
};

template <class T> ChannelSums chunk_sums(const BatchNormBackward<T>& a, const Chunks<T>& g, int64_t channel, int64_t chunk, T base, T rest) {
    const int64_t count = g.count(chunk);
    double dy = 0, dyd = 0;
    for (int64_t i = g.first_line(chunk); i < g.end_line(chunk); ++i) {
        const int64_t at = (i * g.c + channel) * g.s + g.begin(chunk);
        const Sums<T> s = sum_row2<T>(count, [&](int64_t j, auto k, vec<T>& sum_dy, vec<T>& sum_dyd) {
            const vec<T> v = load(a.dy + at + j, k);
            sum_dy = sum_dy + v;
            sum_dyd = fma(v, load(a.x + at + j, k) - splat(base) - splat(rest), sum_dyd);
        });
        dy += double(s.first);
        dyd += double(s.second);
    }
    return {dy, dyd};
}

template <class T>
void block_sums(const BatchNormBackward<T>& a, const Chunks<T>& g, int64_t block, int64_t chunk, const T* base, const T* rest, ChannelSums* out) {
    const int64_t width = g.width(block);
    T dy[kBlock<T>] = {}, dyd[kBlock<T>] = {};
    for (int64_t i = g.first_line(chunk); i < g.end_line(chunk); ++i) {
        const int64_t at = i * g.c + block * kBlock<T>;
        each_vec<T>(width, [&](int64_t j, auto k) {
            const vec<T> v = load(a.dy + at + j, k);
            store(dy + j, load(dy + j) + v);
            store(dyd + j, fma(v, load(a.x + at + j, k) - load(base + j, k) - load(rest + j, k), load(dyd + j)));
        });
    }
    for (int64_t j = 0; j < width; ++j) out[j] = {double(dy[j]), double(dyd[j])};
}

}  // namespace

template <class T> void batch_norm_forward(const BatchNormForward<T>& a) {
    if (a.training) statistics(a);
    const Buffer<T> memory(3 * a.c);
    T *const base = memory.data(), *const scale = base + a.c, *const offset = scale + a.c;    // y = (x - base) scale + offset
    for (int64_t c = 0; c < a.c; ++c) {
        const double k = rstd_of(a.var[c], a.eps) * (a.w ? double(a.w[c]) : 1);
        const Split<T> mean(a.base[c], a.rest[c]);
        base[c] = mean.base;
        scale[c] = T(k);
        offset[c] = T((a.b ? double(a.b[c]) : 0) - double(mean.rest) * k);
    }
    each_line(a.n, a.c, a.s, [&](int64_t at, int64_t c, int64_t count) {
        if (a.s == 1) {
            each_vec<T>(count, [&](int64_t i, auto k) {
                store(a.y + at + i, fma(load(a.x + at + i, k) - load(base + i, k), load(scale + i, k), load(offset + i, k)), k);
            });
        } else {
            const vec<T> vbase = splat(base[c]), vscale = splat(scale[c]), voffset = splat(offset[c]);
            each_vec<T>(count, [&](int64_t i, auto k) { store(a.y + at + i, fma(load(a.x + at + i, k) - vbase, vscale, voffset), k); });
        }
    });
}

template <class T> void batch_norm_backward(const BatchNormBackward<T>& a) {
    const Buffer<T> memory(5 * a.c);
    T *const base = memory.data(), *const rest = base + a.c;
    T *const scale = rest + a.c, *const slope = scale + a.c, *const offset = slope + a.c;     // dx = dy scale + (x - base) slope + offset
    for (int64_t c = 0; c < a.c; ++c) {
        const Split<T> mean(a.base[c], a.rest[c]);
        base[c] = mean.base;
        rest[c] = mean.rest;
        scale[c] = T(rstd_of(a.var[c], a.eps) * (a.w ? double(a.w[c]) : 1));
        slope[c] = offset[c] = 0;
    }
    if (a.training || a.dw || a.db) {
        const Chunks<T> g(a.n, a.c, a.s);
        const Buffer<ChannelSums> parts(g.per_channel * a.c);     // [chunk, channel]
        parallel_for(g.blocks * g.per_channel, a.n * a.c * a.s / 4, [&](int64_t task, int) {
            const int64_t block = task / g.per_channel, chunk = task % g.per_channel, c = block * kBlock<T>;
            ChannelSums* out = parts.data() + chunk * a.c;
            if (a.s == 1) block_sums(a, g, block, chunk, base + c, rest + c, out + c);
            else out[block] = chunk_sums(a, g, block, chunk, base[block], rest[block]);
        });
        const double count = double(a.n) * double(a.s);
        for (int64_t c = 0; c < a.c; ++c) {
            const double rstd = rstd_of(a.var[c], a.eps), k = rstd * (a.w ? double(a.w[c]) : 1);
            double dy = 0, dyh = 0;
            for (int64_t chunk = 0; chunk < g.per_channel; ++chunk) {
                dy += parts[chunk * a.c + c].dy;
                dyh += parts[chunk * a.c + c].dyh;
            }
            dyh *= rstd;
            if (a.dw) a.dw[c] = T(dyh);
            if (a.db) a.db[c] = T(dy);
            if (!a.training) continue;
            const double pull = -k * rstd * dyh / count;
            slope[c] = T(pull);
            offset[c] = T(-k * dy / count - double(rest[c]) * pull);
        }
    }
    if (!a.dx) return;
    each_line(a.n, a.c, a.s, [&](int64_t at, int64_t c, int64_t count) {
        if (a.s == 1) {
            each_vec<T>(count, [&](int64_t i, auto k) {
                const vec<T> pulled = fma(load(a.x + at + i, k) - load(base + i, k), load(slope + i, k), load(offset + i, k));
                store(a.dx + at + i, fma(load(a.dy + at + i, k), load(scale + i, k), pulled), k);
            });
        } else {
            const vec<T> vbase = splat(base[c]), vscale = splat(scale[c]), vslope = splat(slope[c]), voffset = splat(offset[c]);
            each_vec<T>(count, [&](int64_t i, auto k) {
                const vec<T> pulled = fma(load(a.x + at + i, k) - vbase, vslope, voffset);
                store(a.dx + at + i, fma(load(a.dy + at + i, k), vscale, pulled), k);
            });
        }
    });
}

template void batch_norm_forward(const BatchNormForward<float>&);
template void batch_norm_forward(const BatchNormForward<double>&);
template void batch_norm_backward(const BatchNormBackward<float>&);
template void batch_norm_backward(const BatchNormBackward<double>&);

}  // namespace lc::cpu::LC_ISA
