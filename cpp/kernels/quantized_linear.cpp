// quantized_linear on CPU for few rows of x. Math and layout: cpp/ops/quantized_linear.h
// Bound by reading the codes, once, and by widening them: 4 instructions for each register of weights.
#include "cpp/ops/quantized_linear.h"
#include "cpp/core/allocator.h"
#include "cpp/core/parallel.h"
#include "cpp/ops/matmul_plan.h"
#include "cpp/simd/codes.h"
#include "cpp/simd/parts.h"

namespace lc::cpu::LC_ISA {
namespace {

using Args = QuantizedLinearForward<float>;

// acc[i] += x[i] w over the four depths of 16 codes; chain r is in every fourth lane from r.
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

// Columns [4 * quad, 4 * (quad + quads)) of y[rows]; scales: [quads, groups, 4].
template <int rows, int quads, int bits>
LC_NOINLINE void multiply_quads(const Args& p, const float* x, float* y, int64_t quad, const float* scales) {
    const int64_t depth = quantized_depth(p.k), bytes = depth * bits / 2, group = p.groups == 1 ? depth : kQuantizedGroup;
    const uint8_t* codes = p.codes + quad * bytes;
    const int64_t columns = p.n - 4 * quad < 4 * quads ? p.n - 4 * quad : 4 * quads;
    int64_t g = 0;
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
        while (kk < end) {
            const int64_t next = (g + 1) * group, stop = next < end ? next : end;
            vec<float> scale[size_t(quads)][size_t(code_vecs)];
#pragma GCC unroll 4
            for (int q = 0; q < quads; ++q) load_repeated(scales + (q * p.groups + g) * 4, scale[q]);
            for (; kk < stop; kk += 32 / bits) {
#pragma GCC unroll 4
                for (int q = 0; q < quads; ++q) {
                    const uint8_t* from = codes + q * bytes + kk * bits / 2;
                    vec<float> low[size_t(code_vecs)], high[size_t(code_vecs)];
                    if constexpr (bits == 8) load_codes8(from, low);
                    else load_codes4(from, low, high);
                    add_depths<rows, quads>(acc, x + kk, depth, q, low, scale[q]);
                    if constexpr (bits == 4) add_depths<rows, quads>(acc, x + kk + 4, depth, q, high, scale[q]);
                }
            }
            g += kk >= next;
        }
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

using Multiply = void (*)(const Args&, const float*, float*, int64_t, const float*);
struct Tile {
    int64_t quads;                                    // sums to cover the FMA's latency, as far as registers go
    Multiply several, one;
};
template <int bits> constexpr Tile kTiles[4] = {{bits / 2, &multiply_quads<1, bits / 2, bits>, &multiply_quads<1, 1, bits>},
                                                {bits / 4, &multiply_quads<2, bits / 4, bits>, &multiply_quads<2, 1, bits>},
                                                {1, &multiply_quads<3, 1, bits>, &multiply_quads<3, 1, bits>},
                                                {1, &multiply_quads<4, 1, bits>, &multiply_quads<4, 1, bits>}};

constexpr int64_t kTaskQuads = 32;

}  // namespace

template <> void quantized_linear_forward(const Args& p) {
    const int64_t quads = (p.n + 3) / 4, tasks = (quads + kTaskQuads - 1) / kTaskQuads, size = kTaskQuads * 4 * p.groups;
    const float unit = 1 / code_unit(p.bits);
    Buffer<float> scratch(size * num_threads());
    parallel_for(tasks, p.n * p.k * (p.m < 4 ? p.m + 1 : p.m) / 20, [&](int64_t task, int worker) {
        const int64_t begin = task * kTaskQuads, end = begin + kTaskQuads < quads ? begin + kTaskQuads : quads;
        float* scales = scratch.data() + worker * size;
        for (int64_t j = 4 * begin; j < 4 * end; ++j) {           // four rows of w side by side, as their codes
            const bool present = j < p.n;
            const float* from = p.scales + (present ? j : 0) * p.groups;
            float* to = scales + (j / 4 - begin) * p.groups * 4 + j % 4;
            for (int64_t g = 0; g < p.groups; ++g) to[4 * g] = present ? from[g] * unit : 0.0f;
        }
        for (int64_t i = 0; i < p.m; i += 4) {
            const int64_t rows = p.m - i < 4 ? p.m - i : 4;
            const Tile& tile = p.bits == 8 ? kTiles<8>[rows - 1] : kTiles<4>[rows - 1];
            const float* x = p.x + i * quantized_depth(p.k);
            for (int64_t q = begin; q < end;) {
                const bool whole = q + tile.quads <= end;
                (whole ? tile.several : tile.one)(p, x, p.y + i * p.n, q, scales + (q - begin) * p.groups * 4);
                q += whole ? tile.quads : 1;
            }
        }
    });
}

}  // namespace lc::cpu::LC_ISA
