// einsum: sums of products named by subscripts, as NumPy and PyTorch write them.
//
//   einsum("bij,bjk->bik", {a, b})    explicit output        einsum("ij,jk", {a, b})    output: letters used once, sorted
//   "..." stands for axes without a name, broadcast together; a letter twice in one operand takes a diagonal
//
// Composed: operands are contracted from left to right, each pair by one batched matrix product (letters of both kept:
// batch; summed: inner; of one alone: rows or columns). Letters that no later operand and not the output needs are
// summed as soon as possible. Gradients are those of the parts.
#pragma once
#include <string>
#include "cpp/core/tensor.h"

namespace lc {

LC_API Tensor einsum(const std::string& equation, const Tensors& operands);

}  // namespace lc
