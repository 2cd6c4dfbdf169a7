// The instruction sets the CPU kernels are compiled for, and the one in use.
#pragma once
#include <string>
#include <vector>
#include "cpp/core/macros.h"

namespace lc {

enum class Isa : int { baseline,
                       avx2,
                       avx512,
                       neon };

LC_API Isa isa();                                     // chosen once: the best the machine has, or LITTLECORE_ISA
LC_API void set_isa(const std::string& name);         // for tests; ValueError if not built or not on this machine
LC_API const char* name(Isa);
LC_API std::vector<std::string> available_isas();     // built in and supported here

}  // namespace lc
