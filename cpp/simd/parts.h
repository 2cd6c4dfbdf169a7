// Registers made of 16-byte parts from different places: as many places a register as it has parts, `apart` from each
// other in elements; or one part in every place.
#pragma once
#include <cstring>
#include <utility>
#include "cpp/simd/vec.h"

namespace lc::cpu::LC_ISA {

template <class T> inline constexpr int part_lanes = 16 / int(sizeof(T));
template <class T> inline constexpr int parts = lanes<T> / part_lanes<T>;

namespace detail {

template <class T, int count> struct Several {                    // `count` parts
    typedef T native __attribute__((vector_size(16 * count)));
};
template <class T, size_t... i> LC_INLINE auto joined(T a, T b, std::index_sequence<i...>) { return __builtin_shufflevector(a, b, int(i)...); }

template <int count, class T> LC_INLINE auto load_several(const T* p, int64_t apart) {
    if constexpr (count == 1) {
        typename Several<T, 1>::native r;
        std::memcpy(&r, p, sizeof r);
        return r;
    } else {
        return joined(load_several<count / 2>(p, apart), load_several<count / 2>(p + count / 2 * apart, apart),
                      std::make_index_sequence<size_t(count * part_lanes<T>)>());
    }
}

}  // namespace detail

// Part i is the one at p + i * apart.
template <class T> LC_INLINE vec<T> load_parts(const T* p, int64_t apart) {
#if defined(__AVX2__) && !defined(__AVX512F__)                   // GCC does not join a load with an insertion by itself
    const __m256i low = _mm256_castsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
    return {(typename vec<T>::native)_mm256_inserti128_si256(low, _mm_loadu_si128(reinterpret_cast<const __m128i*>(p + apart)), 1)};
#else
    return {detail::load_several<parts<T> >(p, apart)};
#endif
}
template <class S>
    requires(sizeof(S) == 2)
LC_INLINE vec<float> load_parts(const S* p, int64_t apart) {      // widened: half as many bytes from each place
    typedef uint64_t native __attribute__((vector_size(LC_VEC_BYTES / 2)));
    native r;
    for (int i = 0; i < parts<float>; ++i) {
        uint64_t part;
        std::memcpy(&part, p + i * apart, sizeof part);
        r[i] = part;
    }
    S lane[lanes<float>];
    std::memcpy(lane, &r, sizeof r);
    return load(lane);
}
// The same part everywhere.
template <class T> LC_INLINE vec<T> splat_part(const T* p) {
#if defined(__AVX2__) && !defined(__AVX512F__)
    return {(typename vec<T>::native)_mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)))};
#else
    return load_parts(p, 0);
#endif
}

}  // namespace lc::cpu::LC_ISA
