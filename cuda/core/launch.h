// launch(name, kernel, grid, arguments...): on the current stream, checked. name is the op's, for messages.
#pragma once
#include <array>
#include <tuple>
#include "cuda/core/runtime.h"

namespace lc::cuda {

constexpr int64_t div_up(int64_t n, int64_t d) { return (n + d - 1) / d; }

// Blocks of a grid, counted in full: what CUDA does not take is an error of the launch, not another number.
struct Blocks {
    int64_t x = 1, y = 1, z = 1;
    Blocks() = default;
    explicit Blocks(int64_t x, int64_t y = 1, int64_t z = 1) : x(x), y(y), z(z) {}
    Blocks(const dim3& d) : x(d.x), y(d.y), z(d.z) {}
};

struct Grid {
    Blocks blocks;
    dim3 threads;
    int shared_bytes = 0;
    int cluster = 1;                                  // blocks along x that run together
};

// A thread for each of n elements.
inline Grid thread_each(int64_t n, int threads) { return {Blocks(div_up(n, threads)), dim3(unsigned(threads))}; }

// A kernel and where the values of its arguments stand.
struct Launch {
    const char* name = nullptr;
    const void* kernel = nullptr;
    Grid grid;
    void* const* values = nullptr;
    const size_t* sizes = nullptr;
    size_t count = 0;
};
void launch(const Launch&);

template <class... P, class... A> void launch(const char* name, void (*kernel)(P...), const Grid& g, A&&... arguments) {
    std::tuple<P...> values(std::forward<A>(arguments)...);
    constexpr std::array<size_t, sizeof...(P)> sizes{sizeof(P)...};
    std::apply(
        [&](P&... value) {
            void* const places[] = {static_cast<void*>(&value)...};
#ifdef LC_EMULATED
            emulator::introduce(kernel);
#endif
            launch({name, reinterpret_cast<const void*>(kernel), g, places, sizes.data(), sizeof...(P)});
        },
        values);
}

}  // namespace lc::cuda
