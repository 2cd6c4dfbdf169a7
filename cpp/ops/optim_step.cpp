#include "cpp/ops/optim_step.h"
#include <array>
#include <cmath>
#include <optional>
#include "cpp/autograd/node.h"
#include "cpp/ops/copy.h"

namespace lc {
namespace {

constexpr int64_t kChunk = 1 << 14;                   // elements: some 10 us of work, enough pieces to share out evenly

// One parameter of a step, checked. Written in place; where p is not contiguous, in a copy that is written back.
struct Entry {
    size_t index;
    Tensor p, g, master, target;
    std::array<Tensor, 3> state;
};
using Lists = std::array<const Tensors*, 3>;

DType state_dtype(DType t) { return t == DType::float64 ? t : DType::float32; }

void check_state(const char* op, size_t index, const Tensor& state, const Tensor& p) {
    LC_CHECK(state.sizes() == p.sizes() && state.dtype() == state_dtype(p.dtype()) && state.is_contiguous(), ValueError, op, ": the state of parameter ",
             index, " is ", state.dtype(), " ", state.sizes(), ", needs contiguous ", state_dtype(p.dtype()), " ", p.sizes());
}

// The parameters that have a gradient; nothing if one lacks a state.
std::optional<std::vector<Entry>> gather(const char* op, const OptimParameters& a, const Lists& lists) {
    const size_t n = a.params.size();
    LC_CHECK(a.masters.empty() || a.masters.size() == n, ValueError, op, ": ", n, " parameters but ", a.masters.size(), " master weights");
    LC_CHECK(!a.steps || (a.steps.numel() == int64_t(n) && a.steps.dtype() == DType::float32 && a.steps.is_contiguous()), ValueError, op,
             ": steps must be float32 [", n, "]");
    for (const Tensors* list : lists) {
        if (list && list->empty() && n) return std::nullopt;
        LC_CHECK(!list || list->size() == n, ValueError, op, ": ", n, " parameters but ", list->size(), " states");
    }

    std::vector<Entry> entries;
    entries.reserve(n);
    for (size_t i = 0; i < n; ++i) {
        const Tensor& p = a.params[i];
        LC_CHECK(p, TypeError, op, ": parameter ", i, " is None");
        const Tensor g = p.grad();
        if (!g) continue;
        LC_CHECK(is_floating(p.dtype()), TypeError, op, ": parameter ", i, " is ", p.dtype(), ", needs a floating-point dtype");
        LC_CHECK(g.sizes() == p.sizes() && g.dtype() == p.dtype(), ValueError, op, ": parameter ", i, " is ", p.dtype(), " ", p.sizes(),
                 ", its gradient ", g.dtype(), " ", g.sizes());
        check_inplace(op, p);
        Entry e{i, p.is_contiguous() ? p : clone(p), contiguous(g), {}, p, {}};
        for (size_t s = 0; s < lists.size(); ++s) {
            if (!lists[s]) continue;
            e.state[s] = (*lists[s])[i];
            if (!e.state[s]) return std::nullopt;
            check_state(op, i, e.state[s], p);
        }
        if (!a.masters.empty() && state_dtype(p.dtype()) != p.dtype()) {
            e.master = a.masters[i];
            if (!e.master) return std::nullopt;
            check_state(op, i, e.master, p);
        }
        entries.push_back(std::move(e));
    }
    return entries;
}

struct Scalars {
    double scale = 0, shrink = 0;
};

template <class T> acc_t<T>* pointer(const Tensor& x, Device d) { return x ? x.mutable_data_on<acc_t<T>>(d) : nullptr; }

template <class T> void add_chunks(std::vector<OptimChunk<T>>& chunks, OptimChunk<T> whole, int64_t n, Device d) {
    const int64_t most = d.is_cpu() ? kChunk : n;     // a kernel launch cuts tensors up itself
    for (int64_t begin = 0; begin < n; begin += most) {
        OptimChunk<T> c = whole;
        c.n = n - begin < most ? n - begin : most;
        if (c.p) c.p += begin;
        if (c.g) c.g += begin;
        if (c.master) c.master += begin;
        for (auto& s : c.state)
            if (s) s += begin;
        chunks.push_back(c);
    }
}

// Where all entries are.
Device device_of(const char* op, const std::vector<Entry>& entries) {
    const Device d = entries.empty() ? Device{} : entries[0].p.device();
    for (const Entry& e : entries)
        LC_CHECK(e.p.device() == d, ValueError, op, ": parameter ", e.index, " is on ", e.p.device(), ", others on ", d, "; give every device an optimizer of its own");
    return d;
}

// run.operator()<T>(list, device) for the entries of each dtype.
template <class GetScalars, class Run> void step(const char* op, const std::vector<Entry>& entries, GetScalars scalars, Run run) {
    bool done[kDTypes] = {};
    const Device d = device_of(op, entries);
    for (const Entry& first : entries) {
        const DType dtype = first.p.dtype();
        if (std::exchange(done[int(dtype)], true)) continue;
        visit_float_storage(dtype, op, [&]<class T>() {
            std::vector<OptimChunk<T>> chunks;
            int64_t elements = 0;
            for (const Entry& e : entries) {
                if (e.p.dtype() != dtype) continue;
                const Scalars s = scalars(e.index);
                add_chunks<T>(chunks, {e.p.mutable_data_on<T>(d), e.g.data_on<T>(d), pointer<T>(e.master, d), {pointer<T>(e.state[0], d), pointer<T>(e.state[1], d), pointer<T>(e.state[2], d)}, 0, acc_t<T>(s.scale), acc_t<T>(s.shrink)}, e.p.numel(), d);
                elements += e.p.numel();
            }
            run.template operator()<T>(OptimList<T>{chunks.data(), int64_t(chunks.size()), elements}, d);
        });
    }
    for (const Entry& e : entries) {
        if (e.p.impl() != e.target.impl()) copy_(e.target, e.p);     // check_inplace bumped its version
        for (const Tensor& s : e.state)
            if (s) s.bump_version();
        if (e.master) e.master.bump_version();
    }
}

// Counts the step of every entry; its number, from 1.
float* count(const std::vector<Entry>& entries, const Tensor& steps) {
    float* t = steps.mutable_data<float>();
    for (const Entry& e : entries) t[e.index] += 1;
    steps.bump_version();
    return t;
}

// f.operator()<T>(list) over the gradients `p` of the entries, dtype by dtype.
template <class F> void each_dtype(const std::vector<Entry>& entries, Device d, F&& f) {
    bool done[kDTypes] = {};
    for (const Entry& first : entries) {
        const DType dtype = first.p.dtype();
        if (std::exchange(done[int(dtype)], true)) continue;
        visit_float_storage(dtype, "total_norm", [&]<class T>() {
            std::vector<OptimChunk<T>> chunks;
            int64_t elements = 0;
            for (const Entry& e : entries)
                if (e.p.dtype() == dtype) {
                    add_chunks<T>(chunks, {nullptr, e.p.data_on<T>(d), nullptr, {}, 0, 0, 0}, e.p.numel(), d);
                    elements += e.p.numel();
                }
            f.template operator()<T>(OptimList<T>{chunks.data(), int64_t(chunks.size()), elements});
        });
    }
}

// The norm of all entries as one vector, into `norm`.
void norm_of(const std::vector<Entry>& entries, int kind, const Tensor& norm) {
    double total = 0;
    each_dtype(entries, Device{}, [&]<class T>(const OptimList<T>& list) {
        std::vector<double> parts(size_t(list.count));
        cpu::norm_parts<T>({list, kind, parts.data()});
        for (double part : parts)
            if (kind) total += part;
            else if (!(part <= total)) total = std::isnan(total) ? total : part;
    });
    if (kind == 2) total = std::sqrt(total);
    visit_float(norm.dtype(), "total_norm", [&]<class T>() { *norm.mutable_data<T>() = T(total); });
}
void norm_on_device(const std::vector<Entry>& entries, int kind, const Tensor& norm) {
    const Device d = norm.device();
    const Tensor sum = Tensor::zeros({}, DType::float64, d);
    cuda::use(d);
    each_dtype(entries, d, [&]<class T>(const OptimList<T>& list) { cuda::norm_sum<T>({list, kind, sum.mutable_data_on<double>(d)}); });
    visit_float(norm.dtype(), "total_norm", [&]<class T>() { cuda::norm_finish<T>({sum.data_on<double>(d), kind, norm.mutable_data_on<T>(d)}); });
}

void clip(const Tensors& tensors, const Tensor& norm, double max_norm) {
    NoGrad no_grad;
    double factor = 1;
    const Device d = norm.device();
    if (d.is_cpu()) {
        visit_float(norm.dtype(), "clip_by_norm_", [&]<class T>() { factor = double(T(max_norm) / (*norm.data<T>() + T(1e-6))); });
        if (factor >= 1) return;                      // a NaN goes on, and shows
    }

    std::vector<Entry> entries;
    for (size_t i = 0; i < tensors.size(); ++i) {
        check_inplace("clip_by_norm_", tensors[i]);
        const Tensor x = tensors[i].is_contiguous() ? tensors[i] : clone(tensors[i]);
        entries.push_back({i, x, x, {}, tensors[i], {}});
    }
    step("clip_by_norm_", entries, [](size_t) { return Scalars{}; }, [&]<class T>(const OptimList<T>& list, Device at) {
        check_same_device("clip_by_norm_", at, d);
        if (d.is_cpu()) return cpu::scale_gradients<T>({list, acc_t<T>(factor)});
        const bool wide = norm.dtype() == DType::float64;
        cuda::use(d);
        cuda::clip_gradients<T>({list, wide ? nullptr : norm.data_on<float>(d), wide ? norm.data_on<double>(d) : nullptr, max_norm}); });
}

const Tensors* used(const Tensors& list, bool wanted) { return wanted ? &list : nullptr; }

}  // namespace

bool sgd_step(const OptimParameters& a, const Tensors& momentum_buffers, const SgdOptions& o) {
    NoGrad no_grad;
    const auto entries = gather("sgd_step", a, {used(momentum_buffers, o.momentum != 0), nullptr, nullptr});
    if (!entries) return false;
    const float* t = o.momentum != 0 ? count(*entries, a.steps) : nullptr;
    const auto scalars = [&](size_t i) { return t && t[i] == 1 ? Scalars{0, 1} : Scalars{o.momentum, 1 - o.dampening}; };
    step("sgd_step", *entries, scalars, [&]<class T>(const OptimList<T>& list, Device d) {
        on::sgd_step<T>(d, {list, acc_t<T>(o.lr), acc_t<T>(o.momentum), acc_t<T>(o.weight_decay), o.nesterov, o.maximize});
    });
    return true;
}

bool adam_step(const OptimParameters& a, const Tensors& exp_avgs, const Tensors& exp_avg_sqs, const Tensors& max_exp_avg_sqs, const AdamOptions& o) {
    NoGrad no_grad;
    const auto entries = gather("adam_step", a, {&exp_avgs, &exp_avg_sqs, used(max_exp_avg_sqs, o.amsgrad)});
    if (!entries) return false;
    const float* t = count(*entries, a.steps);
    const auto scalars = [&](size_t i) {
        const double s = std::sqrt(1 - std::pow(o.beta2, double(t[i])));
        return Scalars{o.lr * s / (1 - std::pow(o.beta1, double(t[i]))), o.eps * s};
    };
    step("adam_step", *entries, scalars, [&]<class T>(const OptimList<T>& list, Device d) {
        using A = acc_t<T>;
        on::adam_step<T>(d, {list, A(o.lr), A(1 - o.beta1), A(o.beta2), A(1 - o.beta2), A(o.weight_decay), o.decoupled, o.maximize});
    });
    return true;
}

bool rmsprop_step(const OptimParameters& a, const Tensors& square_avgs, const Tensors& momentum_buffers, const Tensors& grad_avgs,
                  const RmspropOptions& o) {
    NoGrad no_grad;
    const auto entries = gather("rmsprop_step", a, {&square_avgs, used(momentum_buffers, o.momentum > 0), used(grad_avgs, o.centered)});
    if (!entries) return false;
    count(*entries, a.steps);
    step("rmsprop_step", *entries, [](size_t) { return Scalars{}; }, [&]<class T>(const OptimList<T>& list, Device d) {
        using A = acc_t<T>;
        on::rmsprop_step<T>(d, {list, A(o.lr), A(o.alpha), A(1 - o.alpha), A(o.eps), A(o.momentum), A(o.weight_decay), o.maximize}); });
    return true;
}

// ---- norms ----------------------------------------------------------------------------------------------------------

Tensor total_norm(const Tensors& tensors, double order) {
    LC_CHECK(order == 1 || order == 2 || (std::isinf(order) && order > 0), ValueError, "total_norm: order must be 1, 2 or infinity, is ", order);
    for (size_t i = 0; i < tensors.size(); ++i) {
        LC_CHECK(tensors[i], TypeError, "total_norm: tensor ", i, " is None");
        no_gradient("total_norm", tensors[i]);
    }
    NoGrad no_grad;
    const int kind = std::isinf(order) ? 0 : int(order);
    std::vector<Entry> entries;
    for (size_t i = 0; i < tensors.size(); ++i) {
        entries.push_back({i, contiguous(tensors[i]), {}, {}, {}, {}});
    }
    const Tensor norm = Tensor::empty({}, entries.empty() ? DType::float32 : state_dtype(entries[0].p.dtype()), device_of("total_norm", entries));
    replayable([entries = std::move(entries), norm, kind] { norm.device().is_cpu() ? norm_of(entries, kind, norm) : norm_on_device(entries, kind, norm); });
    return norm;
}

void clip_by_norm_(const Tensors& tensors, const Tensor& norm, double max_norm) {
    LC_CHECK(norm && norm.numel() == 1, ValueError, "clip_by_norm_: norm must be one number");
    for (size_t i = 0; i < tensors.size(); ++i) LC_CHECK(tensors[i], TypeError, "clip_by_norm_: tensor ", i, " is None");
    replayable([tensors, norm, max_norm] { clip(tensors, norm, max_norm); });
}

}  // namespace lc
