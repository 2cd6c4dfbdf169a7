// vec_exp2.h: 2^x where another term is 1, as in a softmax whose scores are in units of ln 2: half the operations of exp.
#pragma once
#include "cpp/simd/vec_math.h"

namespace lc::cpu::LC_ISA {

// 2^x for x of at most some rounding errors above 0, within 1 unit in the last place; results below 1.2e-38 are zero.
LC_INLINE vec<float> exp2_of_difference(vec<float> x_any) {
    constexpr float c[] = {0x1.62e43p-1f, 0x1.ebfbdcp-3f, 0x1.c6aee8p-5f, 0x1.3b2d4cp-7f, 0x1.5f3e54p-10f, 0x1.41fbbcp-13f};
    const vec<float> x = max(splat(-127.0f), x_any);                              // 2^-127 has the bits of zero
    const vec<float> shifted = x + splat(detail::kMagic), r = x - (shifted - splat(detail::kMagic)), r2 = r * r;
    const vec<float> high = fma(r, splat(c[5]), splat(c[4])), middle = fma(r, splat(c[3]), splat(c[2])), low = fma(r, splat(c[1]), splat(c[0]));
    const vec<float> y = fma(r, fma(r2, fma(r2, high, middle), low), splat(1.0f));
    return y * detail::from_bits((detail::bits(shifted) << 23) + 0x3f800000);
}
LC_INLINE vec<double> exp2_of_difference(vec<double> x) {
    return per_lane(x, [](double v) { return ::exp2(v); });
}

}  // namespace lc::cpu::LC_ISA
