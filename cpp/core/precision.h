// What products of float32 may be computed in on CUDA: asked by the kernels, set by whoever prefers speed; one for all threads.
#pragma once
#include <cstdint>
#include "cpp/core/macros.h"

namespace lc {

enum class MatmulPrecision : uint8_t { highest,           // float32
                                       high,              // operands rounded to tf32, 10 bits of mantissa; sums in float32
                                       medium };          // the same: there is no kernel of less

LC_API MatmulPrecision float32_matmul_precision();
LC_API void set_float32_matmul_precision(MatmulPrecision);    // not while a step is recorded: replays would not set it

}  // namespace lc
