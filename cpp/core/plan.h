// A plan: what a step did, kept to be done again with the same memory and without the code that led to it.
//
// While a thread records, every kernel call passes replayable(): it runs, and is kept with its arguments. Work of an op
// that reads or writes elements outside of kernels goes through replayable() too. Memory allocated meanwhile comes from
// the plan's own region and is never given to anybody else, so that the addresses in the arguments stay good; inside the
// region it is reused as it was while recording. Tensors from before are kept alive by the plan.
#pragma once
#include <atomic>
#include <cstdint>
#include <vector>
#include "cpp/core/macros.h"
#include "cpp/core/pool.h"

namespace lc {

struct Storage;
struct TensorImpl;
struct Region;
class Plan;

namespace detail {
LC_API extern std::atomic<int> recordings;            // threads that record
LC_API Plan* recording_here();
}  // namespace detail

// The plan this thread is recording, or null.
inline Plan* recording() {
    return LC_LIKELY(detail::recordings.load(std::memory_order_relaxed) == 0) ? nullptr : detail::recording_here();
}

class LC_API Plan {
public:
    Plan();
    ~Plan();
    Plan(const Plan&) = delete;
    Plan& operator=(const Plan&) = delete;

    void begin();                                     // this thread records from here on
    void end() noexcept;
    bool fresh() const;                               // false: what it was recorded with has changed
    void replay();

    template <class F> void add(F f) {
        struct Holder final : Step {
            explicit Holder(F f) : f(std::move(f)) {}
            void run() override { f(); }
            F f;
        };
        steps_.push_back(new Holder(std::move(f)));
    }
    void keep(Storage*);                              // read or written by a step
    void wrote(Storage*);                             // its version goes up with every replay
    void result(Storage*);                            // handed out: written by every replay
    void expect_grad(TensorImpl* leaf, TensorImpl* grad);   // what leaf's grad is when a replay begins
    void sets_grad(TensorImpl* leaf, TensorImpl* grad);     // what it is before no longer matters
    bool is_grad(const TensorImpl*) const;            // set by a step
    int64_t live_blocks() const;                      // of the plan's region
    size_t size() const { return steps_.size(); }

private:
    struct Step {
        virtual ~Step() = default;
        virtual void run() = 0;
    };
    struct Kept;
    std::vector<Step*> steps_;
    Kept* kept_;
    Region* region_;
    uint64_t structure_ = 0;
    bool running_ = false;
};

// The thread does not record while one lives.
class LC_API RecordingPaused {
public:
    RecordingPaused();
    ~RecordingPaused();
    RecordingPaused(const RecordingPaused&) = delete;

private:
    Plan* plan_;
    Region* region_;
};

// Runs f, and again in every replay of the plan being recorded. f must hold all it uses: values, and addresses in tensors.
template <class F> void replayable(F f) {
    if (Plan* plan = recording(); LC_UNLIKELY(plan != nullptr)) {
        const RecordingPaused paused;
        f();
        plan->add(std::move(f));
    } else {
        f();
    }
}

// The host wrote these bytes: a replay writes them again.
LC_API void host_wrote(void* data, size_t bytes);

// RuntimeError while recording, for what cannot be replayed.
LC_API void refuse_recording(const char* op, const char* why);

// What steps are recorded for has changed (modules, modes, optimizer state): plans made before are stale.
LC_API void structure_changed();

}  // namespace lc
