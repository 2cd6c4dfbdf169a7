// rotary_embedding on CPU. Math and shapes: cpp/ops/rotary_embedding.h
// Memory bound: x is read and y written once; the tables of a position are shared by the batch.
#include "cpp/ops/rotary_embedding.h"
#include "cpp/core/parallel.h"
#include "cpp/simd/transpose.h"
#include "cpp/simd/vec.h"

namespace lc::cpu::LC_ISA {
namespace {

struct Neighbour {
    static constexpr int at(int i) { return i ^ 1; }
};
struct EachTwice {
    static constexpr int at(int i) { return i / 2; }
};

template <class A> LC_INLINE vec<A> signs() {                     // -1, 1, -1, 1, ...
    vec<A> v;
    for (int i = 0; i < lanes<A>; ++i) v.v[i] = i % 2 ? A(1) : A(-1);
    return v;
}

// sign is 1, or -1 to turn back.
template <class T, class A = acc_t<T>> void turn_halves(const T* x, const A* cos, const A* sin, A sign, T* y, int64_t pairs) {
    each_vec<A>(pairs, [&](int64_t i, auto k) {
        const vec<A> a = load(x + i, k), b = load(x + pairs + i, k), c = load(cos + i, k), s = load(sin + i, k) * splat(sign);
        store(y + i, a * c - b * s, k);
        store(y + pairs + i, a * s + b * c, k);
    });
}

template <class T, class A = acc_t<T>> void turn_neighbours(const T* x, const A* cos, const A* sin, A sign, T* y, int64_t pairs) {
    each_vec<A>(2 * pairs, [&](int64_t i, auto k) {
        const int64_t left = pairs - i / 2;
        const int table = int(left < lanes<A> / 2 ? left : lanes<A> / 2);
        const vec<A> c = detail::shuffle<EachTwice>(load(cos + i / 2, table), zero<A>());
        const vec<A> s = detail::shuffle<EachTwice>(load(sin + i / 2, table), zero<A>()) * signs<A>() * splat(sign);
        const vec<A> a = load(x + i, k), b = detail::shuffle<Neighbour>(a, a);
        store(y + i, a * c + b * s, k);
    });
}

template <class T> void turn(const RotaryEmbeddingForward<T>& a, acc_t<T> sign) {
    using A = acc_t<T>;
    parallel_ranges(a.batch * a.seq, 8192 / (a.dim + 1) + 1, a.batch * a.seq * a.dim / 2, [&](int64_t begin, int64_t end) {
        for (int64_t r = begin; r < end; ++r) {
            const int64_t at = r * a.dim, table = r % a.seq * a.pairs;
            if (a.interleaved) turn_neighbours(a.x + at, a.cos + table, a.sin + table, sign, a.y + at, a.pairs);
            else turn_halves(a.x + at, a.cos + table, a.sin + table, sign, a.y + at, a.pairs);
            const T* rest = a.x + at + 2 * a.pairs;
            T* out = a.y + at + 2 * a.pairs;
            each_vec<A>(a.dim - 2 * a.pairs, [&](int64_t i, auto k) { store(out + i, load(rest + i, k), k); });
        }
    });
}

}  // namespace

template <class T> void rotary_embedding_forward(const RotaryEmbeddingForward<T>& a) { turn(a, acc_t<T>(1)); }
template <class T> void rotary_embedding_backward(const RotaryEmbeddingBackward<T>& a) { turn(a, acc_t<T>(-1)); }

template void rotary_embedding_forward(const RotaryEmbeddingForward<float>&);
template void rotary_embedding_forward(const RotaryEmbeddingForward<double>&);
template void rotary_embedding_forward(const RotaryEmbeddingForward<bfloat16>&);
template void rotary_embedding_forward(const RotaryEmbeddingForward<float16>&);
template void rotary_embedding_backward(const RotaryEmbeddingBackward<float>&);
template void rotary_embedding_backward(const RotaryEmbeddingBackward<double>&);
template void rotary_embedding_backward(const RotaryEmbeddingBackward<bfloat16>&);
template void rotary_embedding_backward(const RotaryEmbeddingBackward<float16>&);

}  // namespace lc::cpu::LC_ISA
