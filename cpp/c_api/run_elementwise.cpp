// gelu, relu and the like, dropout, and the optimizers' steps on the memory of a call.
#include <algorithm>
#include <cmath>
#include <cstring>
#include "cpp/c_api/run.h"
#include "cpp/ops/dropout.h"
#include "cpp/ops/optim_step.h"
#include "cpp/ops/unary.h"

namespace lc::c_api {
namespace {

constexpr int64_t kChunk = 1 << 14;                   // of a parameter, for the CPU's threads; CUDA takes it whole

void forward(const Call& c, UnaryOp op, double p = 0, double q = 0) {
    const int64_t n = c[0].numel();
    if (n == 0) return;
    visit_float_storage(c.dtype, c.name(), [&]<class T>() { on::unary_forward<T>(c.device, {op, p, q, c[0].at<T>(), c[1].at<T>(), dense<2>(n)}); });
}

void backward(const Call& c, UnaryOp op, double p = 0, double q = 0) {
    const int64_t n = c[0].numel();
    if (n == 0) return;
    visit_float_storage(c.dtype, c.name(), [&]<class T>() { on::unary_backward<T>(c.device, {op, p, q, c[0].at<T>(), c[1].at<T>(), c[2].at<T>(), dense<3>(n)}); });
}

// y = x z in either direction.
void drop(const Call& c) {
    const View &x = c[0], &key = c[1], &y = c[2];
    const double p = c.real(0);
    LC_CHECK(p >= 0 && p <= 1, ValueError, c.name(), ": p must lie in [0, 1], is ", p);
    LC_CHECK(key.numel() == 2, ValueError, c.name(), ": key has shape ", key.shape, ", needs [2]: a seed and an offset");
    if (x.numel() == 0) return;
    if (p == 1) return zero(c, y.data, size_t(y.numel()) * item_size(c.dtype));   // no word reaches 2^32
    uint64_t seed[2];
    if (c.device.is_cpu()) std::memcpy(seed, key.data, sizeof seed);
    else cuda::copy(seed, {}, key.data, c.device, sizeof seed);        // the host waits: it counts the words
    const RandomKey words{seed[0], seed[1]};
    visit_float_storage(c.dtype, "dropout", [&]<class T>() {
        on::dropout_forward<T>(c.device, {words, uint32_t(p * 0x1p32), 1 / (1 - p), x.at<T>(), y.at<T>(), x.numel()});
    });
}

// The stretches of p, g and up to three states that the threads share out.
template <class T, int N> void fill(const Buffer<OptimChunk<T>>& list, int64_t chunks, int64_t size, const View& p, const View& g, const View (&states)[N], double scale, double shrink) {
    using A = acc_t<T>;
    for (int64_t i = 0; i < chunks; ++i) {
        const int64_t at = i * size, left = p.numel() - at;
        list[i] = {p.at<T>() + at, g.at<T>() + at, nullptr, {}, std::min(left, size), A(scale), A(shrink)};
        for (int k = 0; k < N; ++k) list[i].state[k] = states[k].given ? states[k].template at<A>() + at : nullptr;
    }
}

int64_t chunk_size(const Call& c) { return c.device.is_cpu() ? kChunk : c[0].numel(); }

void check_step(const Call& c, int64_t step) { LC_CHECK(step >= 1, ValueError, c.name(), ": step counts from 1, is ", step); }

void adam(const Call& c, bool decoupled) {
    const double lr = c.real(0), beta1 = c.real(2), beta2 = c.real(3), eps = c.real(4), decay = c.real(5);
    const int64_t step = c.integer(1), n = c[0].numel(), size = chunk_size(c);
    check_step(c, step);
    LC_CHECK(beta1 >= 0 && beta1 < 1 && beta2 >= 0 && beta2 < 1, ValueError, c.name(), ": beta1 and beta2 must lie in [0, 1), are ", beta1, " and ", beta2);
    if (n == 0) return;
    const double s = std::sqrt(1 - std::pow(beta2, double(step)));
    visit_float_storage(c.dtype, c.name(), [&]<class T>() {
        using A = acc_t<T>;
        const int64_t chunks = (n + size - 1) / size;
        const Buffer<OptimChunk<T>> list(chunks);
        fill(list, chunks, size, c[0], c[1], {c[2], c[3], c[4]}, lr * s / (1 - std::pow(beta1, double(step))), eps * s);
        on::adam_step<T>(c.device, {{list.data(), chunks, n}, A(lr), A(1 - beta1), A(beta2), A(1 - beta2), A(decay), decoupled, false});
    });
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

void leaky_relu_forward(const Call& c) { forward(c, UnaryOp::leaky_relu, c.real(0)); }
void leaky_relu_backward(const Call& c) { backward(c, UnaryOp::leaky_relu, c.real(0)); }
void elu_forward(const Call& c) { forward(c, UnaryOp::elu, c.real(0)); }
void elu_backward(const Call& c) { backward(c, UnaryOp::elu, c.real(0)); }
void softplus_forward(const Call& c) { forward(c, UnaryOp::softplus, c.real(0), c.real(1)); }
void softplus_backward(const Call& c) { backward(c, UnaryOp::softplus, c.real(0), c.real(1)); }

void dropout_forward(const Call& c) { drop(c); }
void dropout_backward(const Call& c) { drop(c); }

void adamw_step(const Call& c) { adam(c, true); }
void adam_step(const Call& c) { adam(c, false); }

void sgd_step(const Call& c) {
    const double lr = c.real(0), momentum = c.real(2), dampening = c.real(3), decay = c.real(4);
    const int64_t step = c.integer(1), n = c[0].numel(), size = chunk_size(c);
    const bool nesterov = c.integer(5) != 0;
    check_step(c, step);
    LC_CHECK(momentum >= 0 && c[2].given == (momentum != 0), ValueError, c.name(), ": b is needed with momentum, and only then; momentum is ", momentum);
    LC_CHECK(!nesterov || (momentum > 0 && dampening == 0), ValueError, c.name(), ": nesterov needs momentum and no dampening");
    if (n == 0) return;
    visit_float_storage(c.dtype, c.name(), [&]<class T>() {
        using A = acc_t<T>;
        if (step == 1 && c[2].given) zero(c, c[2].data, size_t(n) * sizeof(A));         // whatever it held: b = g
        const int64_t chunks = (n + size - 1) / size;
        const Buffer<OptimChunk<T>> list(chunks);
        fill(list, chunks, size, c[0], c[1], {c[2]}, momentum, step == 1 ? 1 : 1 - dampening);
        on::sgd_step<T>(c.device, {{list.data(), chunks, n}, A(lr), A(momentum), A(decay), nesterov, false});
    });
}

void rmsprop_step(const Call& c) {
    const double lr = c.real(0), alpha = c.real(1), eps = c.real(2), decay = c.real(3), momentum = c.real(4);
    const int64_t n = c[0].numel(), size = chunk_size(c);
    LC_CHECK(alpha >= 0 && alpha <= 1, ValueError, c.name(), ": alpha must lie in [0, 1], is ", alpha);
    LC_CHECK(momentum >= 0 && c[3].given == (momentum != 0), ValueError, c.name(), ": b is needed with momentum, and only then; momentum is ", momentum);
    if (n == 0) return;
    visit_float_storage(c.dtype, c.name(), [&]<class T>() {
        using A = acc_t<T>;
        const int64_t chunks = (n + size - 1) / size;
        const Buffer<OptimChunk<T>> list(chunks);
        fill(list, chunks, size, c[0], c[1], {c[2], c[3], c[4]}, 0, 0);
        on::rmsprop_step<T>(c.device, {{list.data(), chunks, n}, A(lr), A(alpha), A(1 - alpha), A(eps), A(momentum), A(decay), false});
    });
}

}  // namespace lc::c_api
