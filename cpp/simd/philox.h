// Philox4x32-10 on registers: the words of cpp/core/random.h, 64 at a time.
//
// A 32-bit word lives in the low half of a 64-bit lane, where the multiplication wants its operands and leaves its low
// half; even blocks stand in one register, odd ones in another. 7 operations a round for as many words as a register
// holds halves. Blocks of a task differ in their lowest word alone, so half of the first two rounds is the same for all.
#pragma once
#include "cpp/core/random.h"
#include "cpp/simd/transpose.h"
#include "cpp/simd/vec.h"

namespace lc::cpu::LC_ISA {

typedef uint32_t words __attribute__((vector_size(LC_VEC_BYTES)));
constexpr int kWordGroup = 64;

class RandomWords {
public:
    // For groups with the bits of `group` from 28 on: all of a task.
    LC_INLINE RandomWords(RandomKey key, int64_t group) {
        constexpr wides none = {};
        const uint64_t high = uint64_t(group) >> 28;
        uint32_t k[2] = {uint32_t(key.seed), uint32_t(key.seed >> 32)};
        const uint64_t b = kFactor[1] * uint32_t(key.offset);          // round 0, as far as it is the same for all blocks
        const uint32_t c0 = uint32_t(b >> 32) ^ uint32_t(high) ^ k[0], c1 = uint32_t(b);
        first_ = none + uint64_t(uint32_t(key.offset >> 32) ^ k[1]);
        const uint64_t a = kFactor[0] * c0;                            // and round 1
        advance(k);
        second_[0] = none + uint64_t(c1 ^ k[0]);
        second_[2] = none + uint64_t(uint32_t(a >> 32) ^ k[1]);
        second_[1] = none + uint64_t(uint32_t(a));
        for (auto& round : key_) {
            advance(k);
            round[0] = none + uint64_t(k[0]);
            round[1] = none + uint64_t(k[1]);
        }
    }

    // Words 64 group .. 64 group + 63
    LC_INLINE void operator()(int64_t group, uint32_t (&out)[kWordGroup]) const {
        constexpr int n = sizeof(words) / 4;
        wides count;
        for (int i = 0; i < n / 2; ++i) count[i] = uint64_t(2 * i);
        for (int part = 0; part < 16; part += n) {
            wides c[4][2];
            for (int odd = 0; odd < 2; ++odd) {
                const wides a = multiply(count + uint64_t(uint32_t(group) * 16u + uint32_t(part + odd)), kFactor[0]);
                const wides c2 = (a >> 32) ^ first_, b = multiply(c2, kFactor[1]);
                c[0][odd] = (b >> 32) ^ second_[0];
                c[1][odd] = b;
                c[2][odd] = a ^ second_[2];
                c[3][odd] = second_[1];
            }
#pragma GCC unroll 8
            for (const auto& key : key_)
#pragma GCC unroll 2
                for (int odd = 0; odd < 2; ++odd) {
                    const wides a = multiply(c[0][odd], kFactor[0]), b = multiply(c[2][odd], kFactor[1]);
                    c[0][odd] = (b >> 32) ^ (c[1][odd] ^ key[0]);
                    c[1][odd] = b;
                    c[2][odd] = (a >> 32) ^ (c[3][odd] ^ key[1]);
                    c[3][odd] = a;
                }
            for (int w = 0; w < 4; ++w) {
                const words joined = join(c[w][0], c[w][1]);
                memcpy(out + 16 * w + part, &joined, sizeof joined);
            }
        }
    }

private:
    typedef uint64_t wides __attribute__((vector_size(LC_VEC_BYTES)));
    static constexpr uint64_t kFactor[2] = {0xD2511F53u, 0xCD9E8D57u};

    LC_INLINE static void advance(uint32_t (&k)[2]) {
        k[0] += 0x9E3779B9u;
        k[1] += 0xBB67AE85u;
    }
    // Of the low halves.
    LC_INLINE static wides multiply(wides a, uint64_t m) {
        const wides b = wides{} + m;
#if defined(__AVX512F__)
        return (wides)_mm512_mul_epu32((__m512i)a, (__m512i)b);
#elif defined(__AVX2__)
        return (wides)_mm256_mul_epu32((__m256i)a, (__m256i)b);
#elif defined(__SSE2__)
        return (wides)_mm_mul_epu32((__m128i)a, (__m128i)b);
#elif defined(__ARM_NEON)
        return (wides)vmull_u32(vmovn_u64((uint64x2_t)a), vmovn_u64((uint64x2_t)b));
#else
        return (a & 0xffffffffu) * b;
#endif
    }
    struct LowHalves {
        static constexpr int at(int i) { return i % 2 ? lanes<int32_t> + i - 1 : i; }
    };
    LC_INLINE static words join(wides even, wides odd) {
        return (words)detail::shuffle<LowHalves>(vec<int32_t>{(vec<int32_t>::native)even}, vec<int32_t>{(vec<int32_t>::native)odd}).v;
    }

    wides first_, second_[3], key_[8][2];
};

LC_INLINE void random_words(RandomKey key, int64_t group, uint32_t (&out)[kWordGroup]) { RandomWords(key, group)(group, out); }

// Uniform in [0, 1): the top 24 bits, each multiple of 2^-24 equally likely.
LC_INLINE vec<float> uniform(const uint32_t* word) {
    words w;
    memcpy(&w, word, sizeof w);
    typedef int32_t signed_words __attribute__((vector_size(LC_VEC_BYTES)));
    return vec<float>{__builtin_convertvector((signed_words)(w >> 8), vec<float>::native)} * splat(0x1p-24f);
}

}  // namespace lc::cpu::LC_ISA
