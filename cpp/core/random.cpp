#include "cpp/core/random.h"

#include <mutex>

namespace lc {
namespace {
std::mutex mutex;
RandomKey state;                                      // of the default generator
}  // namespace

RandomKey next_random_key() {
    const std::lock_guard lock(mutex);
    const RandomKey key = state;
    ++state.offset;
    return key;
}

RandomKey random_state() {
    const std::lock_guard lock(mutex);
    return state;
}

void set_random_state(RandomKey key) {
    const std::lock_guard lock(mutex);
    state = key;
}

void manual_seed(uint64_t seed) { set_random_state({seed, 0}); }

}  // namespace lc
