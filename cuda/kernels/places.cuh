// Elements that go to places found at run time, where several may go to one: sorted by place, so that one thread writes
// each of them, in the order of the elements. And positions of a Grid, by value.
#pragma once
#include "cpp/ops/grid.h"
#include "cuda/kernels/radix_sort.cuh"

namespace lc::cuda {

// i becomes i / d, the rest is returned; 64-bit division takes ten times as long.
__device__ __forceinline__ int64_t split(int64_t& i, int64_t d) {
    if ((uint64_t(i) | uint64_t(d)) >> 32 == 0) {
        const uint32_t quotient = uint32_t(i) / uint32_t(d), rest = uint32_t(i) - quotient * uint32_t(d);
        i = quotient;
        return rest;
    }
    const int64_t quotient = i / d, rest = i - quotient * d;
    i = quotient;
    return rest;
}

__device__ __forceinline__ int64_t offset_of(const lc::Grid& grid, int64_t i) {
    int64_t at = 0;
    for (int k = grid.rank - 1; k > 0; --k) at += split(i, grid.size[k]) * grid.stride[k];
    return grid.rank > 0 ? at + i * grid.stride[0] : 0;
}

// order: the elements by their key, those of one key in their own order. keys: of the sorted ones.
class SortedPlaces {
public:
    // make(keys, order) fills both, `count` of each; keys are below `places`.
    template <class F> SortedPlaces(const char* name, int64_t count, int64_t places, F make) : work_(4 * count) {
        uint32_t* const keys[2] = {work_.data(), work_.data() + count};
        uint32_t* const order[2] = {work_.data() + 2 * count, work_.data() + 3 * count};
        make(keys[0], order[0]);
        const int at = radix_sort(name, keys, order, count, bits_of(places));
        this->keys = keys[at];
        this->order = order[at];
    }
    const uint32_t *keys, *order;

private:
    Scratch<uint32_t> work_;
};

inline void check_count(const char* name, int64_t count, int64_t places) {
    LC_CHECK(count < int64_t(1) << 31 && places < int64_t(1) << 31, ValueError, name, ": ", count, " elements for ", places, " places; on CUDA there may be 2^31 - 1 of each");
}

}  // namespace lc::cuda
