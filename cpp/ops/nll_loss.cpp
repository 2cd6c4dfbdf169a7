#include "cpp/ops/nll_loss.h"
#include "cpp/autograd/node.h"
#include "cpp/core/parallel.h"
#include "cpp/ops/binary.h"
#include "cpp/ops/copy.h"
#include "cpp/ops/gather.h"
#include "cpp/ops/index.h"
#include "cpp/ops/reduce.h"
#include "cpp/ops/reduction.h"
#include "cpp/ops/unary.h"
#include "cpp/ops/views.h"
#include "cpp/ops/where.h"

namespace lc {
namespace {

struct Problem {
    ClassRows rows;
    int64_t ignore_index;
    Reduction reduction;
    SharedTotal total;                                // the divisor of the mean
    int64_t count;                                    // rows
};

constexpr int64_t kTask = 512, kMiss = 4;             // rows; ns a row, whose number is mostly not in cache: misses overlap

// f(row, place of x[t] in [outer, n, inner], w[t]) for every row that counts.
template <class T, class F> void each_row(const Problem& p, const int64_t* t, const T* w, F&& f) {
    parallel_ranges(p.count, kTask, p.count * kMiss, [&](int64_t first, int64_t end) {
        const auto own = f;                           // of its own, as the rest: not to be read anew after each store
        const T* const weight = w;
        const int64_t* const target = t;
        const int64_t inner = p.rows.inner, row = p.rows.n * inner, ignored = p.ignore_index;
        int64_t i = first % inner, base = first / inner * row;
        for (int64_t r = first; r < end; ++r) {
            const int64_t c = target[r];
            if (c != ignored) own(r, base + c * inner + i, weight ? weight[c] : T(1));
            if (++i == inner) i = 0, base += row;
        }
    });
}

Tensor backward(const Tensor& dy_any, const Problem& p, const Dims& sizes, const Tensor& target, const Tensor& weight) {
    const Tensor dy = contiguous(dy_any), dx = Tensor::zeros(sizes, dy.dtype());
    visit_float(dy.dtype(), "nll_loss", [&]<class T>() {
        replayable([p, t = target.data<int64_t>(), w = weight ? weight.data<T>() : nullptr, g = dy.data<T>(), out = dx.mutable_data<T>()] {
            const bool each = p.reduction == Reduction::none;
            each_row<T>(p, t, w, [=, total = *p.total](int64_t r, int64_t at, T weight) { out[at] = T(-double(weight) * double(g[each ? r : 0]) / total); });
        });
    });
    return dx;
}

// Where targets are not the host's to read: made of other ops, whose kernels check the classes.
Tensor on_device(const Tensor& x, const Tensor& target, const Tensor& weight, const Problem& p) {
    const int d = class_dim(x);
    const Tensor t = to(target, DType::int64), counts = ne(t, number(p.ignore_index)), classes = where(counts, t, number(int64_t(0)));
    const Tensor picked = squeeze(gather(x, d, unsqueeze(classes, d)), Dims{d});
    const Tensor w = !weight ? to(counts, x.dtype()) : where(counts, reshape(index_select(weight, 0, reshape(classes, {-1})), t.sizes()), number(0.0));
    const Tensor losses = where(counts, neg(mul(picked, w)), number(0.0));
    return p.reduction == Reduction::none ? losses : p.reduction == Reduction::sum ? sum(losses)
                                                                                   : div(sum(losses), sum(w));
}

}  // namespace

Tensor nll_loss(const Tensor& x_any, const Tensor& target_any, const Tensor& weight_any, int64_t ignore_index, const std::string& reduction) {
    Problem p{class_rows("nll_loss", x_any), ignore_index, parse_reduction("nll_loss", reduction), shared_total(), target_any.numel()};
    check_class_indices("nll_loss", x_any, target_any);
    check_class_weight("nll_loss", x_any, weight_any, p.rows.n);
    if (!x_any.device().is_cpu()) return on_device(x_any, target_any, weight_any, p);
    Tensor y, target, weight;
    {
        NoGrad no_grad;
        const Tensor x = contiguous(x_any);
        target = contiguous(to(target_any, DType::int64));
        if (weight_any) weight = contiguous(weight_any);
        const Tensor losses = Tensor::zeros(target.sizes(), x.dtype());
        visit_float(x.dtype(), "nll_loss", [&]<class T>() {
            replayable([p, t = target.data<int64_t>(), w = weight ? weight.data<T>() : nullptr, from = x.data<T>(), loss = losses.mutable_data<T>()] {
                const double counted = counted_weight<T>("nll_loss", t, p.count, w, p.rows.n, p.ignore_index);
                if (p.reduction == Reduction::mean) *p.total = counted;
                each_row<T>(p, t, w, [=](int64_t r, int64_t at, T weight) { loss[r] = -weight * from[at]; });
            });
        });
        y = p.reduction == Reduction::none ? losses : sum_over_total(losses, p.total);
    }
    if (wants_grad({x_any}))
        record("nll_loss", {x_any}, {y}, [p, sizes = x_any.sizes(), target = Saved(target), weight = Saved(weight)](const Grads& dy) -> Tensors {
            return {backward(dy[0], p, sizes, target(), weight())};
        });
    return y;
}

}  // namespace lc
