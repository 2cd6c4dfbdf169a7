// Division of 31-bit numbers by one that all threads share: a multiplication and a shift.
#pragma once
#include <cstdint>

namespace lc::cuda {

// q = n * multiplier >> shift is n / d for every n < 2^31: multiplier exceeds 2^shift / d by e / d with e <= 2^(shift - 31).
struct Divider {
    uint32_t d, multiplier, shift;

    constexpr Divider(int64_t divisor = 1) : d(uint32_t(divisor)), multiplier(0), shift(31) {
        while (shift < 62 && (uint64_t(1) << (shift - 31)) < d) ++shift;
        multiplier = uint32_t((uint64_t(1) << shift) / d + 1);
    }
    constexpr int divide(int n) const { return int(uint64_t(uint32_t(n)) * multiplier >> shift); }
};

}  // namespace lc::cuda
