// Runs the tape. Nodes are made after the nodes they depend on, so taking the youngest waiting node first is a
// topological order: no counting of dependencies, no recursion.
#include <algorithm>
#include <unordered_map>
#include <unordered_set>
#include "cpp/autograd/accumulate.h"

namespace lc {
LC_API void fill_(const Tensor& y, double value);     // of cpp/ops/copy.cpp

namespace {

class Run final : public GradientSums {
public:
    explicit Run(bool retain_graph) : retain_graph_(retain_graph) { waiting_.reserve(16); }

    void seed(const Tensor& root, const Tensor& dy) {
        const AutogradMeta& m = *root.impl()->autograd;
        if (m.grad_fn) arrive({m.grad_fn, m.output}, dy);
        else arrive({accumulator_of(root), 0}, dy);
    }

    // The gradient that reaches output `i` of `node` is kept here instead of going on into a leaf.
    void capture(Node* node, int output, Tensor* place) { captures_[node].push_back({output, place}); }

    // For grad(): only nodes on the way from the roots to a captured one are run.
    void keep_useful(const Tensors& roots) {
        std::unordered_set<const Node*> seen;
        std::vector<const Node*> nodes, open;
        for (const Tensor& root : roots) open.push_back(root.impl()->autograd->grad_fn.get());
        while (!open.empty()) {
            const Node* node = open.back();
            open.pop_back();
            if (!node || !seen.insert(node).second) continue;
            nodes.push_back(node);
            for (const Edge& to : node->next) open.push_back(to.node.get());
        }
        std::sort(nodes.begin(), nodes.end(), [](const Node* a, const Node* b) { return a->order < b->order; });
        const auto leads_on = [this](const Edge& to) { return useful_.contains(to.node.get()); };
        for (const Node* node : nodes)                                       // a node is younger than all that it leads to
            if (captures_.contains(const_cast<Node*>(node)) || std::any_of(node->next.begin(), node->next.end(), leads_on)) useful_.insert(node);
    }

    const Tensor* find(const Edge& to) const override {
        const auto at = std::lower_bound(waiting_.begin(), waiting_.end(), to.node.get(), older);
        if (at == waiting_.end() || at->node != to.node || !at->dy[size_t(to.output)]) return nullptr;
        return &at->dy[size_t(to.output)];
    }

    void run() {
        const NoGrad off;
        while (!waiting_.empty()) {
            Waiting w = std::move(waiting_.back());
            waiting_.pop_back();
            step(*w.node, w.dy);
        }
    }

private:
    struct Waiting {
        Ref<Node> node;
        Tensors dy;
    };

    void step(Node& node, Tensors& dy) {
        if (!node.hooks.empty()) run_hooks(node, dy);
        for (const auto& [output, impl] : node.retained)
            if (const Tensor& g = dy[size_t(output)]) {
                const Tensor y{Ref<TensorImpl>(impl)};
                y.set_grad(y.grad() ? sum_gradients(y.grad(), g) : g);
            }
        if (!captures_.empty()) {
            if (auto found = captures_.find(&node); found != captures_.end())
                for (const auto& [output, place] : found->second) *place = dy[size_t(output)];
            if (node.order == 0) return;                                     // grad(): leaves are left alone
        }

        Edges useful;
        if (!captures_.empty() && !find_useful_edges(node, useful)) return;
        const Edges& next = captures_.empty() ? node.next : useful;
        Tensors dx = node.backward(Grads(dy, next, *this));
        LC_CHECK(dx.size() <= node.next.size(), Error, node.label(), ": backward returned ", dx.size(), " gradients for ",
                 node.next.size(), " inputs");
        if (!retain_graph_) node.release_saved();
        dy.clear();
        for (size_t i = 0; i < dx.size(); ++i)
            if (dx[i] && next[i].node) arrive(next[i], std::move(dx[i]));
    }

    bool find_useful_edges(const Node& node, Edges& next) const {
        next = node.next;
        bool any = false;
        for (Edge& to : next)
            if (useful_.contains(to.node.get())) any = true;
            else to.node = {};
        return any;
    }

    static void run_hooks(Node& node, Tensors& dy) {
        const std::vector<Node::Hook> hooks = node.hooks;                    // a hook may remove itself
        for (const Node::Hook& hook : hooks)
            if (Tensor& g = dy[size_t(hook.output)])
                if (Tensor replaced = hook.f(g)) g = std::move(replaced);
    }

    static bool older(const Waiting& w, const Node* node) {
        return w.node->order != node->order ? w.node->order < node->order : w.node.get() < node;
    }

    // Mostly a chain with few branches: the place of a node is near the end.
    void arrive(const Edge& to, Tensor dy) {
        auto at = std::lower_bound(waiting_.begin(), waiting_.end(), to.node.get(), older);
        if (at == waiting_.end() || at->node != to.node) at = waiting_.insert(at, {to.node, Tensors(size_t(to.node->outputs))});
        Tensor& sum = at->dy[size_t(to.output)];
        sum = sum ? sum_gradients(sum, dy) : std::move(dy);
    }

    bool retain_graph_;
    std::vector<Waiting, PoolAllocator<Waiting>> waiting_;                   // by age, the youngest last
    std::unordered_map<Node*, std::vector<std::pair<int, Tensor*>>> captures_;
    std::unordered_set<const Node*> useful_;
};

Tensor first_gradient(const Tensor& root, const Tensor& dy) {
    LC_CHECK(root && root.requires_grad(), Error, "backward: the tensor does not require grad and has no grad_fn; ",
             "make an input with requires_grad=True");
    if (!dy) {
        LC_CHECK(root.numel() == 1, Error, "backward: a gradient is needed for a tensor of shape ", root.sizes(),
                 "; only a tensor of one element has the implicit gradient 1");
        Tensor one = Tensor::empty(root.sizes(), root.dtype(), root.device());
        if (!root.device().is_cpu()) {
            fill_(one, 1);
            return one;
        }
        visit_float_storage(root.dtype(), "backward", [&]<class T> { *one.mutable_data<T>() = from_float<T>(1); });
        host_wrote(one.mutable_raw(), one.storage()->bytes);
        return one;
    }
    LC_CHECK(dy.sizes() == root.sizes(), ValueError, "backward: gradient of shape ", dy.sizes(), " for a tensor of shape ", root.sizes());
    LC_CHECK(dy.dtype() == root.dtype(), TypeError, "backward: gradient of ", dy.dtype(), " for a tensor of ", root.dtype());
    check_same_device("backward", dy.device(), root.device());
    return dy;
}

void seed_all(Run& run, const Tensors& roots, const Tensors& dy) {
    LC_CHECK(dy.empty() || dy.size() == roots.size(), ValueError, "backward: ", dy.size(), " gradients for ", roots.size(), " tensors");
    for (size_t i = 0; i < roots.size(); ++i) run.seed(roots[i], first_gradient(roots[i], dy.empty() ? Tensor() : dy[i]));
}

int next_hook_id = 0;

}  // namespace

Tensor Grads::own_sum(int input) const {
    const Tensor* sum = needs(input) ? sums_.find(next_[size_t(input)]) : nullptr;
    return sum && ours_alone(*sum) && sum->is_contiguous() ? *sum : Tensor();
}

void backward(const Tensors& roots, const Tensors& dy, bool retain_graph) {
    Run run(retain_graph);
    seed_all(run, roots, dy);
    run.run();
}

Tensors grad(const Tensors& roots, const Tensors& inputs, const Tensors& dy, bool retain_graph, bool allow_unused) {
    Run run(retain_graph);
    Tensors out(inputs.size());
    for (size_t i = 0; i < inputs.size(); ++i) {
        LC_CHECK(inputs[i] && inputs[i].requires_grad(), Error, "grad: input ", i, " does not require grad");
        const AutogradMeta& m = *inputs[i].impl()->autograd;
        run.capture(m.grad_fn ? m.grad_fn.get() : accumulator_of(inputs[i]).get(), m.grad_fn ? m.output : 0, &out[i]);
    }
    seed_all(run, roots, dy);
    run.keep_useful(roots);
    run.run();
    for (size_t i = 0; i < out.size() && !allow_unused; ++i)
        LC_CHECK(out[i], Error, "grad: input ", i, " is not part of the graph of the outputs; pass allow_unused=True to get None");
    return out;
}

// ---- leaves ------------------------------------------------------------------------------------------------------------

Tensors Accumulate::backward(const Grads& dy) {
    if (!leaf_) return {};                            // the leaf is gone, nobody can ask for its gradient
    const Tensor x{Ref<TensorImpl>(leaf_)};
    LC_CHECK(dy[0].sizes() == x.sizes(), Error, "backward: a gradient of shape ", dy[0].sizes(), " arrived at a leaf of shape ", x.sizes());
    if (recording() && x.grad()) add_gradient(x.grad(), dy[0]);              // a replay finds the sum in the same memory
    else x.set_grad(x.grad() ? sum_gradients(x.grad(), dy[0]) : own_gradient(dy[0]));
    return {};
}

Ref<Node> accumulator_of(const Tensor& leaf) {
    AutogradMeta& m = *leaf.impl()->autograd;
    if (!m.accumulator) m.accumulator = make<Accumulate>(leaf);
    return m.accumulator;
}

AutogradMeta::~AutogradMeta() {
    if (accumulator) static_cast<Accumulate*>(accumulator.get())->forget();
    if (grad_fn)                                      // a retained gradient has nowhere to go any more
        std::erase_if(grad_fn->retained, [this](const auto& r) { return r.second->autograd.get() == this; });
}

// ---- hooks -------------------------------------------------------------------------------------------------------------

int add_hook(const Tensor& x, std::function<Tensor(const Tensor&)> f) {
    LC_CHECK(x.requires_grad(), Error, "register_hook: the tensor does not require grad");
    const AutogradMeta& m = *x.impl()->autograd;
    Node& node = m.grad_fn ? *m.grad_fn : *accumulator_of(x);
    structure_changed();
    node.hooks.push_back({++next_hook_id, m.grad_fn ? m.output : 0, std::move(f)});
    return next_hook_id;
}

void remove_hook(const Tensor& x, int id) {
    const AutogradMeta* m = x.impl()->autograd.get();
    if (!m) return;
    structure_changed();
    for (Node* node : {m->grad_fn.get(), m->accumulator.get()})
        if (node) std::erase_if(node->hooks, [id](const Node::Hook& h) { return h.id == id; });
}

void retain_grad(const Tensor& x) {
    LC_CHECK(x.requires_grad(), Error, "retain_grad: the tensor does not require grad");
    const AutogradMeta& m = *x.impl()->autograd;
    if (m.grad_fn) m.grad_fn->retained.push_back({m.output, x.impl()});
}

}  // namespace lc
