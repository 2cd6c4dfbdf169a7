// How the tensors of an optimizer's step become blocks: a pure function of their sizes.
#pragma once
#include <cstdint>
#include "cpp/core/macros.h"

namespace lc::cuda {

constexpr int kOptimThreads = 256;
constexpr int kOptimTensors = 48;                     // of a launch: what 4096 bytes of arguments hold
constexpr int64_t kOptimPiece = 4096;                 // elements of a block: four times four for each thread

constexpr int64_t optim_blocks(int64_t n) { return (n + kOptimPiece - 1) / kOptimPiece; }

}  // namespace lc::cuda
