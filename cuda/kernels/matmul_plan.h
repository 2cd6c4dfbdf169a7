// Which kernel computes a product on CUDA, and how it is cut up: a pure function of shape, layout and chip.
#pragma once
#include <cstdint>

namespace lc::cuda {

// How an operand lies in memory, seen from its (rows, depth) for a and (cols, depth) for b.
enum class Layout : uint8_t { along,                  // depth is adjacent
                              across,                 // rows (cols) are adjacent
                              loose };                // neither: elements are gathered one by one

struct MatmulOperand {
    int64_t outer, depth;                             // strides in elements: between rows of a or columns of b; along k
    bool aligned;                                     // base and outer stride allow 16-byte access
};

constexpr Layout layout_of(const MatmulOperand& x) {
    return x.depth == 1 ? Layout::along : x.outer == 1 ? Layout::across
                                                       : Layout::loose;
}

struct MatmulQuestion {
    int64_t batch, m, n, k;
    int bytes;                                        // of an element
    MatmulOperand a, b;
    bool y_aligned;                                   // y's base and row stride allow 16-byte access
    bool accumulate;                                  // y += instead of y =
    int architecture, multiprocessors;
    bool tf32 = false;                                // float32 may be rounded to tf32
};

struct CudaMatmulPlan {
    enum class Kernel : uint8_t { hopper,             // wgmma and TMA, a persistent block per multiprocessor; float32 as tf32
                                  tensor,             // mma.sync and cp.async; float32 as tf32
                                  scalar } kernel;    // multiply-adds in float or double
    int tile_m, tile_n;
    int64_t tiles_m, tiles_n;                         // tiles_m: a multiple of cluster
    int cluster;                                      // hopper: blocks, of tiles below each other, that share their tiles of b
    int64_t parts, part_k;                            // k in parts of this depth, each a sum of its own, added in order
    int64_t blocks;                                   // hopper: blocks launched, each takes every blocks-th tile of a part
    int group;                                        // hopper: rows of tiles walked together, so that b stays in L2
    bool turns_b;                                     // hopper, float32: b is copied first, to lie along the depth
};

constexpr int kTensorTile = 128, kTensorStages = 3;
constexpr int kHopperDepth = 64;
constexpr int64_t kMostOfHopper = int64_t(1) << 30;       // the copy engine counts in 32 bits

constexpr int64_t tiles_of(int64_t n, int64_t tile) { return (n + tile - 1) / tile; }

// Nanoseconds that a product of m x n tiles takes when k is cut into parts: estimated for an H100, to compare cuts.
constexpr int64_t cut_time(const MatmulQuestion& q, const CudaMatmulPlan& p, int64_t parts) {
    const int64_t slice = p.kernel == CudaMatmulPlan::Kernel::tensor ? 450 * q.bytes : p.tile_n == 256 ? 700
                                                                                                       : 385;
    const int64_t tiles = tiles_of(q.m, p.tile_m) * tiles_of(q.n, p.tile_n), waves = tiles_of(tiles * parts, q.multiprocessors);
    const int64_t each = tiles_of(tiles_of(q.k, kHopperDepth), parts) * slice, end = parts > 1 ? 5 * slice : 5 * slice / 2;
    return waves * (each + end) + (parts > 1 ? 4000 + parts * q.m * q.n * 8 / 3000 : 0);        // and the pass that adds them
}

// Cuts k where too few tiles would leave multiprocessors idle: only for a transposed a, as in a weight's gradient, so that
// a row's bits do not depend on how many rows there are where rows are a batch's.
constexpr void cut_depth(const MatmulQuestion& q, CudaMatmulPlan& p) {
    p.parts = 1;
    const int64_t slices = tiles_of(q.k, kHopperDepth);
    if (q.batch == 1 && q.k > 0 && layout_of(q.a) == Layout::across) {
        int64_t best = cut_time(q, p, 1);
        CudaMatmulPlan other = p;
        for (other.tile_n = p.kernel == CudaMatmulPlan::Kernel::hopper && q.n > 128 ? 256 : 128; other.tile_n >= 128; other.tile_n -= 128)
            for (other.parts = 2; other.parts <= 32 && slices / other.parts >= 8; ++other.parts)
                if (const int64_t time = cut_time(q, other, other.parts); time < best) {
                    best = time;
                    p = other;
                }
    }
    p.part_k = tiles_of(slices, p.parts) * kHopperDepth;
    if (slices > 0) p.parts = tiles_of(q.k, p.part_k);                       // none is empty
}

// Whether wgmma can read an operand. Floats only along the depth; b may be turned: the weights of an input's gradient, whose copy
// takes 3 to 9 % of the product for 1024 rows or more, where mma.sync takes 1.3 to 1.8 times as long, and few rows leave most
// of the chip idle either way. Not a: of a weight's gradient both would be, for what is gained.
constexpr bool fits_hopper(const MatmulOperand& x, int bytes, bool may_turn) {
    const Layout lies = layout_of(x);
    return lies == Layout::along || (lies == Layout::across && bytes == 2) ? x.aligned : lies == Layout::across && may_turn;
}

constexpr CudaMatmulPlan cuda_matmul_plan(const MatmulQuestion& q) {
    CudaMatmulPlan p{};
    p.group = 8;
    if (q.bytes == 8 || (q.bytes == 4 && !q.tf32)) {
        p.kernel = CudaMatmulPlan::Kernel::scalar;
        p.tile_m = p.tile_n = q.bytes == 4 ? 128 : 64;
    } else if (q.architecture == 90 && q.batch == 1 && q.k > 0 && fits_hopper(q.a, q.bytes, false) && fits_hopper(q.b, q.bytes, true) && q.y_aligned && !q.accumulate && q.m < kMostOfHopper &&
               q.n < kMostOfHopper && q.k < kMostOfHopper) {
        p.kernel = CudaMatmulPlan::Kernel::hopper;
        p.turns_b = q.bytes == 4 && layout_of(q.b) == Layout::across;
        p.tile_m = 128;
        // 256 columns load the fewest bytes per product, 128 fill the multiprocessors of a small one
        const int64_t wide = tiles_of(q.m, 128) * tiles_of(q.n, 256), narrow = tiles_of(q.m, 128) * tiles_of(q.n, 128);
        const int64_t wide_waves = tiles_of(wide, q.multiprocessors), narrow_waves = tiles_of(narrow, q.multiprocessors);
        p.tile_n = q.n > 128 && 2 * wide_waves <= narrow_waves + narrow_waves / 8 ? 256 : 128;
    } else {
        p.kernel = CudaMatmulPlan::Kernel::tensor;
        p.tile_m = p.tile_n = kTensorTile;
    }
    if (p.kernel == CudaMatmulPlan::Kernel::scalar) p.parts = 1;
    else cut_depth(q, p);
    p.tiles_m = tiles_of(q.m, p.tile_m);
    p.tiles_n = tiles_of(q.n, p.tile_n);
    const int64_t columns = p.tiles_n * p.parts, pairs = tiles_of(p.tiles_m, 2) * columns, places = q.multiprocessors / 2;
    // An odd last row of tiles is a pair all the same: not where that takes one more round.
    p.cluster = p.kernel == CudaMatmulPlan::Kernel::hopper && p.tiles_m > 1 && places > 0 && tiles_of(pairs, places) <= tiles_of(p.tiles_m * columns, q.multiprocessors) ? 2 : 1;
    p.tiles_m = tiles_of(p.tiles_m, p.cluster) * p.cluster;
    const int64_t all = p.tiles_m * columns, most = q.multiprocessors / p.cluster * p.cluster;
    p.blocks = all < most ? all : most;
    return p;
}

// Tile number t in the order blocks take them: `group` rows of tiles at a time, down each column of the group first.
struct TilePlace {
    int m, n;
};
constexpr TilePlace tile_place(int t, int tiles_m, int tiles_n, int group) {
    const int per_group = group * tiles_n, first = t / per_group * group;
    const int rows = tiles_m - first < group ? tiles_m - first : group, in_group = t % per_group;
    return {first + in_group % rows, in_group / rows};
}

}  // namespace lc::cuda
