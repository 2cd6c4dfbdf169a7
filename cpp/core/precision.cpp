#include "cpp/core/precision.h"
#include <atomic>
#include "cpp/core/plan.h"

namespace lc {
namespace {

std::atomic<MatmulPrecision> current{MatmulPrecision::highest};

}  // namespace

MatmulPrecision float32_matmul_precision() { return current.load(std::memory_order_relaxed); }
void set_float32_matmul_precision(MatmulPrecision p) {
    refuse_recording("set_float32_matmul_precision", "a replay keeps what it was recorded with; call it before the step");
    current = p;
}

}  // namespace lc
