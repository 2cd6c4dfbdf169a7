// Optimizer steps, gradient norms, and what nn needs of a parameter's identity.
#include "cpp/bindings/bind.h"
#include "cpp/ops/optim_step.h"

namespace lc::python {

void bind_nn(Module& m) {
    m.internal("sgd_step", [](const Tensors& params, const Tensors& masters, const Tensor& steps, const Tensors& momentum_buffers, double lr, double momentum, double dampening, double weight_decay, bool nesterov, bool maximize) { return sgd_step({params, masters, steps}, momentum_buffers, {lr, momentum, dampening, weight_decay, nesterov, maximize}); }, "params"_a, "masters"_a, "steps"_a, "momentum_buffers"_a, "lr"_a, "momentum"_a, "dampening"_a, "weight_decay"_a, "nesterov"_a, "maximize"_a, "One SGD step on every parameter that has a gradient; False, and nothing done, if one of them lacks its state.");

    m.internal("adam_step", [](const Tensors& params, const Tensors& masters, const Tensor& steps, const Tensors& exp_avgs, const Tensors& exp_avg_sqs, const Tensors& max_exp_avg_sqs, double lr, double beta1, double beta2, double eps, double weight_decay, bool amsgrad, bool decoupled, bool maximize) { return adam_step({params, masters, steps}, exp_avgs, exp_avg_sqs, max_exp_avg_sqs,
                                                                                                                                                                                                                                                                                                                                {lr, beta1, beta2, eps, weight_decay, amsgrad, decoupled, maximize}); }, "params"_a, "masters"_a, "steps"_a, "exp_avgs"_a, "exp_avg_sqs"_a, "max_exp_avg_sqs"_a, "lr"_a, "beta1"_a, "beta2"_a, "eps"_a, "weight_decay"_a, "amsgrad"_a, "decoupled"_a, "maximize"_a, "One Adam (decoupled: AdamW) step; see sgd_step.");

    m.internal("rmsprop_step", [](const Tensors& params, const Tensors& masters, const Tensor& steps, const Tensors& square_avgs, const Tensors& momentum_buffers, const Tensors& grad_avgs, double lr, double alpha, double eps, double weight_decay, double momentum, bool centered, bool maximize) { return rmsprop_step({params, masters, steps}, square_avgs, momentum_buffers, grad_avgs,
                                                                                                                                                                                                                                                                                                                            {lr, alpha, eps, weight_decay, momentum, centered, maximize}); }, "params"_a, "masters"_a, "steps"_a, "square_avgs"_a, "momentum_buffers"_a, "grad_avgs"_a, "lr"_a, "alpha"_a, "eps"_a, "weight_decay"_a, "momentum"_a, "centered"_a, "maximize"_a, "One RMSprop step; see sgd_step.");

    m.internal("total_norm", &total_norm, "tensors"_a, "order"_a = 2.0, "The norm (1, 2 or infinity) of all tensors as if they were one vector.");
    m.internal("clip_by_norm_", &clip_by_norm_, "tensors"_a, "norm"_a, "max_norm"_a, "Scales all tensors by min(1, max_norm / (norm + 1e-6)), in place.");

    m.internal("replace_data", [](const Tensor& x, const Tensor& data) {
        LC_CHECK(x && data && x.is_leaf(), ValueError, "replace_data: needs a leaf and a tensor");
        refuse_recording("replace_data", "the memory of a leaf changes");
        structure_changed();
        const bool keep_grad = x.grad() && x.grad().dtype() == data.dtype() && x.sizes() == data.sizes();
        if (!keep_grad) x.set_grad({});
        TensorImpl& to = *x.impl();
        const TensorImpl& from = *data.impl();
        to.storage = from.storage;
        to.offset = from.offset;
        to.dtype = from.dtype;
        to.sizes = from.sizes;
        to.strides = from.strides;
        to.numel = from.numel;
        to.contiguous = from.contiguous; }, "x"_a, "data"_a, "Makes the leaf x show the memory of data, whatever its shape and dtype; a gradient that no longer fits is dropped.");
}

}  // namespace lc::python
