// unary on CPU. Contract: cpp/ops/unary.h, the functions themselves: cpp/simd/vec_*.h. Memory bound up to about ten
// instructions a lane; sigmoid, tanh, gelu and their kin are compute bound in cache (20 to 40 instructions).
#include "cpp/ops/unary.h"

#include "cpp/core/parallel.h"
#include "cpp/core/strided_rows.h"
#include "cpp/simd/two_steps.h"
#include "cpp/simd/vec_normal.h"
#include "cpp/simd/vec_trig.h"
#include "cpp/simd/wide_chunk.h"

namespace lc::cpu::LC_ISA {
namespace {

// ---- the functions: forward(x) above backward(dy, s), s being x or y; p and q are the op's parameters ------------------------

template <class T> struct Parameters {
    vec<T> p, q;
};

template <class T> LC_INLINE vec<T> one() { return splat(T(1)); }
template <class T> LC_INLINE vec<T> zero_unless(mask<T> m, vec<T> x) { return select(m, x, zero<T>()); }

struct Neg : Short {
    template <class T> static LC_INLINE vec<T> forward(vec<T> x, Parameters<T>) { return -x; }
    template <class T> static LC_INLINE vec<T> backward(vec<T> dy, vec<T>, Parameters<T>) { return -dy; }
};
struct Sign : Short {
    template <class T> static LC_INLINE vec<T> forward(vec<T> x, Parameters<T>) {
        return select(x > zero<T>(), one<T>(), select(x < zero<T>(), -one<T>(), x));          // zeros and NaN stay
    }
    template <class T> static LC_INLINE vec<T> backward(vec<T> dy, vec<T>, Parameters<T>) { return dy * zero<T>(); }
};
struct Abs : Short {
    template <class T> static LC_INLINE vec<T> forward(vec<T> x, Parameters<T>) { return abs(x); }
    template <class T> static LC_INLINE vec<T> backward(vec<T> dy, vec<T> x, Parameters<T> a) { return dy * Sign::forward(x, a); }
};
struct Square : Short {
    template <class T> static LC_INLINE vec<T> forward(vec<T> x, Parameters<T>) { return x * x; }
    template <class T> static LC_INLINE vec<T> backward(vec<T> dy, vec<T> x, Parameters<T>) { return dy * (x + x); }
};
struct Relu : Short {
    template <class T> static LC_INLINE vec<T> forward(vec<T> x, Parameters<T>) { return max(zero<T>(), x); }      // NaN stays
    template <class T> static LC_INLINE vec<T> backward(vec<T> dy, vec<T> y, Parameters<T>) {
        return select(y <= zero<T>(), zero<T>(), dy);
    }
};
struct Clamp : Short {
    template <class T> static LC_INLINE vec<T> forward(vec<T> x, Parameters<T> a) { return min(a.q, max(a.p, x)); }
    template <class T> static LC_INLINE vec<T> backward(vec<T> dy, vec<T> x, Parameters<T> a) {
        return zero_unless((x >= a.p) & (x <= a.q), dy);
    }
};
struct Floor {
    template <class T> static LC_INLINE vec<T> forward(vec<T> x, Parameters<T>) {
        const vec<T> r = round_even(x);
        return copy_sign(r - zero_unless(r > x, one<T>()), x);
    }
};
struct Ceil {
    template <class T> static LC_INLINE vec<T> forward(vec<T> x, Parameters<T> a) { return -Floor::forward(-x, a); }
};
struct Round {
    template <class T> static LC_INLINE vec<T> forward(vec<T> x, Parameters<T>) { return round_even(x); }
};
struct Reciprocal : Short {
    template <class T> static LC_INLINE vec<T> forward(vec<T> x, Parameters<T>) { return one<T>() / x; }
    template <class T> static LC_INLINE vec<T> backward(vec<T> dy, vec<T> y, Parameters<T>) { return -(dy * y * y); }
};
struct Sqrt : Short {
    template <class T> static LC_INLINE vec<T> forward(vec<T> x, Parameters<T>) { return sqrt(x); }
    template <class T> static LC_INLINE vec<T> backward(vec<T> dy, vec<T> y, Parameters<T>) { return dy / (y + y); }
};
struct Rsqrt {
    template <class T> static LC_INLINE vec<T> forward(vec<T> x, Parameters<T>) { return one<T>() / sqrt(x); }
    template <class T> static LC_INLINE vec<T> backward(vec<T> dy, vec<T> y, Parameters<T>) {
        return dy * splat(T(-0.5)) * (y * y * y);
    }
};
struct Exp {
    template <class T> static LC_INLINE vec<T> forward(vec<T> x, Parameters<T>) { return exp(x); }
    template <class T> static LC_INLINE vec<T> backward(vec<T> dy, vec<T> y, Parameters<T>) { return dy * y; }
};
struct Expm1 {
    template <class T> static LC_INLINE vec<T> forward(vec<T> x, Parameters<T>) { return expm1(x); }
    template <class T> static LC_INLINE vec<T> backward(vec<T> dy, vec<T> y, Parameters<T>) { return dy * (y + one<T>()); }
};
struct Log {
    template <class T> static LC_INLINE vec<T> forward(vec<T> x, Parameters<T>) { return log(x); }
    template <class T> static LC_INLINE vec<T> backward(vec<T> dy, vec<T> x, Parameters<T>) { return dy / x; }
};
struct Log1p {
    template <class T> static LC_INLINE vec<T> forward(vec<T> x, Parameters<T>) { return log1p(x); }
    template <class T> static LC_INLINE vec<T> backward(vec<T> dy, vec<T> x, Parameters<T>) { return dy / (one<T>() + x); }
};
struct Sin {
    template <class T> static LC_INLINE vec<T> forward(vec<T> x, Parameters<T>) { return sin(x); }
    template <class T> static LC_INLINE vec<T> backward(vec<T> dy, vec<T> x, Parameters<T>) { return dy * cos(x); }
};
struct Cos {
    template <class T> static LC_INLINE vec<T> forward(vec<T> x, Parameters<T>) { return cos(x); }
    template <class T> static LC_INLINE vec<T> backward(vec<T> dy, vec<T> x, Parameters<T>) { return -(dy * sin(x)); }
};
struct Erf {
    using Steps = ErfSteps;
    template <class T> static LC_INLINE vec<T> forward(vec<T> x, Parameters<T>) { return erf(x); }
    template <class T> static LC_INLINE vec<T> backward(vec<T> dy, vec<T> x, Parameters<T>) {
        return dy * splat(T(0x1.20dd750429b6dp0)) * exp(-(x * x));                           // 2 / sqrt(pi)
    }
};
struct Tanh {
    using Steps = TanhSteps;
    template <class T> static LC_INLINE vec<T> forward(vec<T> x, Parameters<T>) { return tanh(x); }
    template <class T> static LC_INLINE vec<T> backward(vec<T> dy, vec<T> y, Parameters<T>) { return dy * fma(-y, y, one<T>()); }
};
struct Sigmoid {
    using Steps = SigmoidSteps;
    template <class T> static LC_INLINE vec<T> forward(vec<T> x, Parameters<T>) { return sigmoid(x); }
    template <class T> static LC_INLINE vec<T> backward(vec<T> dy, vec<T> y, Parameters<T>) { return dy * (y * (one<T>() - y)); }
};
struct LeakyRelu : Short {
    template <class T> static LC_INLINE vec<T> forward(vec<T> x, Parameters<T> a) { return select(x > zero<T>(), x, x * a.p); }
    template <class T> static LC_INLINE vec<T> backward(vec<T> dy, vec<T> x, Parameters<T> a) {
        return select(x > zero<T>(), dy, dy * a.p);
    }
};
struct Elu {
    template <class T> static LC_INLINE vec<T> forward(vec<T> x, Parameters<T> a) { return select(x > zero<T>(), x, a.p * expm1(x)); }
    template <class T> static LC_INLINE vec<T> backward(vec<T> dy, vec<T> x, Parameters<T> a) {
        return select(x > zero<T>(), dy, dy * (a.p * exp(x)));
    }
};
struct Silu {
    using Steps = SiluSteps;
    using SlopeSteps = SiluSlopeSteps;
    template <class T> static LC_INLINE vec<T> forward(vec<T> x, Parameters<T>) { return silu(x); }
    template <class T> static LC_INLINE vec<T> backward(vec<T> dy, vec<T> x, Parameters<T>) { return dy * silu_slope(x); }
};
struct Gelu {
    using Steps = GeluSteps;
    using SlopeSteps = GeluSlopeSteps;
    template <class T> static LC_INLINE vec<T> forward(vec<T> x, Parameters<T>) { return gelu(x); }
    template <class T> static LC_INLINE vec<T> backward(vec<T> dy, vec<T> x, Parameters<T>) { return dy * gelu_slope(x); }
};
struct GeluTanh {
    using Steps = GeluTanhSteps;
    using SlopeSteps = GeluTanhSlopeSteps;
    template <class T> static LC_INLINE vec<T> forward(vec<T> x, Parameters<T>) { return gelu_tanh(x); }
    template <class T> static LC_INLINE vec<T> backward(vec<T> dy, vec<T> x, Parameters<T>) { return dy * gelu_tanh_slope(x); }
};
struct Softplus {
    template <class T> static LC_INLINE vec<T> forward(vec<T> x, Parameters<T> a) {
        const vec<T> z = x * a.p;
        return select(z > a.q, x, log1p(exp(z)) / a.p);
    }
    template <class T> static LC_INLINE vec<T> backward(vec<T> dy, vec<T> x, Parameters<T> a) {
        const vec<T> z = x * a.p;
        return select(z > a.q, dy, dy * sigmoid(z));
    }
};

// ---- the loops over dense chunks ----------------------------------------------------------------------------------------

// T: float or double. Streamed: the result lies aligned, and may go past the caches.
template <class F, class T> void apply(const T* x, T* y, int64_t n, Parameters<T> a, [[maybe_unused]] bool streamed) {
    if constexpr (requires { typename F::Steps; } && sizeof(T) == 4) in_two_steps<typename F::Steps>(n, x, [&](int64_t i, auto k, vec<T> v) { store(y + i, v, k); });
    else if constexpr (requires { F::kShort; }) map_short(n, y, streamed, [a](vec<T> x) { return F::forward(x, a); }, x);
    else map_vec(n, y, [a](vec<T> x) { return F::forward(x, a); }, x);
}
template <class F, class T> void apply_backward(const T* dy, const T* saved, T* dx, int64_t n, Parameters<T> a, [[maybe_unused]] bool streamed) {
    if constexpr (requires { typename F::SlopeSteps; } && sizeof(T) == 4) in_two_steps<typename F::SlopeSteps>(n, saved, [&](int64_t i, auto k, vec<T> slope) { store(dx + i, load(dy + i, k) * slope, k); });
    else if constexpr (requires { F::kShort; }) map_short(n, dx, streamed, [a](vec<T> dy, vec<T> s) { return F::backward(dy, s, a); }, dy, saved);
    else map_vec(n, dx, [a](vec<T> dy, vec<T> s) { return F::backward(dy, s, a); }, dy, saved);
}

template <class T> auto forward_loop(UnaryOp op) {
    switch (op) {
        case UnaryOp::neg: return apply<Neg, T>;
        case UnaryOp::abs: return apply<Abs, T>;
        case UnaryOp::square: return apply<Square, T>;
        case UnaryOp::relu: return apply<Relu, T>;
        case UnaryOp::sign: return apply<Sign, T>;
        case UnaryOp::clamp: return apply<Clamp, T>;
        case UnaryOp::floor: return apply<Floor, T>;
        case UnaryOp::ceil: return apply<Ceil, T>;
        case UnaryOp::round: return apply<Round, T>;
        case UnaryOp::reciprocal: return apply<Reciprocal, T>;
        case UnaryOp::sqrt: return apply<Sqrt, T>;
        case UnaryOp::rsqrt: return apply<Rsqrt, T>;
        case UnaryOp::exp: return apply<Exp, T>;
        case UnaryOp::expm1: return apply<Expm1, T>;
        case UnaryOp::log: return apply<Log, T>;
        case UnaryOp::log1p: return apply<Log1p, T>;
        case UnaryOp::sin: return apply<Sin, T>;
        case UnaryOp::cos: return apply<Cos, T>;
        case UnaryOp::erf: return apply<Erf, T>;
        case UnaryOp::tanh: return apply<Tanh, T>;
        case UnaryOp::sigmoid: return apply<Sigmoid, T>;
        case UnaryOp::leaky_relu: return apply<LeakyRelu, T>;
        case UnaryOp::elu: return apply<Elu, T>;
        case UnaryOp::silu: return apply<Silu, T>;
        case UnaryOp::gelu: return apply<Gelu, T>;
        case UnaryOp::gelu_tanh: return apply<GeluTanh, T>;
        case UnaryOp::softplus: return apply<Softplus, T>;
    }
    __builtin_unreachable();
}

template <class T> auto backward_loop(UnaryOp op) {
    switch (op) {
        case UnaryOp::neg: return apply_backward<Neg, T>;
        case UnaryOp::abs: return apply_backward<Abs, T>;
        case UnaryOp::square: return apply_backward<Square, T>;
        case UnaryOp::relu: return apply_backward<Relu, T>;
        case UnaryOp::clamp: return apply_backward<Clamp, T>;
        case UnaryOp::sign:
        case UnaryOp::floor:
        case UnaryOp::ceil:
        case UnaryOp::round: return apply_backward<Sign, T>;   // 0
        case UnaryOp::reciprocal: return apply_backward<Reciprocal, T>;
        case UnaryOp::sqrt: return apply_backward<Sqrt, T>;
        case UnaryOp::rsqrt: return apply_backward<Rsqrt, T>;
        case UnaryOp::exp: return apply_backward<Exp, T>;
        case UnaryOp::expm1: return apply_backward<Expm1, T>;
        case UnaryOp::log: return apply_backward<Log, T>;
        case UnaryOp::log1p: return apply_backward<Log1p, T>;
        case UnaryOp::sin: return apply_backward<Sin, T>;
        case UnaryOp::cos: return apply_backward<Cos, T>;
        case UnaryOp::erf: return apply_backward<Erf, T>;
        case UnaryOp::tanh: return apply_backward<Tanh, T>;
        case UnaryOp::sigmoid: return apply_backward<Sigmoid, T>;
        case UnaryOp::leaky_relu: return apply_backward<LeakyRelu, T>;
        case UnaryOp::elu: return apply_backward<Elu, T>;
        case UnaryOp::silu: return apply_backward<Silu, T>;
        case UnaryOp::gelu: return apply_backward<Gelu, T>;
        case UnaryOp::gelu_tanh: return apply_backward<GeluTanh, T>;
        case UnaryOp::softplus: return apply_backward<Softplus, T>;
    }
    __builtin_unreachable();
}

template <class T> T apply_integer(UnaryOp op, T x, T low, T high) {
    switch (op) {
        case UnaryOp::neg: return T(0) - x;
        case UnaryOp::abs: return x < 0 ? T(0) - x : x;
        case UnaryOp::square: return x * x;
        case UnaryOp::relu: return x > 0 ? x : 0;
        case UnaryOp::sign: return T((x > 0) - (x < 0));
        case UnaryOp::clamp: return x < low ? low < high ? low : high : x > high ? high
                                                                                 : x;
        default: return x;                            // floor, ceil, round
    }
}

// A bound as an integer: outside the type's range it does not bind.
template <class T> T bound(double x) {
    constexpr T lowest = std::is_signed_v<T> ? T(T(1) << (8 * sizeof(T) - 1)) : T(0), highest = T(~lowest);
    return x <= double(lowest) ? lowest : x >= double(highest) ? highest
                                                               : T(x);
}

int64_t work_ns(UnaryOp op, int64_t n) { return op <= UnaryOp::rsqrt ? n / 3 : n; }

}  // namespace

template <class T> void unary_forward(const UnaryForward<T>& args) {
    const auto loop = forward_loop<acc_t<T>>(args.op);
    const bool past_caches = sizeof(T) > 2 && args.y != args.x && 2 * args.walk.numel * int64_t(sizeof(T)) >= kPastCaches;
    const Parameters<acc_t<T>> a{splat(acc_t<T>(args.p)), splat(acc_t<T>(args.q))};
    const int last = args.walk.rank - 1;
    const bool by_rows = (last > 0 || past_caches) && args.walk.size[last] >= 16 && args.walk.stride[0][last] == 1 && args.walk.stride[1][last] == 1;
    parallel_ranges(args.walk.numel, kGrain, work_ns(args.op, args.walk.numel), [&](int64_t begin, int64_t end) {
        if constexpr (std::is_same_v<T, acc_t<T>>)
            if (by_rows) {
                each_row(args.walk, begin, end, [&](const int64_t (&at)[2], int64_t n) { loop(args.x + at[1], args.y + at[0], n, a, streams(args.y + at[0], past_caches)); });
                return end_stream();
            }
        WideReader<T> x(args.x);
        WideWriter<T> y(args.y);
        each_chunk(args.walk, begin, end, [&](const Position<2>& at, int64_t n) {
            loop(x(args.walk, 1, at, n), y.open(args.walk, 0, at, n), n, a, false);
            y.close(args.walk, 0, at, n);
        });
    });
}

template <class T> void unary_integer_forward(const UnaryForward<T>& args) {
    const T low = bound<T>(args.p), high = bound<T>(args.q);
    parallel_ranges(args.walk.numel, kGrain, args.walk.numel, [&](int64_t begin, int64_t end) {
        ChunkReader<T> x(args.x);
        ChunkWriter<T> y(args.y);
        each_chunk(args.walk, begin, end, [&](const Position<2>& at, int64_t n) {
            const T* from = x(args.walk, 1, at, n);
            T* to = y.open(args.walk, 0, at, n);
            for (int64_t i = 0; i < n; ++i) to[i] = apply_integer(args.op, from[i], low, high);
            y.close(args.walk, 0, at, n);
        });
    });
}

template <class T> void unary_backward(const UnaryBackward<T>& args) {
    const auto loop = backward_loop<acc_t<T>>(args.op);
    const bool past_caches = sizeof(T) > 2 && 3 * args.walk.numel * int64_t(sizeof(T)) >= kPastCaches;
    const Parameters<acc_t<T>> a{splat(acc_t<T>(args.p)), splat(acc_t<T>(args.q))};
    parallel_ranges(args.walk.numel, kGrain, work_ns(args.op, args.walk.numel), [&](int64_t begin, int64_t end) {
        WideReader<T> dy(args.dy), saved(args.saved);
        WideWriter<T> dx(args.dx);
        each_chunk(args.walk, begin, end, [&](const Position<3>& at, int64_t n) {
            const auto to = dx.open(args.walk, 0, at, n);
            loop(dy(args.walk, 1, at, n), saved(args.walk, 2, at, n), to, n, a, streams(to, past_caches));
            dx.close(args.walk, 0, at, n);
        });
        end_stream();
    });
}

template <class T> void unary_test(const UnaryTest<T>& args) {
    parallel_ranges(args.walk.numel, kGrain, args.walk.numel / 3, [&](int64_t begin, int64_t end) {
        ChunkReader<T> x(args.x);
        each_chunk(args.walk, begin, end, [&](const Position<2>& at, int64_t n) {
            const T* from = x(args.walk, 1, at, n);
            bool* to = args.y + at.offset[0];         // y is dense
            const T inf = T(__builtin_inf());
            if (args.op == TestOp::isnan)
                for (int64_t i = 0; i < n; ++i) to[i] = from[i] != from[i];
            else if (args.op == TestOp::isinf)
                for (int64_t i = 0; i < n; ++i) to[i] = from[i] == inf || from[i] == -inf;
            else
                for (int64_t i = 0; i < n; ++i) to[i] = from[i] - from[i] == 0;
        });
    });
}

template void unary_forward(const UnaryForward<float>&);
template void unary_forward(const UnaryForward<double>&);
template void unary_forward(const UnaryForward<bfloat16>&);
template void unary_forward(const UnaryForward<float16>&);
template void unary_integer_forward(const UnaryForward<int64_t>&);
template void unary_integer_forward(const UnaryForward<int32_t>&);
template void unary_integer_forward(const UnaryForward<uint8_t>&);
template void unary_backward(const UnaryBackward<float>&);
template void unary_backward(const UnaryBackward<double>&);
template void unary_backward(const UnaryBackward<bfloat16>&);
template void unary_backward(const UnaryBackward<float16>&);
template void unary_test(const UnaryTest<float>&);
template void unary_test(const UnaryTest<double>&);

}  // namespace lc::cpu::LC_ISA
