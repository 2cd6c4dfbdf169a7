// Strided<N>: how an elementwise op walks N operands of one common shape, whatever their strides.
//
// make_strided() expands the operands to the common shape (stride 0 where one is broadcast), orders the dimensions by the
// strides of operand 0 and merges neighbours that every operand crosses without a jump. What is left is walked in
// chunks: an operand that lies dense inside a chunk is used in place, any other is gathered into a small buffer first,
// so that a kernel has one inner loop, over dense memory:
//
//   parallel_ranges(s.numel, kGrain, work_ns, [&](int64_t begin, int64_t end) {
//       ChunkReader<T> read_x(x); ChunkWriter<T> write_y(y);
//       each_chunk(s, begin, end, [&](const Position<2>& at, int64_t n) {
//           loop(read_x(s, 1, at, n), write_y.open(s, 0, at, n), n);
//           write_y.close(s, 0, at, n);
//       });
//   });
#pragma once
#include <cstdint>
#include "cpp/core/dims.h"
#include "cpp/core/macros.h"
#include "cpp/core/tensor.h"

namespace lc {

constexpr int64_t kChunk = 1024;                      // elements: three operands of doubles take 24 KiB of L1
constexpr int64_t kGrain = 32 * kChunk;               // elements of one parallel task

template <int N> struct Strided {
    int64_t numel;
    int rank;                                         // at least 1
    int64_t size[kMaxDims];                           // innermost last
    int64_t stride[N][kMaxDims];                      // in elements
};

namespace detail {
LC_API void make_strided(int operands, const Dims& sizes, const TensorImpl* const* x, int64_t* numel, int* rank,
                         int64_t* size, int64_t (*stride)[kMaxDims]);
}  // namespace detail

// The walk over operands x[0..N) of the common shape `sizes`, to which each can be expanded.
template <int N> Strided<N> make_strided(const Dims& sizes, const TensorImpl* const (&x)[N]) {
    Strided<N> s;
    const int64_t numel = x[0]->numel;                // operand 0, the one written, has the full shape
    bool simple = true;                               // all dense or single elements: one dimension
    for (int k = 0; k < N; ++k) {
        const bool dense = x[k]->contiguous && x[k]->numel == numel;
        simple &= dense | (x[k]->numel == 1);
        s.stride[k][0] = dense;
    }
    if (LC_LIKELY(simple)) {
        s.numel = s.size[0] = numel;
        s.rank = 1;
    } else {
        detail::make_strided(N, sizes, x, &s.numel, &s.rank, s.size, s.stride);
    }
    return s;
}

// Where a walk stands: the index in every dimension and the offset of every operand.
template <int N> struct Position {
    int64_t index[kMaxDims], offset[N];
};

template <int N> LC_INLINE void advance(const Strided<N>& s, Position<N>& at, int64_t n) {
    int d = s.rank - 1;
    at.index[d] += n;
    for (int k = 0; k < N; ++k) at.offset[k] += n * s.stride[k][d];
    for (; d > 0 && at.index[d] >= s.size[d]; --d) {
        const int64_t carry = at.index[d] / s.size[d];
        at.index[d] -= carry * s.size[d];
        at.index[d - 1] += carry;
        for (int k = 0; k < N; ++k) at.offset[k] += carry * (s.stride[k][d - 1] - s.size[d] * s.stride[k][d]);
    }
}

// f(position, n) for the elements [begin, end) of the walk, at most kChunk at a time. A chunk ends with its row unless
// rows are short; then it spans several, and only gathered operands see the seams.
template <int N, class F> LC_INLINE void each_chunk(const Strided<N>& s, int64_t begin, int64_t end, F&& f) {
    constexpr int64_t kShortRow = 64;
    Position<N> at;
    for (int d = 0; d < s.rank; ++d) at.index[d] = 0;
    for (int k = 0; k < N; ++k) at.offset[k] = 0;
    advance(s, at, begin);
    const int last = s.rank - 1;
    while (begin < end) {
        int64_t n = end - begin < kChunk ? end - begin : kChunk;
        const int64_t row = s.size[last] - at.index[last];
        if (s.size[last] >= kShortRow && n > row) n = row;
        f(at, n);
        begin += n;
        if (begin < end) advance(s, at, n);
    }
}

namespace detail {
// Calls f(offset, stride, count, done) for the runs along the innermost dimension that make up n elements of operand k.
template <int N, class F> LC_INLINE void each_run(const Strided<N>& s, int k, const Position<N>& from, int64_t n, F&& f) {
    const int last = s.rank - 1;
    Position<1> at;
    for (int d = 0; d <= last; ++d) at.index[d] = from.index[d];
    int64_t offset = from.offset[k];
    for (int64_t done = 0; done < n;) {
        const int64_t row = s.size[last] - at.index[last], count = n - done < row ? n - done : row;
        f(offset, s.stride[k][last], count, done);
        done += count;
        offset += count * s.stride[k][last];
        at.index[last] += count;
        for (int d = last; d > 0 && at.index[d] == s.size[d]; --d) {
            at.index[d] = 0;
            ++at.index[d - 1];
            offset += s.stride[k][d - 1] - s.size[d] * s.stride[k][d];
        }
    }
}

template <int N> LC_INLINE bool dense(const Strided<N>& s, int k, const Position<N>& at, int64_t n) {
    const int last = s.rank - 1;
    return s.stride[k][last] == 1 && at.index[last] + n <= s.size[last];
}
}  // namespace detail

// Elements of one operand as dense memory: its own, or a gathered copy.
template <class T> class ChunkReader {
public:
    explicit LC_INLINE ChunkReader(const T* base) : base_(base) {}

    template <int N> LC_INLINE const T* operator()(const Strided<N>& s, int k, const Position<N>& at, int64_t n) {
        if (LC_LIKELY(detail::dense(s, k, at, n))) return base_ + at.offset[k];
        const int last = s.rank - 1;
        const bool scalar = s.stride[k][last] == 0 && at.index[last] + n <= s.size[last];
        if (scalar && at.offset[k] == held_at_ && n <= held_) return chunk_;      // the same scalar as last time
        held_ = scalar ? n : 0;
        held_at_ = at.offset[k];
        detail::each_run(s, k, at, n, [&](int64_t offset, int64_t stride, int64_t count, int64_t done) {
            const T* from = base_ + offset;
            T* to = chunk_ + done;
            if (stride == 0) {
                const T x = *from;
                for (int64_t i = 0; i < count; ++i) to[i] = x;
            } else if (stride == 1) {
                for (int64_t i = 0; i < count; ++i) to[i] = from[i];
            } else {
                for (int64_t i = 0; i < count; ++i) to[i] = from[i * stride];
            }
        });
        return chunk_;
    }

private:
    const T* base_;
    int64_t held_ = 0, held_at_ = 0;
    alignas(64) T chunk_[kChunk];
};

// Dense memory to write one operand's elements to: open() gives it, close() puts it in place.
template <class T> class ChunkWriter {
public:
    explicit LC_INLINE ChunkWriter(T* base) : base_(base) {}

    template <int N> LC_INLINE T* open(const Strided<N>& s, int k, const Position<N>& at, int64_t n) {
        return LC_LIKELY(detail::dense(s, k, at, n)) ? base_ + at.offset[k] : chunk_;
    }
    template <int N> LC_INLINE void close(const Strided<N>& s, int k, const Position<N>& at, int64_t n) {
        if (LC_LIKELY(detail::dense(s, k, at, n))) return;
        detail::each_run(s, k, at, n, [&](int64_t offset, int64_t stride, int64_t count, int64_t done) {
            T* to = base_ + offset;
            for (int64_t i = 0; i < count; ++i) to[i * stride] = chunk_[done + i];
        });
    }

private:
    T* base_;
    alignas(64) T chunk_[kChunk];
};

}  // namespace lc
