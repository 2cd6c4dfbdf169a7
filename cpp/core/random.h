// Random numbers: Philox4x32-10, counter based. A random op takes one key (seed and offset); element i of its result is
// a function of (seed, offset, i) alone, so any number of threads, and any device, gives the same numbers.
//
// Words of 32 random bits come in groups of 64 made from 16 blocks of 4, laid out so that vectors need no shuffle:
// word i is word (i / 16) % 4 of block (i / 64) * 16 + i % 16.
#pragma once
#include <cstdint>
#include <mutex>
#include "cpp/core/macros.h"
#include "cpp/core/ref.h"

namespace lc {

struct RandomKey {
    uint64_t seed = 0, offset = 0;
};

// Where keys come from. Ops that may be given one take keys of the default generator where they are given none.
class LC_API Generator final : public RefCounted {
public:
    RandomKey next();                                 // the offset goes up by one
    RandomKey state() const;                          // the key the next op will take
    void set_state(RandomKey);

private:
    mutable std::mutex mutex_;
    RandomKey state_;
};
LC_API const Ref<Generator>& default_generator();

inline RandomKey next_random_key(Generator* from = nullptr) { return (from ? from : default_generator().get())->next(); }

struct PhiloxBlock {
    uint32_t word[4];
};

LC_INLINE PhiloxBlock philox(RandomKey key, uint64_t block) {
    uint32_t c0 = uint32_t(block), c1 = uint32_t(block >> 32), c2 = uint32_t(key.offset), c3 = uint32_t(key.offset >> 32);
    uint32_t k0 = uint32_t(key.seed), k1 = uint32_t(key.seed >> 32);
    for (int round = 0; round < 10; ++round) {
        const uint64_t a = uint64_t(0xD2511F53u) * c0, b = uint64_t(0xCD9E8D57u) * c2;
        c0 = uint32_t(b >> 32) ^ c1 ^ k0;
        c1 = uint32_t(b);
        c2 = uint32_t(a >> 32) ^ c3 ^ k1;
        c3 = uint32_t(a);
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    return {{c0, c1, c2, c3}};
}

// Word i of a key, one at a time; cpp/simd/philox.h makes 64 at once.
LC_INLINE uint32_t random_word(RandomKey key, uint64_t i) {
    return philox(key, i / 64 * 16 + i % 16).word[i / 16 % 4];
}

}  // namespace lc
