// linear's own part of the backward pass on CPU: dz = dy act'(z) and db = column sums of dz, in one pass over dy.
// Math: cpp/ops/linear.h. Memory bound: reads dy and saved, writes dz; the products around it are matmul's.
#include "cpp/ops/linear.h"
#include "cpp/core/allocator.h"
#include "cpp/core/parallel.h"
#include "cpp/kernels/activation.h"

namespace lc::cpu::LC_ISA {
namespace {

// Rows [begin, end): writes dz, and sums into the strip's own part of db.
template <class T, class Slope>
void backward_strip(const LinearBackward<T>& p, int64_t begin, int64_t end, acc_t<T>* db, Slope slope) {
    using A = acc_t<T>;
    if (db) each_vec<A>(p.cols, [&](int64_t j, auto k) { store(db + j, zero<A>(), k); });
    for (int64_t i = begin; i < end; ++i) {
        const int64_t row = i * p.cols;
        const auto add = [&](int64_t j, auto k, vec<A> g) {
            if (db) store(db + j, load(db + j, k) + g, k);
        };
        if (p.dz)
            slope.each(p.cols, p.saved + row, [&](int64_t j, auto k, vec<A> s) {
                const vec<A> g = load(p.dy + row + j, k) * s;
                store(p.dz + row + j, g, k);
                add(j, k, g);
            });
        else each_vec<A>(p.cols, [&](int64_t j, auto k) { add(j, k, load(p.dy + row + j, k)); });
    }
}

template <class T> void run(const LinearBackward<T>& p) {
    using A = acc_t<T>;
    const int64_t strips = (p.rows + kLinearStrip - 1) / kLinearStrip;
    Buffer<A> parts(p.db ? strips * p.cols : 0);
    with_activation_slope<A>(p.activation, [&](auto slope) {
        parallel_for(strips, p.rows * p.cols / 2, [&](int64_t strip, int) {
            const int64_t begin = strip * kLinearStrip, end = begin + kLinearStrip < p.rows ? begin + kLinearStrip : p.rows;
            backward_strip(p, begin, end, p.db ? parts.data() + strip * p.cols : nullptr, slope);
        });
    });
    if (!p.db) return;
    parallel_ranges(p.cols, 1024, strips * p.cols / 4, [&](int64_t begin, int64_t end) {
        each_vec<A>(end - begin, [&](int64_t j, auto k) {
            vec<A> db = zero<A>();
            for (int64_t s = 0; s < strips; ++s) db = db + load(parts.data() + s * p.cols + begin + j, k);
            store(p.db + begin + j, db, k);
        });
    });
}

}  // namespace

template <class T> void linear_backward(const LinearBackward<T>& p) { run(p); }

template void linear_backward(const LinearBackward<float>&);
template void linear_backward(const LinearBackward<double>&);
template void linear_backward(const LinearBackward<bfloat16>&);
template void linear_backward(const LinearBackward<float16>&);

}  // namespace lc::cpu::LC_ISA
