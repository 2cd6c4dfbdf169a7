// vec_math.h: exp, log, tanh, erf and their kin on vec<float>; vec<double> calls the C library lane by lane.
//
// Worst error over all float32 in units in the last place, with FMA (see tests/ops/test_unary.py, which measures them):
//   exp, log, tanh, sigmoid, erf, sin, cos 1; expm1, log1p 2; silu 4; gelu 6 (7 without FMA). Beyond 1e5 sin and cos are the C library's.
// NaN stays NaN, infinities and zeros follow IEEE, subnormal results are rounded, not flushed.
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
LC_INLINE vec<double> erf(vec<double> x) {
    return per_lane(x, [](double v) { return ::erf(v); });
}
LC_INLINE vec<double> sin(vec<double> x) {
    return per_lane(x, [](double v) { return ::sin(v); });
}
LC_INLINE vec<double> cos(vec<double> x) {
    return per_lane(x, [](double v) { return ::cos(v); });
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

// v * 2^n for any n an exp can have. Two steps, so that 2^128 and subnormal results come out right.
LC_INLINE vec<float> scale(vec<float> v, vec_i n) {
    const vec_i half = n >> 1;
    return v * pow2(half) * pow2(n - half);
}

// a * b + c rounded once on every ISA: for the few places that need the exact product.
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

// exp(x) = 2^n (1 + r + r^2 q), |r| <= 0.35. x must not be far beyond +-150.
struct Exp {
    vec<float> r, q;
    vec_i n;
    LC_INLINE vec<float> s() const { return fma(r * r, q, r); }                             // exp(x) = 2^n (1 + s), s to half a unit
};
LC_INLINE Exp exp_parts(vec<float> x, vec<float>* r_low = nullptr) {
    constexpr float q[] = {0x1p-1f, 0x1.555554p-3f, 0x1.555486p-5f, 0x1.11128p-7f, 0x1.6d945cp-10f, 0x1.9f02dp-13f};
    const vec<float> magic = splat(0x1.8p23f);                                   // adding it rounds to an integer
    const vec<float> shifted = fma(x, splat(0x1.715476p0f), magic), n = shifted - magic;
    const vec<float> exact = fma(n, splat(-kLn2High), x), r = fma(n, splat(-kLn2Low), exact);
    if (r_low) *r_low = fused(n, splat(-kLn2Low), exact - r);                     // what r's rounding lost
    return {r, polynomial(r, q), bits(shifted) - 0x4b400000};
}

LC_INLINE vec<float> clamp_keep_nan(vec<float> x, float lo, float hi) { return min(splat(hi), max(splat(lo), x)); }

}  // namespace detail

// ---- exp and log --------------------------------------------------------------------------------------------------------

LC_INLINE vec<float> exp(vec<float> x) {
    const detail::Exp e = detail::exp_parts(detail::clamp_keep_nan(x, -105.0f, 90.0f));
    return detail::scale(splat(1.0f) + e.s(), e.n);
}

LC_INLINE vec<float> expm1(vec<float> x) {
    const detail::Exp e = detail::exp_parts(detail::clamp_keep_nan(x, -20.0f, 90.0f));
    const vec<float> one = splat(1.0f), p = detail::pow2(e.n < 127 ? e.n : 127);    // 128 takes the other branch
    const vec<float> s = e.s(), y = detail::fused(p, s, p - one);
    const vec<float> large = detail::scale(one + s, e.n);                       // subtracting 1 changes nothing
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

namespace detail {
// The exact quotient's next digits: (a + a_low) / (d + d_low) - q, where q = a / d rounded and r is about 1 / d.
LC_INLINE vec<float> quotient_tail(vec<float> q, vec<float> a, vec<float> a_low, vec<float> d, vec<float> d_low, vec<float> r) {
    return (fused(-q, d, a) + (a_low - q * d_low)) * r;
}
}  // namespace detail

namespace detail {
// sigmoid(x) = y 2^n, n = 0 unless x < 0. Exact to half a unit, subnormal results rounded by whoever scales.
LC_INLINE vec<float> sigmoid_parts(vec<float> x, vec_i& n) {
    const vec<float> one = splat(1.0f);
    const mask<float> negative = x < zero<float>();
    const Exp e = exp_parts(max(splat(-150.0f), -abs(x)));                        // t = exp(-|x|) = 2^n (1 + s), n <= 0
    const vec<float> s = e.s(), p = pow2(e.n > -60 ? e.n : -60);                  // below, 1 + t is 1 in any case
    const vec<float> d_high = one + p, d = fused(p, s, d_high), d_low = fused(p, s, d_high - d) + (p - (d_high - one));
    const vec<float> top = one + s;
    const vec<float> a = select(negative, top, one), a_low = select(negative, s - (top - one), zero<float>());
    const vec<float> q = a / d;                                                   // 1 / (1 + t) or (1 + s) / (1 + t)
    n = negative.m & e.n;
    return q + quotient_tail(q, a, a_low, d, d_low, splat(1.5f) - d * splat(0.5f));
}
}  // namespace detail

LC_INLINE vec<float> sigmoid(vec<float> x) {
    detail::vec_i n;
    const vec<float> y = detail::sigmoid_parts(x, n);
    return select(x == x, detail::scale(y, n), x);
}

// x sigmoid(x) = x e^min(x, 0) / (1 + e^-|x|), scaled last: sigmoid(x) alone would lose its digits below -87.
LC_INLINE vec<float> silu(vec<float> x) {
    using namespace detail;
    const vec<float> one = splat(1.0f);
    const mask<float> negative = x < zero<float>();
    const Exp e = exp_parts(-min(splat(150.0f), abs(x)));
    const vec<float> top = one + e.s(), t = pow2(e.n > -60 ? e.n : -60) * top;    // below, 1 + t is 1 in any case
    const vec<float> y = scale(select(negative, x * top, x) / (one + t), negative.m & e.n);
    return select(x > splat(-150.0f), y, x * zero<float>());
}
LC_INLINE vec<double> silu(vec<double> x) { return x * sigmoid(x); }

LC_INLINE vec<float> tanh(vec<float> x) {
    using namespace detail;
    constexpr float p[] = {-0x1.555554p-2f, 0x1.111066p-3f, -0x1.b9ee9p-5f, 0x1.638b56p-6f, -0x1.0bf4f6p-7f, 0x1.18e1c4p-9f};
    const vec<float> one = splat(1.0f), u = x * x;
    const vec<float> small = fma(x * u, polynomial(u, p), x);

    const Exp e = exp_parts(min(splat(20.0f), abs(x) + abs(x)));                  // 1 - 2 / (exp(2|x|) + 1)
    const vec<float> s = e.s(), scale_n = pow2(e.n), d_high = scale_n + one;
    const vec<float> d = fused(scale_n, s, d_high), d_low = fused(scale_n, s, d_high - d);
    const vec<float> q = splat(2.0f) / d;
    const vec<float> tail = quotient_tail(q, splat(2.0f), zero<float>(), d, d_low, q * splat(0.5f));
    const vec<float> y = one - q;
    const vec<float> large = y + (((one - y) - q) - tail);
    return select(abs(x) < splat(0.625f), small, select(x == x, copy_sign(large, x), x));
}

// ---- erf and the normal distribution ----------------------------------------------------------------------------------------

LC_INLINE vec<float> erf(vec<float> x) {
    using namespace detail;
    constexpr float p[] = {0x1.06eba8p-3f, -0x1.812746p-2f, 0x1.ce2f08p-4f, -0x1.b829a8p-6f, 0x1.5628eep-8f, -0x1.bcbe9ap-11f,
                           0x1.d8268ap-14f, -0x1.4383f4p-17f};
    constexpr float q[] = {0x1.20e482p+0f, 0x1.45a066p-1f, 0x1.ab960ap-4f, -0x1.606e64p-6f, 0x1.03f1fp-9f, 0x1.c46dcep-12f,
                           -0x1.97eb1p-13f, 0x1.00e536p-15f, -0x1.fb3656p-20f};
    const vec<float> one = splat(1.0f), a = min(splat(4.0f), abs(x));             // erf(4) rounds to 1
    const Exp e = exp_parts(-(a * polynomial(a, q)));                             // 1 - erf(a) = exp(-a q(a))
    const vec<float> scale_n = pow2(e.n), large = fma(-scale_n, e.s(), one - scale_n);
    return select(a < one, fma(x, polynomial(x * x, p), x), copy_sign(large, x));
}

namespace detail {
// Phi(-a), a >= 0, as (tail + tail_low) 2^n: the normal distribution's tail with full relative accuracy, and then some.
// density is phi(a) / 2^n.
struct NormalTail {
    vec<float> tail, density;
    vec_i n;
};
LC_INLINE NormalTail normal_tail(vec<float> a) {
    // Phi(-a) exp(a^2 / 2) (a + 3), which varies little, as a polynomial of t = (a - 3) / (a + 3) = 1 - 6 / (a + 3).
    constexpr float c[] = {0x1.754a76p-1f, -0x1.04c72ap-1f, 0x1.d71386p-3f, -0x1.832c82p-5f, -0x1.56d6ccp-7f, 0x1.c8ap-8f, 0x1.0ca814p-10f,
                           -0x1.0d7436p-10f, -0x1.fe56a8p-13f, 0x1.0a590cp-13f, 0x1.b3d8d4p-15f};
    const vec<float> one = splat(1.0f), half = splat(-0.5f), square = a * a;
    const vec<float> square_low = fused(a, a, -square);
    const Exp e = exp_parts(square * half);
    const vec<float> f = one / (a + splat(3.0f));
    const vec<float> ratio = polynomial(fma(f, splat(-6.0f), one), c) * f;
    const vec<float> low = square_low * half, grown = e.s();
    const vec<float> bend = fma(low, one + grown, grown);                         // exp(-a^2 / 2) = 2^n (1 + bend)
    return {fma(ratio, bend, ratio), fma(splat(0x1.988454p-2f), bend, splat(0x1.988454p-2f)), e.n};
}
}  // namespace detail

// x Phi(x): gelu
LC_INLINE vec<float> gelu(vec<float> x) {
    using namespace detail;
    const vec<float> a = min(splat(14.5f), abs(x));                               // Phi(-14.5) is 0 in float
    const NormalTail t = normal_tail(a);
    return max(zero<float>(), x) - scale(t.tail * a, t.n);
}
LC_INLINE vec<double> gelu(vec<double> x) {
    return per_lane(x, [](double v) { return v < -40 ? -0.0 : 0.5 * v * ::erfc(v * -0x1.6a09e667f3bcdp-1); });
}

// Phi(x) + x phi(x): its derivative
LC_INLINE vec<float> gelu_slope(vec<float> x) {
    using namespace detail;
    const vec<float> a = min(splat(14.5f), abs(x));
    const NormalTail t = normal_tail(a);
    const vec<float> left = scale(fma(-a, t.density, t.tail), t.n);               // at -a; at a it is one minus that
    return select(x < zero<float>(), left, splat(1.0f) - left);
}
LC_INLINE vec<double> gelu_slope(vec<double> x) {
    return per_lane(x, [](double v) {
        if (::fabs(v) > 40) return v > 0 ? 1.0 : 0.0;
        return 0.5 * ::erfc(v * -0x1.6a09e667f3bcdp-1) + v * 0x1.9884533d43651p-2 * ::exp(-0.5 * v * v);
    });
}

// ---- sin and cos --------------------------------------------------------------------------------------------------------------

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

LC_INLINE bool any(mask<float> m) {
    int32_t all = 0;
    for (int i = 0; i < lanes<float>; ++i) all |= m.m[i];
    return all != 0;
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
