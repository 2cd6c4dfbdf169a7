// random on CUDA. Contract: cpp/ops/random.h. The CPU's numbers: to the bit but for float64 normals, whose log, sin and cos
// are the device's. Writes n elements; ten rounds of Philox make four words, some 20 instructions an element.
#include "cpp/ops/random.h"
#include <math.h>
#include "cuda/arch/exact.cuh"
#include "cuda/core/launch.h"

namespace lc::cuda {
namespace {

constexpr int kThreads = 256, kLine = 16, kGroup = 64;           // a block's four words stand kLine apart in a group of 64

// ---- device: words -> numbers -----------------------------------------------------------------------------------------

// c[0] + x c[1] + ... with every product rounded.
template <int n> __device__ __forceinline__ float polynomial(float x, const float (&c)[n]) {
    float y = c[n - 1];
#pragma unroll
    for (int i = n - 2; i >= 0; --i) y = plus(times(y, x), c[i]);
    return y;
}

// sqrt(-2 ln u), u = (w + 1/2) 2^-32
__device__ __forceinline__ float radius(uint32_t w) {
    const float q[] = {0x1.555548p-2f, -0x1.000006p-2f, 0x1.99a4cap-3f, -0x1.555c5cp-3f, 0x1.2335aep-3f, -0x1.fc1d4cp-4f,
                       0x1.e70736p-4f, -0x1.de65fp-4f, 0x1.1456cep-4f};
    const float u = plus(times(float(w >> 16), 0x1p-16f), times(plus(float(w & 0xffff), 0.5f), 0x1p-32f));
    const int32_t bits = std::bit_cast<int32_t>(u), e = (bits - 0x3f3504f3) >> 23;      // u = m 2^e, sqrt(1/2) <= m < sqrt(2)
    const float f = plus(std::bit_cast<float>(bits - (e << 23)), -1.0f), f2 = times(f, f);
    const float ln = plus(times(float(e), 0x1.62e43p-1f), plus(plus(f, -times(f2, 0.5f)), times(times(f2, f), polynomial(f, q))));
    const float square = times(ln, -2.0f);
    return ::sqrtf(square > 0.0f ? square : 0.0f);
}

// cos and sin of the angle 2 pi w 2^-32
__device__ __forceinline__ void direction(uint32_t w, float& cosine, float& sine) {
    const float s[] = {0x1p0f, -0x1.555556p-3f, 0x1.111108p-7f, -0x1.a00ea2p-13f, 0x1.6c9ddp-19f};
    const float c[] = {1.0f, -0.5f, 0x1.555548p-5f, -0x1.6c0b52p-10f, 0x1.99ab0ep-16f};
    const uint32_t quarter = (w + 0x20000000u) >> 30;
    const float r = times(float(int32_t(w - (quarter << 30))), 0x1.921fb6p-30f), r2 = times(r, r);
    const float y = times(r, polynomial(r2, s)), x = polynomial(r2, c);
    const float first = quarter & 1 ? y : x, second = quarter & 1 ? x : y;
    cosine = (quarter + 1) & 2 ? -first : first;
    sine = quarter & 2 ? -second : second;
}

__device__ __forceinline__ float uniform(uint32_t w) { return times(float(w >> 8), 0x1p-24f); }

// The elements kLine apart from `first` on; words of a pair of normals are 2 kLine apart.
template <class T> __device__ __forceinline__ void put(const RandomFill<T>& a, int64_t first, const T (&y)[4]) {
#pragma unroll
    for (int j = 0; j < 4; ++j)
        if (first + kLine * j < a.n) a.y[first + kLine * j] = y[j];
}

__global__ __launch_bounds__(kThreads) void fill_kernel(RandomFill<float> a) {
    const int64_t block = int64_t(blockIdx.x) * kThreads + threadIdx.x, first = block / kLine * kGroup + block % kLine;
    if (first >= a.n) return;
    const PhiloxBlock random = philox(a.key, uint64_t(block));
    const float start = float(a.a);
    float y[4];
    if (a.kind == RandomKind::uniform) {
        const float width = float(a.b - a.a);
#pragma unroll
        for (int j = 0; j < 4; ++j) y[j] = plus(start, times(width, uniform(random.word[j])));
    } else {
#pragma unroll
        for (int j = 0; j < 2; ++j) {
            float cosine, sine;
            direction(random.word[j + 2], cosine, sine);
            const float r = times(radius(random.word[j]), float(a.b));
            y[j] = plus(start, times(r, cosine));
            y[j + 2] = plus(start, times(r, sine));
        }
    }
    put(a, first, y);
}

// Two words an element, from two groups.
__global__ __launch_bounds__(kThreads) void fill_kernel(RandomFill<double> a) {
    const int64_t line = int64_t(blockIdx.x) * kThreads + threadIdx.x, group = line / kLine, at = line % kLine, first = group * kGroup + at;
    if (first >= a.n) return;
    const PhiloxBlock high = philox(a.key, uint64_t(2 * group * kLine + at)), low = philox(a.key, uint64_t((2 * group + 1) * kLine + at));
    const auto bits = [&](int j) { return uint64_t(high.word[j]) << 32 | low.word[j]; };
    double y[4];
    if (a.kind == RandomKind::uniform) {
#pragma unroll
        for (int j = 0; j < 4; ++j) y[j] = plus(a.a, times(a.b - a.a, double(bits(j) >> 11) * 0x1p-53));
    } else {
#pragma unroll
        for (int j = 0; j < 2; ++j) {
            const double u = (double(bits(j) >> 11) + 0.5) * 0x1p-53, angle = double(bits(j + 2)) * (0x1.921fb54442d18p2 * 0x1p-64);
            const double r = a.b * ::sqrt(-2 * ::log(u));
            y[j] = plus(a.a, times(r, ::cos(angle)));
            y[j + 2] = plus(a.a, times(r, ::sin(angle)));
        }
    }
    put(a, first, y);
}

// The upper half of the product of 64-bit numbers.
__device__ __forceinline__ uint64_t product_high(uint64_t a, uint64_t b) {
    const uint64_t a0 = uint32_t(a), a1 = a >> 32, b0 = uint32_t(b), b1 = b >> 32;
    const uint64_t middle = a1 * b0 + (a0 * b0 >> 32), other = a0 * b1 + uint32_t(middle);
    return a1 * b1 + (middle >> 32) + (other >> 32);
}

__global__ __launch_bounds__(kThreads) void integers_kernel(RandomIntegers<int64_t> a) {
    const int64_t line = int64_t(blockIdx.x) * kThreads + threadIdx.x, group = line / kLine, at = line % kLine, first = group * kGroup + at;
    if (first >= a.n) return;
    const bool wide = a.range > uint64_t(1) << 32 || a.range == 0;                // 0: all 2^64
    const PhiloxBlock high = philox(a.key, uint64_t(2 * group * kLine + at));
    PhiloxBlock low{};
    if (wide) low = philox(a.key, uint64_t((2 * group + 1) * kLine + at));
#pragma unroll
    for (int j = 0; j < 4; ++j) {
        const uint64_t word = high.word[j], offset = wide ? product_high(word << 32 | low.word[j], a.range) : word * a.range >> 32;
        if (first + kLine * j < a.n) a.y[first + kLine * j] = int64_t(uint64_t(a.low) + offset);
    }
}

Grid grid_of(int64_t n) { return {Blocks(div_up(div_up(n, kGroup) * kLine, kThreads)), dim3(kThreads)}; }

}  // namespace

// ---- host -------------------------------------------------------------------------------------------------------------

template <class T> void random_fill(const RandomFill<T>& a) {
    void (*kernel)(RandomFill<T>) = fill_kernel;
    if (a.n > 0) launch("random", kernel, grid_of(a.n), a);
}
template <class T> void random_integers(const RandomIntegers<T>& a) {
    if (a.n > 0) launch("randint", integers_kernel, grid_of(a.n), a);
}

template void random_fill(const RandomFill<float>&);
template void random_fill(const RandomFill<double>&);
template void random_integers(const RandomIntegers<int64_t>&);

}  // namespace lc::cuda
