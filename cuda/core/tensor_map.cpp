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

CUtensorMap encode(const MatrixMap& m) {
    CUtensorMap map;
    const uint64_t size[2] = {uint64_t(m.width), uint64_t(m.height)}, stride[1] = {uint64_t(m.stride) * item_size(m.dtype)};
    const uint32_t box[2] = {uint32_t(m.box_width), uint32_t(m.box_height)};
#ifdef LC_EMULATED
    const bool done = emulator::encode_tensor_map(&map, m.base, int(item_size(m.dtype)), 2, size, stride, box, true);
#else
    // The driver's function by name, at the version that fixes its signature: nothing links libcuda.
    static const auto encode_tiled = [] {
        void* p = nullptr;
        cudaDriverEntryPointQueryResult found = cudaDriverEntryPointSymbolNotFound;
        check(cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &p, 12000, cudaEnableDefault, &found), "cuTensorMapEncodeTiled");
        LC_CHECK(found == cudaDriverEntryPointSuccess, Error, "cuda: the driver has no cuTensorMapEncodeTiled; version 525 or later is needed");
        return reinterpret_cast<PFN_cuTensorMapEncodeTiled_v12000>(p);
    }();
    const cuuint32_t step[2] = {1, 1};
    const bool done = encode_tiled(&map, m.dtype == DType::bfloat16 ? CU_TENSOR_MAP_DATA_TYPE_BFLOAT16 : CU_TENSOR_MAP_DATA_TYPE_FLOAT16, 2,
                                   const_cast<void*>(m.base), size, stride, box, step, CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B,
                                   CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE) == CUDA_SUCCESS;
#endif
    LC_CHECK(done, Error, "cuda: no tensor map for ", m.height, " x ", m.width, " elements, ", m.stride, " apart, at ", m.base);
    return map;
}

}  // namespace lc::cuda
