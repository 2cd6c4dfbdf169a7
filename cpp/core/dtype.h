// Element types. float16 and bfloat16 are storage: arithmetic on them is float32.
#pragma once
#include <bit>
#include <cstddef>
#include <cstdint>
#include <iosfwd>
#include <type_traits>
#include "cpp/core/error.h"
#include "cpp/core/macros.h"

namespace lc {

enum class DType : uint8_t { float32,
                             float64,
                             bfloat16,
                             float16,
                             int64,
                             int32,
                             uint8,
                             bool_ };
constexpr int kDTypes = 8;

struct bfloat16 {
    uint16_t bits;
};
struct float16 {
    uint16_t bits;
};

template <class T> constexpr DType dtype_of = [] { static_assert(sizeof(T) == 0, "not an element type"); return DType{}; }();
template <> inline constexpr DType dtype_of<float> = DType::float32;
template <> inline constexpr DType dtype_of<double> = DType::float64;
template <> inline constexpr DType dtype_of<bfloat16> = DType::bfloat16;
template <> inline constexpr DType dtype_of<float16> = DType::float16;
template <> inline constexpr DType dtype_of<int64_t> = DType::int64;
template <> inline constexpr DType dtype_of<int32_t> = DType::int32;
template <> inline constexpr DType dtype_of<uint8_t> = DType::uint8;
template <> inline constexpr DType dtype_of<bool> = DType::bool_;

// The type sums of T are kept in.
template <class T> struct acc {
    using type = T;
};
template <> struct acc<bfloat16> {
    using type = float;
};
template <> struct acc<float16> {
    using type = float;
};
template <class T> using acc_t = typename acc<T>::type;

LC_API size_t item_size(DType);
LC_API const char* name(DType);
LC_API bool is_floating(DType);
LC_API bool is_integral(DType);                       // int64 int32 uint8 bool
LC_API DType promote(DType, DType);                   // PyTorch's rule for two tensors of rank > 0
LC_API std::ostream& operator<<(std::ostream&, DType);

LC_INLINE float to_float(float x) { return x; }
LC_INLINE double to_float(double x) { return x; }
LC_INLINE float to_float(bfloat16 x) { return std::bit_cast<float>(uint32_t(x.bits) << 16); }

LC_INLINE float to_float(float16 h) {
    const uint32_t sign = uint32_t(h.bits & 0x8000) << 16, magnitude = h.bits & 0x7fff;
    if (magnitude >= 0x7c00) return std::bit_cast<float>(sign | 0x7f800000 | (magnitude & 0x3ff) << 13);   // inf, NaN
    if (magnitude < 0x400) {                                                                              // subnormal
        const float f = float(magnitude) * 0x1p-24f;
        return sign ? -f : f;
    }
    return std::bit_cast<float>(sign | ((magnitude << 13) + 0x38000000));
}

// Round to nearest, ties to even; NaN stays NaN.
template <class T> LC_INLINE T from_float(acc_t<T> x) {
    if constexpr (std::is_same_v<T, bfloat16>) {
        const uint32_t u = std::bit_cast<uint32_t>(x);
        if ((u & 0x7fffffff) > 0x7f800000) return {uint16_t(u >> 16 | 0x40)};
        return {uint16_t((u + 0x7fff + (u >> 16 & 1)) >> 16)};
    } else if constexpr (std::is_same_v<T, float16>) {
        const uint32_t u = std::bit_cast<uint32_t>(x), sign = u >> 16 & 0x8000, m = u & 0x7fffffff;
        if (m > 0x7f800000) return {uint16_t(sign | 0x7e00)};
        if (m >= 0x477ff000) return {uint16_t(sign | 0x7c00)};                               // rounds to infinity
        if (m < 0x38800000) {                                                                // subnormal: let the FPU round
            const float f = std::bit_cast<float>(m) + 0.5f;
            return {uint16_t(sign | (std::bit_cast<uint32_t>(f) - 0x3f000000))};
        }
        return {uint16_t(sign | ((m - 0x38000000 + 0xfff + (m >> 13 & 1)) >> 13))};
    } else {
        return x;
    }
}

[[noreturn]] LC_API void throw_dtype(const char* op, DType got, const char* wanted);

// visit_*(dtype, op, f) calls f.template operator()<T>() with the C++ type of dtype, or raises TypeError for op.
template <class F> decltype(auto) visit_float(DType t, const char* op, F&& f) {              // float32 float64
    switch (t) {
        case DType::float32: return f.template operator()<float>();
        case DType::float64: return f.template operator()<double>();
        default: throw_dtype(op, t, "float32 or float64");
    }
}
template <class F> decltype(auto) visit_float_storage(DType t, const char* op, F&& f) {      // and the 16-bit ones
    switch (t) {
        case DType::float32: return f.template operator()<float>();
        case DType::float64: return f.template operator()<double>();
        case DType::bfloat16: return f.template operator()<bfloat16>();
        case DType::float16: return f.template operator()<float16>();
        default: throw_dtype(op, t, "a floating-point dtype");
    }
}
template <class F> decltype(auto) visit_any(DType t, F&& f) {
    switch (t) {
        case DType::float32: return f.template operator()<float>();
        case DType::float64: return f.template operator()<double>();
        case DType::bfloat16: return f.template operator()<bfloat16>();
        case DType::float16: return f.template operator()<float16>();
        case DType::int64: return f.template operator()<int64_t>();
        case DType::int32: return f.template operator()<int32_t>();
        case DType::uint8: return f.template operator()<uint8_t>();
        default: return f.template operator()<bool>();
    }
}

}  // namespace lc
