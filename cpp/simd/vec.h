// vec<T>: one register of T, its width chosen by the ISA the file is compiled for. The only file with intrinsics
// besides its neighbours in cpp/simd; arithmetic uses the compiler's vector extension, which every ISA maps to itself.
//
//   each_vec<T>(n, [&](int64_t i, auto k) { store(y + i, load(x + i, k) * w, k); });
//
// runs the body on full registers and once more on the tail: k is `full` or the number of lanes left. A load of k lanes
// fills the others with zero and touches no memory beyond them; a store writes only k lanes.
#pragma once
#include <cstdint>
#include <cstring>
#include "cpp/core/dtype.h"

#if defined(__AVX2__)
#include <immintrin.h>
#elif defined(__SSE2__)
#include <emmintrin.h>
#elif defined(__ARM_NEON)
#include <arm_neon.h>
#endif

#if defined(__AVX512F__)
#define LC_VEC_BYTES 64
#elif defined(__AVX2__)
#define LC_VEC_BYTES 32
#else
#define LC_VEC_BYTES 16
#endif

namespace lc::cpu::LC_ISA {

struct Full {};
inline constexpr Full full{};                          // all lanes

namespace detail {
template <int bytes> struct int_of;
template <> struct int_of<4> {
    using type = int32_t;
};
template <> struct int_of<8> {
    using type = int64_t;
};
}  // namespace detail

// T: float, double, int32_t, int64_t. The native type is what the vector extension computes on.
template <class T> struct vec {
    typedef T native __attribute__((vector_size(LC_VEC_BYTES)));
    static constexpr int lanes = LC_VEC_BYTES / sizeof(T);
    native v;

    LC_INLINE T operator[](int i) const { return v[i]; }
};

// Lane masks: all bits set where true.
template <class T> struct mask {
    using lane = typename detail::int_of<sizeof(T)>::type;
    typedef lane native __attribute__((vector_size(LC_VEC_BYTES)));
    native m;
};

template <class T> inline constexpr int lanes = vec<T>::lanes;

// ---- arithmetic ---------------------------------------------------------------------------------------------------

template <class T> LC_INLINE vec<T> operator+(vec<T> a, vec<T> b) { return {a.v + b.v}; }
template <class T> LC_INLINE vec<T> operator-(vec<T> a, vec<T> b) { return {a.v - b.v}; }
template <class T> LC_INLINE vec<T> operator*(vec<T> a, vec<T> b) { return {a.v * b.v}; }
template <class T> LC_INLINE vec<T> operator/(vec<T> a, vec<T> b) { return {a.v / b.v}; }
template <class T> LC_INLINE vec<T> operator-(vec<T> a) { return {-a.v}; }

template <class T> LC_INLINE mask<T> operator<(vec<T> a, vec<T> b) { return {a.v < b.v}; }
template <class T> LC_INLINE mask<T> operator<=(vec<T> a, vec<T> b) { return {a.v <= b.v}; }
template <class T> LC_INLINE mask<T> operator>(vec<T> a, vec<T> b) { return {a.v > b.v}; }
template <class T> LC_INLINE mask<T> operator>=(vec<T> a, vec<T> b) { return {a.v >= b.v}; }
template <class T> LC_INLINE mask<T> operator==(vec<T> a, vec<T> b) { return {a.v == b.v}; }
template <class T> LC_INLINE mask<T> operator!=(vec<T> a, vec<T> b) { return {a.v != b.v}; }
template <class T> LC_INLINE mask<T> operator&(mask<T> a, mask<T> b) { return {a.m & b.m}; }
template <class T> LC_INLINE mask<T> operator|(mask<T> a, mask<T> b) { return {a.m | b.m}; }
template <class T> LC_INLINE mask<T> operator~(mask<T> a) { return {~a.m}; }

// a where the mask is set, b elsewhere
template <class T> LC_INLINE vec<T> select(mask<T> m, vec<T> a, vec<T> b) { return {m.m ? a.v : b.v}; }

template <class T> LC_INLINE vec<T> splat(T x) { return {x - typename vec<T>::native{}}; }
template <class T> LC_INLINE vec<T> zero() { return {typename vec<T>::native{}}; }

// Bits of one type read as another of the same width.
template <class To, class From> LC_INLINE vec<To> bits_as(vec<From> a) {
    static_assert(sizeof(To) == sizeof(From));
    return {reinterpret_cast<typename vec<To>::native>(a.v)};
}

template <class T> LC_INLINE vec<T> fma(vec<T> a, vec<T> b, vec<T> c) {       // a * b + c; rounded once where the ISA has it
#if defined(__AVX512F__)
    if constexpr (sizeof(T) == 4) return {(typename vec<T>::native)_mm512_fmadd_ps((__m512)a.v, (__m512)b.v, (__m512)c.v)};
    else return {(typename vec<T>::native)_mm512_fmadd_pd((__m512d)a.v, (__m512d)b.v, (__m512d)c.v)};
#elif defined(__AVX2__)
    if constexpr (sizeof(T) == 4) return {(typename vec<T>::native)_mm256_fmadd_ps((__m256)a.v, (__m256)b.v, (__m256)c.v)};
    else return {(typename vec<T>::native)_mm256_fmadd_pd((__m256d)a.v, (__m256d)b.v, (__m256d)c.v)};
#elif defined(__ARM_NEON)
    if constexpr (sizeof(T) == 4) return {(typename vec<T>::native)vfmaq_f32((float32x4_t)c.v, (float32x4_t)a.v, (float32x4_t)b.v)};
    else return {(typename vec<T>::native)vfmaq_f64((float64x2_t)c.v, (float64x2_t)a.v, (float64x2_t)b.v)};
#else
    return a * b + c;
#endif
}

// max and min return b where either is NaN, as the hardware does; max_nan and min_nan return NaN.
// On x86 by intrinsics: with a constant, GCC makes a comparison and a blend of the other form.
template <class T> LC_INLINE vec<T> max(vec<T> a, vec<T> b) {
#if defined(__AVX512F__)
    if constexpr (std::is_same_v<T, float>) return {(typename vec<T>::native)_mm512_max_ps((__m512)a.v, (__m512)b.v)};
    if constexpr (std::is_same_v<T, double>) return {(typename vec<T>::native)_mm512_max_pd((__m512d)a.v, (__m512d)b.v)};
#elif defined(__AVX2__)
    if constexpr (std::is_same_v<T, float>) return {(typename vec<T>::native)_mm256_max_ps((__m256)a.v, (__m256)b.v)};
    if constexpr (std::is_same_v<T, double>) return {(typename vec<T>::native)_mm256_max_pd((__m256d)a.v, (__m256d)b.v)};
#endif
    return {a.v > b.v ? a.v : b.v};
}
template <class T> LC_INLINE vec<T> min(vec<T> a, vec<T> b) {
#if defined(__AVX512F__)
    if constexpr (std::is_same_v<T, float>) return {(typename vec<T>::native)_mm512_min_ps((__m512)a.v, (__m512)b.v)};
    if constexpr (std::is_same_v<T, double>) return {(typename vec<T>::native)_mm512_min_pd((__m512d)a.v, (__m512d)b.v)};
#elif defined(__AVX2__)
    if constexpr (std::is_same_v<T, float>) return {(typename vec<T>::native)_mm256_min_ps((__m256)a.v, (__m256)b.v)};
    if constexpr (std::is_same_v<T, double>) return {(typename vec<T>::native)_mm256_min_pd((__m256d)a.v, (__m256d)b.v)};
#endif
    return {a.v < b.v ? a.v : b.v};
}
template <class T> LC_INLINE vec<T> max_nan(vec<T> a, vec<T> b) { return select(a == a, max(a, b), a); }
template <class T> LC_INLINE vec<T> min_nan(vec<T> a, vec<T> b) { return select(a == a, min(a, b), a); }

template <class T> LC_INLINE vec<T> abs(vec<T> a) {
    using I = typename mask<T>::lane;
    return bits_as<T>(vec<I>{bits_as<I>(a).v & ~(I(1) << (8 * sizeof(T) - 1))});
}

template <class T> LC_INLINE vec<T> sqrt(vec<T> a) {
#if defined(__AVX512F__)
    if constexpr (sizeof(T) == 4) return {(typename vec<T>::native)_mm512_sqrt_ps((__m512)a.v)};
    else return {(typename vec<T>::native)_mm512_sqrt_pd((__m512d)a.v)};
#elif defined(__AVX2__)
    if constexpr (sizeof(T) == 4) return {(typename vec<T>::native)_mm256_sqrt_ps((__m256)a.v)};
    else return {(typename vec<T>::native)_mm256_sqrt_pd((__m256d)a.v)};
#elif defined(__SSE2__)
    if constexpr (sizeof(T) == 4) return {(typename vec<T>::native)_mm_sqrt_ps((__m128)a.v)};
    else return {(typename vec<T>::native)_mm_sqrt_pd((__m128d)a.v)};
#elif defined(__ARM_NEON)
    if constexpr (sizeof(T) == 4) return {(typename vec<T>::native)vsqrtq_f32((float32x4_t)a.v)};
    else return {(typename vec<T>::native)vsqrtq_f64((float64x2_t)a.v)};
#else
    for (int i = 0; i < lanes<T>; ++i) a.v[i] = sizeof(T) == 4 ? T(__builtin_sqrtf(float(a.v[i]))) : T(__builtin_sqrt(a.v[i]));
    return a;
#endif
}

// ---- memory -------------------------------------------------------------------------------------------------------

template <class T> LC_INLINE vec<T> load(const T* p, Full = {}) {
    typename vec<T>::native v;                        // not a vec<T>: GCC takes a struct of integers through memory
    std::memcpy(&v, p, sizeof v);
    return {v};
}
template <class T> LC_INLINE void store(T* p, vec<T> a, Full = {}) { std::memcpy(p, &a.v, sizeof a.v); }

namespace detail {
#if defined(__AVX2__) && !defined(__AVX512F__)
// Lanes 0..k-1 set, for maskload and maskstore.
alignas(64) static constexpr int32_t kHead32[16] = {-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0};
LC_INLINE __m256i head(int k, int bytes) {
    return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(kHead32 + 8 - (bytes == 4 ? k : 2 * k)));
}
#endif
}  // namespace detail

template <class T> LC_INLINE vec<T> load(const T* p, int k) {
    [[maybe_unused]] typedef typename vec<T>::native N;
#if defined(__AVX512F__)
    if constexpr (sizeof(T) == 4) return {(N)_mm512_maskz_loadu_ps(__mmask16((1u << k) - 1), p)};
    else return {(N)_mm512_maskz_loadu_pd(__mmask8((1u << k) - 1), p)};
#elif defined(__AVX2__)
    if constexpr (sizeof(T) == 4) return {(N)_mm256_maskload_epi32(reinterpret_cast<const int*>(p), detail::head(k, 4))};
    else return {(N)_mm256_maskload_epi64(reinterpret_cast<const long long*>(p), detail::head(k, 8))};
#else
    T lane[vec<T>::lanes] = {};
    for (int i = 0; i < k; ++i) lane[i] = p[i];
    return load(lane);
#endif
}

template <class T> LC_INLINE void store(T* p, vec<T> a, int k) {
#if defined(__AVX512F__)
    if constexpr (sizeof(T) == 4) _mm512_mask_storeu_ps(p, __mmask16((1u << k) - 1), (__m512)a.v);
    else _mm512_mask_storeu_pd(p, __mmask8((1u << k) - 1), (__m512d)a.v);
#elif defined(__AVX2__)
    if constexpr (sizeof(T) == 4) _mm256_maskstore_epi32(reinterpret_cast<int*>(p), detail::head(k, 4), (__m256i)a.v);
    else _mm256_maskstore_epi64(reinterpret_cast<long long*>(p), detail::head(k, 8), (__m256i)a.v);
#else
    for (int i = 0; i < k; ++i) p[i] = a.v[i];
#endif
}

// 16-bit storage: lanes<float> elements widen to one vec<float>, and round to nearest even on the way back.
LC_INLINE vec<float> load(const bfloat16* p, Full = {}) {
    constexpr int n = lanes<float>;
    using half = uint16_t __attribute__((vector_size(2 * n)));
    using wide = uint32_t __attribute__((vector_size(4 * n)));
    half h;
    std::memcpy(&h, p, sizeof h);
    return {(vec<float>::native)(__builtin_convertvector(h, wide) << 16)};
}
LC_INLINE vec<float> load(const float16* p, Full = {}) {
#if defined(__AVX512F__)
    return {(vec<float>::native)_mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)))};
#elif defined(__F16C__)
    return {(vec<float>::native)_mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)))};
#elif defined(__ARM_NEON)
    return {(vec<float>::native)vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(&p->bits)))};
#else
    vec<float> r;
    for (int i = 0; i < lanes<float>; ++i) r.v[i] = to_float(p[i]);
    return r;
#endif
}
LC_INLINE void store(bfloat16* p, vec<float> a, Full = {}) {
    constexpr int n = lanes<float>;
    using half = uint16_t __attribute__((vector_size(2 * n)));
    using wide = uint32_t __attribute__((vector_size(4 * n)));
    const wide u = (wide)a.v;
    const wide rounded = (u + 0x7fff + ((u >> 16) & 1)) >> 16, quiet = (u >> 16) | 0x40;
    const half h = __builtin_convertvector((u & 0x7fffffff) > 0x7f800000 ? quiet : rounded, half);
    std::memcpy(p, &h, sizeof h);
}
LC_INLINE void store(float16* p, vec<float> a, Full = {}) {
#if defined(__AVX512F__)
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_cvtps_ph((__m512)a.v, _MM_FROUND_TO_NEAREST_INT));
#elif defined(__F16C__)
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm256_cvtps_ph((__m256)a.v, _MM_FROUND_TO_NEAREST_INT));
#elif defined(__ARM_NEON)
    vst1_u16(&p->bits, vreinterpret_u16_f16(vcvt_f16_f32((float32x4_t)a.v)));
#else
    for (int i = 0; i < lanes<float>; ++i) p[i] = from_float<float16>(a.v[i]);
#endif
}
LC_INLINE vec<float> load(const bfloat16* p, int k) {
    bfloat16 lane[lanes<float>] = {};
    for (int i = 0; i < k; ++i) lane[i] = p[i];
    return load(lane);
}
LC_INLINE vec<float> load(const float16* p, int k) {
    float16 lane[lanes<float>] = {};
    for (int i = 0; i < k; ++i) lane[i] = p[i];
    return load(lane);
}
LC_INLINE void store(bfloat16* p, vec<float> a, int k) {
    bfloat16 lane[lanes<float>];
    store(lane, a);
    for (int i = 0; i < k; ++i) p[i] = lane[i];
}
LC_INLINE void store(float16* p, vec<float> a, int k) {
    float16 lane[lanes<float>];
    store(lane, a);
    for (int i = 0; i < k; ++i) p[i] = lane[i];
}

// ---- across lanes: a fixed tree, so the same bits every time ---------------------------------------------------------

namespace detail {
template <class T, class F> LC_INLINE T fold(vec<T> a, F f) {
    T lane[vec<T>::lanes];
    std::memcpy(lane, &a, sizeof a);
    for (int half = vec<T>::lanes / 2; half > 0; half /= 2)
        for (int i = 0; i < half; ++i) lane[i] = f(lane[i], lane[i + half]);
    return lane[0];
}
}  // namespace detail
template <class T> LC_INLINE T sum(vec<T> a) {
    return detail::fold(a, [](T x, T y) { return x + y; });
}
template <class T> LC_INLINE T max_of(vec<T> a) {
    return detail::fold(a, [](T x, T y) { return x > y || x != x ? x : y; });
}   // NaN wins
template <class T> LC_INLINE T min_of(vec<T> a) {
    return detail::fold(a, [](T x, T y) { return x < y || x != x ? x : y; });
}

// The first k lanes of a, the rest of b: to keep a tail's padding out of a reduction.
template <class T> LC_INLINE vec<T> first(vec<T> a, Full, vec<T>) { return a; }
template <class T> LC_INLINE vec<T> first(vec<T> a, int k, vec<T> b) {
    typename mask<T>::native index;
    for (int i = 0; i < vec<T>::lanes; ++i) index[i] = i;
    return select(mask<T>{index < k}, a, b);
}

template <class T, class F> LC_INLINE void each_vec(int64_t n, F&& f) {
    int64_t i = 0;
    for (; i + lanes<T> <= n; i += lanes<T>) f(i, full);
    if (i < n) f(i, int(n - i));
}

}  // namespace lc::cpu::LC_ISA
