// Small signed integers. Of 8 bits, 16 at a time, as registers of float: they come multiplied by the place of their sign bit
// in 32, 2^24, which spares extending it; scales are divided by that. Of 4 bits, two to a byte, as integers, with exact sums
// of their products; 32 bytes whatever the ISA.
#pragma once
#include <cstring>
#include <utility>
#include "cpp/simd/vec.h"

namespace lc::cpu::LC_ISA {

inline constexpr int code_vecs = 16 / lanes<float>;               // registers that 16 codes fill
inline constexpr float code_unit = 0x1p24f;

namespace detail {

// 16 bytes; on AVX2 twice, as a load repeats them for nothing and shuffles stay within halves.
#if defined(__AVX2__) && !defined(__AVX512F__)
typedef uint8_t bytes16 __attribute__((vector_size(32)));
LC_INLINE bytes16 load_bytes(const uint8_t* p) { return (bytes16)_mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))); }
#else
typedef uint8_t bytes16 __attribute__((vector_size(16)));
LC_INLINE bytes16 load_bytes(const uint8_t* p) {
    bytes16 b;
    std::memcpy(&b, p, sizeof b);
    return b;
}
#endif
typedef float part4 __attribute__((vector_size(16)));

// Byte `first + i` at the top of lane i, as float.
template <int first, size_t... i> LC_INLINE vec<float> raised(bytes16 b, std::index_sequence<i...>) {
#if defined(__AVX512F__)
    return {(vec<float>::native)_mm512_cvtepi32_ps(_mm512_slli_epi32(_mm512_cvtepu8_epi32((__m128i)b), 24))};
#elif defined(__AVX2__)
    constexpr char top[16] = {first, first + 1, first + 2, first + 3, first + 4, first + 5, first + 6, first + 7};
    const __m256i place = _mm256_setr_epi8(-1, -1, -1, top[0], -1, -1, -1, top[1], -1, -1, -1, top[2], -1, -1, -1, top[3],
                                           -1, -1, -1, top[4], -1, -1, -1, top[5], -1, -1, -1, top[6], -1, -1, -1, top[7]);
    return {(vec<float>::native)_mm256_cvtepi32_ps(_mm256_shuffle_epi8((__m256i)b, place))};
#else
    const typename vec<int32_t>::native whole = {int32_t(uint32_t(b[first + i]) << 24)...};
    return {__builtin_convertvector(whole, vec<float>::native)};
#endif
}
template <size_t... v> LC_INLINE void raise(bytes16 b, vec<float> (&r)[size_t(code_vecs)], std::index_sequence<v...>) {
    ((r[v] = raised<int(v) * lanes<float>>(b, std::make_index_sequence<size_t(lanes<float>)>())), ...);
}

template <int first, size_t... i> LC_INLINE vec<float> repeated(part4 s, std::index_sequence<i...>) {
    return {__builtin_shufflevector(s, s, ((first + int(i)) / 4)...)};
}
template <size_t... v> LC_INLINE void repeat(part4 s, vec<float> (&r)[size_t(code_vecs)], std::index_sequence<v...>) {
    ((r[v] = repeated<int(v) * lanes<float>>(s, std::make_index_sequence<size_t(lanes<float>)>())), ...);
}

}  // namespace detail

LC_INLINE void load_codes8(const uint8_t* p, vec<float> (&r)[size_t(code_vecs)]) {
    detail::raise(detail::load_bytes(p), r, std::make_index_sequence<size_t(code_vecs)>());
}

// Each of four numbers four times.
LC_INLINE void load_repeated(const float* p, vec<float> (&r)[size_t(code_vecs)]) {
    detail::part4 s;
    std::memcpy(&s, p, sizeof s);
    detail::repeat(s, r, std::make_index_sequence<size_t(code_vecs)>());
}

// ---- 4 bits -------------------------------------------------------------------------------------------------------

typedef uint8_t codes32 __attribute__((vector_size(32)));
typedef int16_t sums16 __attribute__((vector_size(32)));
typedef int32_t sums8 __attribute__((vector_size(32)));
typedef float floats8 __attribute__((vector_size(32)));

// 16 bytes from each of two places: 8 more than the codes in their low halves, and in their high ones.
LC_INLINE void load_codes4(const uint8_t* p, const uint8_t* q, codes32& low, codes32& high) {
#if defined(__AVX2__)                                              // GCC does not join a load with an insertion by itself
    const __m256i first = _mm256_castsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
    const codes32 b = (codes32)_mm256_inserti128_si256(first, _mm_loadu_si128(reinterpret_cast<const __m128i*>(q)), 1) ^ 0x88;
#else
    codes32 b;
    std::memcpy(&b, p, 16);
    std::memcpy(reinterpret_cast<char*>(&b) + 16, q, 16);
    b ^= 0x88;
#endif
    typedef uint16_t words __attribute__((vector_size(32)));
    low = b & 15;
    high = (codes32)((words)b >> 4) & 15;
}

// sums[i] += codes[2i] x[2i % 4] + codes[2i + 1] x[2i % 4 + 1]
LC_INLINE void add_products(sums16& sums, const codes32& codes, const int8_t* x) {
    int32_t four;
    std::memcpy(&four, x, sizeof four);
    const sums8 repeated = four - sums8{};
#if defined(__AVX2__)
    sums += (sums16)_mm256_maddubs_epi16((__m256i)codes, (__m256i)repeated);
#else
    const sums16 c = (sums16)codes, r = (sums16)repeated;          // codes are below 128
    sums += (c & 255) * (r << 8 >> 8) + (c >> 8) * (r >> 8);
#endif
}

// Adjacent sums added.
LC_INLINE void add_pairs(const sums16& sums, sums8& r) {
#if defined(__AVX2__)
    r = (sums8)_mm256_madd_epi16((__m256i)sums, _mm256_set1_epi16(1));
#else
    r = ((sums8)sums << 16 >> 16) + ((sums8)sums >> 16);
#endif
}

}  // namespace lc::cpu::LC_ISA
