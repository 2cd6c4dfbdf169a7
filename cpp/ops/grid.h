// Grid: the dims of one operand that walk in step with a contiguous other. What the ops that move elements share.
#pragma once
#include "cpp/core/dims.h"
#include "cpp/core/dtype.h"

namespace lc {

// Positions 0..count-1 in row-major order, with the offset of each in memory. Dims that step evenly are merged, so most
// grids have rank 0 or 1.
struct Grid {
    int rank = 0;
    int64_t count = 1;
    int64_t size[kMaxDims], stride[kMaxDims];

    void add(int64_t n, int64_t step) {
        count *= n;
        if (n == 1) return;
        if (rank > 0 && stride[rank - 1] == n * step) {
            size[rank - 1] *= n;
            stride[rank - 1] = step;
        } else {
            size[rank] = n;
            stride[rank++] = step;
        }
    }
    LC_INLINE int64_t offset(int64_t i) const {
        if (rank == 1) return i * stride[0];
        int64_t at = 0;
        for (int k = rank - 1; k >= 0; --k) {
            at += i % size[k] * stride[k];
            i /= size[k];
        }
        return at;
    }
    LC_INLINE int64_t step() const { return rank ? stride[rank - 1] : 1; }     // within a run
};

// Calls f(i, offset, length) for the runs of [begin, end): `length` positions from i on, grid.step() apart in memory.
template <class F> LC_INLINE void each_run(const Grid& grid, int64_t begin, int64_t end, F&& f) {
    const int64_t whole = grid.rank ? grid.size[grid.rank - 1] : 1;
    while (begin < end) {
        const int64_t rest = whole - begin % whole, length = rest < end - begin ? rest : end - begin;
        f(begin, grid.offset(begin), length);
        begin += length;
    }
}

// Calls f.template operator()<T>() with the unsigned integer that is as wide as the dtype: for moving elements unread.
template <class F> decltype(auto) visit_bits(DType t, F&& f) {
    switch (item_size(t)) {
        case 1: return f.template operator()<uint8_t>();
        case 2: return f.template operator()<uint16_t>();
        case 4: return f.template operator()<uint32_t>();
        default: return f.template operator()<uint64_t>();
    }
}

}  // namespace lc
