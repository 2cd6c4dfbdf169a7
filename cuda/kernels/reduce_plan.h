// How a reduction of [outer, n, inner] is cut up: a pure function of the shape, so that sums have one order.
#pragma once
#include <cstdint>
#include "cpp/core/macros.h"

namespace lc::cuda {

constexpr int kReduceThreads = 256;

struct ReducePlan {
    // rows: inner = 1, a warp or a block per row.  columns: 32 neighbouring results a block, 8 threads down each.
    enum class Schedule : uint8_t { warp_rows,
                                    block_rows,
                                    columns } schedule;
    int64_t parts;                                    // n is cut in as many, each reduced by itself; then those are reduced
    int64_t part;                                     // elements of a part
};

// Parts only where there are too few results to occupy a large GPU (132 multiprocessors x 8 blocks), and then none
// shorter than what amortizes a block.
constexpr ReducePlan reduce_plan(int64_t outer, int64_t n, int64_t inner) {
    ReducePlan p{};
    const int64_t blocks_wanted = 1056;
    int64_t blocks, shortest;
    if (inner > 1) {
        p.schedule = ReducePlan::Schedule::columns;
        blocks = outer * ((inner + 31) / 32);
        shortest = 64;
    } else if (n <= 1024) {
        p.schedule = ReducePlan::Schedule::warp_rows;
        p.parts = 1;
        p.part = n;
        return p;
    } else {
        p.schedule = ReducePlan::Schedule::block_rows;
        blocks = outer;
        shortest = 4096;
    }
    int64_t parts = (blocks_wanted + blocks - 1) / blocks;
    const int64_t most = (n + shortest - 1) / shortest;
    parts = parts < most ? parts : most;
    parts = parts < 1 ? 1 : parts;
    p.part = (n + parts - 1) / parts;
    p.parts = (n + p.part - 1) / p.part;
    return p;
}

}  // namespace lc::cuda
