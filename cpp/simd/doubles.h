// A register of float widened to two of double, and rounded back.
#pragma once
#include <utility>
#include "cpp/simd/vec.h"

namespace lc::cpu::LC_ISA {

struct Doubles {
    vec<double> low, high;                            // the first and the second half of the lanes
};

namespace detail {
typedef float half_floats __attribute__((vector_size(LC_VEC_BYTES / 2)));

template <size_t... i> LC_INLINE Doubles doubles(vec<float> x, std::index_sequence<i...>) {
    const half_floats low = __builtin_shufflevector(x.v, x.v, int(i)...), high = __builtin_shufflevector(x.v, x.v, int(i + sizeof...(i))...);
    return {{__builtin_convertvector(low, vec<double>::native)}, {__builtin_convertvector(high, vec<double>::native)}};
}
template <size_t... i> LC_INLINE vec<float> floats(Doubles x, std::index_sequence<i...>) {
    const half_floats low = __builtin_convertvector(x.low.v, half_floats), high = __builtin_convertvector(x.high.v, half_floats);
    return {__builtin_shufflevector(low, high, int(i)...)};
}
}  // namespace detail

LC_INLINE Doubles doubles(vec<float> x) { return detail::doubles(x, std::make_index_sequence<size_t(lanes<double>)>()); }
LC_INLINE vec<float> floats(Doubles x) { return detail::floats(x, std::make_index_sequence<size_t(lanes<float>)>()); }

}  // namespace lc::cpu::LC_ISA
