// LITTLECORE_EXACT=1: no kernel that trades accuracy for speed within a published bound. Winograd's convolution, tf32.
#pragma once
#include "cpp/core/macros.h"

namespace lc {

LC_API bool exact();
LC_API void set_exact(bool on);                       // for tests

}  // namespace lc
