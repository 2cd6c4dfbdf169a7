// Philox4x32-10 on registers: the words of cpp/core/random.h, 64 at a time.
#pragma once
#include "cpp/core/random.h"
#include "cpp/simd/vec.h"

namespace lc::cpu::LC_ISA {

typedef uint32_t words __attribute__((vector_size(LC_VEC_BYTES)));
constexpr int kWordGroup = 64;

namespace detail {

// The high and low halves of a * m in every lane.
LC_INLINE void multiply_wide(words a, uint32_t m, words& high, words& low) {
    low = a * m;
#if defined(__AVX512F__)
    const __m512i x = (__m512i)a, f = _mm512_set1_epi64(m);
    const __m512i even = _mm512_mul_epu32(x, f), odd = _mm512_mul_epu32(_mm512_srli_epi64(x, 32), f);
    high = (words)_mm512_mask_blend_epi32(0xAAAA, _mm512_srli_epi64(even, 32), odd);
#elif defined(__AVX2__)
    const __m256i x = (__m256i)a, f = _mm256_set1_epi64x(m);
    const __m256i even = _mm256_mul_epu32(x, f), odd = _mm256_mul_epu32(_mm256_srli_epi64(x, 32), f);
    high = (words)_mm256_blend_epi32(_mm256_srli_epi64(even, 32), odd, 0xAA);
#else
    for (int i = 0; i < int(sizeof(words) / 4); ++i) high[i] = uint32_t(uint64_t(a[i]) * m >> 32);
#endif
}

LC_INLINE void philox_blocks(RandomKey key, uint64_t first, words (&c)[4]) {
    constexpr int n = sizeof(words) / 4;
    for (int i = 0; i < n; ++i) c[0][i] = uint32_t(first) + uint32_t(i);           // 16 blocks never straddle 2^32
    const words none = {};
    c[1] = none + uint32_t(first >> 32);
    c[2] = none + uint32_t(key.offset);
    c[3] = none + uint32_t(key.offset >> 32);
    uint32_t k0 = uint32_t(key.seed), k1 = uint32_t(key.seed >> 32);
    for (int round = 0; round < 10; ++round) {
        words a_high, a_low, b_high, b_low;
        multiply_wide(c[0], 0xD2511F53u, a_high, a_low);
        multiply_wide(c[2], 0xCD9E8D57u, b_high, b_low);
        c[0] = b_high ^ c[1] ^ k0;
        c[1] = b_low;
        c[2] = a_high ^ c[3] ^ k1;
        c[3] = a_low;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
}

}  // namespace detail

// Words 64 group .. 64 group + 63 of a key.
LC_INLINE void random_words(RandomKey key, int64_t group, uint32_t (&out)[kWordGroup]) {
    constexpr int n = sizeof(words) / 4;
    for (int part = 0; part < 16; part += n) {
        words c[4];
        detail::philox_blocks(key, uint64_t(group) * 16 + uint64_t(part), c);
        for (int w = 0; w < 4; ++w) memcpy(out + 16 * w + part, &c[w], sizeof(words));
    }
}

// Uniform in [0, 1): the top 24 bits, each multiple of 2^-24 equally likely.
LC_INLINE vec<float> uniform(const uint32_t* word) {
    words w;
    memcpy(&w, word, sizeof w);
    typedef int32_t signed_words __attribute__((vector_size(LC_VEC_BYTES)));
    return vec<float>{__builtin_convertvector((signed_words)(w >> 8), vec<float>::native)} * splat(0x1p-24f);
}

}  // namespace lc::cpu::LC_ISA
