// A C++ program with Python inside: littlecore's layers and optimizer fit noise-free data, the data and the check are C++'s.
#include <pybind11/embed.h>
#include <littlecore_python.hpp>
#include <cmath>
#include <cstdio>

namespace py = pybind11;
using namespace py::literals;
using littlecore::Tensor;

int main() {
    const py::scoped_interpreter python;
    try {
        const int64_t rows = 64;
        Tensor x = Tensor::empty({rows, 2}, littlecore::type_of<float>), y = Tensor::empty({rows, 1}, littlecore::type_of<float>);
        for (int64_t i = 0; i < rows; ++i) {                 // y = 3 a - 2 b + 1
            const float a = std::sin(float(i)), b = std::cos(float(3 * i));
            x.data<float>()[2 * i] = a;
            x.data<float>()[2 * i + 1] = b;
            y.data<float>()[i] = 3 * a - 2 * b + 1;
        }

        const py::module_ lc = py::module_::import("littlecore"), F = py::module_::import("littlecore.nn.functional");
        lc.attr("manual_seed")(0);
        const py::object layer = lc.attr("nn").attr("Linear")(2, 1);
        const py::object optimizer = lc.attr("optim").attr("Adam")(layer.attr("parameters")(), "lr"_a = 0.1);
        double loss = 0;
        for (int step = 0; step < 300; ++step) {
            optimizer.attr("zero_grad")();
            const py::object l = F.attr("mse_loss")(layer(x), y);
            l.attr("backward")();
            optimizer.attr("step")();
            loss = l.attr("item")().cast<double>();
        }
        const Tensor w = layer.attr("weight").attr("detach")().cast<Tensor>(), b = layer.attr("bias").attr("detach")().cast<Tensor>();
        std::printf("loss %.0e: y = %.2f a + %.2f b + %.2f\n", loss < 1e-6 ? 0.0 : loss, w.data<float>()[0], w.data<float>()[1], b.data<float>()[0]);
        return 0;
    } catch (const std::exception& e) {
        std::fprintf(stderr, "%s\n", e.what());
        return 1;
    }
}
