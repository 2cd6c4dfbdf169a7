#include "cuda/core/tensor_map.h"
#include "cuda/core/runtime.h"
#ifndef LC_EMULATED
#include <cudaTypedefs.h>
#endif

#ifdef LC_EMULATED
namespace emulator {
bool encode_tensor_map(CUtensorMap* out, const void* base, int item, int rank, const uint64_t* size, const uint64_t* stride, const uint32_t* box, bool swizzle_128, bool tf32);
bool encode_pixels_map(CUtensorMap* out, const void* base, int item, const uint64_t* size, const uint64_t* stride, const int* lower, const int* upper, uint32_t channels,
                       uint32_t pixels, const uint32_t* step, bool swizzle_128);
}
#endif

namespace lc::cuda {

namespace {

#ifndef LC_EMULATED
// The driver's function by name, at the version that fixes its signature: nothing links libcuda.
template <class F> F drivers(const char* name) {
    void* p = nullptr;
    cudaDriverEntryPointQueryResult found = cudaDriverEntryPointSymbolNotFound;
    check(cudaGetDriverEntryPointByVersion(name, &p, 12000, cudaEnableDefault, &found), name);
    LC_CHECK(found == cudaDriverEntryPointSuccess, Error, "cuda: the driver has no ", name, "; version 525 or later is needed");
    return reinterpret_cast<F>(p);
}
CUtensorMapDataType type_of(DType t, bool tf32 = false) {
    if (t == DType::float32) return tf32 ? CU_TENSOR_MAP_DATA_TYPE_TFLOAT32 : CU_TENSOR_MAP_DATA_TYPE_FLOAT32;
    return t == DType::bfloat16 ? CU_TENSOR_MAP_DATA_TYPE_BFLOAT16 : CU_TENSOR_MAP_DATA_TYPE_FLOAT16;
}
#endif

// sizes from the innermost dimension on, strides from the next one on, in bytes
CUtensorMap encode(const void* base, DType dtype, int rank, const uint64_t* size, const uint64_t* stride, const uint32_t* box, bool tf32 = false) {
    CUtensorMap map;
#ifdef LC_EMULATED
    const bool done = emulator::encode_tensor_map(&map, base, int(item_size(dtype)), rank, size, stride, box, true, tf32);
#else
    static const auto encode_tiled = drivers<PFN_cuTensorMapEncodeTiled_v12000>("cuTensorMapEncodeTiled");
    const cuuint32_t step[4] = {1, 1, 1, 1};
    const bool done = encode_tiled(&map, type_of(dtype, tf32), cuuint32_t(rank), const_cast<void*>(base), size, stride, box, step, CU_TENSOR_MAP_INTERLEAVE_NONE,
                                   CU_TENSOR_MAP_SWIZZLE_128B, CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE) == CUDA_SUCCESS;
#endif
    LC_CHECK(done, Error, "cuda: no tensor map for ", size[1], " x ", size[0], " elements, ", stride[0], " bytes apart, at ", base);
    return map;
}

}  // namespace

CUtensorMap encode(const MatrixMap& m) {
    const uint64_t size[2] = {uint64_t(m.width), uint64_t(m.height)}, stride[1] = {uint64_t(m.stride) * item_size(m.dtype)};
    const uint32_t box[2] = {uint32_t(m.box_width), uint32_t(m.box_height)};
    return encode(m.base, m.dtype, 2, size, stride, box, m.tf32);
}

CUtensorMap encode_matrices(const MatricesMap& m) {
    uint64_t size[4], stride[3];
    for (int d = 0; d < 4; ++d) size[d] = uint64_t(m.size[d]);
    uint64_t dense = (size[0] * item_size(m.dtype) + 15) / 16 * 16;
    for (int d = 0; d < 3; ++d) {
        stride[d] = size[d + 1] > 1 ? uint64_t(m.stride[d + 1]) * item_size(m.dtype) : dense;         // a view's, of one, may be anything
        dense = stride[d] * size[d + 1];
    }
    const uint32_t box[4] = {uint32_t(m.box_width), uint32_t(m.box_height), 1, 1};
    return encode(m.base, m.dtype, 4, size, stride, box);
}

CUtensorMap encode_pixels(const PixelsMap& m) {
    constexpr int kChannels = 64;                     // the 128 bytes that are swizzled
    const uint64_t size[4] = {uint64_t(m.c), uint64_t(m.w), uint64_t(m.h), uint64_t(m.n)}, pixel = size[0] * item_size(m.dtype);
    const uint64_t stride[3] = {pixel, pixel * size[1], pixel * size[1] * size[2]};
    const int lower[2] = {m.lower_w, m.lower_h}, upper[2] = {m.upper_w, m.upper_h};
    CUtensorMap map;
#ifdef LC_EMULATED
    const uint32_t step[2] = {uint32_t(m.step_w), uint32_t(m.step_h)};
    const bool done = emulator::encode_pixels_map(&map, m.base, int(item_size(m.dtype)), size, stride, lower, upper, kChannels, uint32_t(m.pixels), step, true);
#else
    static const auto encode_im2col = drivers<PFN_cuTensorMapEncodeIm2col_v12000>("cuTensorMapEncodeIm2col");
    const cuuint32_t step[4] = {1, cuuint32_t(m.step_w), cuuint32_t(m.step_h), 1};
    const bool done = encode_im2col(&map, type_of(m.dtype), 4, const_cast<void*>(m.base), size, stride, lower, upper, kChannels, cuuint32_t(m.pixels), step,
                                    CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B, CU_TENSOR_MAP_L2_PROMOTION_L2_256B,
                                    CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE) == CUDA_SUCCESS;
#endif
    LC_CHECK(done, Error, "cuda: no tensor map for ", m.n, " images of ", m.h, " x ", m.w, " pixels of ", m.c, " channels at ", m.base);
    return map;
}

}  // namespace lc::cuda
