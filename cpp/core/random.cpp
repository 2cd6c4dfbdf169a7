#include "cpp/core/random.h"
#include "cpp/core/cuda_graph.h"

namespace lc {

RandomKey Generator::next() {
    cuda::varies();
    const std::lock_guard lock(mutex_);
    const RandomKey key = state_;
    ++state_.offset;
    return key;
}

RandomKey Generator::state() const {
    const std::lock_guard lock(mutex_);
    return state_;
}

void Generator::set_state(RandomKey key) {
    const std::lock_guard lock(mutex_);
    state_ = key;
}

const Ref<Generator>& default_generator() {
    static const Ref<Generator> generator = make<Generator>();
    return generator;
}

}  // namespace lc
