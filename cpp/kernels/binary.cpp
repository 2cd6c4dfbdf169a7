// binary on CPU. Contract: cpp/ops/binary.h. Memory bound but for pow and remainder, which are one libm call a lane.
#include "cpp/ops/binary.h"

#include <math.h>

#include "cpp/core/parallel.h"
#include "cpp/core/strided_rows.h"
#include "cpp/simd/vec_math.h"
#include "cpp/simd/wide_chunk.h"

namespace lc::cpu::LC_ISA {
namespace {

// ---- the functions: V is a vector of floats, or one integer -------------------------------------------------------------

LC_INLINE float mod(float a, float b) { return fmodf(a, b); }
LC_INLINE double mod(double a, double b) { return fmod(a, b); }
LC_INLINE float power(float a, float b) { return powf(a, b); }
LC_INLINE double power(double a, double b) { return ::pow(a, b); }
LC_INLINE float logarithm(float a) { return logf(a); }
LC_INLINE double logarithm(double a) { return ::log(a); }

// As Python: the remainder has the sign of the divisor.
template <class T> LC_INLINE T remainder_of(T a, T b) {
    if constexpr (std::is_integral_v<T>) {
        if (std::is_signed_v<T> && b == T(-1)) return 0;    // the lowest integer over -1 traps
        const T r = a % b;
        return r != 0 && (r < 0) != (b < 0) ? r + b : r;
    } else {
        const T r = mod(a, b);
        return r != 0 && (r < 0) != (b < 0) ? r + b : r;
    }
}
template <class T> LC_INLINE T floor_quotient(T a, T b) {
    if constexpr (std::is_integral_v<T>) {
        if (std::is_signed_v<T> && b == T(-1)) return T(0) - a;
        const T q = a / b;
        return a % b != 0 && (a < 0) != (b < 0) ? q - 1 : q;
    } else {
        if (b == 0) return a / b;
        const T r = mod(a, b), q = (a - r) / b;       // a - r is a multiple of b up to rounding
        const T whole = r != 0 && (r < 0) != (b < 0) ? q - 1 : q;
        const T low = T(__builtin_floor(double(whole)));
        return low + T(whole - low > T(0.5));
    }
}
template <class T> LC_INLINE T integer_power(T a, T b) {
    T y = 1;
    for (; b > 0; b >>= 1, a *= a)
        if (b & 1) y *= a;
    return y;
}

template <class T> LC_INLINE T larger(T a, T b) { return a > b ? a : b; }
template <class T> LC_INLINE vec<T> larger(vec<T> a, vec<T> b) { return max_nan(a, b); }
template <class T> LC_INLINE T smaller(T a, T b) { return a < b ? a : b; }
template <class T> LC_INLINE vec<T> smaller(vec<T> a, vec<T> b) { return min_nan(a, b); }

struct Add : Short {
    template <class V> static LC_INLINE V forward(V a, V b) { return a + b; }
};
struct Sub : Short {
    template <class V> static LC_INLINE V forward(V a, V b) { return a - b; }
};
struct Mul : Short {
    template <class V> static LC_INLINE V forward(V a, V b) { return a * b; }
    template <class V> static LC_INLINE void backward(V dy, V a, V b, V& da, V& db) {
        da = dy * b;
        db = dy * a;
    }
};
struct Div : Short {
    template <class V> static LC_INLINE V forward(V a, V b) { return a / b; }
    template <class V> static LC_INLINE void backward(V dy, V a, V b, V& da, V& db) {
        da = dy / b;
        db = -(da * (a / b));
    }
};
struct Pow {
    template <class T> static LC_INLINE T forward(T a, T b) { return integer_power(a, b); }
    template <class T> static LC_INLINE vec<T> forward(vec<T> a, vec<T> b) {
        return per_lane(a, b, [](T a, T b) { return power(a, b); });
    }
    template <class T> static LC_INLINE void backward(vec<T> dy, vec<T> a, vec<T> b, vec<T>& da, vec<T>& db) {
        da = dy * per_lane(a, b, [](T a, T b) { return b == 0 ? T(0) : b * power(a, b - 1); });
        db = dy * per_lane(a, b, [](T a, T b) { return a == 0 && b >= 0 ? T(0) : power(a, b) * logarithm(a); });
    }
};
struct Maximum : Short {
    template <class V> static LC_INLINE V forward(V a, V b) { return larger(a, b); }
    template <class T> static LC_INLINE void backward(vec<T> dy, vec<T> a, vec<T> b, vec<T>& da, vec<T>& db) {
        const vec<T> none = zero<T>(), half = select(a == b, dy * splat(T(0.5)), dy);
        da = select(a < b, none, half);
        db = select(a > b, none, half);
    }
};
struct Minimum : Short {
    template <class V> static LC_INLINE V forward(V a, V b) { return smaller(a, b); }
    template <class T> static LC_INLINE void backward(vec<T> dy, vec<T> a, vec<T> b, vec<T>& da, vec<T>& db) {
        Maximum::backward(dy, b, a, da, db);
    }
};
struct Remainder {
    template <class T> static LC_INLINE T forward(T a, T b) { return remainder_of(a, b); }
    template <class T> static LC_INLINE vec<T> forward(vec<T> a, vec<T> b) {
        return per_lane(a, b, [](T a, T b) { return remainder_of(a, b); });
    }
    template <class T> static LC_INLINE void backward(vec<T> dy, vec<T> a, vec<T> b, vec<T>& da, vec<T>& db) {
        da = dy;
        db = -(dy * per_lane(a, b, [](T a, T b) { return floor_quotient(a, b); }));
    }
};
struct FloorDivide {
    template <class T> static LC_INLINE T forward(T a, T b) { return floor_quotient(a, b); }
    template <class T> static LC_INLINE vec<T> forward(vec<T> a, vec<T> b) {
        return per_lane(a, b, [](T a, T b) { return floor_quotient(a, b); });
    }
};
struct TruncDivide {
    template <class T> static LC_INLINE T forward(T a, T b) {
        if (std::is_signed_v<T> && b == T(-1)) return T(0) - a;
        return a / b;
    }
    template <class T> static LC_INLINE vec<T> forward(vec<T> a, vec<T> b) {
        const vec<T> q = a / b, r = abs(round_even(q));
        return copy_sign(r - select(r > abs(q), splat(T(1)), zero<T>()), q);
    }
};
struct And {
    template <class T> static LC_INLINE T forward(T a, T b) { return a & b; }
};
struct Or {
    template <class T> static LC_INLINE T forward(T a, T b) { return a | b; }
};
struct Xor {
    template <class T> static LC_INLINE T forward(T a, T b) { return a ^ b; }
};

struct Eq {
    template <class T> static LC_INLINE bool test(T a, T b) { return a == b; }
};
struct Ne {
    template <class T> static LC_INLINE bool test(T a, T b) { return a != b; }
};
struct Lt {
    template <class T> static LC_INLINE bool test(T a, T b) { return a < b; }
};
struct Le {
    template <class T> static LC_INLINE bool test(T a, T b) { return a <= b; }
};

// ---- the loops over dense chunks ----------------------------------------------------------------------------------------

template <class F, class T> void apply(const T* a, const T* b, T* y, int64_t n, [[maybe_unused]] bool streamed) {
    if constexpr (std::is_integral_v<T>) {
#pragma GCC ivdep                                     // y may be a or b itself, never a part of them
        for (int64_t i = 0; i < n; ++i) y[i] = F::forward(a[i], b[i]);
    } else if constexpr (requires { F::kShort; }) {
        map_short(n, y, streamed, [](vec<T> a, vec<T> b) { return F::forward(a, b); }, a, b);
    } else {
        map_vec(n, y, [](vec<T> a, vec<T> b) { return F::forward(a, b); }, a, b);
    }
}

// One operand is the same number for all.
template <class F, bool first, class T> void apply_number(const T* a, const T* b, T* y, int64_t n, bool streamed) {
    const vec<T> number = splat(first ? *a : *b);
    map_short(n, y, streamed, [number](vec<T> x) { return first ? F::forward(number, x) : F::forward(x, number); }, first ? b : a);
}

template <class F, class T> void apply_backward(const T* dy, const T* a, const T* b, T* da, T* db, int64_t n, bool streamed) {
    each_vec<T>(n, [&](int64_t i, auto k) {
        vec<T> va, vb;
        F::backward(load(dy + i, k), load(a + i, k), load(b + i, k), va, vb);
        if (da) put(da + i, va, k, streamed);
        if (db) put(db + i, vb, k, streamed);
    });
}

template <class F, class T> void test(const T* a, const T* b, bool* y, int64_t n) {
#pragma GCC ivdep                                     // y is new memory
    for (int64_t i = 0; i < n; ++i) y[i] = F::test(a[i], b[i]);
}

template <class T> using Loop = void (*)(const T*, const T*, T*, int64_t, bool);

// Walked by rows that lie dense, an operand of one number a row need not be spread to a chunk.
enum class Rows { no,
                  dense,
                  number_first,
                  number_second };
template <class T> Rows rows_of(BinaryOp op, const Strided<3>& s, bool past_caches) {
    const int last = s.rank - 1;
    if (sizeof(T) == 2 || (last == 0 && !past_caches) || s.size[last] < 16 || s.stride[0][last] != 1) return Rows::no;
    const int64_t a = s.stride[1][last], b = s.stride[2][last];
    if (a == 1 && b == 1) return Rows::dense;
    const bool is_short = op <= BinaryOp::minimum && op != BinaryOp::pow;
    if (std::is_integral_v<T> || !is_short || a + b != 1 || a * b != 0) return Rows::no;
    return a == 0 ? Rows::number_first : Rows::number_second;
}

template <class F, class T> Loop<T> loop_of(Rows rows) {
    if constexpr (!std::is_integral_v<T>) {
        if (rows == Rows::number_first) return apply_number<F, true, T>;
        if (rows == Rows::number_second) return apply_number<F, false, T>;
    }
    return apply<F, T>;
}

template <class T> Loop<T> forward_loop(BinaryOp op, Rows rows) {
    switch (op) {
        case BinaryOp::add: return loop_of<Add, T>(rows);
        case BinaryOp::sub: return loop_of<Sub, T>(rows);
        case BinaryOp::mul: return loop_of<Mul, T>(rows);
        case BinaryOp::pow: return apply<Pow, T>;
        case BinaryOp::maximum: return loop_of<Maximum, T>(rows);
        case BinaryOp::minimum: return loop_of<Minimum, T>(rows);
        case BinaryOp::remainder: return apply<Remainder, T>;
        case BinaryOp::floor_divide: return apply<FloorDivide, T>;
        case BinaryOp::trunc_divide: return apply<TruncDivide, T>;
        default: break;
    }
    if constexpr (std::is_integral_v<T>) {
        if (op == BinaryOp::bitwise_and) return apply<And, T>;
        return op == BinaryOp::bitwise_or ? apply<Or, T> : apply<Xor, T>;
    } else {
        return loop_of<Div, T>(rows);
    }
}

template <class T> auto backward_loop(BinaryOp op) {
    switch (op) {
        case BinaryOp::mul: return apply_backward<Mul, T>;
        case BinaryOp::div: return apply_backward<Div, T>;
        case BinaryOp::pow: return apply_backward<Pow, T>;
        case BinaryOp::maximum: return apply_backward<Maximum, T>;
        case BinaryOp::minimum: return apply_backward<Minimum, T>;
        default: return apply_backward<Remainder, T>;
    }
}

int64_t work_ns(BinaryOp op, int64_t n, int64_t bytes) {
    return op == BinaryOp::pow || op == BinaryOp::remainder || op == BinaryOp::floor_divide ? n * 10 : n * bytes / 16;
}

}  // namespace

template <class T> void binary_forward(const BinaryForward<T>& args) {
    const bool past_caches = !std::is_integral_v<T> && args.y != args.a && args.y != args.b && 2 * args.walk.numel * int64_t(sizeof(T)) >= kPastCaches;
    const Rows rows = rows_of<T>(args.op, args.walk, past_caches);
    const auto loop = forward_loop<acc_t<T>>(args.op, rows);
    parallel_ranges(args.walk.numel, kGrain, work_ns(args.op, args.walk.numel, sizeof(T)), [&](int64_t begin, int64_t end) {
        if constexpr (std::is_same_v<T, acc_t<T>>)
            if (rows != Rows::no) {
                each_row(args.walk, begin, end, [&](const int64_t (&at)[3], int64_t n) { loop(args.a + at[1], args.b + at[2], args.y + at[0], n, streams(args.y + at[0], past_caches)); });
                return end_stream();
            }
        WideReader<T> a(args.a), b(args.b);
        WideWriter<T> y(args.y);
        each_chunk(args.walk, begin, end, [&](const Position<3>& at, int64_t n) {
            loop(a(args.walk, 1, at, n), b(args.walk, 2, at, n), y.open(args.walk, 0, at, n), n, false);
            y.close(args.walk, 0, at, n);
        });
    });
}

template <class T> void binary_backward(const BinaryBackward<T>& args) {
    const auto loop = backward_loop<acc_t<T>>(args.op);
    const bool past_caches = sizeof(T) > 2 && 4 * args.walk.numel * int64_t(sizeof(T)) >= kPastCaches;
    parallel_ranges(args.walk.numel, kGrain, work_ns(args.op, args.walk.numel, 2 * sizeof(T)), [&](int64_t begin, int64_t end) {
        WideReader<T> dy(args.dy), a(args.a), b(args.b);
        WideWriter<T> da(args.da), db(args.db);       // both dense, in the order of operand 0
        each_chunk(args.walk, begin, end, [&](const Position<4>& at, int64_t n) {
            const auto to_a = args.da ? da.open(args.walk, 0, at, n) : nullptr, to_b = args.db ? db.open(args.walk, 0, at, n) : nullptr;
            const bool streamed = streams(to_a, past_caches) && streams(to_b, past_caches);
            loop(dy(args.walk, 1, at, n), a(args.walk, 2, at, n), b(args.walk, 3, at, n), to_a, to_b, n, streamed);
            if (args.da) da.close(args.walk, 0, at, n);
            if (args.db) db.close(args.walk, 0, at, n);
        });
        end_stream();
    });
}

template <class T> void compare_forward(const CompareForward<T>& args) {
    const bool swap = args.op == CompareOp::gt || args.op == CompareOp::ge;       // a > b is b < a
    const auto loop = args.op == CompareOp::eq ? test<Eq, T> : args.op == CompareOp::ne ? test<Ne, T>
        : args.op == CompareOp::lt || args.op == CompareOp::gt                          ? test<Lt, T>
                                                                                        : test<Le, T>;
    parallel_ranges(args.walk.numel, kGrain, args.walk.numel / 4, [&](int64_t begin, int64_t end) {
        ChunkReader<T> a(args.a), b(args.b);
        ChunkWriter<bool> y(args.y);
        each_chunk(args.walk, begin, end, [&](const Position<3>& at, int64_t n) {
            const T* left = a(args.walk, 1, at, n);
            const T* right = b(args.walk, 2, at, n);
            loop(swap ? right : left, swap ? left : right, y.open(args.walk, 0, at, n), n);
            y.close(args.walk, 0, at, n);
        });
    });
}

template void binary_forward(const BinaryForward<float>&);
template void binary_forward(const BinaryForward<double>&);
template void binary_forward(const BinaryForward<bfloat16>&);
template void binary_forward(const BinaryForward<float16>&);
template void binary_forward(const BinaryForward<int64_t>&);
template void binary_forward(const BinaryForward<int32_t>&);
template void binary_forward(const BinaryForward<uint8_t>&);
template void binary_backward(const BinaryBackward<float>&);
template void binary_backward(const BinaryBackward<double>&);
template void binary_backward(const BinaryBackward<bfloat16>&);
template void binary_backward(const BinaryBackward<float16>&);
template void compare_forward(const CompareForward<float>&);
template void compare_forward(const CompareForward<double>&);
template void compare_forward(const CompareForward<int64_t>&);
template void compare_forward(const CompareForward<int32_t>&);
template void compare_forward(const CompareForward<uint8_t>&);

}  // namespace lc::cpu::LC_ISA
