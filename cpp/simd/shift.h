// One lane up or down, zero coming in: a row seen from the pixel before or after, where there is no pixel beyond its end.
#pragma once
#include "cpp/simd/transpose.h"

namespace lc::cpu::LC_ISA {
namespace detail {

template <class T> struct LaneBefore {
    static constexpr int at(int i) { return i == 0 ? lanes<T> : i - 1; }
};
template <class T> struct LaneAfter {
    static constexpr int at(int i) { return i + 1; }  // the last: lane 0 of the zeros
};

}  // namespace detail

template <class T> LC_INLINE vec<T> shift_up(vec<T> a) { return detail::shuffle<detail::LaneBefore<T>>(a, zero<T>()); }     // 0, a[0], a[1], ...
template <class T> LC_INLINE vec<T> shift_down(vec<T> a) { return detail::shuffle<detail::LaneAfter<T>>(a, zero<T>()); }    // a[1], a[2], ..., 0

}  // namespace lc::cpu::LC_ISA
