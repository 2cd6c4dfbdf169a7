#include "cpp/core/device.h"
#include <ostream>
#include "cpp/core/error.h"

namespace lc {

Device parse_device(const std::string& s) {
    if (s == "cpu") return {};
    if (s == "cuda") return {Device::Type::cuda, 0};
    if (s.size() >= 6 && s.size() <= 7 && s.starts_with("cuda:") && s.find_first_not_of("0123456789", 5) == std::string::npos)
        return {Device::Type::cuda, int8_t(std::stoi(s.substr(5)))};
    throw ValueError(text("device: '", s, "' is none; use 'cpu', 'cuda' or 'cuda:N'"));
}

void check_same_device(const char* op, Device a, Device b) {
    LC_CHECK(a == b, ValueError, op, ": the operands are on ", a, " and ", b, "; move one with to()");
}

std::string to_string(Device d) { return d.is_cpu() ? "cpu" : "cuda:" + std::to_string(d.index); }
std::ostream& operator<<(std::ostream& out, Device d) { return out << to_string(d); }

}  // namespace lc
