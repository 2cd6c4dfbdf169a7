// Where a tensor lives.
#pragma once
#include <cstdint>
#include <iosfwd>
#include <string>
#include "cpp/core/macros.h"

namespace lc {

struct Device {
    enum class Type : uint8_t { cpu,
                                cuda } type = Type::cpu;
    int8_t index = 0;
    bool operator==(const Device&) const = default;
    bool is_cpu() const { return type == Type::cpu; }
};

LC_API void check_same_device(const char* op, Device a, Device b);   // ValueError
LC_API Device parse_device(const std::string&);       // "cpu", "cuda", "cuda:1"; ValueError otherwise
LC_API std::string to_string(Device);
LC_API std::ostream& operator<<(std::ostream&, Device);

}  // namespace lc
