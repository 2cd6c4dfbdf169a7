// How a product is cut up: a pure function of its shape, its element type and the ISA.
//
// k_block and k_chains fix the order of every sum and so depend on k alone; all else only moves work about and changes no
// bit. A sum over k is split in blocks; a block in chains, chain r having the depths r, r + chains, ...; each chain is summed
// in order from zero, and the chains are added in order, block by block.
#pragma once
#include <cstdint>
#include "cpp/core/cpu_features.h"

namespace lc {

struct TileSize {
    int rows, cols;
};

// The register tile of cpp/kernels/gemm.h, which asserts that these are its own; bytes is the accumulator's size.
constexpr TileSize tile_size(Isa isa, int bytes) {
    switch (isa) {
        case Isa::avx512: return {14, 2 * 64 / bytes};
        case Isa::avx2: return {6, 2 * 32 / bytes};
        case Isa::neon: return {14, 2 * 16 / bytes};
        default: return {6, 2 * 16 / bytes};
    }
}

constexpr int64_t kL2Bytes = 512 << 10;
constexpr int64_t kChainedDepth = 512;
constexpr int64_t kMaxChain = 384;                    // a panel of b, 384 x 16 floats, is 24 KB: most of L1

// Chains as 16 bytes of accumulators hold: a product of few rows then reads columns of b along their depth in whole
// registers, at 60 GB/s from L3 against 27 for one chain. For less depth the ends of chains cost more than that: 8 % at 64.
constexpr int k_chains(int64_t k, int bytes) { return k < kChainedDepth ? 1 : 16 / bytes; }

// Depth of the blocks a sum over k is split in: equal parts, so that no short block is left over.
constexpr int64_t k_block(int64_t k) {
    const int64_t most = k < kChainedDepth ? kMaxChain : 1024, blocks = (k + most - 1) / most;
    return blocks <= 1 ? k : ((k + blocks - 1) / blocks + 7) / 8 * 8;
}

struct MatmulShape {
    int64_t batch, m, n, k;
    int bytes;                                        // of an accumulator: 4, or 8 for float64
    bool b_packed_rows;                               // b's columns are adjacent, in the accumulator's type,
    bool b_gapless;                                   // and its rows follow each other
    bool b_columns;                                   // elements of a column of b are adjacent, in that type,
    bool add;                                         // y += instead
    bool a_rows;                                      // a's depths are adjacent
};

struct MatmulPlan {
    // panels: each task streams some panels of b through L1 and past all of a, which is read where it lies. Small m,
    //         small products, batches of them.
    // rows:   all of b is packed by all threads; then a task computes rows of y, whose a it packs to its own L2. Many rows.
    // blocks: a and b are packed by all threads, then tiles of y are computed from the packed blocks.
    enum class Schedule : uint8_t { panels,
                                    rows,
                                    blocks } schedule;
    bool turned;                                      // panels: columns of b, read in place, are a tile's rows, and a is packed as its columns
    bool pack_a;                                      // panels: a is packed once, for all tasks
    bool pack_b;                                      // panels: copy each panel of b to scratch first
    int64_t k_block;
    int chains;
    int64_t panel_cols;                               // width of a panel of b
    int64_t items, rows, cols;                        // panels: batch entries, rows and columns of y in a task
    int64_t tile_rows, tile_cols;                     // blocks: y computed by one task; rows: its rows, columns done together
    int64_t block_rows, block_cols;                   // blocks: y computed from one packing
    int64_t work_ns;                                  // rough, on one thread
};

namespace detail {
constexpr int64_t div_up(int64_t n, int64_t d) { return (n + d - 1) / d; }
// The size, a multiple of `unit`, of the fewest equal parts of n that are at most `most` each.
constexpr int64_t even_part(int64_t n, int64_t most, int64_t unit) {
    const int64_t parts = div_up(n, most);
    return parts <= 1 ? div_up(n, unit) * unit : div_up(div_up(n, parts), unit) * unit;
}
// The same, of a multiple of four parts if there are several, so that two threads, or four, finish together.
constexpr int64_t shared_part(int64_t n, int64_t most, int64_t unit) {
    const int64_t parts = div_up(n, most);
    return even_part(n, parts <= 1 ? most : div_up(n, div_up(parts, 4) * 4), unit);
}
constexpr int64_t at_least(int64_t x, int64_t least) { return x < least ? least : x; }
constexpr int64_t at_most(int64_t x, int64_t most) { return x > most ? most : x; }
}  // namespace detail

// So few rows read columns of b that lie along their depth where they are: a register holds four chains of a column or more,
// or a block of them is turned.
constexpr int64_t kDotRows = 4;
constexpr bool few_rows(int64_t m, int chains) { return chains > 1 ? m <= kDotRows : m == 1; }

// Rows, fewer than columns, that are worth packing in the place of b. Their sums are kept by task: 256 columns, 128 KB.
constexpr int64_t kTurnedRows = 128;

// Columns of b per panel: with few rows, wider tiles keep enough sums in flight to cover the FMA's latency.
constexpr int64_t panel_cols(int64_t m, TileSize tile) { return m == 1 ? 4 * tile.cols : m <= 3 ? 2 * tile.cols
                                                                                                : tile.cols; }

constexpr MatmulPlan matmul_plan(const MatmulShape& s, TileSize tile) {
    using namespace detail;
    MatmulPlan p{};
    p.k_block = k_block(s.k);
    p.chains = k_chains(s.k, s.bytes);
    const double flops = 2.0 * double(s.batch) * double(s.m) * double(s.n) * double(s.k);
    const double bytes = double(s.batch) * (double(s.n) * double(s.k) + double(s.m) * double(s.k)) * s.bytes;
    p.work_ns = int64_t(flops / (320 / s.bytes) + bytes / 20);

    // Adjacent rows of a are read in pieces of lines far apart: packed, unless they stay in L1.
    const bool a_stays_in_l2 = s.m * p.k_block * s.bytes <= kL2Bytes / (s.a_rows || s.batch > 1 ? 4 : 16);
    if (s.m <= 64 || s.n <= 2 * tile.cols || a_stays_in_l2) {
        p.schedule = MatmulPlan::Schedule::panels;
        p.panel_cols = panel_cols(s.m, tile);
        // Up to one tile of rows does not repay a copy; more do, as rows of b far apart fall into few sets of L1. All of b may be in L1.
        const bool in_l1 = s.b_gapless && s.n * s.k * s.bytes <= 16 << 10 && p.chains == 1;
        p.turned = s.batch == 1 && s.b_columns && !s.add && s.m <= kTurnedRows && s.m < s.n && s.m <= s.k && !few_rows(s.m, p.chains);
        p.pack_b = !p.turned && (!s.b_packed_rows || (s.m > tile.rows && !in_l1));
        // Chains use every fourth number of a line of a: from L2 that takes longer than the arithmetic.
        p.pack_a = p.turned || (s.batch == 1 && p.chains > 1 && s.m >= 4 * tile.rows && s.n >= 8 * tile.cols);
        // Tasks of about 50 us: whole items of a batch when they are smaller than that, else a part of one.
        const double item_us = double(p.work_ns) * 1e-3 / double(at_least(s.batch, 1));
        p.items = item_us < 25 ? even_part(at_least(s.batch, 1), at_least(int64_t(50 / (item_us + 0.01)), 1), 1) : 1;
        p.rows = at_least(s.m, 1);
        p.cols = p.turned ? even_part(s.n, 256, p.panel_cols) : at_least(div_up(s.n, p.panel_cols), 1) * p.panel_cols;
        if (item_us >= 25) {
            const int64_t least = p.pack_a && s.b_packed_rows ? at_least(64, p.panel_cols) : p.panel_cols;   // b is read in runs of 256 bytes
            if (s.m > 2 * s.n) p.rows = even_part(s.m, at_least(int64_t(double(s.m) * 50 / item_us), 8 * tile.rows), tile.rows);
            else p.cols = at_least(shared_part(s.n, at_least(at_most(int64_t(double(s.n) * 50 / item_us), 256), least), p.turned ? tile.cols / 2 : p.panel_cols), least);
        }
        return p;
    }

    p.pack_b = true;
    p.panel_cols = tile.cols;
    const int64_t chain = div_up(p.k_block, p.chains);
    // Rows for some 50 us at least, so many that threads finish together; half of L2 takes their a, which panels of b pass by.
    const int64_t in_l2 = kL2Bytes / 2 / (p.k_block * s.bytes), worth = at_least(12 * tile.rows, div_up(2'000'000, s.n * s.k));
    const int64_t rows = at_least(at_most(in_l2, worth) / tile.rows, 1) * tile.rows;
    if (s.a_rows && s.batch == 1 && s.m >= 16 * rows && s.n <= 4096 && s.n * s.k * s.bytes <= 4 << 20) {
        p.schedule = MatmulPlan::Schedule::rows;
        p.tile_rows = rows;
        p.tile_cols = 256;
        return p;
    }
    p.schedule = MatmulPlan::Schedule::blocks;
    constexpr int64_t lines = 4096;                   // of a and b together: 16 MB of L3. Most products need one packing of each
    p.block_rows = even_part(s.m, at_least(lines / 4, lines - s.n), tile.rows);
    p.block_cols = even_part(s.n, at_least(lines / 4, lines - p.block_rows), tile.cols);
    p.tile_rows = even_part(p.block_rows, kL2Bytes / 2 / (chain * s.bytes), tile.rows);       // half of L2
    p.tile_rows = even_part(p.block_rows, at_most(p.tile_rows, 24 * tile.rows), tile.rows);
    // Enough tiles that threads finish together, each wide enough to pay for bringing its rows of a into L2.
    for (int64_t width = 256; width >= 64; width /= 2) {
        p.tile_cols = even_part(p.block_cols, at_least(width, tile.cols), tile.cols);
        if (div_up(p.block_rows, p.tile_rows) * div_up(p.block_cols, p.tile_cols) >= 32) break;
    }
    return p;
}

}  // namespace lc
