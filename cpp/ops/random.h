// random: fills of a given distribution. Element i is a function of the key and of i alone (cpp/core/random.h).
//
//   uniform    a + (b - a) u, u a multiple of 2^-24 (float64: 2^-53) in [0, 1)
//   normal     a + b z; z by Box-Muller from a pair of words 32 apart: r = sqrt(-2 ln u1), r cos(2 pi u2) and r sin(2 pi u2).
//              log, sin and cos are made of additions and products without FMA: the same numbers on every ISA
//   integers   low + floor(u (high - low)), u of 32 bits, of 64 where high - low is beyond 2^32
//
// No gradients: the results are leaves. randperm, multinomial: one draw after the other from the words of one key.
#pragma once
#include "cpp/core/cpu_kernel.h"
#include "cpp/core/cuda_kernel.h"
#include "cpp/core/random.h"
#include "cpp/core/tensor.h"

namespace lc {

enum class RandomKind : uint8_t { uniform,
                                  normal };

template <class T> struct RandomFill {                // T: float double
    RandomKind kind;
    RandomKey key;
    double a, b;
    T* y;
    int64_t n;
};
template <class T> struct RandomIntegers {            // T: int64
    RandomKey key;
    int64_t low;
    uint64_t range;                                   // high - low
    T* y;
    int64_t n;
};

}  // namespace lc
LC_CPU_KERNEL(random_fill, RandomFill)
LC_CPU_KERNEL(random_integers, RandomIntegers)
LC_CUDA_KERNEL(random_fill, RandomFill)
LC_CUDA_KERNEL(random_integers, RandomIntegers)
namespace lc {

// In place, any strides. generator: null is the default one.
LC_API void uniform_(const Tensor& x, double low = 0, double high = 1, Generator* generator = nullptr);
LC_API void normal_(const Tensor& x, double mean = 0, double std = 1, Generator* generator = nullptr);
LC_API void bernoulli_(const Tensor& x, double p = 0.5, Generator* generator = nullptr);     // 0 or 1
LC_API void randint_(const Tensor& x, int64_t low, int64_t high, Generator* generator = nullptr);

LC_API Tensor rand(const Dims& sizes, DType = DType::float32, Generator* generator = nullptr, Device = {});
LC_API Tensor randn(const Dims& sizes, DType = DType::float32, Generator* generator = nullptr, Device = {});
LC_API Tensor randint(int64_t low, int64_t high, const Dims& sizes, DType = DType::int64, Generator* generator = nullptr, Device = {});
LC_API Tensor randperm(int64_t n, DType = DType::int64, Generator* generator = nullptr);
LC_API Tensor bernoulli(const Tensor& p, Generator* generator = nullptr);                    // 1 with probability p, else 0
// Indices of the last dimension.
LC_API Tensor multinomial(const Tensor& weights, int64_t samples, bool replacement = false, Generator* generator = nullptr);

}  // namespace lc
