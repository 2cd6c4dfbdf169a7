// The windows of pool2d as formulas, so that no table travels to the GPU: pure functions of the axis.
#pragma once
#include "cpp/ops/pool2d.h"
#include "cuda/kernels/divider.h"

namespace lc::cuda {

struct PoolSpan {
    int begin, end;
};

// Output j looks at begin, + step, ... < end. stride 0: at j * size / outputs to ceil((j + 1) * size / outputs).
struct PoolLine {
    int size, outputs, first, stride, taps, step;
    bool padding_counts;                              // in the average's divisor
    Divider by_size, by_outputs, by_stride, by_step;

    constexpr PoolSpan window(int j) const {
        if (stride == 0) return {by_outputs.divide(j * size), by_outputs.divide((j + 1) * size + outputs - 1)};
        const int from = first + j * stride, to = from + step * (taps - 1) + 1;
        return {from < 0 ? from + by_step.divide(step - 1 - from) * step : from, to < size ? to : size};
    }
    constexpr int count(int j) const {
        const PoolSpan inside = window(j);
        if (!padding_counts) return inside.end - inside.begin;
        const int from = first + j * stride, to = from + step * (taps - 1) + 1, last = size - first;
        return (to < last ? to : last) - from;
    }
    // The outputs whose window may hold element u; between its first and last taps, at least.
    constexpr PoolSpan covering(int u) const {
        if (stride == 0) return {by_size.divide(u * outputs), by_size.divide((u + 1) * outputs - 1) + 1};
        const int reach = step * (taps - 1), after = u - first - reach;
        const int end = by_stride.divide(u - first) + 1;
        return {after <= 0 ? 0 : by_stride.divide(after + stride - 1), end < outputs ? end : outputs};
    }
};

constexpr bool pool_fits(const Pool2dShape& s) {
    constexpr int64_t kMost = int64_t(1) << 30;
    const auto fits = [](const PoolAxis& a, int64_t size, int64_t outputs) {
        return (size + 1) * (outputs + 1) < kMost && a.step * a.taps < kMost && a.stride * outputs < kMost;
    };
    return s.planes * s.h * s.w < 2 * kMost && s.planes * s.oh * s.ow < 2 * kMost && fits(s.rows, s.h, s.oh) && fits(s.cols, s.w, s.ow);
}

constexpr PoolLine pool_line(const PoolAxis& a, int64_t size, int64_t outputs) {
    PoolLine line{int(size), int(outputs), int(a.first), int(a.stride), int(a.taps), int(a.step), false, size, outputs, a.stride ? a.stride : 1, a.step};
    for (int64_t j = 0; j < outputs; ++j) line.padding_counts |= a.count[j] != a.end[j] - a.begin[j];
    return line;
}

}  // namespace lc::cuda
