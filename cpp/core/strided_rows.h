// A walk by whole rows, where every operand can be read and written in place: less to do for each than for a chunk.
#pragma once
#include "cpp/core/strided.h"

namespace lc {

// f(offset of every operand, n) for the rows, or parts of rows, that make up the elements [begin, end) of the walk.
template <int N, class F> LC_INLINE void each_row(const Strided<N>& s, int64_t begin, int64_t end, F&& f) {
    const int last = s.rank - 1;
    Position<N> at;
    for (int d = 0; d <= last; ++d) at.index[d] = 0;
    for (int k = 0; k < N; ++k) at.offset[k] = 0;
    advance(s, at, begin);
    const int64_t size = s.size[last];
    int64_t column = at.index[last];
    while (begin < end) {
        const int64_t n = size - column < end - begin ? size - column : end - begin;
        f(at.offset, n);
        begin += n;
        for (int k = 0; k < N; ++k) at.offset[k] -= column * s.stride[k][last];
        column = 0;
        for (int d = last - 1; d >= 0; --d) {
            for (int k = 0; k < N; ++k) at.offset[k] += s.stride[k][d];
            if (++at.index[d] < s.size[d]) break;
            for (int k = 0; k < N; ++k) at.offset[k] -= s.size[d] * s.stride[k][d];
            at.index[d] = 0;
        }
    }
}

}  // namespace lc
