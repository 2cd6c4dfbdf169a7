// vec_normal.h: erf, and gelu by the normal distribution. Worst error over all float32 in units in the last place: erf 2, gelu 2
// (see tests/ops/test_unary.py, which measures them); vec<double> calls the C library lane by lane.
#pragma once
#include "cpp/simd/vec_math.h"

namespace lc::cpu::LC_ISA {

LC_INLINE vec<double> erf(vec<double> x) {
    return per_lane(x, [](double v) { return ::erf(v); });
}

struct ErfSteps {
    struct Between {
        vec<float> small, exponent;
    };
    static LC_INLINE Between first(vec<float> x) {
        constexpr float p[] = {0x1.06eba8p-3f, -0x1.812746p-2f, 0x1.ce2f08p-4f, -0x1.b829a8p-6f, 0x1.5628eep-8f, -0x1.bcbe9ap-11f,
                               0x1.d8268ap-14f, -0x1.4383f4p-17f};
        constexpr float q[] = {0x1.20e482p+0f, 0x1.45a066p-1f, 0x1.ab960ap-4f, -0x1.606e64p-6f, 0x1.03f1fp-9f, 0x1.c46dcep-12f,
                               -0x1.97eb1p-13f, 0x1.00e536p-15f, -0x1.fb3656p-20f};
        const vec<float> a = min(splat(4.0f), abs(x));                            // erf(4) rounds to 1
        return {fma(x, detail::polynomial(x * x, p), x), a * detail::polynomial(a, q)};
    }
    // 1 - erf(a) = exp(-a q(a)), at most 0.16 where it counts: fewer terms and one step of reduction are enough.
    static LC_INLINE vec<float> second(vec<float> x, const Between& b) {
        constexpr float c[] = {0x1.fffdf8p-2f, 0x1.5557b6p-3f, 0x1.572c2p-5f, 0x1.1060cep-7f};
        const vec<float> one = splat(1.0f), magic = splat(detail::kMagic);
        const vec<float> shifted = fma(b.exponent, splat(-detail::kLog2e), magic), n = shifted - magic;
        const vec<float> r = fma(n, splat(-0x1.62e43p-1f), -b.exponent), r2 = r * r;
        const vec<float> s = fma(r2, fma(r2, fma(r, splat(c[3]), splat(c[2])), fma(r, splat(c[1]), splat(c[0]))), r);
        const vec<float> p = detail::from_bits((detail::bits(shifted) << 23) + 0x3f800000), large = fma(-p, s, one - p);
        return select(abs(x) < one, b.small, copy_sign(large, x));
    }
};
LC_INLINE vec<float> erf(vec<float> x) { return both_steps<ErfSteps>(x); }

namespace detail {
// Phi(-a) = (1 + m) w / 2 e^(-a^2 / 2), w = 1 / (1 + a), m a ratio of polynomials: |m| < 0.15, so that its roundings count
// for little. The exponent is halved and negated last: z = -2r takes one addition for what a^2 rounded away.
struct NormalTail {
    vec<float> w, m, z;
    vec_i shift;
    LC_INLINE vec<float> s() const {                                              // exp(-a^2 / 2) = 2^n (1 + s)
        constexpr float e[] = {0x1.fffffcp-2f, 0x1.55549p-3f, 0x1.5558fap-5f, 0x1.123b6ap-7f, 0x1.6a21acp-10f};     // of (e^r - 1 - r) / r^2
        constexpr float c[] = {e[0] / 4, -e[1] / 8, e[2] / 16, -e[3] / 32, e[4] / 64};
        const vec<float> z2 = z * z, high = fma(z2, splat(c[4]), fma(z, splat(c[3]), splat(c[2])));
        return fma(z2, fma(z2, high, fma(z, splat(c[1]), splat(c[0]))), z * splat(-0.5f));
    }
    LC_INLINE vec<float> half_power() const { return from_bits(shift + 0x3f000000); }   // 2^(n - 1)
};
LC_INLINE NormalTail normal_tail(vec<float> a) {
    constexpr float p[] = {0.0f, 0x1.9deec2p-3f, 0x1.72eb8ep-5f, -0x1.5c8d68p-6f, -0x1.a525e8p-7f, -0x1.3939e6p-9f};
    constexpr float q[] = {1.0f, 0x1.b2a766p+0f, 0x1.3d35d6p+0f, 0x1.fa1fc6p-2f, 0x1.c3914ap-4f, 0x1.83729ap-7f};
    const vec<float> one = splat(1.0f), square = a * a, low = fused(a, a, -square);
    const vec<float> shifted = fma(square, splat(-0.5f * kLog2e), splat(kMagic)), n = shifted - splat(kMagic);
    const vec<float> z = fma(n, splat(2 * kLn2High), square) + fma(n, splat(2 * kLn2Low), low);   // a sum of few bits, exact
    return {one / (a + one), polynomial(a, p) / polynomial(a, q), z, bits(shifted) << 23};
}
// a Phi(-a) / 2^(n - 1). a w comes with what the sum, the quotient and the product rounded away: 1.96 units at most in gelu
LC_INLINE vec<float> tail_product(vec<float> a, const NormalTail& t) {
    const vec<float> high = a * t.w, rest = fused(a, splat(1.0f) - high, -high);  // 1 - high is exact from a = 1 on, nearly so below
    const vec<float> s = t.s(), both = fma(s, t.m, t.m) + s;                      // (1 + s) (1 + m) = 1 + both
    return fma(t.w, fma(a, both, rest), high);
}
constexpr float kNormalRange = 12.8f;                                             // Phi(-12.8) and gelu(-12.8) are normal numbers

// `near` where x is within the range; max(0, x) beyond, but for a stretch of subnormal numbers.
LC_NOINLINE inline vec<float> gelu_anywhere(vec<float> x, vec<float> near) {
    const vec<float> end = splat(14.5f);                                          // Phi(-14.5) is 0 in float
    if (LC_LIKELY(!any((x < splat(-kNormalRange)) & (x > -end)))) return select(abs(x) <= splat(kNormalRange), near, max(zero<float>(), x));
    const vec<float> a = min(end, abs(x));
    const NormalTail t = normal_tail(a);
    return max(zero<float>(), x) - scale(tail_product(a, t), (t.shift >> 23) - 1);
}
}  // namespace detail

struct GeluSteps {                                                                // x Phi(x)
    static LC_INLINE detail::NormalTail first(vec<float> x) { return detail::normal_tail(abs(x)); }
    static LC_INLINE vec<float> second(vec<float> x, const detail::NormalTail& t) {
        const vec<float> y = fma(-t.half_power(), detail::tail_product(abs(x), t), max(zero<float>(), x));
        return detail::any_beyond(x, detail::kNormalRange) ? detail::gelu_anywhere(x, y) : y;
    }
};
struct GeluSlopeSteps {                                                           // Phi(x) + x phi(x)
    static LC_INLINE detail::NormalTail first(vec<float> x) { return detail::normal_tail(min(splat(detail::kNormalRange), abs(x))); }
    static LC_INLINE vec<float> second(vec<float> x, const detail::NormalTail& t) {
        const vec<float> one = splat(1.0f), a = min(splat(detail::kNormalRange), abs(x)), s = t.s();
        const vec<float> density = fma(s, t.half_power(), t.half_power());
        const vec<float> left = density * fma(a, splat(-0x1.988454p-1f), fma(t.w, t.m, t.w));   // at -a; at a it is one minus that
        return select(x < zero<float>(), left, one - left);
    }
};
LC_INLINE vec<float> gelu(vec<float> x) { return both_steps<GeluSteps>(x); }
LC_INLINE vec<float> gelu_slope(vec<float> x) { return both_steps<GeluSlopeSteps>(x); }
LC_INLINE vec<double> gelu(vec<double> x) {
    return per_lane(x, [](double v) { return v < -40 ? -0.0 : 0.5 * v * ::erfc(v * -0x1.6a09e667f3bcdp-1); });
}

LC_INLINE vec<double> gelu_slope(vec<double> x) {
    return per_lane(x, [](double v) {
        if (::fabs(v) > 40) return v > 0 ? 1.0 : 0.0;
        return 0.5 * ::erfc(v * -0x1.6a09e667f3bcdp-1) + v * 0x1.9884533d43651p-2 * ::exp(-0.5 * v * v);
    });
}

}  // namespace lc::cpu::LC_ISA
