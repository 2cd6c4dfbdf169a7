// What an emulated CUtensorMap holds.
#pragma once
#include <cstdint>

namespace emulator {

constexpr uint64_t kTensorMapMagic = 0x70616d726f736e74;

struct TensorMap {
    uint64_t magic;
    const void* base;
    uint32_t item;                                    // bytes
    int16_t rank;
    int16_t swizzle_128;
    uint64_t stride[5];                               // bytes; stride[0] is item
    uint32_t size[5], box[5];
    // Of pixels (im2col): box is {channels, pixels, 1, 1}; the corners and steps of w, h that the first pixel of windows walks.
    int16_t pixels, lower[2], upper[2];
    uint8_t step[2];
    bool tf32;                                        // floats are rounded as they are loaded

    uint32_t box_bytes() const {
        uint32_t n = item;
        for (int d = 0; d < rank; ++d) n *= box[d];
        return n;
    }
};
static_assert(sizeof(TensorMap) <= 128);

}  // namespace emulator
