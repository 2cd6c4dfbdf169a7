// How a kernel over rows is cut up: a pure function of the shape, so that sums over rows have one order.
#pragma once
#include <cstdint>
#include "cpp/core/macros.h"

namespace lc::cuda {

constexpr int kRowThreads = 256;
// Elements of a row that a thread keeps in registers: 32 floats of a warp's row, 16 of a block's.
constexpr int kept_by_thread(int threads, int bytes) { return (threads == 32 ? 128 : 64) / bytes; }
constexpr int64_t row_span(int threads, int bytes) { return int64_t(threads) * kept_by_thread(threads, bytes); }

struct RowPlan {
    bool warps;                                       // a warp per row; else a block
    int64_t blocks;
};

// bytes: of an accumulator.
constexpr RowPlan row_plan(int64_t rows, int64_t cols, int bytes) {
    const bool warps = cols <= row_span(32, bytes);
    const int64_t per_block = warps ? kRowThreads / 32 : 1;
    return {warps, (rows + per_block - 1) / per_block};
}

// Gradients of w and b, sums over rows: each of `parts` blocks adds up the rows that fall to it, then the parts are added.
struct RowSumPlan {
    bool warps, shared;                               // shared: a block's sums fit into its shared memory
    int64_t parts, sum_bytes;                         // of one block: `sums` strips for each row under way
};
constexpr RowSumPlan row_sum_plan(int64_t rows, int64_t cols, int bytes, int sums) {
    const RowPlan rows_of = row_plan(rows, cols, bytes);
    const int64_t span = row_span(rows_of.warps ? 32 : kRowThreads, bytes), strip = (cols + span - 1) / span * span * bytes;
    const int64_t all = strip * sums * (rows_of.warps ? kRowThreads / 32 : 1);
    const int64_t most = 264;                         // two blocks for each multiprocessor of the largest chips
    return {rows_of.warps, all <= 96 << 10, rows_of.blocks < most ? rows_of.blocks : most, all};
}

}  // namespace lc::cuda
