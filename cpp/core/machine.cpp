#include "cpp/core/machine.h"
#include <algorithm>
#include <chrono>
#include <cstring>
#include <vector>
#include "cpp/core/allocator.h"
#include "cpp/core/error.h"
#include "cpp/core/parallel.h"

namespace lc {
namespace {

constexpr int64_t kLong = 1'000'000'000;              // work_ns that makes the pool use all its threads

template <class F> double seconds(F&& f) {
    const auto begin = std::chrono::steady_clock::now();
    f();
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

// The best of a few runs: a limit is what the machine does when nothing else disturbs it.
template <class F> double best_seconds(F&& f) {
    double best = seconds(f);
    for (int i = 0; i < 9; ++i) best = std::min(best, seconds(f));
    return best;
}

}  // namespace

double fma_peak() {
    const int threads = num_threads();
    constexpr int64_t rounds = 2'000'000;             // 10 ms at 2.8 GHz
    const int lanes = isa() == Isa::avx512 ? 16 : isa() == Isa::avx2 ? 8
                                                                     : 4;
    const double spent = best_seconds([&] {
        parallel_for(threads, kLong, [&](int64_t, int) {
            float sum = 0.25f;                        // the chains converge: no overflow, no denormals
            cpu::fma_chains<float>({rounds, &sum});
        });
    });
    return 2.0 * lanes * kFmaChains * double(rounds) * threads / spent * 1e-9;
}

double copy_bandwidth(size_t working_set) {
    LC_CHECK(working_set >= 4096, ValueError, "copy_bandwidth: working_set is ", working_set, " bytes, at least 4096 needed");
    const int threads = num_threads();
    const size_t share = working_set / 2 / size_t(threads);
    const int repeats = int(std::max<size_t>(1, (size_t(32) << 20) / working_set));   // 32 MB: ms even in the first cache
    Buffer<char> from{int64_t(share) * threads}, to{int64_t(share) * threads};
    std::memset(from.data(), 1, share * size_t(threads));
    std::memset(to.data(), 1, share * size_t(threads));
    void* (*volatile copy)(void*, const void*, size_t) = std::memcpy;                 // every copy is really made
    const double spent = best_seconds([&] {
        parallel_for(threads, kLong, [&](int64_t task, int) {
            for (int i = 0; i < repeats; ++i) copy(to.data() + task * int64_t(share), from.data() + task * int64_t(share), share);
        });
    });
    return 2.0 * double(share) * threads * repeats / spent * 1e-9;
}

// GB/s of a pass over x, and over y where it is written too.
static double stream_bandwidth(size_t working_set, bool write) {
    LC_CHECK(working_set >= 4096, ValueError, "bandwidth: working_set is ", working_set, " bytes, at least 4096 needed");
    const int threads = num_threads();
    const int64_t share = int64_t(working_set) / (write ? 2 : 1) / threads / 1024 * 256;   // floats, whole kilobytes
    const int repeats = int(std::max<size_t>(1, (size_t(32) << 20) / working_set));
    Buffer<float> x{share * threads}, y{write ? share * threads : 0};
    std::memset(x.data(), 0, size_t(share * threads) * sizeof(float));
    if (write) std::memset(y.data(), 0, size_t(share * threads) * sizeof(float));
    const double spent = best_seconds([&] {
        parallel_for(threads, kLong, [&](int64_t task, int) {
            float sum = 0;
            for (int i = 0; i < repeats; ++i)
                cpu::stream<float>({x.data() + task * share, write ? y.data() + task * share : nullptr, share, &sum});
        });
    });
    return (write ? 3.0 : 1.0) * sizeof(float) * double(share) * threads * repeats / spent * 1e-9;
}

double read_bandwidth(size_t working_set) { return stream_bandwidth(working_set, false); }
double update_bandwidth(size_t working_set) { return stream_bandwidth(working_set, true); }

}  // namespace lc
