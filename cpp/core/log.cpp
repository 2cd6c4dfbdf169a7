#include "cpp/core/log.h"
#include <cstdio>
#include <cstdlib>

namespace lc {

bool log_enabled() {
    static const bool on = [] {
        const char* value = std::getenv("LITTLECORE_LOG");
        return value && *value && *value != '0';
    }();
    return on;
}

void log(const std::string& line) { std::fprintf(stderr, "%s\n", line.c_str()); }

}  // namespace lc
