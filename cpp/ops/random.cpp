#include "cpp/ops/random.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "cpp/autograd/node.h"
#include "cpp/ops/binary.h"
#include "cpp/ops/copy.h"

namespace lc {
namespace {

void fill(const Tensor& x, RandomKind kind, double a, double b, Generator* generator) {
    if (x.numel() == 0) return void(next_random_key(generator));
    const DType t = x.dtype() == DType::float64 ? DType::float64 : DType::float32;
    const bool direct = x.is_contiguous() && x.dtype() == t;
    const Device d = x.device();
    const Tensor y = direct ? x : Tensor::empty(x.sizes(), t, d);
    visit_float(t, "random", [&]<class T>() {
        replayable([=, from = Ref<Generator>(generator), out = static_cast<T*>(const_cast<void*>(y.raw_on(d))), n = y.numel()] {
            on::random_fill<T>(d, {kind, next_random_key(from.get()), a, b, out, n});
        });
    });
    if (!direct) detail::copy_into(x, y);
}

void check_target(const char* name, const Tensor& x) {
    check_inplace(name, x);
    if (!is_floating(x.dtype())) throw_dtype(name, x.dtype(), "a floating-point dtype");
    x.mutable_raw_on(x.device());                     // refuses read-only memory
}

// Words of one key, one after the other; 16 blocks make the next 64 of them.
class Words {
public:
    explicit Words(RandomKey key) : key_(key) {}
    uint64_t next64() {
        const uint64_t at = at_ % 64;
        if (at == 0)
            for (uint64_t i = 0; i < 16; ++i) {
                const PhiloxBlock block = philox(key_, at_ / 64 * 16 + i);
                for (uint64_t w = 0; w < 4; ++w) word_[16 * w + i] = block.word[w];
            }
        at_ += 2;
        return uint64_t(word_[at]) << 32 | word_[at + 1];
    }
    double next_double() { return double(next64() >> 11) * 0x1p-53; }
    uint64_t below(uint64_t n) { return uint64_t((unsigned __int128)(next64()) * n >> 64); }

private:
    RandomKey key_;
    uint64_t at_ = 0;
    uint32_t word_[64];
};

}  // namespace

void uniform_(const Tensor& x, double low, double high, Generator* generator) {
    check_target("uniform_", x);
    LC_CHECK(low <= high, ValueError, "uniform_: low must not be above high: ", low, ", ", high);
    fill(x, RandomKind::uniform, low, high, generator);
}

void normal_(const Tensor& x, double mean, double std, Generator* generator) {
    check_target("normal_", x);
    LC_CHECK(std >= 0, ValueError, "normal_: std must not be negative, is ", std);
    fill(x, RandomKind::normal, mean, std, generator);
}

void bernoulli_(const Tensor& x, double p, Generator* generator) {
    check_inplace("bernoulli_", x);
    LC_CHECK(p >= 0 && p <= 1, ValueError, "bernoulli_: p must lie in [0, 1], is ", p);
    x.mutable_raw_on(x.device());                     // refuses read-only memory
    detail::copy_into(x, lt(rand(x.sizes(), DType::float64, generator, x.device()), number(p)));
}

void randint_(const Tensor& x, int64_t low, int64_t high, Generator* generator) {
    check_inplace("randint", x);
    LC_CHECK(low < high, ValueError, "randint: low must be below high: ", low, ", ", high);
    x.mutable_raw_on(x.device());
    if (x.numel() == 0) return void(next_random_key(generator));
    const Device d = x.device();
    const Tensor y = Tensor::empty(x.sizes(), DType::int64, d);
    replayable([=, from = Ref<Generator>(generator), out = y.mutable_data_on<int64_t>(d), n = y.numel()] {
        on::random_integers<int64_t>(d, {next_random_key(from.get()), low, uint64_t(high) - uint64_t(low), out, n});
    });
    detail::copy_into(x, y);
}

Tensor rand(const Dims& sizes, DType dtype, Generator* generator, Device device) {
    const Tensor x = Tensor::empty(sizes, dtype, device);
    uniform_(x, 0, 1, generator);
    return x;
}

Tensor randn(const Dims& sizes, DType dtype, Generator* generator, Device device) {
    const Tensor x = Tensor::empty(sizes, dtype, device);
    normal_(x, 0, 1, generator);
    return x;
}

Tensor randint(int64_t low, int64_t high, const Dims& sizes, DType dtype, Generator* generator, Device device) {
    const Tensor x = Tensor::empty(sizes, dtype, device);
    randint_(x, low, high, generator);
    return x;
}

Tensor randperm(int64_t n, DType dtype, Generator* generator) {
    LC_CHECK(n >= 0, ValueError, "randperm: n must not be negative, is ", n);
    const Tensor y = Tensor::empty({n}, DType::int64);
    replayable([n, from = Ref<Generator>(generator), p = y.mutable_data<int64_t>()] {
        Words words(next_random_key(from.get()));
        for (int64_t i = 0; i < n; ++i) p[i] = i;
        for (int64_t i = n - 1; i > 0; --i) std::swap(p[i], p[words.below(uint64_t(i) + 1)]);
    });
    return detail::converted(y, dtype);
}

Tensor bernoulli(const Tensor& p, Generator* generator) {
    no_gradient("bernoulli", p);
    if (!is_floating(p.dtype())) throw_dtype("bernoulli", p.dtype(), "probabilities of a floating-point dtype");
    return detail::converted(lt(rand(p.sizes(), p.dtype() == DType::float64 ? DType::float64 : DType::float32, generator, p.device()), p), p.dtype());
}

Tensor multinomial(const Tensor& weights, int64_t samples, bool replacement, Generator* generator) {
    refuse_recording("multinomial", "weights are read on the host");
    const int rank = weights.dim();
    LC_CHECK(rank == 1 || rank == 2, ValueError, "multinomial: weights must be [n] or [rows, n], they are ", weights.sizes());
    const int64_t n = weights.size(-1), rows = rank == 2 ? weights.size(0) : 1;
    LC_CHECK(samples > 0 && (replacement || samples <= n), ValueError, "multinomial: ", samples, " samples of ", n, replacement ? "" : " without replacement");
    const Tensor wide = to(detail::dense(detail::converted(weights.detach(), DType::float64)), Device{});
    const Tensor y = Tensor::empty(rank == 2 ? Dims{rows, samples} : Dims{samples}, DType::int64);
    Words words(next_random_key(generator));
    std::vector<double> weight(n, 0.0), cumulative(n, 0.0);
    for (int64_t r = 0; r < rows; ++r) {
        std::copy_n(wide.data<double>() + r * n, n, weight.begin());
        const auto accumulate = [&] {
            double total = 0;
            for (int64_t i = 0; i < n; ++i) cumulative[size_t(i)] = total += weight[size_t(i)];
            LC_CHECK(total > 0 && std::isfinite(total), ValueError, "multinomial: the weights of row ", r, " add up to ", total,
                     "; they must be finite, not negative, and as many above zero as samples are drawn");
        };
        for (const double w : weight) LC_CHECK(w >= 0, ValueError, "multinomial: weight ", w, " in row ", r, " is negative or NaN");
        accumulate();
        for (int64_t s = 0; s < samples; ++s) {
            const double target = words.next_double() * cumulative.back();
            auto found = std::upper_bound(cumulative.begin(), cumulative.end(), target);
            if (found == cumulative.end()) found = std::lower_bound(cumulative.begin(), cumulative.end(), cumulative.back());    // rounded up
            const int64_t at = found - cumulative.begin();
            y.mutable_data<int64_t>()[r * samples + s] = at;
            if (replacement) continue;
            weight[size_t(at)] = 0;
            if (s + 1 < samples) accumulate();
        }
    }
    return to(y, weights.device());
}

}  // namespace lc
