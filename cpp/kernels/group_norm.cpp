// group_norm on CPU. Math and shapes: cpp/ops/group_norm.h
// Memory bound: forward moves 2 * n * c * s elements, backward 3; a group that fits in L2 is read again only from there.
#include "cpp/ops/group_norm.h"
#include "cpp/core/allocator.h"
#include "cpp/core/parallel.h"
#include "cpp/simd/reduce.h"

namespace lc::cpu::LC_ISA {
namespace {

double rstd_of(double var, double eps) { return 1 / __builtin_sqrt(var + eps); }

// One group: `channels` runs of s elements, x[base] first. s == 1: one run along the channels.
template <class T> void forward_group(const GroupNormForward<T>& a, int64_t group) {
    const int64_t channels = a.c / a.groups, d = channels * a.s, c0 = group % a.groups * channels;
    const T* x = a.x + group * d;
    T* y = a.y + group * d;
    const Moments<T> m = moments(x, d);
    a.base[group] = double(m.base);
    a.rest[group] = double(m.rest);
    a.var[group] = double(m.variance);
    const T rstd = T(rstd_of(a.var[group], a.eps));
    const vec<T> base = splat(m.base), rest = splat(m.rest), vrstd = splat(rstd);
    if (a.s == 1) {
        each_vec<T>(d, [&](int64_t i, auto k) {
            vec<T> h = (load(x + i, k) - base - rest) * vrstd;
            if (a.w) h = h * load(a.w + c0 + i, k);
            if (a.b) h = h + load(a.b + c0 + i, k);
            store(y + i, h, k);
        });
        return;
    }
    for (int64_t c = 0; c < channels; ++c) {
        const T scale = a.w ? rstd * a.w[c0 + c] : rstd, shift = a.b ? a.b[c0 + c] : T(0);
        const vec<T> vscale = splat(scale), voffset = splat(shift - m.rest * scale);
        each_vec<T>(a.s, [&](int64_t i, auto k) { store(y + c * a.s + i, fma(load(x + c * a.s + i, k) - base, vscale, voffset), k); });
    }
}

// dx of one group; this sample's share of dw and db goes to dw_part and db_part, [n, c].
template <class T> void backward_group(const GroupNormBackward<T>& a, int64_t group, T* dw_part, T* db_part) {
    const int64_t channels = a.c / a.groups, d = channels * a.s, c0 = group % a.groups * channels;
    const int64_t at = group * d, pc = group * channels;
    const T *x = a.x + at, *dy = a.dy + at;
    T* dx = a.dx + at;
    const T rstd = T(rstd_of(a.var[group], a.eps));
    const vec<T> base = splat(T(a.base[group])), rest = splat(T(a.rest[group])), vrstd = splat(rstd);
    T sum_t = 0, sum_th = 0;
    if (a.s == 1) {
        const Sums<T> sums = sum_row2<T>(d, [&](int64_t i, auto k, vec<T>& st, vec<T>& sth) {
            const vec<T> g = load(dy + i, k), h = (load(x + i, k) - base - rest) * vrstd;
            const vec<T> t = a.w ? g * load(a.w + c0 + i, k) : g;
            store(dw_part + pc + i, g * h, k);
            store(db_part + pc + i, g, k);
            st = st + t;
            sth = fma(t, h, sth);
        });
        sum_t = sums.first;
        sum_th = sums.second;
    } else {
        for (int64_t c = 0; c < channels; ++c) {
            const Sums<T> sums = sum_row2<T>(a.s, [&](int64_t i, auto k, vec<T>& sg, vec<T>& sgh) {
                const vec<T> g = load(dy + c * a.s + i, k);
                sg = sg + g;
                sgh = fma(g, (load(x + c * a.s + i, k) - base - rest) * vrstd, sgh);
            });
            const T w = a.w ? a.w[c0 + c] : T(1);
            db_part[pc + c] = sums.first;
            dw_part[pc + c] = sums.second;
            sum_t += w * sums.first;
            sum_th += w * sums.second;
        }
    }
    const vec<T> mean_t = splat(sum_t / T(d)), mean_th = splat(sum_th / T(d));
    auto run = [&](int64_t i, auto k, vec<T> w) {
        const vec<T> h = (load(x + i, k) - base - rest) * vrstd;
        store(dx + i, vrstd * (load(dy + i, k) * w - mean_t - h * mean_th), k);
    };
    if (a.s == 1) {
        each_vec<T>(d, [&](int64_t i, auto k) { run(i, k, a.w ? load(a.w + c0 + i, k) : splat(T(1))); });
    } else {
        for (int64_t c = 0; c < channels; ++c) {
            const vec<T> w = splat(a.w ? a.w[c0 + c] : T(1));
            each_vec<T>(a.s, [&](int64_t i, auto k) { run(c * a.s + i, k, w); });
        }
    }
}

}  // namespace

template <class T> void group_norm_forward(const GroupNormForward<T>& a) {
    const int64_t d = a.c / a.groups * a.s;
    if (a.n * d == 0) return;
    parallel_ranges(a.n * a.groups, 16384 / d + 1, a.n * a.c * a.s / 4, [&](int64_t begin, int64_t end) {
        for (int64_t group = begin; group < end; ++group) forward_group(a, group);
    });
}

template <class T> void group_norm_backward(const GroupNormBackward<T>& a) {
    const int64_t d = a.c / a.groups * a.s;
    const Buffer<T> parts(2 * a.n * a.c);
    T *const dw_part = parts.data(), *const db_part = dw_part + a.n * a.c;
    for (int64_t i = 0; d == 0 && i < 2 * a.n * a.c; ++i) parts[i] = 0;
    if (a.n * d > 0)
        parallel_ranges(a.n * a.groups, 16384 / d + 1, a.n * a.c * a.s / 2, [&](int64_t begin, int64_t end) {
            for (int64_t group = begin; group < end; ++group) backward_group(a, group, dw_part, db_part);
        });
    if (a.dw) add_strips(dw_part, a.n, a.c, a.dw);
    if (a.db) add_strips(db_part, a.n, a.c, a.db);
}

template void group_norm_forward(const GroupNormForward<float>&);
template void group_norm_forward(const GroupNormForward<double>&);
template void group_norm_backward(const GroupNormBackward<float>&);
template void group_norm_backward(const GroupNormBackward<double>&);

}  // namespace lc::cpu::LC_ISA
