// Between storage types and float, rounding to nearest even, and 16 bytes at a time.
#pragma once
#include <cuda_runtime.h>
#include "cpp/core/dtype.h"

namespace lc::cuda {

// x, of which the compiler forgets where it came from.
__device__ __forceinline__ int64_t opaque(int64_t x) {
#ifndef LC_EMULATED
    asm volatile("" : "+l"(x));
#endif
    return x;
}

template <class T> __device__ __forceinline__ acc_t<T> widen(T x) {
#ifndef LC_EMULATED
    if constexpr (std::is_same_v<T, float16>) {
        float y;
        asm("cvt.f32.f16 %0, %1;" : "=f"(y) : "h"(x.bits));
        return y;
    }
#endif
    if constexpr (std::is_same_v<T, bfloat16> || std::is_same_v<T, float16>) return to_float(x);
    else return x;
}

template <class T> __device__ __forceinline__ T narrow(acc_t<T> x) {
#ifndef LC_EMULATED
    if constexpr (std::is_same_v<T, bfloat16>) {
        bfloat16 y;
        asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(y.bits) : "f"(x));
        return y;
    } else if constexpr (std::is_same_v<T, float16>) {
        float16 y;
        asm("cvt.rn.f16.f32 %0, %1;" : "=h"(y.bits) : "f"(x));
        return y;
    }
#endif
    return from_float<T>(x);
}

// Two floats as a pair of 16-bit elements, the first one in the low half.
template <class T> __device__ __forceinline__ uint32_t narrow_pair(float low, float high) {
    uint32_t pair;
#ifdef LC_EMULATED
    pair = uint32_t(narrow<T>(low).bits) | uint32_t(narrow<T>(high).bits) << 16;
#else
    if constexpr (std::is_same_v<T, bfloat16>) asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
    else asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
#endif
    return pair;
}

// 2^x to within 2 units in the last place; very small results are 0.
__device__ __forceinline__ float fast_exp2(float x) {
#ifdef LC_EMULATED
    return exp2f(x);
#else
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
#endif
}

// 1 / x to within 1 unit in the last place, without the division's slow path.
__device__ __forceinline__ float fast_reciprocal(float x) {
#ifdef LC_EMULATED
    return 1.0f / x;
#else
    float y;
    asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
#endif
}

// What one thread moves at once: 16 bytes.
template <class T> struct alignas(16) Pack {
    static constexpr int kCount = 16 / int(sizeof(T));
    T x[kCount];
};
template <class T> __device__ __forceinline__ Pack<T> load_pack(const T* p) {
    Pack<T> pack;
    *reinterpret_cast<uint4*>(&pack) = *reinterpret_cast<const uint4*>(p);
    return pack;
}
template <class T> __device__ __forceinline__ void store_pack(T* p, const Pack<T>& pack) {
    *reinterpret_cast<uint4*>(p) = *reinterpret_cast<const uint4*>(&pack);
}

}  // namespace lc::cuda
