#include "cpp/autograd/node.h"
#include <algorithm>
#include <atomic>
#include "cpp/autograd/accumulate.h"

namespace lc {
namespace {

thread_local bool enabled = true;
std::atomic<uint64_t> nodes_made{0};

AutogradMeta& meta(const Tensor& x) {
    if (!x.impl()->autograd) x.impl()->autograd = std::make_unique<AutogradMeta>();
    return *x.impl()->autograd;
}
const AutogradMeta* find_meta(const Tensor& x) { return x.impl()->autograd.get(); }

Edge edge_of(const Tensor& x) {
    if (!x || !x.requires_grad()) return {};
    AutogradMeta& m = meta(x);
    if (m.grad_fn) return {m.grad_fn, m.output};
    return {accumulator_of(x), 0};
}

template <class List> void attach_to(const Ref<Node>& node, const List& inputs, const List& outputs) {
    node->order = nodes_made.fetch_add(1, std::memory_order_relaxed) + 1;      // 0 is the accumulators'
    node->next.reserve(inputs.size());
    for (const Tensor& x : inputs) node->next.push_back(edge_of(x));
    int i = 0;
    for (const Tensor& y : outputs) {
        if (y && is_floating(y.dtype())) {
            AutogradMeta& m = meta(y);
            m.grad_fn = node;
            m.output = i;
        }
        ++i;
    }
}

// Nodes whose last reference went away while another is being destroyed wait here instead of recursing.
thread_local std::vector<Node*>* condemned = nullptr;

}  // namespace

bool grad_enabled() { return enabled; }
void set_grad_enabled(bool on) { enabled = on; }

Node::~Node() = default;

void Node::dispose() noexcept {
    if (condemned) {
        condemned->push_back(this);
        return;
    }
    std::vector<Node*> queue{this};
    condemned = &queue;
    while (!queue.empty()) {
        Node* node = queue.back();
        queue.pop_back();
        delete node;
    }
    condemned = nullptr;
}

// Only where x is what its node made: not a view of it, nor changed since.
Ref<Node> Saved::rebuilding_node(const Tensor& x) {
    const AutogradMeta* m = find_meta(x);
    return m && m->grad_fn && m->grad_fn->rebuilds && m->output == m->grad_fn->outputs - 1 && x.version() == 0 ? m->grad_fn : Ref<Node>();
}

void Saved::rebuild() const {
    const NoGrad off;
    x_ = maker_->rebuild();
}

void Saved::raise_modified() const {
    throw Error(text("backward: a tensor of shape ", x_.sizes(), " needed for the gradient was modified in place (version ", x_.version(),
                     ", saved at ", version_, "); clone() it before changing it"));
}

namespace detail {
void attach(const Ref<Node>& node, std::initializer_list<std::reference_wrapper<const Tensor>> inputs,
            std::initializer_list<std::reference_wrapper<const Tensor>> outputs) { attach_to(node, inputs, outputs); }
void attach(const Ref<Node>& node, const Tensors& inputs, const Tensors& outputs) { attach_to(node, inputs, outputs); }

void raise_released(const char* name) {
    throw Error(text("backward: the tensors saved by ", name, " were freed by an earlier backward(); pass retain_graph=True to that one"));
}
}  // namespace detail

void no_gradient(const char* op, const Tensor& x) {
    LC_CHECK(!wants_grad({x}), Error, op, ": has no gradient, and its input requires one; use detach() or no_grad()");
}

void check_inplace(const char* op, const Tensor& x) {
    LC_CHECK(!grad_enabled() || !x.requires_grad(), Error, op, ": in-place change of a tensor that requires grad; do it under no_grad(), ",
             "or use the out-of-place form");
    LC_CHECK(!x.storage()->read_only, ValueError, op, ": the memory is read-only; clone() it before writing");
    for (int i = 0; i < x.dim(); ++i)
        LC_CHECK(x.stride(i) != 0 || x.size(i) <= 1 || x.numel() == 0, ValueError, op, ": writing to an expanded tensor, where one element stands for many; clone() it first");
    x.bump_version();
}

// ---- the autograd half of Tensor ------------------------------------------------------------------------------------

bool Tensor::requires_grad() const {
    const AutogradMeta* m = find_meta(*this);
    return m && (m->requires_grad || m->grad_fn);
}

void Tensor::set_requires_grad(bool on) const {
    LC_CHECK(!on || is_floating(dtype()), Error, "requires_grad_: only floating-point tensors can require gradients, this one is ", dtype());
    LC_CHECK(on || is_leaf(), Error, "requires_grad_: this tensor is a result; use detach() to get one without history");
    if (on && is_leaf()) meta(*this).requires_grad = true;
    if (!on && find_meta(*this)) meta(*this).requires_grad = false;
}

bool Tensor::is_leaf() const { return !grad_fn(); }

Tensor Tensor::grad() const {
    const AutogradMeta* m = find_meta(*this);
    if (Plan* plan = recording(); LC_UNLIKELY(plan != nullptr)) plan->expect_grad(impl(), m ? m->grad.impl() : nullptr);
    return m ? m->grad : Tensor();
}

void Tensor::set_grad(const Tensor& g) const {
    if (g) {
        LC_CHECK(g.sizes() == sizes(), ValueError, "grad: shape ", g.sizes(), " for a tensor of shape ", sizes());
        LC_CHECK(g.dtype() == dtype(), TypeError, "grad: dtype ", g.dtype(), " for a tensor of ", dtype());
    }
    if (!g && !find_meta(*this)) return;
    meta(*this).grad = g;
    if (Plan* plan = recording(); LC_UNLIKELY(plan != nullptr)) {
        plan->sets_grad(impl(), g.impl());
        plan->add([x = *this, g] {
            meta(x).grad = g;
            if (g) g.bump_version();
        });
    }
}

Ref<Node> Tensor::grad_fn() const {
    const AutogradMeta* m = find_meta(*this);
    return m ? m->grad_fn : Ref<Node>();
}

Tensor Tensor::detach() const {
    Ref<TensorImpl> out = make<TensorImpl>();
    out->storage = impl_->storage;
    out->offset = impl_->offset;
    out->dtype = impl_->dtype;
    out->sizes = impl_->sizes;
    out->strides = impl_->strides;
    out->numel = impl_->numel;
    out->contiguous = impl_->contiguous;
    return Tensor(std::move(out));
}

}  // namespace lc
