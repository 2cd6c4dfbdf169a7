// The plans of CUDA kernels are pure functions of shape and chip; the compiler itself checks these.
#include "cuda/kernels/conv2d_plan.h"
#include "cuda/kernels/matmul_plan.h"
#include "cuda/kernels/row_plan.h"
#include "cuda/kernels/reduce_plan.h"

namespace lc::cuda {

constexpr MatmulQuestion linear(int64_t m, int64_t n, int64_t k, int bytes = 2, int architecture = 90) {
    return {1, m, n, k, bytes, {k, 1, k * bytes % 16 == 0}, {k, 1, k * bytes % 16 == 0}, n * bytes % 16 == 0, false, architecture, 132};
}
constexpr CudaMatmulPlan plan(int64_t m, int64_t n, int64_t k, int bytes = 2, int architecture = 90) { return cuda_matmul_plan(linear(m, n, k, bytes, architecture)); }
using Kernel = CudaMatmulPlan::Kernel;

// Which kernel: Hopper's wherever the copy engine can read the operands, at any size; never a gate on multiples of a tile.
static_assert(plan(4096, 4096, 4096).kernel == Kernel::hopper);
static_assert(plan(37, 24, 8).kernel == Kernel::hopper);
static_assert(plan(37, 29, 19).kernel == Kernel::tensor, "rows that are no multiple of 16 bytes");
static_assert(plan(4096, 4096, 4096, 2, 80).kernel == Kernel::tensor);
static_assert(plan(4096, 4096, 4096, 4).kernel == Kernel::scalar, "float32 is not rounded to tf32 unasked");
static_assert(plan(64, 64, 0).kernel == Kernel::tensor, "no product at all is no work for a pipeline");

// Tiles: wide ones where they fill the chip as well as narrow ones do.
static_assert(plan(4096, 4096, 4096).tile_n == 256 && plan(16384, 50304, 768).tile_n == 256 && plan(8192, 3072, 768).tile_n == 256);
static_assert(plan(1024, 1024, 1024).tile_n == 128, "64 tiles of 128 x 128, not 32 of 128 x 256");
static_assert(plan(4096, 4096, 4096).blocks == 132 && plan(1024, 1024, 1024).blocks == 64);
static_assert(plan(130, 520, 64).tiles_m == 2 && plan(130, 520, 64).tiles_n * plan(130, 520, 64).tile_n >= 520);

// Every tile has one number.
constexpr bool all_tiles_once(int64_t tiles_m, int64_t tiles_n, int group) {
    bool seen[512] = {};
    for (int64_t t = 0; t < tiles_m * tiles_n; ++t) {
        const TilePlace p = tile_place(t, tiles_m, tiles_n, group);
        if (p.m < 0 || p.m >= tiles_m || p.n < 0 || p.n >= tiles_n || seen[p.m * tiles_n + p.n]) return false;
        seen[p.m * tiles_n + p.n] = true;
    }
    return true;
}
static_assert(all_tiles_once(1, 1, 8) && all_tiles_once(8, 3, 8) && all_tiles_once(9, 3, 8) && all_tiles_once(21, 17, 8) && all_tiles_once(7, 40, 8));

// Reductions: the parts cover n, none is empty, and they depend on nothing but the shape.
constexpr bool covers(int64_t outer, int64_t n, int64_t inner) {
    const ReducePlan p = reduce_plan(outer, n, inner);
    return p.parts >= 1 && p.parts * p.part >= n && (p.parts - 1) * p.part < n;
}
static_assert(covers(1, 1, 1) && covers(1, 5000, 1) && covers(1, 1 << 26, 1) && covers(3, 1 << 20, 7) && covers(16384, 4096, 1) && covers(1, 16384, 4096) && covers(1, 65, 33));
static_assert(reduce_plan(16384, 768, 1).schedule == ReducePlan::Schedule::warp_rows && reduce_plan(16384, 4096, 1).parts == 1);
static_assert(reduce_plan(1, 1 << 26, 1).parts > 1000, "one long row occupies the whole chip");

// Rows: short ones get a warp; sums over rows fit into shared memory or say that they do not, whatever the sizes.
static_assert(row_plan(16384, 768, 4).warps && row_plan(16384, 768, 4).blocks == 2048 && !row_plan(16384, 1025, 4).warps);
static_assert(row_plan(9, 512, 8).warps && !row_plan(9, 513, 8).warps && row_plan(9, 512, 8).blocks == 2);
static_assert(row_sum_plan(16384, 768, 4, 2).shared && row_sum_plan(16384, 768, 4, 2).parts == 264 && row_sum_plan(3, 768, 4, 2).parts == 1);
static_assert(row_sum_plan(16384, 8192, 4, 2).shared && !row_sum_plan(16384, 16384, 4, 2).shared);

}  // namespace lc::cuda
