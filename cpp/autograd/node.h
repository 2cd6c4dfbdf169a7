// The tape: nodes and edges. It knows no op; an op attaches its backward with record().
//
//   Tensor softmax(const Tensor& x, ...) {
//       ... check, allocate y, run ...
//       if (wants_grad({x}))
//           record("softmax", {x}, {y}, [y = Saved(y)](const Grads& dy) -> Tensors {
//               return {softmax_backward(dy[0], y())};
//           });
//       return y;
//   }
//
// The returned gradients stand in the order of the inputs; an undefined Tensor means none (allowed only where
// dy.needs(i) is false, or where the input has no dtype to have a gradient in).
//
// An op whose result is cheap to make again from what it saves says how, as a further argument of record(): then those
// who would save a large result keep its node instead, and the memory is free from forward to backward.
#pragma once
#include <functional>
#include <initializer_list>
#include <optional>
#include "cpp/core/tensor.h"

namespace lc {

LC_API bool grad_enabled();
LC_API void set_grad_enabled(bool);

struct NoGrad {                                       // for C++ callers; backward functions run under it
    NoGrad() : previous(grad_enabled()) { set_grad_enabled(false); }
    ~NoGrad() { set_grad_enabled(previous); }
    NoGrad(const NoGrad&) = delete;
    bool previous;
};

// True when a result of these inputs must carry history. Undefined tensors are allowed.
inline bool wants_grad(std::initializer_list<std::reference_wrapper<const Tensor>> inputs) {
    if (!grad_enabled()) return false;
    for (const Tensor& x : inputs)
        if (x && x.requires_grad()) return true;
    return false;
}

struct Edge {
    Ref<Node> node;                                   // null: no gradient wanted
    int output = 0;                                   // which output of node
};

using Edges = std::vector<Edge, PoolAllocator<Edge>>;

// The gradients on their way, by the edge they arrived at.
struct GradientSums {
    virtual const Tensor* find(const Edge&) const = 0;                       // null: none yet

protected:
    ~GradientSums() = default;
};

// What a backward function is given: one gradient per output (undefined: zero), and which inputs want one.
class LC_API Grads {
public:
    Grads(const Tensors& dy, const Edges& next, const GradientSums& sums) : dy_(dy), next_(next), sums_(sums) {}
    const Tensor& operator[](int output) const { return dy_[size_t(output)]; }
    int size() const { return int(dy_.size()); }
    bool needs(int input) const { return bool(next_[size_t(input)].node); }
    // The gradient that other nodes have sent to this input, dense, if nothing else can see its memory; else undefined.
    // A backward may add its own to it in place, and then returns none.
    Tensor own_sum(int input) const;

private:
    const Tensors& dy_;
    const Edges& next_;
    const GradientSums& sums_;
};

class LC_API Node : public RefCounted {
public:
    explicit Node(const char* name, int outputs = 1) : name(name), outputs(outputs) {}
    ~Node() override;

    virtual Tensors backward(const Grads& dy) = 0;
    virtual void release_saved() {}                   // after a backward that does not retain the graph
    virtual Tensor rebuild() { return {}; }           // its last output again, where `rebuilds`
    virtual std::string label() const { return name; }

    const char* name;
    int outputs;
    bool rebuilds = false;
    uint64_t order = 0;                               // creation order: the engine runs the youngest ready node first
    Edges next;                                       // one per input
    struct Hook {
        int id, output;
        std::function<Tensor(const Tensor&)> f;
    };
    std::vector<Hook> hooks;                          // on incoming gradients; may replace them
    std::vector<std::pair<int, TensorImpl*>> retained;   // outputs whose grad() is kept, not owned: each names this node

protected:
    void dispose() noexcept override;                 // iterative: a chain of 10^6 nodes must not overflow the stack
};

// A tensor kept for backward: no history of its own (so no cycle), and checked against in-place change. Large results of a
// node that rebuilds are made again when they are first asked for.
class LC_API Saved {
public:
    Saved() = default;
    explicit Saved(const Tensor& x) {
        if (!x) return;
        if (LC_UNLIKELY(x.numel() >= kRebuilt) && (maker_ = rebuilding_node(x))) return;
        x_ = x.detach();
        version_ = x.version();
    }
    const Tensor& operator()() const {                // RuntimeError if x was modified since
        if (LC_UNLIKELY(bool(maker_)) && !x_) rebuild();
        if (x_ && LC_UNLIKELY(x_.version() != version_)) raise_modified();
        return x_;
    }

private:
    static constexpr int64_t kRebuilt = 1 << 16;      // elements: below it memory is no matter
    static Ref<Node> rebuilding_node(const Tensor& x);
    void rebuild() const;
    [[noreturn]] void raise_modified() const;
    mutable Tensor x_;
    uint32_t version_ = 0;
    Ref<Node> maker_;
};

namespace detail {
LC_API void attach(const Ref<Node>&, std::initializer_list<std::reference_wrapper<const Tensor>> inputs,
                   std::initializer_list<std::reference_wrapper<const Tensor>> outputs);
LC_API void attach(const Ref<Node>&, const Tensors& inputs, const Tensors& outputs);
[[noreturn]] LC_API void raise_released(const char* name);

template <class F> struct FunctionNode final : Node {
    FunctionNode(const char* name, int outputs, F f) : Node(name, outputs), f(std::move(f)) {}
    Tensors backward(const Grads& dy) override {
        if (LC_UNLIKELY(!f)) raise_released(name);
        return (*f)(dy);
    }
    void release_saved() override { f.reset(); }
    std::optional<F> f;
};
template <class F, class R> struct RebuildingNode final : Node {
    RebuildingNode(const char* name, F f, R r) : Node(name), f(std::move(f)), r(std::move(r)) { rebuilds = true; }
    Tensors backward(const Grads& dy) override {
        if (LC_UNLIKELY(!f)) raise_released(name);
        return (*f)(dy);
    }
    Tensor rebuild() override {
        if (LC_UNLIKELY(!r)) raise_released(name);
        return (*r)();
    }
    void release_saved() override {
        f.reset();
        r.reset();
    }
    std::optional<F> f;
    std::optional<R> r;
};
}  // namespace detail

// Attaches `backward` (const Grads&) -> Tensors to the outputs.
template <class F>
void record(const char* op, std::initializer_list<std::reference_wrapper<const Tensor>> inputs,
            std::initializer_list<std::reference_wrapper<const Tensor>> outputs, F backward) {
    detail::attach(make<detail::FunctionNode<F>>(op, int(outputs.size()), std::move(backward)), inputs, outputs);
}
template <class F, class R>                           // rebuild: () -> the output, the same bits as in forward
void record(const char* op, std::initializer_list<std::reference_wrapper<const Tensor>> inputs,
            std::initializer_list<std::reference_wrapper<const Tensor>> outputs, F backward, R rebuild) {
    detail::attach(make<detail::RebuildingNode<F, R>>(op, std::move(backward), std::move(rebuild)), inputs, outputs);
}
template <class F> void record(const char* op, const Tensors& inputs, const Tensors& outputs, F backward) {
    detail::attach(make<detail::FunctionNode<F>>(op, int(outputs.size()), std::move(backward)), inputs, outputs);
}

// For an op without a gradient: raises when one is asked for.
LC_API void no_gradient(const char* op, const Tensor& x);

// In-place writes: refuses tensors that carry history or leaves that require grad in grad mode; bumps the version.
LC_API void check_inplace(const char* op, const Tensor& x);

struct LC_API AutogradMeta {
    ~AutogradMeta();
    static void* operator new(size_t bytes) { return pool_allocate(bytes); }
    static void operator delete(void* p, size_t bytes) noexcept { pool_release(p, bytes); }

    bool requires_grad = false;                       // leaf only
    Tensor grad;
    Ref<Node> grad_fn;                                // non-leaf: the node this is an output of
    int output = 0;
    Ref<Node> accumulator;                            // leaf: the node that adds into grad
};

// Runs the tape from `roots`; gradients land in the leaves' grad. dy: one per root, undefined for a scalar root (1).
LC_API void backward(const Tensors& roots, const Tensors& dy, bool retain_graph = false);
// Gradients of roots with respect to inputs, leaving every .grad alone. allow_unused: undefined instead of an error.
LC_API Tensors grad(const Tensors& roots, const Tensors& inputs, const Tensors& dy, bool retain_graph, bool allow_unused);

LC_API int add_hook(const Tensor& x, std::function<Tensor(const Tensor&)>);   // may replace the gradient
LC_API void remove_hook(const Tensor& x, int id);
LC_API void retain_grad(const Tensor& x);

// What the engine needs of ops, defined by them.
LC_API Tensor sum_gradients(const Tensor& a, const Tensor& b);      // a + b for two gradients of one tensor
LC_API void add_gradient(const Tensor& a, const Tensor& b);         // a += b, in a's memory
LC_API bool ours_alone(const Tensor& g);                            // no other handle, no view, no Python object
LC_API Tensor own_gradient(const Tensor& g);                        // g, or a contiguous copy if others hold it or its memory

}  // namespace lc
