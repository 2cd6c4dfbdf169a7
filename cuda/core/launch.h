// launch(name, kernel, grid, arguments...): on the current stream, checked. name is the op's, for messages.
#pragma once
#include <mutex>
#include "cuda/core/runtime.h"

namespace lc::cuda {

constexpr int64_t div_up(int64_t n, int64_t d) { return (n + d - 1) / d; }

struct Grid {
    dim3 blocks, threads;
    int shared_bytes = 0;
    int cluster = 1;                                  // blocks along x that run together
};

// A thread for each of n elements.
inline Grid thread_each(int64_t n, int threads) { return {dim3(unsigned(div_up(n, threads))), dim3(unsigned(threads))}; }

template <class... P, class... A> void launch(const char* name, void (*kernel)(P...), const Grid& g, A&&... arguments) {
    if (g.shared_bytes > 48 << 10) check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, g.shared_bytes), name);
    cudaLaunchConfig_t c{};
    c.gridDim = g.blocks;
    c.blockDim = g.threads;
    c.dynamicSmemBytes = size_t(g.shared_bytes);
    c.stream = stream_in_use();
    cudaLaunchAttribute together;
    if (g.cluster > 1) {
        together.id = cudaLaunchAttributeClusterDimension;
        together.val.clusterDim = {unsigned(g.cluster), 1, 1};
        c.attrs = &together;
        c.numAttrs = 1;
    }
#ifdef LC_EMULATED
    emulator::name_launch(name);
#endif
    check(cudaLaunchKernelEx(&c, kernel, std::forward<A>(arguments)...), name);
    if (LC_UNLIKELY(synchronous())) check(cudaStreamSynchronize(c.stream), name);
}

}  // namespace lc::cuda
