// quantized_linear, quantize_weight, dequantize_weight. Contract: cpp/ops/quantized_linear.h
#include "cpp/ops/quantized_linear.h"
#include <algorithm>
#include <cmath>
#include "cpp/autograd/node.h"
#include "cpp/core/parallel.h"
#include "cpp/ops/copy.h"
#include "cpp/ops/matmul.h"
#include "cpp/ops/views.h"

namespace lc {
namespace {

struct Layout {
    int64_t out, in, bits, groups;
    int64_t depth() const { return quantized_depth(in); }
    int64_t bytes() const { return depth() * bits / 2; }          // of four rows of w
    int64_t group() const { return groups == 1 ? depth() : kQuantizedGroup; }
    int64_t byte(int64_t j, int64_t k) const {
        return j / 4 * bytes() + (bits == 8 ? k / 4 : k / 8) * 16 + j % 4 * 4 + k % 4;
    }
};

int64_t groups_of(int64_t in, int64_t bits) { return bits == 8 ? 1 : std::max<int64_t>(1, (in + kQuantizedGroup - 1) / kQuantizedGroup); }

Layout layout_of(const char* op, const QuantizedWeight& w, int64_t in) {
    LC_CHECK(w.codes.dim() == 2 && w.codes.dtype() == DType::uint8 && w.scales.dim() == 2 && w.scales.dtype() == DType::float32, TypeError, op,
             ": codes must be a uint8 and scales a float32 matrix as quantize_weight makes them, got ", w.codes.dtype(), " ", w.codes.sizes(),
             " and ", w.scales.dtype(), " ", w.scales.sizes());
    Layout l{w.scales.size(0), in, w.codes.size(1) == 4 * quantized_depth(in) ? 8 : 4, 0};
    l.groups = groups_of(in, l.bits);
    LC_CHECK(w.codes.size(0) == (l.out + 3) / 4 && w.codes.size(1) == l.bytes() && w.scales.size(1) == l.groups, ValueError, op,
             ": codes ", w.codes.sizes(), " and scales ", w.scales.sizes(), " are not those of a weight [", l.out, ", ", in, "]");
    return l;
}

void unpack(const Layout& l, const uint8_t* codes, const float* scales, float* w, Device d) {
    if (!d.is_cpu())
        return replayable([d, a = QuantizedUnpack<float>{codes, scales, l.out, l.in, l.groups, int(l.bits), w}] {
            cuda::use(d);
            cuda::quantized_unpack<float>(a);
        });
    replayable([=] {
        parallel_for(l.out, l.out * l.in, [&](int64_t j, int) {
            for (int64_t k = 0; k < l.in; ++k) {
                const uint8_t b = codes[l.byte(j, k)];
                const int q = l.bits == 8 ? int8_t(b) : int(((k % 8 < 4 ? b & 15 : b >> 4) ^ 8)) - 8;
                w[j * l.in + k] = float(q) * scales[j * l.groups + k / l.group()];
            }
        });
    });
}

}  // namespace

QuantizedWeight quantize_weight(const Tensor& given, int64_t bits) {
    LC_CHECK(bits == 8 || bits == 4, ValueError, "quantize_weight: bits must be 8 or 4, got ", bits);
    LC_CHECK(given.dim() == 2 && given.dtype() == DType::float32, TypeError, "quantize_weight: wants a float32 matrix [out, in], got ",
             given.dtype(), " ", given.sizes());
    if (!given.device().is_cpu()) {                   // once in a model's life: on the host
        const QuantizedWeight q = quantize_weight(to(given.detach(), Device{}), bits);
        return {to(q.codes, given.device()), to(q.scales, given.device())};
    }
    const Tensor w = contiguous(given.detach());
    const Layout l{w.size(0), w.size(1), bits, groups_of(w.size(1), bits)};
    const QuantizedWeight q{Tensor::zeros({(l.out + 3) / 4, l.bytes()}, DType::uint8), Tensor::empty({l.out, l.groups}, DType::float32)};
    const float *from = w.data<float>(), most = bits == 8 ? 127.0f : 7.0f;
    uint8_t* codes = q.codes.mutable_data<uint8_t>();
    float* scales = q.scales.mutable_data<float>();
    for (int64_t j = 0; j < l.out; ++j)
        for (int64_t g = 0; g < l.groups; ++g) {
            const int64_t begin = g * l.group(), end = std::min(l.in, begin + l.group());
            float largest = 0;
            for (int64_t k = begin; k < end; ++k) {
                LC_CHECK(std::isfinite(from[j * l.in + k]), ValueError, "quantize_weight: weight [", j, ", ", k, "] is ", from[j * l.in + k]);
                largest = std::max(largest, std::abs(from[j * l.in + k]));
            }
            const float scale = scales[j * l.groups + g] = largest / most < 0x1p-90f ? 0.0f : largest / most;
            for (int64_t k = begin; k < end; ++k) {
                const float ratio = scale > 0 ? std::nearbyint(from[j * l.in + k] / scale) : 0.0f;
                const int code = int(std::clamp(ratio, -most, most));
                uint8_t& b = codes[l.byte(j, k)];
                b = uint8_t(bits == 8 ? code : k % 8 < 4 ? (b & 0xf0) | (code & 15)
                                                         : (b & 15) | (code & 15) << 4);
            }
        }
    return q;
}

Tensor dequantize_weight(const QuantizedWeight& given, int64_t in) {
    LC_CHECK(in >= 0, ValueError, "dequantize_weight: in_features is ", in);
    const Layout l = layout_of("dequantize_weight", given, in);
    const Tensor codes = contiguous(given.codes), scales = contiguous(given.scales), w = Tensor::empty({l.out, in}, DType::float32, given.codes.device());
    const Device d = codes.device();
    unpack(l, codes.data_on<uint8_t>(d), scales.data_on<float>(d), w.mutable_data_on<float>(d), d);
    return w;
}

namespace {

Tensor forward(const Layout& l, const Tensor& x, const QuantizedWeight& w, const Tensor& bias) {
    const Tensor codes = contiguous(w.codes), scales = contiguous(w.scales);
    Dims sizes = x.sizes();
    sizes[sizes.size() - 1] = l.out;
    const Device d = x.device();
    const Tensor y = Tensor::empty(sizes, DType::float32, d);
    if (y.numel() == 0) return y;
    const int64_t rows = y.numel() / l.out;
    const float* bias_data = bias ? bias.data_on<float>(d) : nullptr;
    if (rows > kQuantizedRows || (d.is_cpu() && l.bits == 8 && k_chains(l.in, 4) == 1)) {
        const Tensor weight = Tensor::empty({l.out, l.in}, DType::float32, d);
        unpack(l, codes.data_on<uint8_t>(d), scales.data_on<float>(d), weight.mutable_data_on<float>(d), d);
        detail::Product p{{x.raw_on(d), l.in, 1}, {weight.raw_on(d), 1, l.in}, y.mutable_raw_on(d), l.out, rows, l.out, l.in};
        p.bias = bias_data;
        detail::multiply(DType::float32, p, d);
        return y;
    }
    Tensor wide = x;
    if (l.depth() != l.in) {
        wide = Tensor::zeros({rows, l.depth()}, DType::float32, d);
        detail::copy_into(Tensor::view_of(wide, {rows, l.in}, wide.strides(), 0), reshape(x, {rows, l.in}));
    }
    on::quantized_linear_forward<float>(d, {wide.data_on<float>(d), scales.data_on<float>(d), bias_data, codes.data_on<uint8_t>(d), y.mutable_data_on<float>(d), rows, l.out, l.in, l.groups, int(l.bits)});
    return y;
}

}  // namespace

Tensor quantized_linear(const Tensor& x, const QuantizedWeight& w, const Tensor& b) {
    if (b) no_gradient("quantized_linear: bias", b);
    LC_CHECK(x.dim() >= 1 && x.dtype() == DType::float32, TypeError, "quantized_linear: wants a float32 input [..., in], got ", x.dtype(), " ", x.sizes());
    const Layout l = layout_of("quantized_linear", w, x.size(-1));
    LC_CHECK(!b || (b.sizes() == Dims({l.out}) && b.dtype() == DType::float32), ValueError, "quantized_linear: bias must be float32 [", l.out,
             "], got ", b.dtype(), " ", b.sizes());
    const Tensor y = forward(l, contiguous(x.detach()), w, b ? contiguous(b) : b);
    if (wants_grad({x}))
        record("quantized_linear", {x}, {y}, [codes = Saved(w.codes), scales = Saved(w.scales), in = l.in](const Grads& dy) -> Tensors {
            return {matmul(dy[0], dequantize_weight({codes(), scales()}, in))};
        });
    return y;
}

}  // namespace lc
