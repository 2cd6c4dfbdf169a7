// one_hot. Contract: cpp/ops/one_hot.h
#include "cpp/ops/one_hot.h"
#include <algorithm>
#include "cpp/ops/copy.h"

namespace lc {

Tensor one_hot(const Tensor& given, int64_t classes) {
    LC_CHECK(is_integral(given.dtype()) && given.dtype() != DType::bool_, TypeError, "one_hot: classes must be integers, got ", given.dtype());
    const Tensor index = contiguous(detail::converted(given, DType::int64));
    const int64_t *i = index.data<int64_t>(), n = index.numel();
    int64_t largest = -1;
    for (int64_t p = 0; p < n; ++p) {
        LC_CHECK(i[p] >= 0, ValueError, "one_hot: class ", i[p], " is negative");
        largest = std::max(largest, i[p]);
    }
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

}  // namespace lc
