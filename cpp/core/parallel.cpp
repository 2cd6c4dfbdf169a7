#include "cpp/core/parallel.h"
#include <pthread.h>
#include <sched.h>
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <mutex>
#include <thread>
#include <utility>
#include "cpp/core/error.h"
#include "cpp/core/parallel_steps.h"
#include "cpp/core/thread_pool.h"
#include "cpp/core/workspace.h"

namespace lc {
namespace {

constexpr int kMaxThreads = 256;
constexpr int64_t kParallelWork = 20'000;             // ns: below this waking a thread costs more than it brings
constexpr int64_t kLongCall = 20'000;                 // ns: from here the caller's language is told
constexpr int64_t kParallelStep = 2'000;              // ns: below this a thread waits longer than it works
constexpr int64_t kStepsTogether = 4'000'000;         // ns: until signals are looked for
constexpr auto kPollEvery = std::chrono::milliseconds(10);

LongCallHooks hooks{};
thread_local bool in_task = false, tasks_skipped = false;
std::atomic<const ThreadPool*> embedder{nullptr};     // null: our own pool. Kept for ever, another thread may be about to use it

// kSpins of relax() are about 20 us; a parked thread takes some 60 us to wake.
#if defined(__x86_64__)
constexpr int kSpins = 4000;
inline void relax() { __builtin_ia32_pause(); }
#else
constexpr int kSpins = 60;                            // each a system call
inline void relax() { std::this_thread::yield(); }
#endif

int default_threads() {
    if (const char* value = std::getenv("LITTLECORE_NUM_THREADS"); value && *value) {
        char* end = nullptr;
        const long n = std::strtol(value, &end, 10);
        if (*end == 0 && n >= 1 && n <= kMaxThreads) return int(n);
        std::fprintf(stderr, "littlecore: LITTLECORE_NUM_THREADS=%s is not a number from 1 to %d; ignored\n", value, kMaxThreads);
    }
    cpu_set_t set;
    const int n = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : int(std::thread::hardware_concurrency());
    return n < 1 ? 1 : n > kMaxThreads ? kMaxThreads
                                       : n;
}

// Each thread starts on a stretch of its own, so that a call repeated finds in a core's caches what that core left there,
// and takes tasks of the others' stretches once its own is done.
struct Job {
    static constexpr int kStretches = 64;
    struct alignas(64) Stretch {
        std::atomic<int64_t> next;
        int64_t end;
    };

    detail::TaskFunction f;
    void* context;
    int stretches;
    std::atomic<bool> stop{false};
    std::mutex error_mutex;
    std::exception_ptr error;
    Stretch stretch[kStretches];

    Job(detail::TaskFunction f, void* context, int64_t tasks, int threads) : f(f), context(context), stretches(std::min(threads, kStretches)) {
        for (int i = 0; i < stretches; ++i) {
            stretch[i].next.store(tasks * i / stretches, std::memory_order_relaxed);
            stretch[i].end = tasks * (i + 1) / stretches;
        }
    }

    void fail() {
        const std::lock_guard lock(error_mutex);
        if (!error) error = std::current_exception();
        stop = true;
    }

    // One thread's share. `poll` runs between tasks and returns true to stop.
    template <class Poll> void work(int worker, Poll poll) {
        try {
            for (int i = 0; i < stretches; ++i) {
                Stretch& s = stretch[(worker + i) % stretches];
                while (!stop.load(std::memory_order_relaxed)) {
                    const int64_t task = s.next.fetch_add(1, std::memory_order_relaxed);
                    if (task >= s.end) break;
                    f(context, task, worker);
                    if (poll()) throw Interrupted("interrupted");
                }
            }
        } catch (...) {
            fail();
        }
    }
};

// Workers wait for `epoch` to change and enter the job, if it is still open. The caller closes it when no task is left and
// waits for those who entered: a worker that wakes late, because others use its core, delays nobody.
class Pool {
public:
    explicit Pool(int threads) : threads_(threads) {
        for (int i = 1; i < threads; ++i) {
            try {
                std::thread worker([this, i] { loop(i); });
                handle_[i] = worker.native_handle();
                worker.detach();
            } catch (const std::system_error&) {      // the system gives no more: go on with what there is
                threads_ = i;
                break;
            }
        }
    }

    int threads() const { return threads_; }

    template <class Poll> void run(Job& job, Poll poll) {
        job_ = &job;
        if (const int cpu = sched_getcpu(); cpu != avoided_) avoid(cpu);
        inside_.store(0, std::memory_order_release);
        wake();
        in_task = true;
        job.work(0, poll);
        in_task = false;
        inside_.fetch_add(kClosed, std::memory_order_acq_rel);
        for (int spin = 0;; ++spin) {
            const int left = inside_.load(std::memory_order_acquire);
            if (left == kClosed) return;
            if (spin < kSpins) relax();
            else inside_.wait(left, std::memory_order_acquire);
        }
    }

    // Ends the workers; the pool itself is leaked, they may still be on their way out of it.
    void retire() {
        retired_.store(true, std::memory_order_release);
        wake();
    }

private:
    static constexpr int kClosed = -(1 << 30);

    void wake() {
        epoch_.fetch_add(1, std::memory_order_release);
        epoch_.notify_all();
    }

    // Keeps the workers off the caller's CPU. Woken by the caller, they are otherwise often queued behind it, and it has done
    // the job alone by the time the scheduler moves them: a sum of 12 MB on two threads took 0.34 ms every other time, now 0.16.
    void avoid(int cpu) {
        avoided_ = cpu;
        cpu_set_t set;
        if (cpu < 0 || cpu >= CPU_SETSIZE || sched_getaffinity(0, sizeof set, &set) != 0) return;
        CPU_CLR(cpu, &set);
        if (CPU_COUNT(&set) == 0) return;
        for (int i = 1; i < threads_; ++i) pthread_setaffinity_np(handle_[i], sizeof set, &set);
    }

    bool enter() {
        int inside = inside_.load(std::memory_order_relaxed);
        while (inside >= 0)
            if (inside_.compare_exchange_weak(inside, inside + 1, std::memory_order_acq_rel, std::memory_order_relaxed)) return true;
        return false;
    }

    void leave() {
        if (inside_.fetch_sub(1, std::memory_order_acq_rel) == kClosed + 1) inside_.notify_one();
    }

    void loop(int worker) {
        in_task = true;
        uint32_t seen = 0;
        for (;;) {
            for (int spin = 0; spin < kSpins && epoch_.load(std::memory_order_acquire) == seen; ++spin) relax();
            epoch_.wait(seen, std::memory_order_acquire);
            seen = epoch_.load(std::memory_order_acquire);
            if (retired_.load(std::memory_order_acquire)) return;
            if (!enter()) continue;
            job_->work(worker, [] { return false; });
            leave();
        }
    }

    int threads_;
    int avoided_ = -1;                                // the CPU that workers are kept off
    pthread_t handle_[kMaxThreads];
    Job* job_ = nullptr;
    std::atomic<uint32_t> epoch_{0};
    std::atomic<int> inside_{kClosed};                // workers in the job; with kClosed added when none may enter
    std::atomic<bool> retired_{false};
};

struct State {
    std::mutex busy;                                  // held by the caller whose job the pool runs
    Pool* pool = nullptr;
    std::atomic<int> wanted{0};                       // 0: not decided yet
};
State* state_of_process = new State;

State& state() {
    // A forked child has none of its parent's threads: it starts with a fresh state. Nothing to lock, nothing to join.
    static const bool once = [] {
        pthread_atfork(nullptr, nullptr, [] {
            State* fresh = new State;
            fresh->wanted = state_of_process->wanted.load();
            state_of_process = fresh;
            embedder = nullptr;
            in_task = false;
        });
        return true;
    }();
    (void)once;
    return *state_of_process;
}

// Tells the caller's language about a long kernel, once per outermost call.
class LongCall {
public:
    explicit LongCall(bool is_long) : active_(is_long && hooks.enter && !in_task) {
        if (active_) token_ = hooks.enter();
    }
    ~LongCall() {
        if (active_) hooks.leave(token_);
    }

    bool interrupted() {
        if (!active_) return false;
        const auto now = std::chrono::steady_clock::now();
        if (now - last_ < kPollEvery) return false;
        last_ = now;
        return hooks.interrupted(token_);
    }

private:
    bool active_;
    void* token_ = nullptr;
    std::chrono::steady_clock::time_point last_ = std::chrono::steady_clock::now();
};

// Steps [begin, end) of parallel_steps. A part is claimed by moving its step on by one, and a step's parts only when all
// before are done: whoever claims one is running, so that nobody waits for a thread that has not come.
struct Steps {
    detail::StepFunction f;
    void* context;
    int parts;
    int64_t end;
    alignas(64) std::atomic<int64_t> done;            // parts, of all steps
    alignas(64) std::atomic<int64_t> step_of[kMostParts];

    Steps(detail::StepFunction f, void* context, int parts, int64_t begin, int64_t end) : f(f), context(context), parts(parts), end(end), done(begin * parts) {
        for (int i = 0; i < parts; ++i) step_of[i].store(begin, std::memory_order_relaxed);
    }

    void walk(int thread, int threads) {
        const int own = parts * thread / threads, count = parts * (thread + 1) / threads - own;
        for (;;) {
            const int64_t step = done.load(std::memory_order_acquire) / parts;
            if (step >= end) return;
            int64_t here = 0;
            for (int i = 0; i < parts; ++i) {         // its own, then others', from their end
                const int part = (own + (i < count ? i : parts - 1 - (i - count))) % parts;
                int64_t expected = step;
                if (step_of[part].load(std::memory_order_relaxed) != step ||
                    !step_of[part].compare_exchange_strong(expected, step + 1, std::memory_order_relaxed)) continue;
                f(context, step, part);
                ++here;
            }
            if (here) done.fetch_add(here, std::memory_order_acq_rel);
            for (int spin = 0; done.load(std::memory_order_acquire) < (step + 1) * parts; ++spin)
                if (spin < kSpins) relax();
                else std::this_thread::yield();
        }
    }
};

// The embedder's threads take part; what they leave undone, this thread does.
template <class Poll> void run_on_embedder(const ThreadPool& pool, Job& job, int64_t tasks, Poll& poll) {
    struct Shared {
        Job& job;
        Poll& poll;
        pthread_t caller;                             // who alone may look for signals
    } shared{job, poll, pthread_self()};
    const int participants = int(std::min<int64_t>(num_threads(), tasks));
    pool.run(pool.context, participants, [](void* p, int worker) {
        const auto& s = *static_cast<Shared*>(p);
        const bool before = std::exchange(in_task, true), here = pthread_equal(pthread_self(), s.caller);
        s.job.work(worker, [&] { return here && s.poll(); });
        in_task = before; }, &shared);
    in_task = true;
    job.work(0, poll);
    in_task = false;
}

}  // namespace

int num_threads() {
    State& s = state();
    if (s.wanted == 0) s.wanted = default_threads();
    return s.wanted;
}

void set_num_threads(int n) {
    LC_CHECK(n >= 1 && n <= kMaxThreads, ValueError, "set_num_threads: ", n, " is not from 1 to ", kMaxThreads);
    state().wanted = n;
}

void set_thread_pool(const ThreadPool* pool) {
    embedder = pool ? new ThreadPool(*pool) : nullptr;
    state().wanted = pool ? std::clamp(pool->threads, 1, kMaxThreads) : 0;
}

void detail::skip_tasks(bool on) noexcept { tasks_skipped = on; }

void set_long_call_hooks(LongCallHooks h) { hooks = h; }

void detail::run_tasks(int64_t tasks, int64_t work_ns, TaskFunction f, void* context) {
    if (tasks <= 0 || LC_UNLIKELY(tasks_skipped)) return;
    if (work_ns < kLongCall || in_task) {
        for (int64_t task = 0; task < tasks; ++task) f(context, task, 0);
        return;
    }

    LongCall call(work_ns >= kLongCall);
    auto poll = [&] { return call.interrupted(); };
    Job job(f, context, tasks, int(std::min<int64_t>(num_threads(), tasks)));
    if (const ThreadPool* pool = embedder; pool && tasks > 1 && num_threads() > 1) {
        run_on_embedder(*pool, job, tasks, poll);
        if (job.error) std::rethrow_exception(job.error);
        return;
    }
    State& s = state();
    std::unique_lock lock(s.busy, std::defer_lock);
    if (tasks > 1 && work_ns >= kParallelWork && num_threads() > 1 && lock.try_lock()) {
        if (!s.pool || s.pool->threads() != num_threads()) {
            if (s.pool) s.pool->retire();
            s.pool = new Pool(num_threads());
            s.wanted = s.pool->threads();
        }
        s.pool->run(job, poll);
    } else {                                          // another thread's job has the pool: do it alone
        in_task = true;
        job.work(0, poll);
        in_task = false;
    }
    if (job.error) std::rethrow_exception(job.error);
}

void detail::run_steps(int64_t steps, int parts, int64_t step_ns, StepFunction f, void* context) {
    const int threads = step_ns < kParallelStep ? 1 : std::min(num_threads(), parts);
    const int64_t together = std::max<int64_t>(1, kStepsTogether / (step_ns + 1));
    for (int64_t begin = 0; begin < steps; begin += together) {
        const int64_t end = std::min(begin + together, steps);
        Steps job(f, context, parts, begin, end);
        parallel_for(threads, (end - begin) * step_ns, [&](int64_t, int worker) { job.walk(worker % threads, threads); });
    }
}

}  // namespace lc
