// How attention is cut up: a pure function of its shape, the same on every ISA and for any number of threads.
#pragma once
#include "cpp/ops/attention.h"

namespace lc {

constexpr int64_t kForwardQueries = 96, kForwardKeys = 128;    // of a task, and a block: 64 KB of k and v in L2
constexpr int64_t kBackwardQueries = 64, kBackwardKeys = 64;   // a tile, its operands and gradients in L2
constexpr int64_t kHeadBytes = 512 << 10;             // a head's operands and gradients up to this are kept in L2
constexpr int64_t kFewQueries = 4;                    // below it a panel is mostly padding: rows are better

// Row i of o has the same bits either way.
struct AttentionForwardPlan {
    bool rows;                                        // a query at a time, as in generation
    int64_t tasks;
};
constexpr AttentionForwardPlan attention_forward_plan(const AttentionShape& s, bool dropout) {
    const bool rows = s.tq < kFewQueries && !dropout;
    return {rows, s.batch * s.heads * (rows ? s.tq : (s.tq + kForwardQueries - 1) / kForwardQueries)};
}

// Key ranges of one head that different threads take (strips, each with a dq of its own) and that follow each other
// (rounds, so that a task stays within a few ms).
struct AttentionBackwardPlan {
    int64_t keys, strips, rounds;
};
constexpr AttentionBackwardPlan attention_backward_plan(const AttentionShape& s) {
    const auto ceil_div = [](int64_t n, int64_t d) { return (n + d - 1) / d; };
    const auto at_least_one = [](int64_t n) { return n > 1 ? n : 1; };
    const int64_t heads = at_least_one(s.batch * s.kv_heads), work_per_key = 10 * s.dim * s.tq * (s.heads / s.kv_heads) + 1;
    AttentionBackwardPlan p{at_least_one(200000000 / work_per_key / kBackwardKeys) * kBackwardKeys, heads >= 8 ? 1 : ceil_div(8, heads), 1};
    const int64_t even = at_least_one(ceil_div(s.tk, p.strips * kBackwardKeys)) * kBackwardKeys;
    if (even < p.keys) p.keys = even;
    const int64_t ranges = at_least_one(ceil_div(s.tk, p.keys));
    if (ranges < p.strips) p.strips = ranges;
    p.rounds = ceil_div(ranges, p.strips);
    return p;
}

}  // namespace lc
