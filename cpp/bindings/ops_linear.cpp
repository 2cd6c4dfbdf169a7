#include "cpp/bindings/autocast.h"
#include "cpp/bindings/bind.h"
#include "cpp/core/precision.h"
#include "cpp/ops/einsum.h"
#include "cpp/ops/linear.h"
#include "cpp/ops/matmul.h"
#include "cpp/ops/quantized_linear.h"
#include "cpp/ops/rnn.h"

namespace lc::python {
namespace {

void bind_rnn(Module& m) {
    m.internal("rnn_layer", in_float32([](const Tensor& x, const Tensor& h, const Tensor& w_ih, const Tensor& w_hh, const Tensor& b_ih, const Tensor& b_hh, const std::string& nonlinearity, bool reverse) {
        LC_CHECK(nonlinearity == "tanh" || nonlinearity == "relu", ValueError, "rnn: nonlinearity must be tanh or relu, got '", nonlinearity, "'");
        return tuple_of(rnn_layer(x, h, {w_ih, w_hh, b_ih, b_hh, {}}, nonlinearity == "relu", reverse)); }), "One layer of a plain recurrent network over [steps, batch, features]: (output, h_n).", "input"_a, "hx"_a, "weight_ih"_a, "weight_hh"_a, "bias_ih"_a = py::none(), "bias_hh"_a = py::none(), "nonlinearity"_a = "tanh", "reverse"_a = false);
    m.internal("gru_layer", in_float32([](const Tensor& x, const Tensor& h, const Tensor& w_ih, const Tensor& w_hh, const Tensor& b_ih, const Tensor& b_hh, bool reverse) { return tuple_of(gru_layer(x, h, {w_ih, w_hh, b_ih, b_hh, {}}, reverse)); }), "One GRU layer over [steps, batch, features]: (output, h_n).", "input"_a, "hx"_a, "weight_ih"_a, "weight_hh"_a, "bias_ih"_a = py::none(), "bias_hh"_a = py::none(), "reverse"_a = false);
    m.internal("lstm_layer", in_float32([](const Tensor& x, const Tensor& h, const Tensor& c, const Tensor& w_ih, const Tensor& w_hh, const Tensor& b_ih, const Tensor& b_hh, const Tensor& w_hr, bool reverse) { return tuple_of(lstm_layer(x, h, c, {w_ih, w_hh, b_ih, b_hh, w_hr}, reverse)); }), "One LSTM layer over [steps, batch, features], its output projected by weight_hr if given: (output, h_n, c_n).", "input"_a, "hx"_a, "cx"_a, "weight_ih"_a, "weight_hh"_a, "bias_ih"_a = py::none(), "bias_hh"_a = py::none(), "weight_hr"_a = py::none(), "reverse"_a = false);
}

// What a residual's neighbours are computed in; the residual keeps its own type.
Tensor in_region(const Tensor& x) { return x && autocast::dtype() ? autocast::lowered(x) : x; }

constexpr const char* kPrecisions[] = {"highest", "high", "medium"};

MatmulPrecision parse_precision(const std::string& name) {
    int i = 0;
    while (i < 3 && name != kPrecisions[i]) ++i;
    LC_CHECK(i < 3, ValueError, "set_float32_matmul_precision: precision is 'highest', 'high' or 'medium', got '", name, "'");
    return MatmulPrecision(i);
}

}  // namespace

void bind_linear(Module& m) {
    bind_rnn(m);
    m.function("set_float32_matmul_precision", [](const std::string& precision) { set_float32_matmul_precision(parse_precision(precision)); }, "What products of float32 are computed in on CUDA, by matmul, linear and what is made of them: 'highest', the default, in float32; 'high' on tensor cores, operands rounded to tf32 (10 bits of mantissa), sums in float32; 'medium' as 'high'. Under LITTLECORE_EXACT=1, and on the CPU, always in float32.", "precision"_a);
    m.function("get_float32_matmul_precision", [] { return kPrecisions[int(float32_matmul_precision())]; }, "What set_float32_matmul_precision was last given.");
    m.both("matmul", lowered(&matmul), "Matrix product over the last two axes; axes before them broadcast, 1-d operands are vectors.", "input"_a, "other"_a);
    m.method("__matmul__", lowered(&matmul), "input"_a);
    m.both("mm", lowered(&mm), "Product of two matrices.", "input"_a, "mat2"_a);
    m.both("bmm", lowered(&bmm), "Products of two batches of as many matrices.", "input"_a, "mat2"_a);
    m.both("mv", lowered(&mv), "Product of a matrix and a vector.", "input"_a, "vec"_a);
    m.both("dot", lowered(&dot), "Sum of the products of two vectors.", "input"_a, "tensor"_a);
    m.both("outer", lowered(&outer), "All products of two vectors' elements: [n, m].", "input"_a, "vec2"_a);
    m.both("addmm", lowered(&addmm), "beta * input + alpha * (mat1 @ mat2).", "input"_a, "mat1"_a, "mat2"_a, py::kw_only(), "beta"_a = 1.0, "alpha"_a = 1.0);
    m.both("baddbmm", lowered(&baddbmm), "beta * input + alpha * bmm(batch1, batch2).", "input"_a, "batch1"_a, "batch2"_a, py::kw_only(),
           "beta"_a = 1.0, "alpha"_a = 1.0);
    m.function("einsum", [in_type = lowered(&einsum)](const std::string& equation, const py::args& operands) {
        const bool list = operands.size() == 1 && !is_tensor(py::object(operands[0]).ptr());
        return in_type(equation, (list ? py::reinterpret_borrow<py::object>(operands[0]) : py::object(operands)).cast<Tensors>()); }, "Sums of products named by subscripts: einsum('bij,bjk->bik', a, b).", "equation"_a);
    m.internal("quantize_weight", [](const Tensor& w, int64_t bits) {
        const QuantizedWeight q = quantize_weight(w, bits);
        return tuple_of({q.codes, q.scales}); }, "(codes, scales) of a weight [out, in] in 8 bits, one scale a row, or in 4, one for 32 columns.", "weight"_a, "bits"_a = 8);
    m.internal("dequantize_weight", [](const Tensor& codes, const Tensor& scales, int64_t in_features) { return dequantize_weight({codes, scales}, in_features); }, "The weight [out, in] that quantized_linear multiplies with.", "codes"_a, "scales"_a, "in_features"_a);
    m.internal("quantized_linear", [](const Tensor& x, const Tensor& codes, const Tensor& scales, const Tensor& b) { return quantized_linear(x, {codes, scales}, b); }, "linear with a frozen weight from quantize_weight; the input alone has a gradient.", "input"_a, "codes"_a, "scales"_a, "bias"_a = py::none());
    m.internal("linear", [](const Tensor& x, const Tensor& w, const Tensor& b, const char* activation, const Tensor& residual) { return linear(in_region(x), in_region(w), in_region(b), parse_activation("linear", activation), residual); }, "act(input weight' + bias); weight is [out, in]. activation: none, relu, gelu, gelu_tanh, silu, sigmoid or tanh, in the same pass; without one a residual may be added.", "input"_a, "weight"_a, "bias"_a = py::none(), "activation"_a = "none", "residual"_a = py::none());
    m.internal("feed_forward", [](const Tensor& x, const Tensor& w1, const Tensor& w2, const Tensor& b1, const Tensor& b2, const char* activation, const Tensor& residual) { return feed_forward(in_region(x), in_region(w1), in_region(b1), in_region(w2), in_region(b2), parse_activation("feed_forward", activation), residual); }, "linear(linear(input, weight1, bias1, activation=activation), weight2, bias2, residual=residual), with a gradient of fewer passes on CUDA.", "input"_a, "weight1"_a, "weight2"_a, "bias1"_a = py::none(), "bias2"_a = py::none(), "activation"_a = "none", "residual"_a = py::none());
}

}  // namespace lc::python
