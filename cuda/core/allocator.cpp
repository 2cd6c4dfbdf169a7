// Device memory: cached by size class and stream, so that a steady step asks the driver for nothing.
//
// Work of one stream runs in order, so a block released on a stream is at once free for that stream's later work and for
// no other's. Poison and fail-at are those of the CPU's allocator (cpp/core/allocator.h).
#include <bit>
#include <map>
#include <mutex>
#include <vector>
#include "cpp/core/log.h"
#include "cuda/core/runtime.h"

namespace lc::memory {
LC_API void count_allocation(size_t bytes);           // of cpp/core/allocator.cpp: for fail_at
}

namespace lc::cuda {
namespace {

constexpr size_t kSmall = 512, kLarge = size_t(1) << 20;

// Steps of 512 bytes up to 1 MiB, then an eighth of the power of two below: at most an eighth is wasted.
size_t rounded(size_t bytes) {
    const size_t step = bytes <= kLarge ? kSmall : std::bit_floor(bytes) / 8;
    return bytes == 0 ? kSmall : (bytes + step - 1) / step * step;
}

struct Block {
    size_t capacity, requested;
    cudaStream_t stream;
};

class Heap {
public:
    void* allocate(size_t bytes, cudaStream_t stream) {
        LC_CHECK(bytes <= size_t(1) << 60, MemoryError, "cuda allocator: cannot get ", bytes, " bytes");
        const size_t capacity = rounded(bytes);
        void* p = nullptr;
        {
            const std::lock_guard lock(mutex_);
            ++stats_.allocations;
            auto& idle = idle_[{stream, capacity}];
            if (!idle.empty()) {
                p = idle.back();
                idle.pop_back();
            }
        }
        if (!p) p = ask(capacity, bytes);
        const std::lock_guard lock(mutex_);
        live_[p] = {capacity, bytes, stream};
        stats_.live_bytes += int64_t(bytes);
        ++stats_.live_blocks;
        stats_.peak_bytes = std::max(stats_.peak_bytes, stats_.live_bytes);
#ifdef LC_EMULATED
        emulator::disown(p, capacity);
        emulator::own(p, bytes);
#else
        if (lc::memory::poisoned()) check(cudaMemsetAsync(p, 0xFF, bytes, stream), "allocator");
#endif
        return p;
    }

    void release(void* p) noexcept {
        const std::lock_guard lock(mutex_);
        const auto found = live_.find(p);
        if (found == live_.end()) return;
        const Block b = found->second;
        live_.erase(found);
        stats_.live_bytes -= int64_t(b.requested);
        --stats_.live_blocks;
        idle_[{b.stream, b.capacity}].push_back(p);
#ifdef LC_EMULATED
        emulator::disown(p, b.capacity);
#endif
    }

    void empty_cache() {
        check(cudaDeviceSynchronize(), "empty_cache");       // a block may still be in use by work under way
        const std::lock_guard lock(mutex_);
        for (auto& [key, blocks] : idle_)
            for (void* p : blocks) {
                cudaFree(p);
                stats_.reserved_bytes -= int64_t(key.second);
            }
        idle_.clear();
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
    std::map<std::pair<cudaStream_t, size_t>, std::vector<void*>> idle_;
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
    if (p) heap(d).release(p);
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
