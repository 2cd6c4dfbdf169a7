// What the losses share: their reduction, and class indices with their weights.
#pragma once
#include <memory>
#include <string>
#include "cpp/autograd/node.h"
#include "cpp/core/tensor.h"

namespace lc {

enum class Reduction : uint8_t { none,
                                 mean,
                                 sum };

inline Reduction parse_reduction(const char* op, const std::string& name) {
    if (name == "none") return Reduction::none;
    if (name == "mean") return Reduction::mean;
    LC_CHECK(name == "sum", ValueError, op, ": reduction must be 'none', 'mean' or 'sum', is '", name, "'");
    return Reduction::sum;
}

// A sum that keeps what rounding loses (Neumaier): float64 losses of many rows need it.
class LongSum {
public:
    void add(double x) {
        const double s = sum_ + x;
        lost_ += (sum_ < 0 ? -sum_ : sum_) >= (x < 0 ? -x : x) ? (sum_ - s) + x : (x - s) + sum_;
        sum_ = s;
    }
    double value() const { return lost_ == lost_ ? sum_ + lost_ : sum_; }     // infinities leave NaN behind

private:
    double sum_ = 0, lost_ = 0;
};

// The divisor of a mean over rows that the targets decide: backward needs it, and a replay finds it anew.
using SharedTotal = std::shared_ptr<double>;
inline SharedTotal shared_total() { return std::allocate_shared<double>(PoolAllocator<double>(), 1.0); }
inline double number_of(double total) { return total; }
inline double number_of(const SharedTotal& total) { return *total; }

// A sum in float64: of double as above, in index order; of shorter types, which lose nothing that shows, by eight chains.
template <class T> double long_sum(const T* x, int64_t n) {
    LongSum sum;
    int64_t i = 0;
    if constexpr (sizeof(T) < sizeof(double)) {
        double part[8] = {};
        for (; i + 8 <= n; i += 8)
            for (int j = 0; j < 8; ++j) part[j] += double(x[i + j]);
        for (const double p : part) sum.add(p);
    }
    for (; i < n; ++i) sum.add(double(x[i]));
    return sum.value();
}

// A scalar: the sum of the rows' losses (contiguous) over total, a double or shared.
template <class Total> Tensor sum_over_total(const Tensor& losses, const Total& total) {
    const Tensor y = Tensor::empty({}, losses.dtype());
    visit_float(losses.dtype(), "loss", [&]<class T>() {
        replayable([l = losses.data<T>(), n = losses.numel(), out = y.mutable_data<T>(), total] {
            *out = T(long_sum(l, n) / number_of(total));
        });
    });
    return y;
}

// ---- classes along dim 1, or dim 0 of a vector ---------------------------------------------------------------------------

struct ClassRows {
    int64_t outer = 1, n = 1, inner = 1;
};       // x is [outer, n, inner]
inline int class_dim(const Tensor& x) { return x.dim() == 1 ? 0 : 1; }

inline ClassRows class_rows(const char* op, const Tensor& x) {
    LC_CHECK(x.dim() >= 1, ValueError, op, ": input needs a class dimension, has shape ", x.sizes());
    ClassRows r;
    for (int i = 0; i < x.dim(); ++i) (i < class_dim(x) ? r.outer : i == class_dim(x) ? r.n
                                                                                      : r.inner) *= x.size(i);
    LC_CHECK(r.n > 0, ValueError, op, ": input of shape ", x.sizes(), " has no classes");
    return r;
}

inline void check_class_indices(const char* op, const Tensor& x, const Tensor& target) {
    LC_CHECK(is_integral(target.dtype()), TypeError, op, ": target is ", target.dtype(), ", class indices are integers");
    Dims expected = x.sizes();
    expected.erase(class_dim(x));
    LC_CHECK(target.sizes() == expected, ValueError, op, ": target has shape ", target.sizes(), ", input of shape ", x.sizes(), " needs class indices of shape ", expected);
}

inline void check_class_weight(const char* op, const Tensor& x, const Tensor& weight, int64_t n) {
    if (!weight) return;
    LC_CHECK(weight.dim() == 1 && weight.size(0) == n, ValueError, op, ": weight has shape ", weight.sizes(), ", needs [", n, "]");
    LC_CHECK(weight.dtype() == x.dtype(), TypeError, op, ": weight is ", weight.dtype(), ", input is ", x.dtype());
    no_gradient(text(op, ": weight").c_str(), weight);
}

// The sum of w[t] over the rows that count; refuses an index that is no class. w: null for ones.
template <class T> double counted_weight(const char* op, const int64_t* t, int64_t rows, const T* w, int64_t n, int64_t ignore_index) {
    int64_t counted = 0, wrong = 0;
    for (int64_t i = 0; i < rows; ++i) {
        const int64_t counts = t[i] != ignore_index;
        counted += counts;
        wrong |= counts & int64_t(uint64_t(t[i]) >= uint64_t(n));
    }
    for (int64_t i = 0; i < rows && wrong; ++i)
        LC_CHECK(t[i] == ignore_index || (t[i] >= 0 && t[i] < n), IndexError, op, ": target ", t[i], " is not a class: there are ", n);
    if (!w) return double(counted);
    LongSum total;
    for (int64_t i = 0; i < rows; ++i)
        if (t[i] != ignore_index) total.add(double(w[t[i]]));
    return total.value();
}

}  // namespace lc
