// quantized_linear on CPU. Math and layout: cpp/ops/quantized_linear.h
// Bound by reading the codes, once, and by widening those of 8 bits: 4 instructions for each register of weights. 4 bits are
// multiplied as integers: 17 instructions and 3 loads of x for 64 weights, where float32 takes 38.
#include "cpp/ops/quantized_linear.h"
#include "cpp/core/allocator.h"
#include "cpp/core/parallel.h"
#include "cpp/ops/matmul_plan.h"
#include "cpp/simd/codes.h"
#include "cpp/simd/parts.h"

namespace lc::cpu::LC_ISA {
namespace {

using Args = QuantizedLinearForward<float>;

constexpr int64_t kAhead = 4096;                      // bytes of codes asked for ahead: at a page's end the machine stops doing so
constexpr int64_t kTaskQuads = 32;

// ---- 8 bits -------------------------------------------------------------------------------------------------------

// acc[i] += x[i] w over four depths of four rows of w; chain r is in every fourth lane from r.
template <int rows, int quads>
LC_INLINE void add_depths(vec<float> (&acc)[size_t(rows)][size_t(quads)][size_t(code_vecs)], const float* x, int64_t x_row, int quad,
                          const vec<float> (&codes)[size_t(code_vecs)], const vec<float> (&scale)[size_t(code_vecs)]) {
#pragma GCC unroll 4
    for (int v = 0; v < code_vecs; ++v) {
        const vec<float> w = codes[v] * scale[v];
#pragma GCC unroll 4
        for (int i = 0; i < rows; ++i) acc[i][quad][v] = fma(splat_part(x + i * x_row), w, acc[i][quad][v]);
    }
}

// Columns [4 * quad, 4 * (quad + quads)) of y[rows].
template <int rows, int quads> LC_NOINLINE void multiply_bytes(const Args& p, const float* x, float* y, int64_t quad) {
    const int64_t depth = quantized_depth(p.k), bytes = depth * 4, columns = p.n - 4 * quad < 4 * quads ? p.n - 4 * quad : 4 * quads;
    const uint8_t* codes = p.codes + quad * bytes;
    vec<float> scale[size_t(quads)][size_t(code_vecs)];
    for (int q = 0; q < quads; ++q) {
        float s[4];
        for (int j = 0; j < 4; ++j) s[j] = 4 * q + j < columns ? p.scales[4 * (quad + q) + j] * (1 / code_unit) : 0.0f;
        load_repeated(s, scale[q]);
    }
    __builtin_prefetch(p.scales + 4 * quad + 128);
    for (int64_t kk = 0; kk < p.k;) {
        const bool first = kk == 0;
        const int64_t end = kk + k_block(p.k) < p.k ? kk + k_block(p.k) : p.k;
        vec<float> acc[size_t(rows)][size_t(quads)][size_t(code_vecs)];
#pragma GCC unroll 4
        for (int i = 0; i < rows; ++i)
#pragma GCC unroll 4
            for (int q = 0; q < quads; ++q)
#pragma GCC unroll 4
                for (int v = 0; v < code_vecs; ++v) acc[i][q][v] = zero<float>();
        const auto step = [&] {
#pragma GCC unroll 4
            for (int q = 0; q < quads; ++q) {
                vec<float> w[size_t(code_vecs)];
                load_codes8(codes + q * bytes + kk * 4, w);
                add_depths<rows, quads>(acc, x + kk, depth, q, w, scale[q]);
            }
            kk += 4;
        };
        while (kk + 16 <= end) {
            for (int q = 0; q < quads; ++q) __builtin_prefetch(codes + q * bytes + kk * 4 + kAhead);
            for (int part = 0; part < 4; ++part) step();
        }
        while (kk < end) step();
        kk = end;
        float chain[rows][quads * 16];
#pragma GCC unroll 4
        for (int i = 0; i < rows; ++i)
#pragma GCC unroll 4
            for (int q = 0; q < quads; ++q)
#pragma GCC unroll 4
                for (int v = 0; v < code_vecs; ++v) store(chain[i] + q * 16 + v * lanes<float>, acc[i][q][v]);
        for (int i = 0; i < rows; ++i)
            for (int64_t j = 0; j < columns; ++j) {
                float *to = y + i * p.n + 4 * quad + j, *c = chain[i] + 4 * j;
                float sum = first ? c[0] : *to + c[0];
                for (int r = 1; r < 4; ++r) sum += c[r];
                *to = kk == p.k && p.bias ? sum + p.bias[4 * quad + j] : sum;
            }
    }
}

struct Tile {
    int64_t quads;                                    // sums to cover the FMA's latency, as far as registers go
    void (*several)(const Args&, const float*, float*, int64_t);
    void (*one)(const Args&, const float*, float*, int64_t);
};
constexpr Tile kTiles[4] = {{4, &multiply_bytes<1, 4>, &multiply_bytes<1, 1>},
                            {2, &multiply_bytes<2, 2>, &multiply_bytes<2, 1>},
                            {1, &multiply_bytes<3, 1>, &multiply_bytes<3, 1>},
                            {1, &multiply_bytes<4, 1>, &multiply_bytes<4, 1>}};

void run_bytes(const Args& p) {
    const int64_t quads = (p.n + 3) / 4, tasks = (quads + kTaskQuads - 1) / kTaskQuads;
    parallel_for(tasks, p.n * p.k * (p.m < 4 ? p.m + 1 : p.m) / 20, [&](int64_t task, int) {
        const int64_t begin = task * kTaskQuads, end = begin + kTaskQuads < quads ? begin + kTaskQuads : quads;
        for (int64_t i = 0; i < p.m; i += 4) {
            const Tile& tile = kTiles[p.m - i < 4 ? p.m - i - 1 : 3];
            for (int64_t q = begin; q < end;) {
                const bool whole = q + tile.quads <= end;
                (whole ? tile.several : tile.one)(p, p.x + i * quantized_depth(p.k), p.y + i * p.n, q);
                q += whole ? tile.quads : 1;
            }
        }
    });
}

// ---- 4 bits -------------------------------------------------------------------------------------------------------

constexpr int kDigits = 3;

// A span of a row of x: x[k] = unit (2^14 first[k] + 2^7 second[k] + third[k]); and 8 sum_k x[k] / unit, which is what codes
// too large by 8 add to a product.
struct Span {
    float unit;
    int32_t excess;
};

// n numbers, a multiple of 8, to digits, [n / 4, kDigits, 4].
Span to_digits(const float* x, int64_t n, int8_t* digits) {
    sums8 most = {}, sum = {};                        // magnitudes compare as their bits do, NaN above all
    for (int64_t k = 0; k < n; k += 8) {
        sums8 b;
        std::memcpy(&b, x + k, sizeof b);
        b &= 0x7fffffff;
        most = b > most ? b : most;
    }
    int32_t largest = 0;
    for (int i = 0; i < 8; ++i) largest = most[i] > largest ? most[i] : largest;
    if (largest >= 0x7f800000) {
        std::memset(digits, 0, size_t(n * kDigits));
        return {__builtin_nanf(""), 0};
    }
    const int exponent = ((largest + 0x10000) >> 23) - 126, power = exponent > -96 ? exponent : -96;     // |x| <= 127.5 2^(power - 7)
    const float up = __builtin_ldexpf(1, 7 - power), whole = 0x1.8p23f;                                   // v + whole - whole: v rounded
    for (int64_t k = 0; k < n; k += 8) {
        floats8 v;
        std::memcpy(&v, x + k, sizeof v);
        v *= up;
        sums8 value = {};
        for (int d = 0; d < kDigits; ++d) {
            const floats8 rounded = (v + whole) - whole;
            const sums8 digit = __builtin_convertvector(rounded, sums8);
            v = (v - rounded) * 0x1p7f;
            value = (value << 7) + digit;
            for (int i = 0; i < 8; ++i) digits[((k + i) / 4 * kDigits + d) * 4 + i % 4] = int8_t(digit[i]);
        }
        sum += value;
    }
    int32_t total = 0;
    for (int i = 0; i < 8; ++i) total += sum[i];
    return {__builtin_ldexpf(1, power - 21), 8 * total};
}

constexpr int pairs = 2;                              // of quads, for which a number of x is loaded once

// Columns [4 * quad, 4 * quad + 8 * pairs) of y[rows], as far as there are any.
template <int rows> LC_NOINLINE void multiply_halves(const Args& p, const int8_t* digits, const Span* x, float* y, int64_t quad) {
    const int64_t depth = quantized_depth(p.k), bytes = depth * 2, columns = p.n - 4 * quad < 8 * pairs ? p.n - 4 * quad : 8 * pairs;
    const uint8_t* codes[2 * pairs];
    const float* scales[8 * pairs];
    for (int q = 0; q < 2 * pairs; ++q) codes[q] = p.codes + (quad + (4 * q < columns ? q : 0)) * bytes;
    for (int j = 0; j < 8 * pairs; ++j) scales[j] = p.scales + (4 * quad + (j < columns ? j : 0)) * p.groups;
    floats8 total[rows][pairs] = {};
    for (int64_t g = 0; g < p.groups; ++g) {
        const int64_t begin = g * kQuantizedGroup, end = begin + kQuantizedGroup < depth ? begin + kQuantizedGroup : depth;
        sums16 sums[rows][pairs][kDigits] = {};       // at most 32 x 15 x 127 / 2
        const int8_t* at = digits + begin * kDigits;
        for (int64_t k = begin; k < end; k += 8, at += 8 * kDigits) {
            codes32 w[2][pairs];                      // the low halves, and the high ones
#pragma GCC unroll 2
            for (int q = 0; q < pairs; ++q) load_codes4(codes[2 * q] + 2 * k, codes[2 * q + 1] + 2 * k, w[0][q], w[1][q]);
#pragma GCC unroll 2
            for (int half = 0; half < 2; ++half)
#pragma GCC unroll 2
                for (int i = 0; i < rows; ++i)
#pragma GCC unroll 3
                    for (int d = 0; d < kDigits; ++d)
#pragma GCC unroll 2
                        for (int q = 0; q < pairs; ++q) add_products(sums[i][q][d], w[half][q], at + i * depth * kDigits + 4 * (half * kDigits + d));
        }
#pragma GCC unroll 2
        for (int q = 0; q < pairs; ++q) {
            __builtin_prefetch(codes[2 * q] + 2 * begin + kAhead);
            __builtin_prefetch(codes[2 * q + 1] + 2 * begin + kAhead);
            const float* const* s = scales + 8 * q;
            const floats8 scale = {s[0][g], s[1][g], s[2][g], s[3][g], s[4][g], s[5][g], s[6][g], s[7][g]};
#pragma GCC unroll 2
            for (int i = 0; i < rows; ++i) {
                const Span& span = x[i * p.groups + g];
                sums8 first, second, third;
                add_pairs(sums[i][q][0], first);
                add_pairs(sums[i][q][1], second);
                add_pairs(sums[i][q][2], third);
                const sums8 exact = (first << 14) + (second << 7) + third - span.excess;
                total[i][q] += __builtin_convertvector(exact, floats8) * (scale * span.unit);
            }
        }
    }
    for (int i = 0; i < rows; ++i)
        for (int64_t j = 0; j < columns; ++j) {
            const float sum = total[i][j / 8][j % 8];
            y[i * p.n + 4 * quad + j] = p.bias ? sum + p.bias[4 * quad + j] : sum;
        }
}

void run_halves(const Args& p) {
    const int64_t depth = quantized_depth(p.k), quads = (p.n + 3) / 4, tasks = (quads + kTaskQuads - 1) / kTaskQuads;
    const Buffer<int8_t> digits(p.m * depth * kDigits);
    const Buffer<Span> spans(p.m * p.groups);
    for (int64_t i = 0; i < p.m; ++i)
        for (int64_t g = 0; g < p.groups; ++g) {
            const int64_t k = g * kQuantizedGroup, at = i * depth + k;
            spans[i * p.groups + g] = to_digits(p.x + at, k + kQuantizedGroup < depth ? kQuantizedGroup : depth - k, digits.data() + at * kDigits);
        }
    parallel_for(tasks, p.n * p.k * p.m / 20, [&](int64_t task, int) {
        const int64_t begin = task * kTaskQuads, end = begin + kTaskQuads < quads ? begin + kTaskQuads : quads;
        for (int64_t q = begin; q < end; q += 2 * pairs)
            for (int64_t i = 0; i < p.m; i += 2)
                (i + 1 < p.m ? multiply_halves<2> : multiply_halves<1>)(p, digits.data() + i * depth * kDigits, spans.data() + i * p.groups, p.y + i * p.n, q);
    });
}

}  // namespace

template <> void quantized_linear_forward(const Args& p) { p.bits == 8 ? run_bytes(p) : run_halves(p); }

}  // namespace lc::cpu::LC_ISA
