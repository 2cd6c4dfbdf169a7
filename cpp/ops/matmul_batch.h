// A product of batches of matrices on plain memory.
#pragma once
#include "cpp/ops/matmul.h"

namespace lc::detail {

// Element (i, j) of entry e: data + offset(e) + i * row + j * col. A vector is a matrix with one row or column.
struct Operand {
    const void* data;
    Dims batch, strides;                              // leading axes, broadcast to the common ones
    int64_t rows, cols, row, col;
};

// y, contiguous [batch..., m, n] and not empty, = a b. Without checks or history.
LC_API void multiply_batched(DType dtype, const Operand& a, const Operand& b, const Dims& batch, void* y, Device device = {});

}  // namespace lc::detail
