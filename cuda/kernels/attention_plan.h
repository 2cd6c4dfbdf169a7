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
};

struct CudaAttentionPlan {
    enum class Kernel : uint8_t { tensor,             // mma.sync and cp.async
                                  scalar } kernel;    // multiply-adds in float or double
    int width;                                        // tensor: of a row in shared memory, zero from dim on
};

// A tile of scores, forward. A thread's registers hold 64 x 4 sums and scores of heads of 64; of heads of 128, with fewer keys.
constexpr int kAttentionQueries = 128;
constexpr int attention_keys(int width) { return width == 64 ? 64 : 32; }

constexpr CudaAttentionPlan cuda_attention_plan(const AttentionQuestion& q) {
    const int64_t widest = q.dim > q.dim_v ? q.dim : q.dim_v;
    // The largest score is found before it is scaled: that asks for a positive scale.
    const bool tensor = q.bytes == 2 && widest <= 128 && q.scale > 0 && !q.mask && !q.dropout;
    return {tensor ? CudaAttentionPlan::Kernel::tensor : CudaAttentionPlan::Kernel::scalar, widest <= 64 ? 64 : 128};
}

// Tiles of `keys` keys, from key 0 on, that some query before `queries_end` sees.
constexpr int64_t key_tiles(int64_t queries_end, int64_t tk, bool causal, int keys) {
    const int64_t end = causal && queries_end < tk ? queries_end : tk;
    return (end + keys - 1) / keys;
}

}  // namespace lc::cuda
