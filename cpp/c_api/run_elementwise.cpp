// gelu, relu and the like and AdamW's step on the memory of a call.
#include <cmath>
#include "cpp/c_api/run.h"
#include "cpp/core/allocator.h"
#include "cpp/ops/optim_step.h"
#include "cpp/ops/unary.h"

namespace lc::c_api {
namespace {

template <int N> Strided<N> dense(int64_t numel) {
    Strided<N> s;
    s.numel = s.size[0] = numel;
    s.rank = 1;
    for (int i = 0; i < N; ++i) s.stride[i][0] = 1;
    return s;
}

void forward(const Call& c, UnaryOp op) {
    const int64_t n = c[0].numel();
    if (n == 0) return;
    visit_float_storage(c.dtype, c.name(), [&]<class T>() { cpu::unary_forward<T>({op, 0, 0, c[0].at<T>(), c[1].at<T>(), dense<2>(n)}); });
}

void backward(const Call& c, UnaryOp op) {
    const int64_t n = c[0].numel();
    if (n == 0) return;
    visit_float_storage(c.dtype, c.name(), [&]<class T>() { cpu::unary_backward<T>({op, 0, 0, c[0].at<T>(), c[1].at<T>(), c[2].at<T>(), dense<3>(n)}); });
}

}  // namespace

void gelu_forward(const Call& c) { forward(c, c.integer(0) ? UnaryOp::gelu_tanh : UnaryOp::gelu); }
void gelu_backward(const Call& c) { backward(c, c.integer(0) ? UnaryOp::gelu_tanh : UnaryOp::gelu); }
void relu_forward(const Call& c) { forward(c, UnaryOp::relu); }
void relu_backward(const Call& c) { backward(c, UnaryOp::relu); }
void silu_forward(const Call& c) { forward(c, UnaryOp::silu); }
void silu_backward(const Call& c) { backward(c, UnaryOp::silu); }
void sigmoid_forward(const Call& c) { forward(c, UnaryOp::sigmoid); }
void sigmoid_backward(const Call& c) { backward(c, UnaryOp::sigmoid); }
void tanh_forward(const Call& c) { forward(c, UnaryOp::tanh); }
void tanh_backward(const Call& c) { backward(c, UnaryOp::tanh); }

void adamw_step(const Call& c) {
    const double lr = c.real(0), beta1 = c.real(2), beta2 = c.real(3), eps = c.real(4), decay = c.real(5);
    const int64_t step = c.integer(1), n = c[0].numel(), chunk = 1 << 14, chunks = (n + chunk - 1) / chunk;
    LC_CHECK(step >= 1, ValueError, c.name(), ": step counts from 1, is ", step);
    LC_CHECK(beta1 >= 0 && beta1 < 1 && beta2 >= 0 && beta2 < 1, ValueError, c.name(), ": beta1 and beta2 must lie in [0, 1), are ", beta1, " and ", beta2);
    if (n == 0) return;
    visit_float_storage(c.dtype, c.name(), [&]<class T>() {
        using A = acc_t<T>;
        const A scale = A(lr / (1 - std::pow(beta1, double(step)))), shrink = A(std::sqrt(1 - std::pow(beta2, double(step))));
        const Buffer<OptimChunk<T>> list(chunks);
        for (int64_t i = 0; i < chunks; ++i) {
            const int64_t at = i * chunk, count = n - at < chunk ? n - at : chunk;
            list[i] = {c[0].at<T>() + at, c[1].at<T>() + at, nullptr, {c[2].at<A>() + at, c[3].at<A>() + at, c[4].given ? c[4].at<A>() + at : nullptr}, count, scale, shrink};
        }
        cpu::adam_step<T>({{list.data(), chunks, n}, A(lr), A(1 - beta1), A(beta2), A(1 - beta2), A(eps), A(decay), true, false});
    });
}

}  // namespace lc::c_api
