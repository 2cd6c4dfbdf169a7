// Random tensors, dropout, and the state of the default generator.
#include <cstring>
#include <optional>
#include <random>
#include "cpp/bindings/bind.h"
#include "cpp/ops/binary.h"
#include "cpp/ops/copy.h"
#include "cpp/ops/dropout.h"
#include "cpp/ops/random.h"

namespace lc::python {
namespace {

Dims sizes_of(const py::args& args) {
    return args.size() == 1 && !PyIndex_Check(py::handle(args[0]).ptr()) ? args[0].cast<Dims>() : args.cast<Dims>();
}

Tensor leaf(const Tensor& x, bool requires_grad) {
    if (requires_grad) x.set_requires_grad(true);
    return x;
}

// rand, randn: name(*size) and name_like(x)
template <Tensor (*make)(const Dims&, DType)> void family(Module& m, const char* name, const char* doc) {
    m.function(name, [](const py::args& size, DType dtype, Device, bool requires_grad) { return leaf(make(sizes_of(size), dtype), requires_grad); }, "dtype"_a = DType::float32, "device"_a = Device{}, "requires_grad"_a = false, doc);
    m.function((std::string(name) + "_like").c_str(), [](const Tensor& x, std::optional<DType> dtype, bool requires_grad) {
        return leaf(make(x.sizes(), dtype.value_or(x.dtype())), requires_grad);
    },
               "input"_a, py::kw_only(), "dtype"_a = py::none(), "requires_grad"_a = false, "The same in the shape and dtype of input.");
}

void bind_generator(Module& m) {
    m.function("manual_seed", [](int64_t seed) { manual_seed(uint64_t(seed)); }, "seed"_a, "Starts the default generator anew.");
    m.function("seed", [] {
        std::random_device device;
        const uint64_t seed = uint64_t(device()) << 31 | device() >> 1;
        manual_seed(seed);
        return seed; }, "Starts the default generator from a seed of the system's choice, and returns it.");
    m.function("initial_seed", [] { return random_state().seed; }, "The seed of the default generator.");
    m.function("get_rng_state", [] {
        const Tensor state = Tensor::empty({sizeof(RandomKey)}, DType::uint8);
        const RandomKey key = random_state();
        std::memcpy(state.mutable_raw(), &key, sizeof key);
        return state; }, "The default generator's state, a uint8 tensor.");
    m.function("set_rng_state", [](const Tensor& state) {
        LC_CHECK(state.dtype() == DType::uint8 && state.numel() == int64_t(sizeof(RandomKey)), ValueError,
                 "set_rng_state: needs the uint8 tensor that get_rng_state() gave, got ", state.dtype(), " ", state.sizes());
        RandomKey key;
        std::memcpy(&key, detail::dense(state).raw(), sizeof key);
        set_random_state(key); }, "new_state"_a, "Puts the default generator back where get_rng_state() saw it.");
}

}  // namespace

void bind_random(Module& m) {
    bind_generator(m);
    family<rand>(m, "rand", "rand(*size): uniform in [0, 1).");
    family<randn>(m, "randn", "randn(*size): normal with mean 0 and standard deviation 1.");
    m.function("randint", [](int64_t low, int64_t high, const Dims& size, DType dtype, Device) { return randint(low, high, size, dtype); }, "low"_a, "high"_a, "size"_a, py::kw_only(), "dtype"_a = DType::int64, "device"_a = Device{}, "Integers in [low, high).");
    m.function("randint", [](int64_t high, const Dims& size, DType dtype, Device) { return randint(0, high, size, dtype); }, "high"_a, "size"_a, py::kw_only(), "dtype"_a = DType::int64, "device"_a = Device{}, "Integers in [0, high).");
    m.function("randperm", [](int64_t n, DType dtype, Device) { return randperm(n, dtype); }, "n"_a, py::kw_only(), "dtype"_a = DType::int64, "device"_a = Device{}, "0 .. n - 1 in random order.");
    m.function("normal", [](const Operand& mean, const Operand& std, const std::optional<Dims>& size) {
        const Tensor shape = add(mean.tensor.detach(), std.tensor.detach());
        const Tensor z = randn(size.value_or(shape.sizes()), is_floating(shape.dtype()) && !mean.tensor.impl()->weak ? shape.dtype() : DType::float32);
        return add(mul(z, std.tensor), mean.tensor); }, "mean"_a = 0.0, "std"_a = 1.0, "size"_a = py::none(), "Normal numbers; mean and std may be tensors.");
    m.both("bernoulli", &bernoulli, "1 with the probability that input gives, else 0.", "input"_a);
    m.both("multinomial", &multinomial, "num_samples indices drawn by the weights in the last dimension.", "input"_a, "num_samples"_a, "replacement"_a = false);

    m.method("uniform_", [](const Tensor& x, double low, double high) { uniform_(x, low, high); return x; }, "a"_a = 0.0, "b"_a = 1.0, "Fills with numbers uniform in [a, b).");
    m.method("normal_", [](const Tensor& x, double mean, double std) { normal_(x, mean, std); return x; }, "mean"_a = 0.0, "std"_a = 1.0, "Fills with normal numbers.");
    m.method("bernoulli_", [](const Tensor& x, double p) { bernoulli_(x, p); return x; }, "p"_a = 0.5, "Fills with 1 by probability p, else 0.");
    m.method("random_", [](const Tensor& x, int64_t low, int64_t high) { randint_(x, low, high); return x; }, "low"_a, "high"_a, "Fills with integers in [low, high).");

    m.function("dropout", &dropout, "Zeros elements with probability p while training, and scales the others by 1 / (1 - p).", "input"_a,
               "p"_a = 0.5, "training"_a = true);
    m.function("dropout1d", [](const Tensor& x, double p, bool training) { return feature_dropout("dropout1d", x, p, training, 1); }, "dropout of whole channels of [n, c, l] or [c, l].", "input"_a, "p"_a = 0.5, "training"_a = true);
    m.function("dropout2d", [](const Tensor& x, double p, bool training) { return feature_dropout("dropout2d", x, p, training, 2); }, "dropout of whole channels of [n, c, h, w] or [c, h, w].", "input"_a, "p"_a = 0.5, "training"_a = true);
}

}  // namespace lc::python
