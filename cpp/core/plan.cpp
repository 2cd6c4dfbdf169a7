#include "cpp/core/plan.h"
#include <cstring>
#include <unordered_map>
#include <unordered_set>
#include "cpp/autograd/node.h"
#include "cpp/core/tensor.h"

namespace lc {

std::atomic<int> detail::recordings{0};

namespace {
thread_local Plan* here = nullptr;
std::atomic<uint64_t> structure{0};
}  // namespace

Plan* detail::recording_here() { return here; }

// What stays alive as long as the plan, and what must be found unchanged.
struct Plan::Kept {
    std::unordered_map<Storage*, Ref<Storage>> storages;
    std::vector<Storage*> written;
    std::unordered_set<TensorImpl*> leaves;           // whose grad a step has read or set
    std::vector<std::pair<Ref<TensorImpl>, Tensor>> grads;
    std::unordered_set<const TensorImpl*> set;
};

Plan::Plan() : kept_(new Kept), region_(memory::new_region()) {}

Plan::~Plan() {
    for (Step* step : steps_) delete step;
    delete kept_;
    memory::drop_region(region_);
}

void Plan::begin() {
    LC_CHECK(!here, Error, "capture: this thread records already");
    here = this;
    memory::use_region(region_);
    ++detail::recordings;
    structure_ = structure;
}

void Plan::end() noexcept {
    --detail::recordings;
    here = nullptr;
    memory::use_region(nullptr);
}

void Plan::keep(Storage* s) {
    if (!s->own() || !s->device.is_cpu() || memory::region_of(s->data) != region_) kept_->storages.try_emplace(s, s);
}

void Plan::wrote(Storage* s) {
    keep(s);
    if (kept_->storages.contains(s)) kept_->written.push_back(s);
}

void Plan::result(Storage* s) {
    kept_->storages.try_emplace(s, s);
    kept_->written.push_back(s);
}

void Plan::expect_grad(TensorImpl* leaf, TensorImpl* grad) {
    if (kept_->leaves.insert(leaf).second) kept_->grads.emplace_back(leaf, Tensor(Ref<TensorImpl>(grad)));
}

void Plan::sets_grad(TensorImpl* leaf, TensorImpl* grad) {
    kept_->leaves.insert(leaf);
    if (grad) kept_->set.insert(grad);
}

bool Plan::is_grad(const TensorImpl* x) const { return kept_->set.contains(x); }

int64_t Plan::live_blocks() const { return memory::live_blocks(region_); }

bool Plan::fresh() const {
    if (structure_ != structure) return false;
    for (const auto& [leaf, grad] : kept_->grads)
        if ((leaf->autograd ? leaf->autograd->grad.impl() : nullptr) != grad.impl()) return false;
    return true;
}

void Plan::replay() {
    LC_CHECK(!running_, Error, "capture: the step is running already, on another thread or further up");
    struct Running {
        explicit Running(bool& on) : on(on) { on = true; }
        ~Running() { on = false; }
        bool& on;
    } const running(running_);
    const NoGrad off;
    for (Storage* s : kept_->written) ++s->version;
    for (Step* step : steps_) step->run();
}

RecordingPaused::RecordingPaused() : plan_(here), region_(memory::use_region(nullptr)) { here = nullptr; }
RecordingPaused::~RecordingPaused() {
    here = plan_;
    memory::use_region(region_);
}

void host_wrote(void* data, size_t bytes) {
    Plan* plan = recording();
    if (LC_LIKELY(!plan)) return;
    plan->add([data, copy = std::vector<char>(static_cast<char*>(data), static_cast<char*>(data) + bytes)] {
        std::memcpy(data, copy.data(), copy.size());
    });
}

void refuse_recording(const char* op, const char* why) {
    LC_CHECK(!recording(), Error, op, ": ", why, ", which a captured step cannot repeat; take it out of the step given to capture()");
}

void structure_changed() {
    if (!recording()) ++structure;
}

}  // namespace lc
