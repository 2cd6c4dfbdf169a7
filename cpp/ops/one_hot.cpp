// one_hot, bincount. Contract: cpp/ops/one_hot.h
#include "cpp/ops/one_hot.h"
#include <algorithm>
#include "cpp/autograd/node.h"
#include "cpp/ops/copy.h"

namespace lc {

namespace {

// int64, contiguous
Tensor checked(const char* op, const Tensor& given) {
    LC_CHECK(is_integral(given.dtype()) && given.dtype() != DType::bool_, TypeError, op, ": classes must be integers, got ", given.dtype());
    return detail::dense(detail::converted(given, DType::int64));
}

// -1 of none
int64_t largest_of(const char* op, const Tensor& index) {
    refuse_recording(op, "classes are read on the host");
    const int64_t* i = index.data<int64_t>();
    int64_t largest = -1;
    for (int64_t p = 0, n = index.numel(); p < n; ++p) {
        LC_CHECK(i[p] >= 0, ValueError, op, ": class ", i[p], " is negative");
        largest = std::max(largest, i[p]);
    }
    return largest;
}

}  // namespace

Tensor one_hot(const Tensor& given, int64_t classes) {
    if (!given.device().is_cpu()) return to(one_hot(to(given, Device{}), classes), given.device());     // the host looks at the classes
    const Tensor index = checked("one_hot", given);
    const int64_t *i = index.data<int64_t>(), n = index.numel(), largest = largest_of("one_hot", index);
    LC_CHECK(classes >= -1 && classes != 0, ValueError, "one_hot: num_classes must be positive, or -1 for as many as needed, got ", classes);
    LC_CHECK(classes != -1 || n > 0, ValueError, "one_hot: an empty tensor does not say how many classes there are; give num_classes");
    LC_CHECK(classes == -1 || largest < classes, ValueError, "one_hot: class ", largest, " is not below num_classes ", classes);
    if (classes == -1) classes = largest + 1;

    Dims sizes = index.sizes();
    sizes.push_back(classes);
    const Tensor y = Tensor::zeros(sizes, DType::int64);
    int64_t* out = y.mutable_data<int64_t>();
    for (int64_t p = 0; p < n; ++p) out[p * classes + i[p]] = 1;
    return y;
}

Tensor bincount(const Tensor& given, const Tensor& weights, int64_t minlength) {
    if (!given.device().is_cpu()) return to(bincount(to(given, Device{}), weights ? to(weights, Device{}) : weights, minlength), given.device());
    const Tensor index = checked("bincount", given);
    LC_CHECK(index.dim() == 1, ValueError, "bincount: takes a list of classes, got shape ", given.sizes());
    LC_CHECK(minlength >= 0, ValueError, "bincount: minlength is negative: ", minlength);
    LC_CHECK(!weights || weights.sizes() == index.sizes(), ValueError, "bincount: weights have shape ", weights.sizes(), ", the classes ", index.sizes());
    const int64_t *i = index.data<int64_t>(), n = index.numel(), count = std::max(largest_of("bincount", index) + 1, minlength);
    if (!weights) {
        const Tensor y = Tensor::zeros({count}, DType::int64);
        int64_t* out = y.mutable_data<int64_t>();
        for (int64_t p = 0; p < n; ++p) ++out[i[p]];
        return y;
    }
    no_gradient("bincount: weights", weights);
    const Tensor w = detail::dense(detail::converted(weights, DType::float64)), y = Tensor::zeros({count}, DType::float64);
    const double* from = w.data<double>();
    double* out = y.mutable_data<double>();
    for (int64_t p = 0; p < n; ++p) out[i[p]] += from[p];
    return detail::converted(y, is_floating(weights.dtype()) ? weights.dtype() : DType::float64);
}

}  // namespace lc
