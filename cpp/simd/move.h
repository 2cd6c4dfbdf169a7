// Runs of elements moved unread: copied, filled, reversed, and streamed past the caches.
#pragma once
#include "cpp/simd/transpose.h"
#include "cpp/simd/vec.h"

namespace lc::cpu::LC_ISA {
namespace detail {

typedef char bytes __attribute__((vector_size(LC_VEC_BYTES)));

LC_INLINE bytes load_bytes(const char* p) {
    bytes r;
    memcpy(&r, p, sizeof r);
    return r;
}
LC_INLINE void store_bytes(char* p, bytes a) { memcpy(p, &a, sizeof a); }
LC_INLINE void stream_bytes(char* p, bytes a) {       // p: aligned
#if defined(__AVX512F__)
    _mm512_stream_si512(reinterpret_cast<__m512i*>(p), (__m512i)a);
#elif defined(__AVX2__)
    _mm256_stream_si256(reinterpret_cast<__m256i*>(p), (__m256i)a);
#elif defined(__SSE2__)
    _mm_stream_si128(reinterpret_cast<__m128i*>(p), (__m128i)a);
#else
    store_bytes(p, a);
#endif
}

}  // namespace detail

template <class T> LC_INLINE void stream(T* p, vec<T> a) { detail::stream_bytes(reinterpret_cast<char*>(p), (detail::bytes)a.v); }   // p: aligned

// From so many bytes of operands on, results go past the caches (of 32 MiB); not those written in place, which are read anyway.
constexpr int64_t kPastCaches = 24 << 20;
template <class T> LC_INLINE bool streams(const T* y, bool past_caches) { return past_caches && reinterpret_cast<uintptr_t>(y) % LC_VEC_BYTES == 0; }
// k lanes of a, streamed where they are all and of y's own type.
template <class T, class A, class K> LC_INLINE void put(T* y, vec<A> a, K k, bool streamed) {
    if constexpr (sizeof(T) == sizeof(A) && sizeof(K) == sizeof(Full))
        if (streamed) return stream(y, a);
    store(y, a, k);
}

// y[0..n) = x[0..n), which do not overlap. A loop of registers: for rows of 1 to 8 KB 1.2x as fast as memcpy.
template <class T> LC_INLINE void copy_run(const T* from, T* to, int64_t n) {
    constexpr int64_t w = LC_VEC_BYTES;
    const char* x = reinterpret_cast<const char*>(from);
    char* y = reinterpret_cast<char*>(to);
    const int64_t size = n * int64_t(sizeof(T));
    if (size < w) {
        for (int64_t i = 0; i < n; ++i) to[i] = from[i];
        return;
    }
    int64_t i = 0;
    for (; i + 4 * w <= size; i += 4 * w) {
        const detail::bytes a = detail::load_bytes(x + i), b = detail::load_bytes(x + i + w);
        const detail::bytes c = detail::load_bytes(x + i + 2 * w), d = detail::load_bytes(x + i + 3 * w);
        detail::store_bytes(y + i, a);
        detail::store_bytes(y + i + w, b);
        detail::store_bytes(y + i + 2 * w, c);
        detail::store_bytes(y + i + 3 * w, d);
    }
    for (; i + w <= size; i += w) detail::store_bytes(y + i, detail::load_bytes(x + i));
    if (i < size) detail::store_bytes(y + size - w, detail::load_bytes(x + size - w));
}

// The same around the caches: y is not read before it is written, and is in memory afterwards. Worth it where x and y
// together exceed the last-level cache; 1.4x there, and half as fast where y would have been found in it.
template <class T> LC_INLINE void stream_run(const T* from, T* to, int64_t n) {
    constexpr int64_t w = LC_VEC_BYTES;
    const int64_t head = int64_t(-reinterpret_cast<uintptr_t>(to) % uint64_t(w) / sizeof(T));
    if (n < head + 4 * w || reinterpret_cast<uintptr_t>(to) % sizeof(T) != 0) return copy_run(from, to, n);
    copy_run(from, to, head);
    const char* x = reinterpret_cast<const char*>(from + head);
    char* y = reinterpret_cast<char*>(to + head);
    const int64_t size = (n - head) * int64_t(sizeof(T)), whole = size / (2 * w) * (2 * w);
    for (int64_t i = 0; i < whole; i += 2 * w) {
        const detail::bytes a = detail::load_bytes(x + i), b = detail::load_bytes(x + i + w);
        detail::stream_bytes(y + i, a);
        detail::stream_bytes(y + i + w, b);
    }
    copy_run(reinterpret_cast<const T*>(x + whole), reinterpret_cast<T*>(y + whole), (size - whole) / int64_t(sizeof(T)));
}

// Streamed writes are seen by other threads after this.
LC_INLINE void end_stream() {
#if defined(__SSE2__)
    _mm_sfence();
#endif
}

template <class T> LC_INLINE void fill_run(T value, T* to, int64_t n) {
    constexpr int64_t w = LC_VEC_BYTES, l = w / int64_t(sizeof(T));
    if (n < l) {
        for (int64_t i = 0; i < n; ++i) to[i] = value;
        return;
    }
    T lane[l];
    for (int64_t i = 0; i < l; ++i) lane[i] = value;
    const detail::bytes v = detail::load_bytes(reinterpret_cast<const char*>(lane));
    char* y = reinterpret_cast<char*>(to);
    int64_t i = 0;
    for (; i + 4 * l <= n; i += 4 * l, y += 4 * w)
        for (int k = 0; k < 4; ++k) detail::store_bytes(y + k * w, v);
    for (; i + l <= n; i += l, y += w) detail::store_bytes(y, v);
    detail::store_bytes(reinterpret_cast<char*>(to + n - l), v);
}

// y[i] = x[-i]
template <class T> LC_INLINE void reverse_run(const T* x, T* y, int64_t n) {
    int64_t i = 0;
    if constexpr (sizeof(T) >= 4) {
        struct Reversed {
            static constexpr int at(int i) { return lanes<T> - 1 - i; }
        };
        for (; i + lanes<T> <= n; i += lanes<T>) {
            const vec<T> v = load(x - i - lanes<T> + 1);
            store(y + i, detail::shuffle<Reversed>(v, v));
        }
    }
    for (; i < n; ++i) y[i] = x[-i];
}

// Two registers, rounded as one is: fewer steps than twice one, since the halves need not be narrowed one by one.
LC_INLINE void store(bfloat16* p, vec<float> a, vec<float> b) {
    const auto rounded = [](vec<float> x) {           // in the upper half
        const vec<int32_t> u = bits_as<int32_t>(x), odd{(u.v >> 16) & 1};
        const vec<int32_t> r = u + odd + splat(0x7fff), quiet{u.v | 0x400000};
        return vec<uint16_t>{(vec<uint16_t>::native)select(mask<int32_t>{(x == x).m}, r, quiet).v};
    };
    const auto halves = detail::shuffle<detail::EverySecond<uint16_t, 1>>(rounded(a), rounded(b)).v;
    memcpy(p, &halves, sizeof halves);
}

}  // namespace lc::cpu::LC_ISA
