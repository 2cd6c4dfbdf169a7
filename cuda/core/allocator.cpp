// Device memory: cached by size class and stream, so that a steady step asks the driver for nothing.
//
// Work of one stream runs in order, so a block released on a stream is at once free for that stream's later work and for
// no other's. Where another stream used it, too (record_stream), the block's own waits for that one's work first. A plan's
// blocks go to its region alone. Poison and fail-at are those of the CPU's allocator (cpp/core/allocator.h).
#include <bit>
#include <compare>
#include <map>
#include <mutex>
#include <utility>
#include <vector>
#include "cpp/core/cuda_graph.h"
#include "cpp/core/cuda_stream.h"
#include "cpp/core/log.h"
#include "cuda/core/runtime.h"

namespace lc::memory {
LC_API void count_allocation(size_t bytes);           // of cpp/core/allocator.cpp: for fail_at
}

namespace lc::cuda {

struct Region {
    bool used = false;
};

namespace {

thread_local Region* region_in_use = nullptr;

constexpr size_t kSmall = 512, kLarge = size_t(1) << 20;

// Steps of 512 bytes up to 1 MiB, then an eighth of the power of two below: at most an eighth is wasted.
size_t rounded(size_t bytes) {
    const size_t step = bytes <= kLarge ? kSmall : std::bit_floor(bytes) / 8;
    return bytes == 0 ? kSmall : (bytes + step - 1) / step * step;
}

// Another stream that uses a block; once the stream is gone, `done` stands behind all it did.
struct User {
    cudaStream_t stream;
    cudaEvent_t done;
    bool gone;
};
struct Block {
    size_t capacity, requested;
    cudaStream_t stream;
    Region* region;
    std::vector<User> users;
};

// Whose idle blocks, of which capacity.
struct Kind {
    Region* region;
    cudaStream_t stream;                              // null in a region
    size_t capacity;
    auto operator<=>(const Kind&) const = default;
};

// A default stream is the current device's.
class OnDevice {
public:
    explicit OnDevice(int device) {
        if (cudaGetDevice(&before_) != cudaSuccess) before_ = device;
        if (before_ != device) cudaSetDevice(device);
        else before_ = -1;
    }
    ~OnDevice() {
        if (before_ >= 0) cudaSetDevice(before_);
    }
    OnDevice(const OnDevice&) = delete;

private:
    int before_ = -1;
};

// What may throw is done when a stream is recorded: a release cannot fail.
void wait_for(User& u, cudaStream_t stream) {
    if (!u.gone) cudaEventRecord(u.done, u.stream);
    cudaStreamWaitEvent(stream, u.done, 0);
    cudaEventDestroy(u.done);
}

class Heap {
public:
    void* allocate(size_t bytes, cudaStream_t stream) {
        LC_CHECK(bytes <= size_t(1) << 60, MemoryError, "cuda allocator: cannot get ", bytes, " bytes");
        const size_t capacity = rounded(bytes);
        Region* const region = region_in_use;
        if (region) region->used = true;
        void* p = nullptr;
        {
            const std::lock_guard lock(mutex_);
            ++stats_.allocations;
            auto& idle = idle_[{region, region ? nullptr : stream, capacity}];
            if (!idle.empty()) {
                p = idle.back();
                idle.pop_back();
            }
        }
        if (!p) p = ask(capacity, bytes);
        const std::lock_guard lock(mutex_);
        live_[p] = {capacity, bytes, stream, region, {}};
        stats_.live_bytes += int64_t(bytes);
        ++stats_.live_blocks;
        stats_.peak_bytes = std::max(stats_.peak_bytes, stats_.live_bytes);
#ifdef LC_EMULATED
        emulator::disown(p, capacity, stream);
        emulator::own(p, region ? capacity : bytes, stream);         // replays use a plan's block at every size it had
#else
        if (lc::memory::poisoned()) check(cudaMemsetAsync(p, 0xFF, bytes, stream), "allocator");
#endif
        return p;
    }

    void release(void* p, int device) noexcept {
        const std::lock_guard lock(mutex_);
        const auto found = live_.find(p);
        if (found == live_.end()) return;
        Block& b = found->second;
        if (!b.users.empty()) {
            const OnDevice here(device);
            for (User& u : b.users) wait_for(u, b.stream);
        }
        stats_.live_bytes -= int64_t(b.requested);
        --stats_.live_blocks;
        idle_[{b.region, b.region ? nullptr : b.stream, b.capacity}].push_back(p);
#ifdef LC_EMULATED
        if (!b.region) emulator::disown(p, b.capacity, b.stream);
#endif
        live_.erase(found);
    }

    void record_stream(const void* p, cudaStream_t stream) {
        const std::lock_guard lock(mutex_);
        const auto found = live_.find(const_cast<void*>(p));
        if (found == live_.end() || found->second.stream == stream) return;      // not ours: its owner's business
        auto& users = found->second.users;
        for (const User& u : users)
            if (u.stream == stream && !u.gone) return;
        users.push_back({stream, nullptr, false});
        const cudaError_t e = cudaEventCreateWithFlags(&users.back().done, cudaEventDisableTiming);
        if (e != cudaSuccess) users.pop_back();
        check(e, "record_stream");
    }

    void forget_stream(cudaStream_t stream, int device) noexcept {
        const OnDevice here(device);
        const std::lock_guard lock(mutex_);
        cudaEvent_t done;
        for (auto& [p, b] : live_) {
            for (User& u : b.users)
                if (u.stream == stream && !u.gone) u.gone = cudaEventRecord(u.done, stream) == cudaSuccess;
            if (b.stream != stream || cudaEventCreateWithFlags(&done, cudaEventDisableTiming) != cudaSuccess) continue;
            cudaEventRecord(done, stream);
            b.stream = nullptr;
            b.users.push_back({stream, done, true});
        }
        bool idle = false;
        for (auto at = idle_.begin(); at != idle_.end();) {
            if (at->first.stream != stream) {
                ++at;
                continue;
            }
            idle = idle || !at->second.empty();
            auto& to = idle_[{nullptr, nullptr, at->first.capacity}];
            to.insert(to.end(), at->second.begin(), at->second.end());
            at = idle_.erase(at);
        }
        if (!idle || cudaEventCreateWithFlags(&done, cudaEventDisableTiming) != cudaSuccess) return;
        User last{stream, done, false};
        wait_for(last, nullptr);
    }

    Region* region_of(const void* p) {
        const std::lock_guard lock(mutex_);
        const auto found = live_.find(const_cast<void*>(p));
        return found == live_.end() ? nullptr : found->second.region;
    }

    // What is idle goes back to the driver, what lives on becomes a block like others.
    void drop(Region* region) noexcept {
        std::vector<void*> idle;
        bool any = false;
        {
            const std::lock_guard lock(mutex_);
            for (auto& [p, b] : live_)
                if (b.region == region) b.region = nullptr, any = true;
            for (auto at = idle_.begin(); at != idle_.end();) {
                if (at->first.region != region) {
                    ++at;
                    continue;
                }
                idle.insert(idle.end(), at->second.begin(), at->second.end());
                stats_.reserved_bytes -= int64_t(at->first.capacity * at->second.size());
                at = idle_.erase(at);
            }
        }
        if (any || !idle.empty()) cudaDeviceSynchronize();           // replays may be under way, on any stream
        for (void* p : idle) cudaFree(p);
    }

    void empty_cache() {
        check(cudaDeviceSynchronize(), "empty_cache");       // a block may still be in use by work under way
        const std::lock_guard lock(mutex_);
        for (auto at = idle_.begin(); at != idle_.end();) {
            if (at->first.region) {                   // replays use them still
                ++at;
                continue;
            }
            for (void* p : at->second) {
                cudaFree(p);
                stats_.reserved_bytes -= int64_t(at->first.capacity);
            }
            at = idle_.erase(at);
        }
    }

    MemoryStats stats() {
        const std::lock_guard lock(mutex_);
        return stats_;
    }
    void reset_peak() {
        const std::lock_guard lock(mutex_);
        stats_.peak_bytes = stats_.live_bytes;
    }

private:
    void* ask(size_t capacity, size_t bytes) {
        void* p = nullptr;
        cudaError_t e = cudaMalloc(&p, capacity);
        if (e == cudaErrorMemoryAllocation) {         // give back what nobody uses, and ask once more
            cudaGetLastError();
            empty_cache();
            e = cudaMalloc(&p, capacity);
        }
        if (e == cudaErrorMemoryAllocation) {
            cudaGetLastError();
            const MemoryStats s = stats();
            throw MemoryError(text("cuda allocator: cannot get ", bytes, " bytes; ", s.live_bytes, " bytes in ", s.live_blocks, " blocks are in use, ", s.reserved_bytes, " are held"));
        }
        check(e, "cuda allocator");
        const std::lock_guard lock(mutex_);
        stats_.reserved_bytes += int64_t(capacity);
        ++stats_.system_allocations;
        return p;
    }

    std::mutex mutex_;
    std::map<Kind, std::vector<void*>> idle_;
    std::map<void*, Block> live_;
    MemoryStats stats_{};
};

// One per device, never destroyed: tensors may outlive static destruction.
Heap& heap(Device d) {
    static auto* heaps = new std::vector<Heap>(size_t(std::max(device_count(), 1)));
    LC_CHECK(d.index >= 0 && d.index < device_count(), ValueError, "cuda: there is no device ", int(d.index), "; ",
             is_available() ? text("devices: 0 to ", device_count() - 1) : why_not());
    return (*heaps)[size_t(d.index)];
}

}  // namespace

void* allocate(size_t bytes, Device d) {
    LC_CHECK(is_available(), Error, "cuda: ", why_not());
    lc::memory::count_allocation(bytes);
    use(d);
    return heap(d).allocate(bytes, stream_in_use());
}
void release(void* p, Device d) noexcept {
    if (p) heap(d).release(p, d.index);
}

void record_stream(const void* data, Device d, Stream stream) {
    use(d);
    heap(d).record_stream(data, static_cast<cudaStream_t>(stream));
}
void forget_stream(Device d, cudaStream_t stream) noexcept {
    heap(d).forget_stream(stream, d.index);
}

Region* new_region() { return new Region; }
Region* use_region(Region* r) noexcept { return std::exchange(region_in_use, r); }
Region* region_of(const void* data, Device d) { return heap(d).region_of(data); }
void drop_region(Region* r) noexcept {
    if (r->used)
        for (int i = 0; i < device_count(); ++i) heap({Device::Type::cuda, int8_t(i)}).drop(r);
    delete r;
}

namespace memory {
MemoryStats stats(Device d) { return heap(d).stats(); }
void reset_peak(Device d) { heap(d).reset_peak(); }
void empty_cache(Device d) {
    use(d);
    heap(d).empty_cache();
}
}  // namespace memory

}  // namespace lc::cuda
