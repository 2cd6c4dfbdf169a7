// The policy of littlecore.autocast stands where an op is bound: m.both("matmul", lowered(&matmul), ...) computes in the
// region's 16-bit type, in_float32(&softmax) in float32, any other op in the types it is given.
#pragma once
#include <type_traits>
#include "cpp/autograd/autocast.h"

namespace lc::python {
namespace casts {

using Cast = Tensor (*)(const Tensor&);

template <Cast cast, class A> decltype(auto) argument(const A& a) {
    if constexpr (std::is_same_v<A, Tensor>) {
        return cast(a);
    } else if constexpr (std::is_same_v<A, Tensors>) {
        Tensors out;
        for (const Tensor& x : a) out.push_back(cast(x));
        return out;
    } else {
        return (a);
    }
}
template <Cast cast, class F, class R, class... A> auto casting(F f, R (F::*)(A...) const) {
    return [f](A... a) -> R { return autocast::dtype() ? f(argument<cast>(a)...) : f(a...); };
}
template <Cast cast, class R, class... A> auto casting(R (*f)(A...)) {
    return [f](A... a) -> R { return autocast::dtype() ? f(argument<cast>(a)...) : f(a...); };
}
template <Cast cast, class F> auto casting(F f)
    requires std::is_class_v<F>
{ return casting<cast>(f, &F::operator()); }

}  // namespace casts

// f with all its tensors converted in a region.
template <class F> auto lowered(F f) { return casts::casting<autocast::lowered>(f); }
template <class F> auto in_float32(F f) { return casts::casting<autocast::raised>(f); }

}  // namespace lc::python
