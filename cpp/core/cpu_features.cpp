#include "cpp/core/cpu_features.h"
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include "cpp/core/error.h"

namespace lc {
namespace {

#if defined(__x86_64__)
// What -mavx2 -mfma -mf16c of CMakeLists.txt let the compiler use.
[[maybe_unused]] bool has_avx2() {
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c");
}
#endif

bool supported(Isa i) {
    switch (i) {
#ifdef LC_HAVE_BASELINE
        case Isa::baseline: return true;
#endif
#if defined(__x86_64__) && defined(LC_HAVE_AVX2)
        case Isa::avx2: return has_avx2();
#endif
#if defined(__x86_64__) && defined(LC_HAVE_AVX512)
        case Isa::avx512:
            return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
#endif
#ifdef LC_HAVE_NEON
        case Isa::neon: return true;
#endif
        default: return false;
    }
}

constexpr Isa kAll[] = {Isa::avx512, Isa::avx2, Isa::neon, Isa::baseline};        // best first

Isa find(const std::string& wanted) {
    for (Isa i : kAll)
        if (supported(i) && wanted == name(i)) return i;
    std::string have;
    for (const std::string& n : available_isas()) have += (have.empty() ? "" : ", ") + n;
    throw ValueError(text("isa: '", wanted, "' is not available; this build on this machine has ", have));
}

Isa choose() {
    if (const char* wanted = std::getenv("LITTLECORE_ISA"); wanted && *wanted) {
        try {
            return find(wanted);
        } catch (const ValueError& e) {               // at load time: say it and go on
            std::fprintf(stderr, "littlecore: LITTLECORE_ISA: %s\n", e.what());
        }
    }
    for (Isa i : kAll)
        if (supported(i)) return i;
    std::fprintf(stderr, "littlecore: this build has no code for this processor\n");
    std::abort();
}

std::atomic<Isa>& current() {
    static std::atomic<Isa> isa{choose()};
    return isa;
}

}  // namespace

Isa isa() { return current().load(std::memory_order_relaxed); }
void set_isa(const std::string& wanted) { current() = find(wanted); }

const char* name(Isa i) {
    switch (i) {
        case Isa::baseline: return "baseline";
        case Isa::avx2: return "avx2";
        case Isa::avx512: return "avx512";
        default: return "neon";
    }
}

std::vector<std::string> available_isas() {
    std::vector<std::string> out;
    for (Isa i : kAll)
        if (supported(i)) out.emplace_back(name(i));
    return out;
}

}  // namespace lc
