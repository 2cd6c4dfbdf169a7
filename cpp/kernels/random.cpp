// random on CPU. Contract: cpp/ops/random.h. Writes n elements; uniform is bound by memory, normal by its log and sqrt.
#include "cpp/ops/random.h"

#include <math.h>

#include "cpp/core/parallel.h"
#include "cpp/simd/philox.h"

namespace lc::cpu::LC_ISA {
namespace {

constexpr int64_t kGroups = 256;                      // of 64 elements, to a task
constexpr int kPairs = kWordGroup / 2;                // word i and word i + 32 make a pair of normals

// c[0] + x c[1] + ... with every product rounded: no ISA may fuse it.
template <int n> LC_INLINE vec<float> unfused(vec<float> x, const float (&c)[n]) {
    vec<float> y = splat(c[n - 1]);
    for (int i = n - 2; i >= 0; --i) y = y * x + splat(c[i]);
    return y;
}

typedef int32_t integers __attribute__((vector_size(LC_VEC_BYTES)));
LC_INLINE vec<float> to_floats(integers i) { return {__builtin_convertvector(i, vec<float>::native)}; }

// sqrt(-2 ln u), u = (w + 1/2) 2^-32
LC_INLINE vec<float> radius(words w) {
    constexpr float q[] = {0x1.555548p-2f, -0x1.000006p-2f, 0x1.99a4cap-3f, -0x1.555c5cp-3f, 0x1.2335aep-3f, -0x1.fc1d4cp-4f,
                           0x1.e70736p-4f, -0x1.de65fp-4f, 0x1.1456cep-4f};
    const vec<float> u = to_floats((integers)(w >> 16)) * splat(0x1p-16f) + (to_floats((integers)(w & 0xffff)) + splat(0.5f)) * splat(0x1p-32f);
    const integers i = (integers)u.v - 0x3f3504f3, e = i >> 23;                   // u = m 2^e, sqrt(1/2) <= m < sqrt(2)
    const vec<float> f = vec<float>{(vec<float>::native)((integers)u.v - (e << 23))} - splat(1.0f), f2 = f * f;
    const vec<float> ln = to_floats(e) * splat(0x1.62e43p-1f) + (f - f2 * splat(0.5f) + f2 * f * unfused(f, q));
    return sqrt(max(zero<float>(), ln * splat(-2.0f)));
}

// cos and sin of the angle 2 pi w 2^-32
LC_INLINE void direction(words w, vec<float>& cosine, vec<float>& sine) {
    constexpr float s[] = {0x1p0f, -0x1.555556p-3f, 0x1.111108p-7f, -0x1.a00ea2p-13f, 0x1.6c9ddp-19f};
    constexpr float c[] = {1.0f, -0.5f, 0x1.555548p-5f, -0x1.6c0b52p-10f, 0x1.99ab0ep-16f};
    const integers quarter = (integers)((w + 0x20000000u) >> 30);
    const vec<float> r = to_floats((integers)w - (integers)((words)quarter << 30)) * splat(0x1.921fb6p-30f), r2 = r * r;
    const vec<float> y = r * unfused(r2, s), x = unfused(r2, c);
    const auto negative = [](integers flag) { return flag << 31; };
    cosine = {(vec<float>::native)((integers)((quarter & 1) != 0 ? y.v : x.v) ^ negative(((quarter + 1) >> 1) & 1))};
    sine = {(vec<float>::native)((integers)((quarter & 1) != 0 ? x.v : y.v) ^ negative((quarter >> 1) & 1))};
}

// 64 elements, the group's, into y.
LC_INLINE void group_of(const RandomFill<float>& a, const RandomWords& words_of, int64_t group, float* y) {
    uint32_t word[kWordGroup];
    words_of(group, word);
    const vec<float> first = splat(float(a.a));
    if (a.kind == RandomKind::uniform) {
        const vec<float> width = splat(float(a.b - a.a));
        for (int i = 0; i < kWordGroup; i += lanes<float>) store(y + i, first + width * uniform(word + i));
        return;
    }
    const vec<float> std = splat(float(a.b));
    for (int i = 0; i < kPairs; i += lanes<float>) {
        words u, v;
        memcpy(&u, word + i, sizeof u);
        memcpy(&v, word + kPairs + i, sizeof v);
        vec<float> cosine, sine;
        direction(v, cosine, sine);
        const vec<float> r = radius(u) * std;
        store(y + i, first + r * cosine);
        store(y + kPairs + i, first + r * sine);
    }
}

LC_INLINE void group_of(const RandomFill<double>& a, const RandomWords& words_of, int64_t group, double* y) {
    uint32_t word[2][kWordGroup];                     // two words an element
    words_of(2 * group, word[0]);
    words_of(2 * group + 1, word[1]);
    const auto bits = [&](int i) { return uint64_t(word[0][i]) << 32 | word[1][i]; };
    if (a.kind == RandomKind::uniform) {
        for (int i = 0; i < kWordGroup; ++i) y[i] = a.a + (a.b - a.a) * (double(bits(i) >> 11) * 0x1p-53);
        return;
    }
    for (int i = 0; i < kPairs; ++i) {
        const double u = (double(bits(i) >> 11) + 0.5) * 0x1p-53, angle = double(bits(kPairs + i)) * (0x1.921fb54442d18p2 * 0x1p-64);
        const double r = a.b * ::sqrt(-2 * ::log(u));
        y[i] = a.a + r * ::cos(angle);
        y[kPairs + i] = a.a + r * ::sin(angle);
    }
}

}  // namespace

template <class T> void random_fill(const RandomFill<T>& a) {
    const int64_t groups = (a.n + kWordGroup - 1) / kWordGroup;
    parallel_ranges(groups, kGroups, a.n * (sizeof(T) == 4 ? 2 : 20), [&](int64_t begin, int64_t end) {
        const RandomWords words_of(a.key, sizeof(T) == 4 ? begin : 2 * begin);
        for (int64_t group = begin; group < end; ++group) {
            const int64_t from = group * kWordGroup, n = a.n - from;
            if (n >= kWordGroup) {
                group_of(a, words_of, group, a.y + from);
            } else {
                T y[kWordGroup];
                group_of(a, words_of, group, y);
                memcpy(a.y + from, y, size_t(n) * sizeof(T));
            }
        }
    });
}

template <class T> void random_integers(const RandomIntegers<T>& a) {
    const int64_t groups = (a.n + kWordGroup - 1) / kWordGroup;
    const bool wide = a.range > uint64_t(1) << 32 || a.range == 0;                // 0: all 2^64
    parallel_ranges(groups, kGroups, a.n * 2, [&](int64_t begin, int64_t end) {
        const RandomWords words_of(a.key, 2 * begin);
        for (int64_t group = begin; group < end; ++group) {
            uint32_t word[2][kWordGroup];
            words_of(2 * group, word[0]);
            if (wide) words_of(2 * group + 1, word[1]);
            const int64_t from = group * kWordGroup, n = a.n - from < kWordGroup ? a.n - from : kWordGroup;
            for (int64_t i = 0; i < n; ++i) {
                const uint64_t high = word[0][i];
                uint64_t offset = high * a.range >> 32;
                if (wide) offset = uint64_t((unsigned __int128)(high << 32 | word[1][i]) * a.range >> 64);
                a.y[from + i] = T(uint64_t(a.low) + offset);
            }
        }
    });
}

template void random_fill(const RandomFill<float>&);
template void random_fill(const RandomFill<double>&);
template void random_integers(const RandomIntegers<int64_t>&);

}  // namespace lc::cpu::LC_ISA
