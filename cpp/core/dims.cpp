#include "cpp/core/dims.h"
#include <ostream>

namespace lc {

std::ostream& operator<<(std::ostream& out, const Dims& d) {
    out << '[';
    for (int i = 0; i < d.size(); ++i) out << (i ? ", " : "") << d[i];
    return out << ']';
}

int64_t element_count(const Dims& sizes) {
    int64_t n = 1;
    bool empty = false, overflow = false;
    for (int64_t s : sizes) {
        LC_CHECK(s >= 0, ValueError, "tensor: negative size in shape ", sizes);
        empty |= s == 0;
        overflow |= __builtin_mul_overflow(n, s ? s : 1, &n);
    }
    if (empty) return 0;
    LC_CHECK(!overflow && n <= (int64_t(1) << 58), ValueError, "tensor: shape ", sizes, " has more elements than memory can hold");
    return n;
}

Dims contiguous_strides(const Dims& sizes) {
    Dims strides = Dims::filled(sizes.size(), 1);
    for (int i = sizes.size() - 2; i >= 0; --i) strides[i] = strides[i + 1] * (sizes[i + 1] ? sizes[i + 1] : 1);
    return strides;
}

Dims broadcast(const char* op, const Dims& a, const Dims& b) {
    const Dims& longer = a.size() >= b.size() ? a : b;
    const Dims& shorter = a.size() >= b.size() ? b : a;
    Dims out = longer;
    const int shift = longer.size() - shorter.size();
    for (int i = 0; i < shorter.size(); ++i) {
        int64_t& have = out[i + shift];
        if (have == 1) have = shorter[i];
        else LC_CHECK(shorter[i] == 1 || shorter[i] == have, ValueError, op, ": shapes ", a, " and ", b, " do not broadcast");
    }
    return out;
}

int wrap_dim(const char* op, int64_t dim, int rank) {
    const int64_t range = rank ? rank : 1;
    LC_CHECK(dim >= -range && dim < range, IndexError, op, ": dim ", dim, " is out of range for ", rank, " dimensions; use ",
             -range, " to ", range - 1);
    return int(dim < 0 ? dim + range : dim);
}

}  // namespace lc
