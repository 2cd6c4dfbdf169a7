// Errors as Python means them. The text starts with the op's name, says what is wrong with the values given, and
// what would be right: "matmul: inner sizes differ: a is [32, 784], b is [100, 10]".
#pragma once
#include <sstream>
#include <stdexcept>
#include <string>
#include "cpp/core/macros.h"

namespace lc {

struct LC_API Error : std::runtime_error {
    using std::runtime_error::runtime_error;
};        // RuntimeError
struct LC_API ValueError : Error {
    using Error::Error;
};
struct LC_API TypeError : Error {
    using Error::Error;
};
struct LC_API IndexError : Error {
    using Error::Error;
};
struct LC_API MemoryError : Error {
    using Error::Error;
};
struct LC_API NotImplemented : Error {
    using Error::Error;
};
struct LC_API Interrupted : Error {
    using Error::Error;
};     // Ctrl-C arrived while a kernel ran

// Joins its arguments to one string; anything with operator<< will do.
template <class... Args> std::string text(const Args&... args) {
    std::ostringstream out;
    (out << ... << args);
    return out.str();
}

// Throws E with the joined message unless the condition holds; the message is only built on failure.
#define LC_CHECK(condition, E, ...) \
    do { \
        if (LC_UNLIKELY(!(condition))) throw ::lc::E(::lc::text(__VA_ARGS__)); \
    } while (0)

}  // namespace lc
