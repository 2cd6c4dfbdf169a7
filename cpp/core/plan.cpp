#include "cpp/core/plan.h"
#include <cstring>
#include <functional>
#include <memory>
#include <unordered_map>
#include <unordered_set>
#include "cpp/autograd/node.h"
#include "cpp/core/cuda_graph.h"
#include "cpp/core/tensor.h"

namespace lc {

std::atomic<int> detail::recordings{0};

namespace {
thread_local Plan* here = nullptr;
std::atomic<uint64_t> structure{0};

// What the steps do on devices. Those between two that make the host wait are launched as one graph: what launches the
// same every time is collected once, the others run before each launch and say what has changed.
class OnDevice {
public:
    struct Kind {
        bool launches = false, waits = false, varies = false;
        int device = 0;                               // if it launches
    };
    struct Stretch {
        size_t begin, end;
        std::unique_ptr<cuda::Graph> graph;           // null: the steps run one by one
    };

    ~OnDevice() {
        stretches.clear();
        cuda::drop_region(region);
    }
    void begin_step(size_t steps) {                   // behind so many
        kinds_.resize(steps);
        before_ = cuda::work();
    }
    void end_step(size_t steps) {                     // it is the last of so many
        if (steps == kinds_.size()) return;           // it failed, or was none
        const cuda::Work now = cuda::work();
        kinds_.resize(steps);
        kinds_.back() = {now.launches > before_.launches, now.waits > before_.waits, now.varying > before_.varying, now.device};
    }
    void divide(size_t steps);
    bool fixed(size_t i) const { return kinds_[i].launches && !kinds_[i].varies; }

    cuda::Region* region = cuda::new_region();
    std::vector<Stretch> stretches;

private:
    std::vector<Kind> kinds_;                         // of each step
    cuda::Work before_;                               // of this thread, when the step began
};

void OnDevice::divide(size_t steps) {
    kinds_.resize(steps);
    for (size_t begin = 0, end; begin < steps; begin = end) {
        int64_t launching = 0;
        int device = -1;
        for (end = begin; end < steps && !kinds_[end].waits; ++end) {
            if (!kinds_[end].launches) continue;
            if (device >= 0 && kinds_[end].device != device) break;
            device = kinds_[end].device;
            ++launching;
        }
        if (end == begin) ++end;                      // a step that waits is a stretch of its own
        stretches.push_back({begin, end, launching > 1 ? cuda::new_graph() : nullptr});
    }
}

thread_local OnDevice* on_device_here = nullptr;      // of the plan being recorded

}  // namespace

Plan* detail::recording_here() { return here; }

// What stays alive as long as the plan, and what must be found unchanged.
struct Plan::Kept {
    std::unordered_map<Storage*, Ref<Storage>> storages;
    std::vector<Storage*> written;
    std::unordered_set<TensorImpl*> leaves;           // whose grad a step has read or set
    std::vector<std::pair<Ref<TensorImpl>, Tensor>> grads;
    std::unordered_set<const TensorImpl*> set;
    OnDevice on_device;
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
    on_device_here = &kept_->on_device;
    cuda::use_region(on_device_here->region);
    ++detail::recordings;
    structure_ = structure;
}

void Plan::end() noexcept {
    --detail::recordings;
    here = nullptr;
    memory::use_region(nullptr);
    on_device_here = nullptr;
    cuda::use_region(nullptr);
}

void Plan::keep(Storage* s) {
    const bool of_the_plan = s->own() && (s->device.is_cpu() ? memory::region_of(s->data) == region_ : cuda::region_of(s->data, s->device) == kept_->on_device.region);
    if (!of_the_plan) kept_->storages.try_emplace(s, s);
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
    OnDevice& on = kept_->on_device;
    if (on.stretches.empty()) on.divide(steps_.size());
    for (const OnDevice::Stretch& s : on.stretches) {
        const bool collected = s.graph && s.graph->collected();
        for (size_t i = s.begin; i < s.end; ++i) {
            if (!s.graph) steps_[i]->run();
            else if (!collected || !on.fixed(i)) s.graph->collect(i - s.begin, on.fixed(i), [&] { steps_[i]->run(); });
        }
        if (s.graph) s.graph->launch();
    }
}

RecordingPaused::RecordingPaused() : plan_(here), region_(memory::use_region(nullptr)) {
    here = nullptr;
    cuda::use_region(nullptr);
    if (plan_) on_device_here->begin_step(plan_->size());
}
RecordingPaused::~RecordingPaused() {
    here = plan_;
    memory::use_region(region_);
    if (!plan_) return;
    on_device_here->end_step(plan_->size());
    cuda::use_region(on_device_here->region);
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
