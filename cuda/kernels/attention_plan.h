// Which kernel computes attention on CUDA, and the tiles of the score matrix it visits: pure functions of the problem.
#pragma once
#include <cstdint>

namespace lc::cuda {

// Nothing here may ask for lengths, batch or alignment: the same row has the same bits whatever stands beside it.
struct AttentionQuestion {
    int64_t dim, dim_v;
    double scale;
    int bytes;                                        // of an element
    bool mask, dropout;
    int architecture;
};

struct CudaAttentionPlan {
    enum class Kernel : uint8_t { hopper,             // wgmma and TMA, a persistent block per multiprocessor
                                  tensor,             // mma.sync and cp.async
                                  scalar } kernel;    // multiply-adds in float or double
    int width;                                        // hopper, tensor: of a row in shared memory, zero from dim on
    bool plain;                                       // tensor: neither mask nor dropout
};

// A tile of scores, forward. A thread's registers hold 64 x 4 sums and scores of heads of 64; of heads of 128, with fewer keys.
// Masks and dropout need room too: half as many queries, of whose keys 64 share their random numbers.
constexpr int attention_queries(bool plain) { return plain ? 128 : 64; }
constexpr int attention_keys(int width, bool plain) { return width == 64 || !plain ? 64 : 32; }

constexpr CudaAttentionPlan cuda_attention_plan(const AttentionQuestion& q) {
    const int64_t widest = q.dim > q.dim_v ? q.dim : q.dim_v;
    // The largest score is found before it is scaled: that asks for a positive scale.
    const bool tensor = q.bytes == 2 && widest <= 128 && q.scale > 0, plain = !q.mask && !q.dropout;
    const bool hopper = tensor && plain && q.architecture == 90 && q.dim % 8 == 0 && q.dim_v % 8 == 0;      // rows of whole 16 bytes
    return {hopper ? CudaAttentionPlan::Kernel::hopper : tensor ? CudaAttentionPlan::Kernel::tensor
                                                                : CudaAttentionPlan::Kernel::scalar,
            widest <= 64 ? 64 : 128, plain};
}

// Tiles of `keys` keys, from key 0 on, that some query before `queries_end` sees.
constexpr int64_t key_tiles(int64_t queries_end, int64_t tk, bool causal, int keys) {
    const int64_t end = causal && queries_end < tk ? queries_end : tk;
    return (end + keys - 1) / keys;
}

// Elsewhere a block has one tile of rows of one head; all in one axis of the grid, the only one with room for any number.
struct AttentionBlock {
    unsigned tile, tiles, head;                       // of batch x heads
};
constexpr AttentionBlock attention_block(unsigned number, int64_t rows, int tile) {
    const unsigned tiles = unsigned((rows + tile - 1) / tile);
    return {number % tiles, tiles, number / tiles};
}

// Hopper, forward: warpgroups of 64 queries in a block, as many as the registers hold.
constexpr int attention_consumers(int width) { return width == 64 ? 3 : 2; }

// Hopper: persistent blocks take (tile of rows, head) items by number: of so many heads that their keys and values stay in
// L2, the longest rows first. Every other lap over the blocks runs backwards, so that none gets the longer ones each time.
struct AttentionItem {
    int row_tile, head;
};
constexpr int attention_item_number(int lap, int block, int blocks) { return lap * blocks + (lap % 2 ? blocks - 1 - block : block); }
constexpr AttentionItem attention_item(int number, int row_tiles, int heads, int group) {
    const int first = number / (row_tiles * group) * group, rest = number - first * row_tiles, here = heads - first < group ? heads - first : group;
    return {row_tiles - 1 - rest / here, first + rest % here};
}
constexpr int attention_group(int64_t tk, int width, int64_t heads_per_key, int64_t heads) {
    const int64_t fit = (int64_t(32) << 20) / (tk * width * 4);              // of keys and values in 16 bits
    const int64_t group = (fit > 1 ? fit : 1) * heads_per_key;
    return int(group < heads ? group : heads);
}

}  // namespace lc::cuda
