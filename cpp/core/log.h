// LITTLECORE_LOG=1 explains itself on stderr: which kernel ran, its tile, and why.
#pragma once
#include <string>
#include "cpp/core/macros.h"

namespace lc {

LC_API bool log_enabled();
LC_API void log(const std::string& line);

}  // namespace lc
