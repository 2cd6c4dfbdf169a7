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

using G = OptionalGenerator;
const auto kDefault = "generator"_a = py::none();

// rand, randn: name(*size) and name_like(x)
template <Tensor (*make)(const Dims&, DType, Generator*, Device)> void family(Module& m, const char* name, const char* doc) {
    m.function(name, [](const py::args& size, G generator, DType dtype, Device device, bool requires_grad) { return leaf(make(sizes_of(size), dtype, generator, device), requires_grad); }, kDefault, "dtype"_a = DType::float32, "device"_a = Device{}, "requires_grad"_a = false, doc);
    m.function((std::string(name) + "_like").c_str(), [](const Tensor& x, G generator, std::optional<DType> dtype, bool requires_grad) { return leaf(make(x.sizes(), dtype.value_or(x.dtype()), generator, x.device()), requires_grad); }, "input"_a, py::kw_only(), kDefault, "dtype"_a = py::none(), "requires_grad"_a = false, "The same in the shape and dtype of input.");
}

// ---- generators ------------------------------------------------------------------------------------------------------

uint64_t seed_of_the_system(Generator& g) {
    std::random_device device;
    const uint64_t seed = uint64_t(device()) << 31 | device() >> 1;
    g.set_state({seed, 0});
    return seed;
}

Tensor state_tensor(const Generator& g) {
    const Tensor state = Tensor::empty({sizeof(RandomKey)}, DType::uint8);
    const RandomKey key = g.state();
    std::memcpy(state.mutable_raw(), &key, sizeof key);
    return state;
}

void set_state(const char* op, Generator& g, const Tensor& state) {
    LC_CHECK(state && state.dtype() == DType::uint8 && state.numel() == int64_t(sizeof(RandomKey)), ValueError, op,
             ": needs the uint8 tensor of ", sizeof(RandomKey), " bytes that a generator's state is");
    RandomKey key;
    std::memcpy(&key, detail::dense(state).raw(), sizeof key);
    g.set_state(key);
}

void bind_generator(Module& m) {
    py::class_<Generator, Ref<Generator>>(m.module, "Generator", "A stream of random numbers of its own: its seed, and how many ops have drawn from it.")
        .def(py::init([](Device device) {
                 LC_CHECK(device.is_cpu(), ValueError, "Generator: one generator serves all devices, with the same numbers; leave device out");
                 return make<Generator>();
             }),
             "device"_a = Device{})
        .def_property_readonly("device", [](const Generator&) { return Device{}; })
        .def("manual_seed", [](const Ref<Generator>& g, int64_t seed) { g->set_state({uint64_t(seed), 0}); return g; }, "seed"_a, "Starts anew from seed; returns the generator.")
        .def("seed", &seed_of_the_system, "Starts anew from a seed of the system's choice, and returns it.")
        .def("initial_seed", [](const Generator& g) { return g.state().seed; }, "The seed it was started from.")
        .def("get_state", &state_tensor, "Where it stands, a uint8 tensor.")
        .def("set_state", [](const Ref<Generator>& g, const Tensor& state) { set_state("set_state", *g, state); return g; }, "new_state"_a, "Back to where get_state() saw it; returns the generator.");
    m.module.attr("default_generator") = default_generator();

    m.function("manual_seed", [](int64_t seed) { default_generator()->set_state({uint64_t(seed), 0}); return default_generator(); }, "seed"_a, "Starts the default generator anew, and returns it.");
    m.function("seed", [] { return seed_of_the_system(*default_generator()); }, "Starts the default generator from a seed of the system's choice, and returns it.");
    m.function("initial_seed", [] { return default_generator()->state().seed; }, "The seed of the default generator.");
    m.function("get_rng_state", [] { return state_tensor(*default_generator()); }, "The default generator's state, a uint8 tensor.");
    m.function("set_rng_state", [](const Tensor& state) { set_state("set_rng_state", *default_generator(), state); }, "new_state"_a, "Puts the default generator back where get_rng_state() saw it.");
}

}  // namespace

void bind_random(Module& m) {
    bind_generator(m);
    family<rand>(m, "rand", "rand(*size): uniform in [0, 1).");
    family<randn>(m, "randn", "randn(*size): normal with mean 0 and standard deviation 1.");
    m.function("randint", [](int64_t low, int64_t high, const Dims& size, G generator, DType dtype, Device device) { return randint(low, high, size, dtype, generator, device); }, "low"_a, "high"_a, "size"_a, py::kw_only(), kDefault, "dtype"_a = DType::int64, "device"_a = Device{}, "Integers in [low, high).");
    m.function("randint", [](int64_t high, const Dims& size, G generator, DType dtype, Device device) { return randint(0, high, size, dtype, generator, device); }, "high"_a, "size"_a, py::kw_only(), kDefault, "dtype"_a = DType::int64, "device"_a = Device{}, "Integers in [0, high).");
    m.function("randperm", [](int64_t n, G generator, DType dtype, Device device) { return to(randperm(n, dtype, generator), device); }, "n"_a, py::kw_only(), kDefault, "dtype"_a = DType::int64, "device"_a = Device{}, "0 .. n - 1 in random order.");
    m.function("normal", [](const Operand& mean, const Operand& std, const std::optional<Dims>& size, G generator) {
        const Tensor shape = add(mean.tensor.detach(), std.tensor.detach());
        const Tensor z = randn(size.value_or(shape.sizes()), is_floating(shape.dtype()) && !mean.tensor.impl()->weak ? shape.dtype() : DType::float32, generator, shape.device());
        return add(mul(z, std.tensor), mean.tensor); }, "mean"_a = 0.0, "std"_a = 1.0, "size"_a = py::none(), py::kw_only(), kDefault, "Normal numbers; mean and std may be tensors.");
    m.both("bernoulli", [](const Tensor& p, G g) { return bernoulli(p, g); }, "1 with the probability that input gives, else 0.", "input"_a, py::kw_only(), kDefault);
    m.both("multinomial", [](const Tensor& weights, int64_t samples, bool replacement, G g) { return multinomial(weights, samples, replacement, g); }, "num_samples indices drawn by the weights in the last dimension.", "input"_a, "num_samples"_a, "replacement"_a = false, py::kw_only(), kDefault);

    m.method("uniform_", [](const Tensor& x, double low, double high, G g) { uniform_(x, low, high, g); return x; }, "a"_a = 0.0, "b"_a = 1.0, py::kw_only(), kDefault, "Fills with numbers uniform in [a, b).");
    m.method("normal_", [](const Tensor& x, double mean, double std, G g) { normal_(x, mean, std, g); return x; }, "mean"_a = 0.0, "std"_a = 1.0, py::kw_only(), kDefault, "Fills with normal numbers.");
    m.method("bernoulli_", [](const Tensor& x, double p, G g) { bernoulli_(x, p, g); return x; }, "p"_a = 0.5, py::kw_only(), kDefault, "Fills with 1 by probability p, else 0.");
    m.method("random_", [](const Tensor& x, int64_t low, int64_t high, G g) { randint_(x, low, high, g); return x; }, "low"_a, "high"_a, py::kw_only(), kDefault, "Fills with integers in [low, high).");

    m.function("dropout", &dropout, "Zeros elements with probability p while training, and scales the others by 1 / (1 - p).", "input"_a,
               "p"_a = 0.5, "training"_a = true);
    m.internal("dropout1d", [](const Tensor& x, double p, bool training) { return feature_dropout("dropout1d", x, p, training, 1); }, "dropout of whole channels of [n, c, l] or [c, l].", "input"_a, "p"_a = 0.5, "training"_a = true);
    m.internal("dropout2d", [](const Tensor& x, double p, bool training) { return feature_dropout("dropout2d", x, p, training, 2); }, "dropout of whole channels of [n, c, h, w] or [c, h, w].", "input"_a, "p"_a = 0.5, "training"_a = true);
}

}  // namespace lc::python
