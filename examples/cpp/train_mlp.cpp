// A small network trained with no Python: which of two spirals is a point on?
#include <cmath>
#include <cstdio>
#include <random>
#include "littlecore.hpp"

using littlecore::Array;

namespace {

// A weight with its gradient and AdamW's state.
struct Parameter {
    Array<float> w, dw, m, v;

    explicit Parameter(const std::vector<int64_t>& shape) : w(shape), dw(shape), m(shape), v(shape) {}
    void step(int64_t number) {
        littlecore::adamw_step({.p = w, .g = dw, .m = m, .v = v, .lr = 1e-2, .step = number, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8, .weight_decay = 0.01});
    }
};

struct Linear {
    Parameter w, b;
    Array<float> y, dx;

    Linear(int64_t rows, int64_t in, int64_t out, std::mt19937& random) : w({out, in}), b({out}), y({rows, out}), dx({rows, in}) {
        std::normal_distribution<float> normal(0, 1 / std::sqrt(float(in)));
        for (float& x : w.w) x = normal(random);
    }
    Array<float>& forward(Array<float>& x) {
        littlecore::linear_forward({.x = x, .w = w.w, .b = b.w, .y = y});
        return y;
    }
    Array<float>& backward(Array<float>& dy, Array<float>& x) {
        littlecore::linear_backward({.dy = dy, .x = x, .w = w.w, .dx = dx, .dw = w.dw, .db = b.dw});
        return dx;
    }
};

}  // namespace

int main() {
    littlecore::check_abi();
    constexpr int64_t kPoints = 512, kHidden = 64;
    std::mt19937 random(0);
    std::normal_distribution<float> noise(0, 0.05f);
    Array<float> x({kPoints, 2});
    Array<int64_t> label({kPoints});
    for (int64_t i = 0; i < kPoints; ++i) {
        const float r = float(i) / kPoints, angle = 9 * r + float(i % 2) * 3.14159f;
        x[2 * i] = r * std::cos(angle) + noise(random) * r;
        x[2 * i + 1] = r * std::sin(angle) + noise(random) * r;
        label[i] = i % 2;
    }

    Linear first(kPoints, 2, kHidden, random), second(kPoints, kHidden, kHidden, random), last(kPoints, kHidden, 2, random);
    Array<float> g1({kPoints, kHidden}), g2({kPoints, kHidden}), dg1({kPoints, kHidden}), dg2({kPoints, kHidden});
    Array<float> loss({kPoints}), max({kPoints}), sum({kPoints}), dloss({kPoints}), dlogits({kPoints, 2});
    for (float& d : dloss) d = 1.0f / kPoints;

    float mean = 0;
    for (int step = 1; step <= 300; ++step) {
        littlecore::gelu_forward({.x = first.forward(x), .y = g1});
        littlecore::gelu_forward({.x = second.forward(g1), .y = g2});
        littlecore::cross_entropy_forward({.x = last.forward(g2), .target = label, .loss = loss, .max = max, .sum = sum, .ignore_index = -100});
        mean = 0;
        for (const float l : loss) mean += l / kPoints;
        if (step == 1 || step % 100 == 0) std::printf("step %d: loss %.4f\n", step, double(mean));

        littlecore::cross_entropy_backward({.dloss = dloss, .x = last.y, .target = label, .max = max, .sum = sum, .dx = dlogits, .ignore_index = -100});
        littlecore::gelu_backward({.dy = last.backward(dlogits, g2), .x = second.y, .dx = dg2});
        littlecore::gelu_backward({.dy = second.backward(dg2, g1), .x = first.y, .dx = dg1});
        first.backward(dg1, x);
        for (Linear* layer : {&first, &second, &last}) {
            layer->w.step(step);
            layer->b.step(step);
        }
    }

    int64_t right = 0;
    for (int64_t i = 0; i < kPoints; ++i) right += (last.y[2 * i + 1] > last.y[2 * i]) == (label[i] == 1);
    std::printf("%.1f %% right\n", 100.0 * double(right) / kPoints);
    return mean < 0.1f ? 0 : 1;
}
