// vec_trig.h: sin and cos on vec<float>, within one unit in the last place over all float32; vec<double> calls the C library.
// Beyond 1e5 vec<float> does so too, in double.
#pragma once
#include "cpp/simd/vec_math.h"

namespace lc::cpu::LC_ISA {

LC_INLINE vec<double> sin(vec<double> x) {
    return per_lane(x, [](double v) { return ::sin(v); });
}
LC_INLINE vec<double> cos(vec<double> x) {
    return per_lane(x, [](double v) { return ::cos(v); });
}

namespace detail {

// sin(x) for quarter 0, cos(x) for quarter 1: sin(x + quarter pi/2). The reduction runs in double, exact up to 2^20.
LC_INLINE vec<float> sin_shifted(vec<float> x, int quarter) {
    constexpr float s[] = {-0x1.555556p-3f, 0x1.111108p-7f, -0x1.a00ea2p-13f, 0x1.6c9ddp-19f};
    constexpr float c[] = {0x1.555548p-5f, -0x1.6c0b52p-10f, 0x1.99ab0ep-16f};
    constexpr int half = lanes<float> / 2;
    typedef float half_f __attribute__((vector_size(LC_VEC_BYTES / 2)));
    typedef int32_t half_i __attribute__((vector_size(LC_VEC_BYTES / 2)));
    typedef double wide __attribute__((vector_size(LC_VEC_BYTES)));
    typedef int64_t wide_i __attribute__((vector_size(LC_VEC_BYTES)));

    vec<float> r, low;
    vec_i n;
    for (int part = 0; part < 2; ++part) {
        half_f v;
        memcpy(&v, reinterpret_cast<const char*>(&x) + part * sizeof v, sizeof v);
        const wide xd = __builtin_convertvector(v, wide), magic = xd * 0 + 0x1.8p52;
        const wide shifted = xd * 0x1.45f306dc9c883p-1 + magic, k = shifted - magic;      // 2 / pi
        const wide rd = (xd - k * 0x1.921fb544p0) - k * 0x1.0b4611a626331p-34;            // pi / 2 = 33 bits, times k exact, and the rest
        const half_f high = __builtin_convertvector(rd, half_f);
        const half_f rest = __builtin_convertvector(rd - __builtin_convertvector(high, wide), half_f);
        const half_i ki = __builtin_convertvector((wide_i)shifted, half_i);
        memcpy(reinterpret_cast<char*>(&r) + part * sizeof v, &high, sizeof v);
        memcpy(reinterpret_cast<char*>(&low) + part * sizeof v, &rest, sizeof v);
        memcpy(reinterpret_cast<char*>(&n) + part * sizeof v, &ki, sizeof v);
    }
    static_assert(half * 2 == lanes<float>);
    n += quarter;
    const vec<float> u = r * r;
    const vec<float> sine = r + fma(r * u, polynomial(u, s), low);
    const vec<float> hu = u * splat(0.5f), w = splat(1.0f) - hu;
    const vec<float> cosine = w + fma(u * u, polynomial(u, c), ((splat(1.0f) - w) - hu) - r * low);
    const vec<float> y = {(n & 1) != 0 ? cosine.v : sine.v};
    return from_bits(bits(y) ^ ((n & 2) << 30));
}

}  // namespace detail

LC_INLINE vec<float> sin(vec<float> x) {
    const mask<float> far = ~(abs(x) <= splat(1e5f));
    if (LC_UNLIKELY(detail::any(far))) return per_lane(x, [](float v) { return v == 0 ? v : float(::sin(double(v))); });
    return select(x == zero<float>(), x, detail::sin_shifted(x, 0));
}
LC_INLINE vec<float> cos(vec<float> x) {
    const mask<float> far = ~(abs(x) <= splat(1e5f));
    if (LC_UNLIKELY(detail::any(far))) return per_lane(x, [](float v) { return float(::cos(double(v))); });
    return detail::sin_shifted(x, 1);
}

}  // namespace lc::cpu::LC_ISA
