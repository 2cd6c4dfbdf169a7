// pointwise_loss on CPU. Math and shapes: cpp/ops/pointwise_loss.h
// Memory bound where the formula is arithmetic, bound by exp and log where it is not.
#include "cpp/ops/pointwise_loss.h"
#include "cpp/core/parallel.h"
#include "cpp/simd/reduce.h"
#include "cpp/simd/vec_math.h"

namespace lc::cpu::LC_ISA {
namespace {

using enum PointwiseLoss;

template <class T> LC_INLINE vec<T> number(double x) { return splat(T(x)); }
template <class T> LC_INLINE vec<T> sign(vec<T> d) { return select(d > zero<T>(), number<T>(1), select(d < zero<T>(), number<T>(-1), d)); }
template <class T> LC_INLINE vec<T> clamped_log(vec<T> x) { return max_nan(log(x), number<T>(-100)); }
template <class T> LC_INLINE vec<T> softplus(vec<T> x) { return log1p(exp(-abs(x))) + max_nan(x, zero<T>()); }

// One element: x, its target, the loss's parameter, pos_weight.
template <class T> struct Point {
    vec<T> x, t, beta, p;
};

template <PointwiseLoss kind, class T> LC_INLINE vec<T> loss(const Point<T>& a) {
    const vec<T> d = a.x - a.t, one = number<T>(1), half = number<T>(0.5);
    if constexpr (kind == mse) return d * d;
    if constexpr (kind == l1) return abs(d);
    if constexpr (kind == smooth_l1) return select(abs(d) < a.beta, half * d * d / a.beta, abs(d) - half * a.beta);
    if constexpr (kind == huber) return select(abs(d) <= a.beta, half * d * d, a.beta * (abs(d) - half * a.beta));
    if constexpr (kind == binary_cross_entropy) return -(a.t * clamped_log(a.x) + (one - a.t) * max_nan(log1p(-a.x), number<T>(-100)));
    if constexpr (kind == binary_cross_entropy_with_logits) return (one - a.t) * a.x + fma(a.p - one, a.t, one) * softplus(-a.x);
    if constexpr (kind == kl_div) return select(a.t == zero<T>(), zero<T>(), a.t * log(a.t)) - a.t * a.x;
    if constexpr (kind == kl_div_log_target) return exp(a.t) * (a.t - a.x);
}

// d loss / d x
template <PointwiseLoss kind, class T> LC_INLINE vec<T> slope_x(const Point<T>& a) {
    const vec<T> d = a.x - a.t, one = number<T>(1);
    if constexpr (kind == mse) return d + d;
    if constexpr (kind == l1) return sign(d);
    if constexpr (kind == smooth_l1) return select(abs(d) < a.beta, d / a.beta, sign(d));
    if constexpr (kind == huber) return select(abs(d) <= a.beta, d, a.beta * sign(d));
    if constexpr (kind == binary_cross_entropy) return d / max_nan(a.x * (one - a.x), number<T>(1e-12));
    if constexpr (kind == binary_cross_entropy_with_logits) return fma(a.p - one, a.t, one) * sigmoid(a.x) - a.p * a.t;
    if constexpr (kind == kl_div) return -a.t;
    if constexpr (kind == kl_div_log_target) return -exp(a.t);
}

// d loss / d t
template <PointwiseLoss kind, class T> LC_INLINE vec<T> slope_t(const Point<T>& a) {
    if constexpr (kind == binary_cross_entropy) return max_nan(log1p(-a.x), number<T>(-100)) - clamped_log(a.x);
    else if constexpr (kind == binary_cross_entropy_with_logits) return (a.p - number<T>(1)) * softplus(-a.x) - a.x;
    else if constexpr (kind == kl_div) return select(a.t == zero<T>(), zero<T>(), log(a.t) + number<T>(1)) - a.x;
    else if constexpr (kind == kl_div_log_target) return exp(a.t) * (a.t - a.x + number<T>(1));
    else return -slope_x<kind>(a);
}

template <class Args, class K> LC_INLINE auto point(const Args& a, int64_t i, K k) {
    const auto x = load(a.x + i, k);
    return Point<std::remove_cvref_t<decltype(*a.x)>>{x, load(a.t + i, k), splat(a.beta), a.pos_weight ? load(a.pos_weight + i, k) : splat(decltype(a.beta)(1))};
}

template <PointwiseLoss kind, class T> void forward(const PointwiseLossForward<T>& a) {
    parallel_ranges(a.n, kLossChunk, 2 * a.n, [&](int64_t begin, int64_t end) {
        auto value = [&](int64_t i, auto k) {
            const vec<T> l = loss<kind>(point(a, i, k));
            return a.w ? l * load(a.w + i, k) : l;
        };
        if (a.y) each_vec<T>(end - begin, [&](int64_t i, auto k) { store(a.y + begin + i, value(begin + i, k), k); });
        else a.sums[begin / kLossChunk] = double(sum_row<T>(end - begin, [&](int64_t i, auto k) { return first(value(begin + i, k), k, zero<T>()); }));
    });
}

template <PointwiseLoss kind, class T> void backward(const PointwiseLossBackward<T>& a) {
    parallel_ranges(a.n, kLossChunk, 2 * a.n, [&](int64_t begin, int64_t end) {
        each_vec<T>(end - begin, [&](int64_t offset, auto k) {
            const int64_t i = begin + offset;
            const Point<T> p = point(a, i, k);
            vec<T> g = a.g_stride ? load(a.g + i, k) : splat(*a.g);
            if (a.w) g = g * load(a.w + i, k);
            if (a.dx) store(a.dx + i, g * slope_x<kind>(p), k);
            if (a.dt) store(a.dt + i, g * slope_t<kind>(p), k);
        });
    });
}

// f with the kind as a constant: a loop of its own for every formula.
template <class F> LC_INLINE void with_kind(PointwiseLoss kind, F&& f) {
    switch (kind) {
        case mse: return f.template operator()<mse>();
        case l1: return f.template operator()<l1>();
        case smooth_l1: return f.template operator()<smooth_l1>();
        case huber: return f.template operator()<huber>();
        case binary_cross_entropy: return f.template operator()<binary_cross_entropy>();
        case binary_cross_entropy_with_logits: return f.template operator()<binary_cross_entropy_with_logits>();
        case kl_div: return f.template operator()<kl_div>();
        case kl_div_log_target: return f.template operator()<kl_div_log_target>();
    }
}

}  // namespace

template <class T> void pointwise_loss_forward(const PointwiseLossForward<T>& a) {
    with_kind(a.kind, [&]<PointwiseLoss kind>() { forward<kind>(a); });
}
template <class T> void pointwise_loss_backward(const PointwiseLossBackward<T>& a) {
    with_kind(a.kind, [&]<PointwiseLoss kind>() { backward<kind>(a); });
}

template void pointwise_loss_forward(const PointwiseLossForward<float>&);
template void pointwise_loss_forward(const PointwiseLossForward<double>&);
template void pointwise_loss_backward(const PointwiseLossBackward<float>&);
template void pointwise_loss_backward(const PointwiseLossBackward<double>&);

}  // namespace lc::cpu::LC_ISA
