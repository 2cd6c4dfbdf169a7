// Tensor maps: what the copy engine of sm_90 knows of a matrix and of the boxes of it that it moves.
#pragma once
#include <cuda_runtime.h>
#ifndef LC_EMULATED
#include <cuda.h>
#endif
#include "cpp/core/dtype.h"

namespace lc::cuda {

struct MatrixMap {
    const void* base;                                 // a multiple of 16
    DType dtype;                                      // bfloat16, float16 or float32
    int64_t width, height, stride;                    // elements; stride a multiple of 16 bytes
    int box_width, box_height;                        // box_width: the 128 bytes that are swizzled
    bool tf32 = false;                                // float32 is rounded to tf32 as it is loaded, halves to even
};
CUtensorMap encode(const MatrixMap& m);               // Error where the driver refuses

// Matrices in two more dimensions, each clipped on its own: a box is of one of them.
struct MatricesMap {
    const void* base;
    DType dtype;
    int64_t size[4], stride[4];                       // elements, innermost first; stride[0] is 1, the others as above
    int box_width, box_height;
};
CUtensorMap encode_matrices(const MatricesMap& m);

// Images with adjacent channels, [n, h, w, c], read by lines of pixels (im2col): every step-th one between lower and the
// image's end + upper, line after line and image after image, all moved by an offset that each load names.
struct PixelsMap {
    const void* base;
    DType dtype;
    int64_t n, h, w, c;                               // c a multiple of 16 bytes
    int lower_h, lower_w, upper_h, upper_w;           // -128 to 127
    int step_h, step_w;                               // 1 to 8
    int pixels;                                       // of a load, each of 64 channels
};
CUtensorMap encode_pixels(const PixelsMap& m);

}  // namespace lc::cuda
