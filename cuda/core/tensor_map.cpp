#include "cuda/core/tensor_map.h"
#include "cuda/core/runtime.h"
#ifndef LC_EMULATED
#include <cudaTypedefs.h>
#endif

#ifdef LC_EMULATED
namespace emulator {
bool encode_tensor_map(CUtensorMap* out, const void* base, int item, int rank, const uint64_t* size, const uint64_t* stride, const uint32_t* box, bool swizzle_128);
}
#endif

namespace lc::cuda {

namespace {

// sizes from the innermost dimension on, strides from the next one on, in bytes
CUtensorMap encode(const void* base, DType dtype, int rank, const uint64_t* size, const uint64_t* stride, const uint32_t* box) {
    CUtensorMap map;
#ifdef LC_EMULATED
    const bool done = emulator::encode_tensor_map(&map, base, int(item_size(dtype)), rank, size, stride, box, true);
#else
    // The driver's function by name, at the version that fixes its signature: nothing links libcuda.
    static const auto encode_tiled = [] {
        void* p = nullptr;
        cudaDriverEntryPointQueryResult found = cudaDriverEntryPointSymbolNotFound;
        check(cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &p, 12000, cudaEnableDefault, &found), "cuTensorMapEncodeTiled");
        LC_CHECK(found == cudaDriverEntryPointSuccess, Error, "cuda: the driver has no cuTensorMapEncodeTiled; version 525 or later is needed");
        return reinterpret_cast<PFN_cuTensorMapEncodeTiled_v12000>(p);
    }();
    const cuuint32_t step[4] = {1, 1, 1, 1};
    const bool done = encode_tiled(&map, dtype == DType::bfloat16 ? CU_TENSOR_MAP_DATA_TYPE_BFLOAT16 : CU_TENSOR_MAP_DATA_TYPE_FLOAT16, cuuint32_t(rank),
                                   const_cast<void*>(base), size, stride, box, step, CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B,
                                   CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE) == CUDA_SUCCESS;
#endif
    LC_CHECK(done, Error, "cuda: no tensor map for ", size[1], " x ", size[0], " elements, ", stride[0], " bytes apart, at ", base);
    return map;
}

}  // namespace

CUtensorMap encode(const MatrixMap& m) {
    const uint64_t size[2] = {uint64_t(m.width), uint64_t(m.height)}, stride[1] = {uint64_t(m.stride) * item_size(m.dtype)};
    const uint32_t box[2] = {uint32_t(m.box_width), uint32_t(m.box_height)};
    return encode(m.base, m.dtype, 2, size, stride, box);
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

}  // namespace lc::cuda
