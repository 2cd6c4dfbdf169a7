// The end of every path of the tape: adds the gradient that arrives to a leaf's grad.
#pragma once
#include "cpp/autograd/node.h"

namespace lc {

class Accumulate final : public Node {
public:
    explicit Accumulate(const Tensor& leaf) : Node("accumulate"), leaf_(leaf.impl()) {}
    Tensors backward(const Grads& dy) override;
    void forget() { leaf_ = nullptr; }

private:
    TensorImpl* leaf_;                                // not owned: the leaf owns this node
};

Ref<Node> accumulator_of(const Tensor& leaf);

}  // namespace lc
