// transpose(r): an L x L block held in L registers of L lanes, in place. Log2(L) rounds of two-register shuffles, each
// of which is one instruction on every ISA. load_transposed(p, line, r) is the same of a block in memory, cheaper: the
// rounds that exchange 16-byte parts are loads of parts.
#pragma once
#include <utility>
#include "cpp/simd/parts.h"

namespace lc::cpu::LC_ISA {
namespace detail {

// Lane i of the result is lane `from(i)` of a, or of b from `lanes` up.
template <class From, class T, size_t... i>
LC_INLINE vec<T> shuffle(vec<T> a, vec<T> b, std::index_sequence<i...>) {
    return {__builtin_shufflevector(a.v, b.v, From::at(int(i))...)};
}
template <class From, class T> LC_INLINE vec<T> shuffle(vec<T> a, vec<T> b) {
    return shuffle<From>(a, b, std::make_index_sequence<size_t(lanes<T>)>());
}

// Within each 16-byte part: units of `unit` lanes from the low (or high) half of the part, alternately of a and of b.
template <class T, int unit, bool high> struct Interleave {
    static constexpr int part = 16 / int(sizeof(T));
    static constexpr int at(int i) {
        const int base = i / part * part, in = i % part;
        return (in / unit % 2 ? lanes<T> : 0) + base + in / (2 * unit) * unit + in % unit + (high ? part / 2 : 0);
    }
};

// Whole 16-byte parts: of every 2 * `unit` parts the first (or second) `unit`, of a and then of b.
template <class T, int unit, bool high> struct ExchangeParts {
    static constexpr int part = 16 / int(sizeof(T));
    static constexpr int at(int i) {
        const int p = i / part, in = i % part, base = p / (2 * unit) * (2 * unit);
        return (p / unit % 2 ? lanes<T> : 0) + (base + p % unit + (high ? unit : 0)) * part + in;
    }
};

template <class Low, class High, class T> LC_INLINE void exchange(vec<T>& a, vec<T>& b) {
    const vec<T> low = shuffle<Low>(a, b), high = shuffle<High>(a, b);
    a = low;
    b = high;
}

// Every second lane of a and then of b; and the way back.
template <class T, int from> struct EverySecond {
    static constexpr int at(int i) { return 2 * i + from; }
};
template <class T, int from> struct Alternate {
    static constexpr int at(int i) { return from + i / 2 + (i % 2 ? lanes<T> : 0); }
};

// Each 16-byte column of parts becomes its own small transpose.
template <class T> LC_INLINE void transpose_parts(vec<T> (&r)[size_t(lanes<T>)]) {
    constexpr int L = lanes<T>, part = 16 / int(sizeof(T));
    if constexpr (part == 4) {
#pragma GCC unroll 16
        for (int i = 0; i < L; i += 2) exchange<Interleave<T, 1, false>, Interleave<T, 1, true>>(r[i], r[i + 1]);
#pragma GCC unroll 16
        for (int i = 0; i < L; i += 4) {
            exchange<Interleave<T, 2, false>, Interleave<T, 2, true>>(r[i], r[i + 2]);
            exchange<Interleave<T, 2, false>, Interleave<T, 2, true>>(r[i + 1], r[i + 3]);
            const vec<T> second = r[i + 1];                       // columns came out in the order 0 2 1 3
            r[i + 1] = r[i + 2];
            r[i + 2] = second;
        }
    } else {
#pragma GCC unroll 16
        for (int i = 0; i < L; i += 2) exchange<Interleave<T, 1, false>, Interleave<T, 1, true>>(r[i], r[i + 1]);
    }
}

}  // namespace detail

template <class T> LC_INLINE vec<T> evens(vec<T> a, vec<T> b) { return detail::shuffle<detail::EverySecond<T, 0>>(a, b); }
template <class T> LC_INLINE vec<T> odds(vec<T> a, vec<T> b) { return detail::shuffle<detail::EverySecond<T, 1>>(a, b); }
template <class T> LC_INLINE vec<T> interleave_low(vec<T> a, vec<T> b) { return detail::shuffle<detail::Alternate<T, 0>>(a, b); }
template <class T> LC_INLINE vec<T> interleave_high(vec<T> a, vec<T> b) { return detail::shuffle<detail::Alternate<T, lanes<T> / 2>>(a, b); }

template <class T> LC_INLINE void transpose(vec<T> (&r)[size_t(lanes<T>)]) {
    using namespace detail;
    constexpr int L = lanes<T>, part = 16 / int(sizeof(T));
    transpose_parts(r);
    // Then the parts change places across the diagonal.
    if constexpr (L / part >= 2) {
#pragma GCC unroll 16
        for (int i = 0; i < L; ++i)
            if (!(i & part)) exchange<ExchangeParts<T, 1, false>, ExchangeParts<T, 1, true>>(r[i], r[i + part]);
    }
    if constexpr (L / part >= 4) {
#pragma GCC unroll 16
        for (int i = 0; i < L; ++i)
            if (!(i & 2 * part)) exchange<ExchangeParts<T, 2, false>, ExchangeParts<T, 2, true>>(r[i], r[i + 2 * part]);
    }
}

// r[d][i] = p[i * line + d]
template <class T> LC_INLINE void load_transposed(const T* p, int64_t line, vec<T> (&r)[size_t(lanes<T>)]) {
    constexpr int L = lanes<T>, part = 16 / int(sizeof(T));
#pragma GCC unroll 16
    for (int d = 0; d < L; d += part)
#pragma GCC unroll 16
        for (int i = 0; i < part; ++i) r[d + i] = load_parts(p + i * line + d, part * line);
    detail::transpose_parts(r);
}
template <class T, class S> LC_INLINE void load_transposed(const S* p, int64_t line, vec<T> (&r)[size_t(lanes<T>)]) {
#pragma GCC unroll 16
    for (int i = 0; i < lanes<T>; ++i) r[i] = load(p + i * line);
    transpose(r);
}

}  // namespace lc::cpu::LC_ISA
