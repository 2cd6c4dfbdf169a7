// vec_math.h: exp, log, tanh, sigmoid and their kin on vec<float>; vec<double> calls the C library lane by lane.
//
// Worst error over all float32 in units in the last place, with FMA (see tests/ops/test_unary.py, which measures them):
//   exp, log, tanh, sigmoid 1; expm1, log1p, silu 2.
// NaN stays NaN, infinities and zeros follow IEEE, subnormal results are rounded, not flushed.
// Where a lane is out of the range that costs least, the register takes a second, slower path; its other lanes keep their bits.
#pragma once
#include <math.h>
#include "cpp/simd/vec.h"

namespace lc::cpu::LC_ISA {

// ---- lane by lane -------------------------------------------------------------------------------------------------------

template <class T, class F> LC_INLINE vec<T> per_lane(vec<T> a, F f) {
    T x[lanes<T>];
    store(x, a);
    for (int i = 0; i < lanes<T>; ++i) x[i] = f(x[i]);
    return load(x);
}
template <class T, class F> LC_INLINE vec<T> per_lane(vec<T> a, vec<T> b, F f) {
    T x[lanes<T>], y[lanes<T>];
    store(x, a);
    store(y, b);
    for (int i = 0; i < lanes<T>; ++i) x[i] = f(x[i], y[i]);
    return load(x);
}

template <class T> LC_INLINE vec<T> copy_sign(vec<T> magnitude, vec<T> sign) {
    using I = typename mask<T>::lane;
    constexpr I top = I(1) << (8 * sizeof(T) - 1);
    return bits_as<T>(vec<I>{(bits_as<I>(magnitude).v & ~top) | (bits_as<I>(sign).v & top)});
}

// To the nearest integer, ties to even.
template <class T> LC_INLINE vec<T> round_even(vec<T> x) {
    const vec<T> big = splat(sizeof(T) == 4 ? T(0x1p23) : T(0x1p52)), a = abs(x);
    return select(a < big, copy_sign((a + big) - big, x), x);
}

LC_INLINE vec<double> exp(vec<double> x) {
    return per_lane(x, [](double v) { return ::exp(v); });
}
LC_INLINE vec<double> expm1(vec<double> x) {
    return per_lane(x, [](double v) { return ::expm1(v); });
}
LC_INLINE vec<double> log(vec<double> x) {
    return per_lane(x, [](double v) { return ::log(v); });
}
LC_INLINE vec<double> log1p(vec<double> x) {
    return per_lane(x, [](double v) { return ::log1p(v); });
}
LC_INLINE vec<double> tanh(vec<double> x) {
    return per_lane(x, [](double v) { return ::tanh(v); });
}
LC_INLINE vec<double> sigmoid(vec<double> x) {
    return per_lane(x, [](double v) {
        const double t = ::exp(-::fabs(v));
        return (v < 0 ? t : 1) / (1 + t);
    });
}

// ---- pieces -------------------------------------------------------------------------------------------------------------

namespace detail {

using vec_i = vec<int32_t>::native;

LC_INLINE vec<float> as_float(vec_i i) { return {__builtin_convertvector(i, vec<float>::native)}; }
LC_INLINE vec_i bits(vec<float> x) { return (vec_i)x.v; }
LC_INLINE vec<float> from_bits(vec_i i) { return {(vec<float>::native)i}; }
LC_INLINE vec<float> pow2(vec_i n) { return from_bits((n + 127) << 23); }              // -126 <= n <= 127

LC_INLINE bool any(mask<float> m) {
#if defined(__AVX512F__)
    return _mm512_test_epi32_mask((__m512i)m.m, (__m512i)m.m) != 0;
#elif defined(__AVX2__)
    return _mm256_movemask_ps((__m256)m.m) != 0;
#elif defined(__SSE2__)
    return _mm_movemask_ps((__m128)m.m) != 0;
#elif defined(__ARM_NEON)
    return vmaxvq_u32((uint32x4_t)m.m) != 0;
#else
    int32_t all = 0;
    for (int i = 0; i < lanes<float>; ++i) all |= m.m[i];
    return all != 0;
#endif
}
LC_INLINE bool any_beyond(vec<float> x, float limit) { return LC_UNLIKELY(any(~(abs(x) <= splat(limit)))); }   // or NaN

// v * 2^n for any n an exp can have. Two steps, so that 2^128 and subnormal results come out right.
LC_INLINE vec<float> scale(vec<float> v, vec_i n) {
    const vec_i half = n >> 1;
    return v * pow2(half) * pow2(n - half);
}

// a * b + c rounded once on every ISA: where the exact product is needed
LC_INLINE vec<float> fused(vec<float> a, vec<float> b, vec<float> c) {
#if defined(__FMA__) || defined(__AVX512F__) || defined(__ARM_NEON)
    return fma(a, b, c);
#else
    for (int i = 0; i < lanes<float>; ++i) c.v[i] = float(double(a.v[i]) * double(b.v[i]) + double(c.v[i]));
    return c;
#endif
}

// c[0] + x c[1] + x^2 c[2] + ...
template <int n> LC_INLINE vec<float> polynomial(vec<float> x, const float (&c)[n]) {
    vec<float> y = splat(c[n - 1]);
    for (int i = n - 2; i >= 0; --i) y = fma(y, x, splat(c[i]));
    return y;
}

// ln 2 in two parts; times an exponent the first is exact.
constexpr float kLn2High = 0x1.62ep-1f, kLn2Low = 0x1.0bfbe8p-15f;
constexpr float kLog2e = 0x1.715476p0f, kMagic = 0x1.8p23f;                       // adding kMagic rounds to an integer

// c[0] + x c[1] + .. + x^5 c[5], a shorter chain than polynomial()
LC_INLINE vec<float> quintic(vec<float> x, const float (&c)[6]) {
    const vec<float> x2 = x * x, high = fma(x, splat(c[5]), splat(c[4])), middle = fma(x, splat(c[3]), splat(c[2]));
    return fma(x2, fma(x2, high, middle), fma(x, splat(c[1]), splat(c[0])));
}
// (e^r - 1 - r) / r^2
constexpr float kExp[] = {0x1p-1f, 0x1.555554p-3f, 0x1.5554e6p-5f, 0x1.1113p-7f, 0x1.6d4f3cp-10f, 0x1.9e1b5ap-13f};

// exp(x) = 2^n (1 + s), s to half a unit of 1. x must not be far beyond +-150. shift: n in the bits of an exponent.
struct Exp {
    vec<float> s;
    vec_i shift;
    LC_INLINE vec_i n() const { return shift >> 23; }                             // -256 <= n < 256
    LC_INLINE vec<float> power() const { return from_bits(shift + 0x3f800000); }    // 2^n, -126 <= n <= 127
};
LC_INLINE vec<float> reduce(vec<float> x, vec_i& shift) {                        // r = x - n ln 2
    const vec<float> shifted = fma(x, splat(kLog2e), splat(kMagic)), n = shifted - splat(kMagic);
    shift = bits(shifted) << 23;
    return fma(n, splat(-kLn2Low), fma(n, splat(-kLn2High), x));
}
LC_INLINE Exp exp_parts(vec<float> x) {
    vec_i shift;
    const vec<float> r = reduce(x, shift);
    return {fma(r * r, quintic(r, kExp), r), shift};
}
// e^x / 2^n, a little closer than 1 + s
LC_INLINE vec<float> exp_shifted(vec<float> x, vec_i& shift) {
    const vec<float> r = reduce(x, shift), one = splat(1.0f);
    return fma(r, fma(r, quintic(r, kExp), one), one);
}
// y 2^n where neither y nor the result is zero, subnormal or not finite
LC_INLINE vec<float> shift_exponent(vec<float> y, vec_i shift) { return from_bits(bits(y) + shift); }

LC_INLINE vec<float> clamp_keep_nan(vec<float> x, float lo, float hi) { return min(splat(hi), max(splat(lo), x)); }

}  // namespace detail

// ---- exp and log --------------------------------------------------------------------------------------------------------

namespace detail {
constexpr float kExpRange = 87.3f;                                                // e^x and e^-x are normal
LC_NOINLINE inline vec<float> exp_anywhere(vec<float> x) {
    vec_i shift;
    const vec<float> y = exp_shifted(clamp_keep_nan(x, -105.0f, 90.0f), shift);
    return scale(y, shift >> 23);
}
}  // namespace detail

LC_INLINE vec<float> exp(vec<float> x) {
    if (detail::any_beyond(x, detail::kExpRange)) return detail::exp_anywhere(x);
    detail::vec_i shift;
    const vec<float> y = detail::exp_shifted(x, shift);
    return detail::shift_exponent(y, shift);
}

LC_INLINE vec<float> expm1(vec<float> x) {
    const detail::Exp e = detail::exp_parts(detail::clamp_keep_nan(x, -20.0f, 90.0f));
    const vec<float> one = splat(1.0f), s = e.s;
    const detail::vec_i n = e.n();
    const vec<float> p = detail::pow2(n < 127 ? n : 127);                        // 128 takes the other branch
    const vec<float> y = detail::fused(p, s, p - one);
    const vec<float> large = detail::scale(one + s, n);                         // subtracting 1 changes nothing
    return select(x > splat(30.0f), large, select(x == zero<float>(), x, y));
}

namespace detail {
// log(m 2^e) = e ln 2 + log(1 + f), sqrt(1/2) <= 1 + f < sqrt(2)
LC_INLINE vec<float> log_of(vec<float> f, vec<float> e) {
    constexpr float q[] = {0x1.555548p-2f, -0x1.000006p-2f, 0x1.99a4cap-3f, -0x1.555c5cp-3f, 0x1.2335aep-3f, -0x1.fc1d4cp-4f,
                           0x1.e70736p-4f, -0x1.de65fp-4f, 0x1.1456cep-4f};
    const vec<float> f2 = f * f;
    const vec<float> tail = fma(f2, fma(f, polynomial(f, q), splat(-0.5f)), e * splat(kLn2Low));
    return fma(e, splat(kLn2High), f + tail);
}
}  // namespace detail

LC_INLINE vec<float> log(vec<float> x) {
    using namespace detail;
    const vec<float> inf = splat(__builtin_inff());
    const mask<float> tiny = x < splat(0x1p-126f);
    const vec<float> scaled = select(tiny, x * splat(0x1p23f), x);
    const vec_i i = bits(scaled) - 0x3f3504f3, e = i >> 23;                       // 0x3f3504f3: sqrt(1/2)
    const vec<float> f = from_bits(bits(scaled) - (e << 23)) - splat(1.0f);
    const vec<float> y = log_of(f, as_float(e) - select(tiny, splat(23.0f), zero<float>()));
    const vec<float> special = select(x == zero<float>(), -inf, select(x < zero<float>(), splat(__builtin_nanf("")), x));
    return select((x > zero<float>()) & (x < inf), y, special);
}

LC_INLINE vec<float> log1p(vec<float> x) {
    const vec<float> one = splat(1.0f), u = one + x;
    const vec<float> lost = select(u > x, x - (u - one), one - (u - x));          // what the sum rounded away
    const vec<float> y = log(u) + lost / u;
    return select((abs(x) < splat(0x1p-24f)) | ~((u > zero<float>()) & (u < splat(__builtin_inff()))), select(abs(x) < one, x, log(u)), y);
}

// ---- sigmoid and tanh -----------------------------------------------------------------------------------------------------
//
// These and the functions below are long chains, of which a processor overlaps the two or three that fit its window. So
// they come in two steps: y = F::second(x, F::first(x)), for loops that take the first step of many registers, then the second.

namespace detail {
// For lanes beyond kExpRange: 1, or an e^x that may be subnormal.
LC_NOINLINE inline vec<float> sigmoid_anywhere(vec<float> x, vec<float> near) {
    return select(abs(x) <= splat(kExpRange), near, select(x > zero<float>(), splat(1.0f), exp_anywhere(x)));
}
// x sigmoid(x) = x e^x there, scaled last: e^x alone would lose its digits.
LC_NOINLINE inline vec<float> silu_anywhere(vec<float> x, vec<float> near) {
    const Exp e = exp_parts(clamp_keep_nan(x, -120.0f, 0.0f));
    const vec<float> y = scale(x * (splat(1.0f) + e.s), e.n());
    return select(abs(x) <= splat(kExpRange), near, select(x < splat(-120.0f), x * zero<float>(), select(x > zero<float>(), x, y)));
}
}  // namespace detail

struct SigmoidSteps {
    static LC_INLINE detail::Exp first(vec<float> x) { return detail::exp_parts(abs(x)); }
    // sigmoid(-|x|) = 1 / (1 + t), t = e^|x|, with what the sum and the quotient rounded away put right
    static LC_INLINE vec<float> value(vec<float> x, detail::Exp e) {
        const vec<float> one = splat(1.0f), top = one + e.s, top_low = e.s - (top - one);
        const vec<float> t = detail::shift_exponent(top, e.shift), d = t + one, d_low = fma(e.power(), top_low, one - (d - t));
        const vec<float> q = one / d, rest = fma(-q, d_low, detail::fused(-q, d, one)), left = fma(rest, q, q);
        return select(x < zero<float>(), left, one - left);
    }
    static LC_INLINE vec<float> second(vec<float> x, detail::Exp e) {
        const vec<float> y = value(x, e);
        return detail::any_beyond(x, detail::kExpRange) ? detail::sigmoid_anywhere(x, y) : y;
    }
};
struct SiluSteps {
    static LC_INLINE detail::Exp first(vec<float> x) { return detail::exp_parts(abs(x)); }
    static LC_INLINE vec<float> second(vec<float> x, detail::Exp e) {
        const vec<float> y = x * SigmoidSteps::value(x, e);
        return detail::any_beyond(x, detail::kExpRange) ? detail::silu_anywhere(x, y) : y;
    }
};
struct TanhSteps {
    struct Between {
        vec<float> small;
        detail::Exp e;
    };
    static LC_INLINE Between first(vec<float> x) {
        constexpr float p[] = {-0x1.555552p-2f, 0x1.11103cp-3f, -0x1.b9f6dap-5f, 0x1.64c044p-6f, -0x1.18db64p-7f, 0x1.8f862cp-9f,
                               -0x1.ae8cbap-11f, 0x1.e76c16p-14f};
        const vec<float> u = x * x, a = min(splat(9.1f), abs(x));                 // tanh(9.1) rounds to 1
        return {fma(x * u, detail::polynomial(u, p), x), detail::exp_parts(a + a)};
    }
    static LC_INLINE vec<float> second(vec<float> x, const Between& b) {
        const vec<float> one = splat(1.0f);
        const vec<float> large = one - splat(2.0f) / ((one + b.e.s) * b.e.power() + one);
        return select(abs(x) < one, b.small, copy_sign(large, x));
    }
};

// The function of a register on its own.
template <class F> LC_INLINE vec<float> both_steps(vec<float> x) { return F::second(x, F::first(x)); }

LC_INLINE vec<float> sigmoid(vec<float> x) { return both_steps<SigmoidSteps>(x); }
LC_INLINE vec<float> silu(vec<float> x) { return both_steps<SiluSteps>(x); }
LC_INLINE vec<double> silu(vec<double> x) { return x * sigmoid(x); }
LC_INLINE vec<float> tanh(vec<float> x) { return both_steps<TanhSteps>(x); }

// x sigmoid(2u) and its derivative, u = sqrt(2 / pi) (x + 0.044715 x^3), (1 + tanh u) / 2 = sigmoid(2u): gelu as tanh has it
struct GeluTanhSteps {
    static constexpr double kLinear = -2 * 0x1.9884533d43651p-1, kCubic = kLinear * 0.044715;
    template <class T> static LC_INLINE vec<T> exponent(vec<T> x) { return x * fma(x * x, splat(T(kCubic)), splat(T(kLinear))); }   // -2u
    template <class T> static LC_INLINE vec<T> slope(vec<T> x, vec<T> t) {        // t = e^-2u
        const vec<T> one = splat(T(1)), s = one / (one + t);
        return fma(s * (one - s), x * fma(x * x, splat(T(-3 * kCubic)), splat(T(-kLinear))), s);
    }
    static constexpr float kRange = 10.04f;                                       // gelu(-10.04) is 6e-38, e^2u is finite
    static LC_INLINE vec<float> near(vec<float> x) { return min(splat(kRange), max(splat(-kRange), x)); }
    static LC_INLINE detail::Exp first(vec<float> x) { return detail::exp_parts(exponent(near(x))); }
    static LC_INLINE vec<float> second(vec<float> x, detail::Exp e) {
        const vec<float> one = splat(1.0f);
        return max(splat(-kRange), x) / (one + (one + e.s) * e.power());
    }
};
struct GeluTanhSlopeSteps : GeluTanhSteps {
    static LC_INLINE vec<float> second(vec<float> x, detail::Exp e) { return slope(near(x), (splat(1.0f) + e.s) * e.power()); }
};
// s (1 + x (1 - s)), s = sigmoid(x): the derivative of silu
struct SiluSlopeSteps {
    template <class T> static LC_INLINE vec<T> slope(vec<T> x, vec<T> t) {        // t = e^-x
        const vec<T> one = splat(T(1)), s = one / (one + t);
        return s * fma(x, one - s, one);
    }
    static LC_INLINE detail::Exp first(vec<float> x) { return detail::exp_parts(-x); }
    static LC_INLINE vec<float> second(vec<float> x, detail::Exp e) {
        const vec<float> near = (splat(1.0f) + e.s) * e.power();
        return slope(x, detail::any_beyond(x, detail::kExpRange) ? detail::exp_anywhere(-x) : near);
    }
};

LC_INLINE vec<float> gelu_tanh(vec<float> x) { return both_steps<GeluTanhSteps>(x); }
LC_INLINE vec<float> gelu_tanh_slope(vec<float> x) { return both_steps<GeluTanhSlopeSteps>(x); }
LC_INLINE vec<float> silu_slope(vec<float> x) { return both_steps<SiluSlopeSteps>(x); }
LC_INLINE vec<double> gelu_tanh(vec<double> x) { return x / (splat(1.0) + exp(GeluTanhSteps::exponent(x))); }
LC_INLINE vec<double> gelu_tanh_slope(vec<double> x) { return GeluTanhSteps::slope(x, exp(GeluTanhSteps::exponent(x))); }
LC_INLINE vec<double> silu_slope(vec<double> x) { return SiluSlopeSteps::slope(x, exp(-x)); }

}  // namespace lc::cpu::LC_ISA
