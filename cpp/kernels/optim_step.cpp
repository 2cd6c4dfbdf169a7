// Optimizer steps and gradient norms on CPU. Math: cpp/ops/optim_step.h
// Memory bound: a step reads and writes the parameter and its state once and reads the gradient once (adam: 28 bytes an
// element in float32). The chunks of all tensors are one task list, so that many small tensors cost no more than one large.
#include "cpp/ops/optim_step.h"
#include "cpp/core/parallel.h"
#include "cpp/simd/vec.h"

namespace lc::cpu::LC_ISA {
namespace {

template <class T> using Vec = vec<acc_t<T>>;

// f(chunk) for every chunk, by value, as f's other parameters must be: what lies in memory is read anew after every store,
// a third of the speed. ns: rough time of an element.
template <class T, class F> void each_chunk(const OptimList<T>& list, double ns, F&& f) {
    parallel_for(list.count, int64_t(double(list.elements) * ns), [&](int64_t i, int) { f(list.chunks[i], i); });
}

template <class T, class K> LC_INLINE Vec<T> load_parameter(const OptimChunk<T>& c, int64_t i, K k) {
    return c.master ? load(c.master + i, k) : load(c.p + i, k);
}
template <class T, class K> LC_INLINE void store_parameter(const OptimChunk<T>& c, int64_t i, Vec<T> p, K k) {
    if (c.master) store(c.master + i, p, k);
    store(c.p + i, p, k);
}

// The gradient with its sign and weight decay.
template <class T, class K> LC_INLINE Vec<T> load_gradient(const OptimChunk<T>& c, int64_t i, Vec<T> p, acc_t<T> decay, bool maximize, K k) {
    Vec<T> g = load(c.g + i, k);
    if (maximize) g = -g;
    return decay != 0 ? fma(splat(decay), p, g) : g;
}

}  // namespace

template <class T> void sgd_step(const SgdStep<T>& step) {
    using A = acc_t<T>;
    each_chunk(step.list, 1.0, [&step](const OptimChunk<T> c, int64_t) {
        const SgdStep<T> a = step;
        each_vec<A>(c.n, [&](int64_t i, auto k) {
            const Vec<T> p = load_parameter(c, i, k);
            const Vec<T> g = load_gradient(c, i, p, a.weight_decay, a.maximize, k);
            Vec<T> d = g;
            if (c.state[0]) {
                const Vec<T> b = fma(splat(c.scale), load(c.state[0] + i, k), splat(c.shrink) * g);
                store(c.state[0] + i, b, k);
                d = a.nesterov ? fma(splat(a.momentum), b, g) : b;
            }
            store_parameter(c, i, fma(splat(-a.lr), d, p), k);
        });
    });
}

template <class T> void adam_step(const AdamStep<T>& step) {
    using A = acc_t<T>;
    each_chunk(step.list, 2.0, [&step](const OptimChunk<T> c, int64_t) {
        const AdamStep<T> a = step;
        A *m = c.state[0], *v = c.state[1], *top = c.state[2];
        each_vec<A>(c.n, [&](int64_t i, auto k) {
            Vec<T> p = load_parameter(c, i, k);
            const Vec<T> g = load_gradient(c, i, p, a.decoupled ? A(0) : a.weight_decay, a.maximize, k);
            if (a.decoupled && a.weight_decay != 0) p = p * splat(1 - a.lr * a.weight_decay);
            const Vec<T> m0 = load(m + i, k);
            const Vec<T> m1 = fma(splat(a.one_minus_beta1), g - m0, m0);
            Vec<T> v1 = fma(splat(a.one_minus_beta2), g * g, splat(a.beta2) * load(v + i, k));
            store(m + i, m1, k);
            store(v + i, v1, k);
            if (top) {
                v1 = max_nan(load(top + i, k), v1);
                store(top + i, v1, k);
            }
            store_parameter(c, i, p - splat(c.scale) * m1 / (sqrt(v1) + splat(c.shrink)), k);
        });
    });
}

template <class T> void rmsprop_step(const RmspropStep<T>& step) {
    using A = acc_t<T>;
    each_chunk(step.list, 2.0, [&step](const OptimChunk<T> c, int64_t) {
        const RmspropStep<T> a = step;
        A *square = c.state[0], *buffer = c.state[1], *average = c.state[2];
        each_vec<A>(c.n, [&](int64_t i, auto k) {
            const Vec<T> p = load_parameter(c, i, k);
            const Vec<T> g = load_gradient(c, i, p, a.weight_decay, a.maximize, k);
            Vec<T> v = fma(splat(a.one_minus_alpha), g * g, splat(a.alpha) * load(square + i, k));
            store(square + i, v, k);
            if (average) {
                const Vec<T> m0 = load(average + i, k);
                const Vec<T> m1 = fma(splat(a.one_minus_alpha), g - m0, m0);
                store(average + i, m1, k);
                v = v - m1 * m1;
            }
            Vec<T> d = g / (sqrt(v) + splat(a.eps));
            if (buffer) {
                d = fma(splat(a.momentum), load(buffer + i, k), d);
                store(buffer + i, d, k);
            }
            store_parameter(c, i, fma(splat(-a.lr), d, p), k);
        });
    });
}

// ---- norms ----------------------------------------------------------------------------------------------------------

constexpr int64_t kBlock = 2048;                      // float sums this long at most; beyond, double

template <class T> void norm_parts(const NormParts<T>& a) {
    using A = acc_t<T>;
    each_chunk(a.list, 0.5, [&](const OptimChunk<T>& c, int64_t index) {
        double part = 0;
        for (int64_t begin = 0; begin < c.n; begin += kBlock) {
            const T* g = c.g + begin;
            Vec<T> total = zero<A>();
            each_vec<A>(c.n - begin < kBlock ? c.n - begin : kBlock, [&](int64_t i, auto k) {
                const Vec<T> x = load(g + i, k);      // lanes beyond the tail are 0: neutral in each
                if (a.order == 2) total = fma(x, x, total);
                else if (a.order == 1) total = total + abs(x);
                else total = max_nan(total, abs(x));
            });
            const double block = double(a.order ? sum(total) : max_of(total));
            if (a.order) part += block;
            else if (!(block <= part)) part = block;  // a NaN replaces, and then stays
            if (part != part) break;
        }
        a.parts[index] = part;
    });
}

template <class T> void scale_gradients(const ScaleGradients<T>& a) {
    using A = acc_t<T>;
    each_chunk(a.list, 0.5, [&](const OptimChunk<T>& c, int64_t) {
        each_vec<A>(c.n, [&](int64_t i, auto k) { store(c.p + i, load(c.p + i, k) * splat(a.factor), k); });
    });
}

// ---- instantiations -------------------------------------------------------------------------------------------------

#define LC_INSTANTIATE(T) \
    template void sgd_step(const SgdStep<T>&); \
    template void adam_step(const AdamStep<T>&); \
    template void rmsprop_step(const RmspropStep<T>&); \
    template void norm_parts(const NormParts<T>&); \
    template void scale_gradients(const ScaleGradients<T>&);
LC_INSTANTIATE(float)
LC_INSTANTIATE(double)
LC_INSTANTIATE(bfloat16)
LC_INSTANTIATE(float16)

}  // namespace lc::cpu::LC_ISA
