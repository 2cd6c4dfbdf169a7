// Mixed precision: within a region, each op on CUDA computes in a 16-bit type or in float32, as its line in the bindings
// says (cpp/bindings/autocast.h). A parameter is converted once for all its uses; its gradient returns in its own type.
#pragma once
#include <optional>
#include "cpp/core/tensor.h"

namespace lc::autocast {

LC_API std::optional<DType> dtype();                  // the 16-bit type of this thread's region, none outside of one
LC_API void set_dtype(std::optional<DType>);          // none forgets the converted parameters
LC_API void forget();                                 // so that what is recorded and what is not share no conversion

// x on CUDA in another type; x itself where it is elsewhere, no such float, or has the type already.
LC_API Tensor lowered(const Tensor& x);               // float32 or 16 bits -> dtype()
LC_API Tensor raised(const Tensor& x);                // 16 bits -> float32

}  // namespace lc::autocast
