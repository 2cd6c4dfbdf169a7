#include "cpp/core/exact.h"
#include <atomic>
#include <cstdlib>

namespace lc {
namespace {

std::atomic<bool>& current() {
    static std::atomic<bool> on{[] {
        const char* value = std::getenv("LITTLECORE_EXACT");
        return value && *value && *value != '0';
    }()};
    return on;
}

}  // namespace

bool exact() { return current().load(std::memory_order_relaxed); }
void set_exact(bool on) { current() = on; }

}  // namespace lc
