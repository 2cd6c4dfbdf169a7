#include "cpp/core/dtype.h"
#include <ostream>

namespace lc {

size_t item_size(DType t) {
    static constexpr size_t bytes[kDTypes] = {4, 8, 2, 2, 8, 4, 1, 1};
    return bytes[int(t)];
}

const char* name(DType t) {
    static constexpr const char* names[kDTypes] = {"float32", "float64", "bfloat16", "float16", "int64", "int32", "uint8", "bool"};
    return names[int(t)];
}

bool is_floating(DType t) { return t <= DType::float16; }
bool is_integral(DType t) { return !is_floating(t); }

DType promote(DType a, DType b) {
    if (a == b) return a;
    if (is_floating(a) != is_floating(b)) return is_floating(a) ? a : b;
    if (is_floating(a)) {
        if (a == DType::float64 || b == DType::float64) return DType::float64;
        return DType::float32;                        // also bfloat16 with float16: neither holds the other
    }
    auto rank = [](DType t) { return t == DType::int64 ? 3 : t == DType::int32 ? 2
                                  : t == DType::uint8                          ? 1
                                                                               : 0; };
    return rank(a) > rank(b) ? a : b;
}

std::ostream& operator<<(std::ostream& out, DType t) { return out << name(t); }

void throw_dtype(const char* op, DType got, const char* wanted) {
    throw TypeError(text(op, ": dtype ", got, " is not supported; convert to ", wanted));
}

}  // namespace lc
