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
};

struct CudaMatmulPlan {
    enum class Kernel : uint8_t { hopper,             // wgmma and TMA, a persistent block per multiprocessor
                                  tensor,             // mma.sync and cp.async
                                  scalar } kernel;    // multiply-adds in float or double
    int tile_m, tile_n;
    int64_t tiles_m, tiles_n;
    int64_t blocks;                                   // hopper: blocks launched, each takes every blocks-th tile
    int group;                                        // hopper: rows of tiles walked together, so that b stays in L2
};

constexpr int kTensorTile = 128, kTensorDepth = 64, kTensorStages = 3;
constexpr int kHopperDepth = 64;

constexpr CudaMatmulPlan cuda_matmul_plan(const MatmulQuestion& q) {
    CudaMatmulPlan p{};
    const auto tiles = [](int64_t n, int64_t tile) { return (n + tile - 1) / tile; };
    p.group = 8;
    if (q.bytes != 2) {
        p.kernel = CudaMatmulPlan::Kernel::scalar;
        p.tile_m = p.tile_n = q.bytes == 4 ? 128 : 64;
    } else if (q.architecture == 90 && q.batch == 1 && q.k > 0 && q.a.aligned && q.b.aligned && q.y_aligned && !q.accumulate &&
               layout_of(q.a) != Layout::loose && layout_of(q.b) != Layout::loose) {
        p.kernel = CudaMatmulPlan::Kernel::hopper;
        p.tile_m = 128;
        // 256 columns load the fewest bytes per product, 128 fill the multiprocessors of a small one
        const int64_t wide = tiles(q.m, 128) * tiles(q.n, 256), narrow = tiles(q.m, 128) * tiles(q.n, 128);
        const int64_t wide_waves = tiles(wide, q.multiprocessors), narrow_waves = tiles(narrow, q.multiprocessors);
        p.tile_n = q.n > 128 && 2 * wide_waves <= narrow_waves + narrow_waves / 8 ? 256 : 128;
    } else {
        p.kernel = CudaMatmulPlan::Kernel::tensor;
        p.tile_m = p.tile_n = kTensorTile;
    }
    p.tiles_m = tiles(q.m, p.tile_m);
    p.tiles_n = tiles(q.n, p.tile_n);
    const int64_t all = p.tiles_m * p.tiles_n;
    p.blocks = all < q.multiprocessors ? all : q.multiprocessors;
    return p;
}

// Tile number t in the order blocks take them: `group` rows of tiles at a time, down each column of the group first.
struct TilePlace {
    int64_t m, n;
};
constexpr TilePlace tile_place(int64_t t, int64_t tiles_m, int64_t tiles_n, int group) {
    const int64_t per_group = group * tiles_n, first = t / per_group * group;
    const int64_t rows = tiles_m - first < group ? tiles_m - first : group, in_group = t % per_group;
    return {first + in_group % rows, in_group / rows};
}

}  // namespace lc::cuda
