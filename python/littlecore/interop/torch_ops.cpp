// The custom ops of littlecore.interop.torch, compiled: on PyTorch's stack of values, recorded by its autograd, and its tensors
// read and made without Python. build_torch.py compiles this for the PyTorch it finds and writes torch_table.h, the kernels.
#include <ATen/EmptyTensor.h>
#include <ATen/ops/empty.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/csrc/autograd/python_variable.h>
#include <torch/library.h>
#include "littlecore_dlpack.h"

namespace {

using torch::jit::Stack;

enum class Layout { contiguous,
                    dense_last_axis,
                    any };

struct Input {
    Layout layout;
    bool in_place;
};

struct Kernel {
    const char* name;
    std::vector<Input> inputs;
    std::vector<bool> optional;                       // of each output
    std::vector<char> options;                        // d: double, i: int, b: bool, 2: two int
    const char* backward;                             // null: nothing is recorded; empty: a gradient is refused
    std::vector<int> saved;                           // backward's inputs after the first, among inputs, then outputs
    std::vector<int> gradients;                       // the input that each output of backward belongs to
    std::vector<int> shared;                          // the options that backward takes, too

    bool takes_needs() const { return std::find(optional.begin(), optional.end(), true) != optional.end(); }
    size_t arguments() const { return inputs.size() + options.size() + takes_needs(); }
};

#include "torch_table.h"

constexpr int kMaxArguments = 16, kMaxWords = 64;

// ---- tensors ----------------------------------------------------------------------------------------------------------

at::ScalarType scalar_type(DLDataType t) {
    if (t.code == kDLBfloat) return at::kBFloat16;
    if (t.code == kDLInt) return at::kLong;
    return t.bits == 64 ? at::kDouble : t.bits == 32 ? at::kFloat
                                                     : at::kHalf;
}

DLDataType dlpack_type(at::ScalarType t) {
    const auto bits = uint8_t(8 * c10::elementSize(t));
    switch (t) {
        case at::kBFloat16: return {kDLBfloat, bits, 1};
        case at::kBool: return {kDLBool, bits, 1};
        case at::kByte: return {kDLUInt, bits, 1};
        case at::kChar:
        case at::kShort:
        case at::kInt:
        case at::kLong: return {kDLInt, bits, 1};
        case at::kHalf:
        case at::kFloat:
        case at::kDouble: return {kDLFloat, bits, 1};
        default: return {5, bits, 1};                 // complex, and what no kernel takes
    }
}

c10::Device device_of(DLDevice d) {
    return d.device_type == kDLCUDA ? c10::Device(at::kCUDA, c10::DeviceIndex(d.device_id)) : c10::Device(at::kCPU);
}

DLTensor view(const at::Tensor& x) {
    TORCH_CHECK_TYPE((x.is_cpu() || x.is_cuda()) && x.layout() == at::kStrided, "littlecore: a tensor is ", x.layout(), " on ", x.device(), ", these kernels run on CPU and CUDA");
    TORCH_CHECK_VALUE(!x.is_neg(), "littlecore: a tensor is a view that negates; call resolve_neg()");
    return {const_cast<void*>(x.const_data_ptr()), x.is_cpu() ? DLDevice{kDLCPU, 0} : DLDevice{kDLCUDA, int32_t(x.get_device())}, int32_t(x.dim()), dlpack_type(x.scalar_type()), const_cast<int64_t*>(x.sizes().data()), const_cast<int64_t*>(x.strides().data()), 0};
}

at::Tensor empty(at::IntArrayRef shape, at::ScalarType type, c10::Device device) {
    if (device.is_cpu()) return at::Tensor(at::detail::empty_cpu(shape, type));
    return at::empty(shape, at::TensorOptions(type).device(device));
}

void* stream_of(c10::Device device) { return c10::impl::VirtualGuardImpl(device.type()).getStream(device).native_handle(); }

// While one lives, this thread's calls on CUDA go to PyTorch's current stream.
class OnStream {
public:
    explicit OnStream(c10::Device device) : before_(lc_set_stream(stream_of(device))) {}
    ~OnStream() { lc_set_stream(before_); }
    OnStream(const OnStream&) = delete;

private:
    void* before_;
};

void check(lc_status status) {
    TORCH_CHECK_VALUE(status != LC_INVALID_VALUE, lc_last_error());
    TORCH_CHECK_TYPE(status != LC_INVALID_TYPE, lc_last_error());
    TORCH_CHECK_INDEX(status != LC_INVALID_INDEX, lc_last_error());
    TORCH_CHECK_NOT_IMPLEMENTED(status != LC_NOT_SUPPORTED, lc_last_error());
    TORCH_CHECK(status == LC_OK, lc_last_error());
}

// ---- a call -----------------------------------------------------------------------------------------------------------

union Word {
    DLTensor* tensor;
    double real;
    int64_t integer;
};

void read_option(const Kernel& k, char kind, const c10::IValue& value, Word*& to) {
    if (kind == 'd') return void((to++)->real = value.toDouble());
    if (kind == 'i') return void((to++)->integer = value.toInt());
    if (kind == 'b') return void((to++)->integer = value.toBool());
    const auto pair = value.toIntVector();
    TORCH_CHECK_VALUE(pair.size() == 2, k.name, ": an option takes two integers, got ", pair);
    for (const int64_t n : pair) (to++)->integer = n;
}

void run(const Kernel& k, int id, Stack* stack) {
    const size_t inputs = k.inputs.size(), outputs = k.optional.size();
    const auto args = torch::jit::last(*stack, k.arguments());
    Word words[kMaxWords] = {}, *const tensors = words + 3, *option = tensors + inputs + outputs;
    DLTensor views[kMaxArguments];
    at::Tensor kept[kMaxArguments];
    for (size_t i = 0; i < inputs; ++i) {
        if (args[i].isNone()) continue;
        const at::Tensor& x = args[i].toTensor();
        if (!x.defined()) continue;
        const Input& wanted = k.inputs[i];
        const bool fits = wanted.in_place || wanted.layout == Layout::any || (wanted.layout == Layout::dense_last_axis && x.dim() && x.stride(-1) == 1) || x.is_contiguous();
        if (!fits) kept[i] = x.contiguous();
        views[i] = view(fits ? x : kept[i]);
        tensors[i].tensor = views + i;
    }
    for (size_t i = 0; i < k.options.size(); ++i) read_option(k, k.options[i], args[inputs + i], option);
    words[0].integer = reinterpret_cast<char*>(option) - reinterpret_cast<char*>(words);

    const bool choose = k.takes_needs() && !args[k.arguments() - 1].isNone();
    const c10::List<bool> needs = choose ? args[k.arguments() - 1].toBoolList() : c10::List<bool>();
    TORCH_CHECK_VALUE(!choose || needs.size() == outputs, k.name, ": needs has ", needs.size(), " entries, there are ", outputs, " outputs");
    const at::Tensor& first = args[0].toTensor();
    lc_shape shapes[kMaxArguments];
    if (outputs) check(lc_output_shapes(id, words, shapes));
    for (size_t i = 0; i < outputs; ++i) {
        at::Tensor& y = kept[inputs + i];
        if (k.optional[i] && (shapes[i].ndim < 0 || (choose && !needs.get(i)))) {
            y = empty({0}, first.scalar_type(), first.device());
            continue;
        }
        y = empty({shapes[i].shape, size_t(shapes[i].ndim)}, scalar_type(shapes[i].dtype), first.device());
        views[inputs + i] = view(y);
        tensors[inputs + i].tensor = views + inputs + i;
    }
    std::optional<OnStream> on;
    if (!first.is_cpu()) on.emplace(first.device());
    check(lc_run(id, words));
    torch::jit::drop(*stack, k.arguments());
    for (size_t i = 0; i < outputs; ++i) stack->emplace_back(std::move(kept[inputs + i]));
}

class Run final : public c10::OperatorKernel {
public:
    Run(const Kernel& k, int id) : kernel_(k), id_(id) {}
    void operator()(const c10::OperatorHandle&, c10::DispatchKeySet, Stack* stack) { run(kernel_, id_, stack); }

private:
    const Kernel& kernel_;
    int id_;
};

// ---- recorded ---------------------------------------------------------------------------------------------------------

void below_autograd(const c10::OperatorHandle& op, c10::DispatchKeySet keys, Stack* stack) {
    const at::AutoDispatchBelowADInplaceOrView below;
    op.redispatchBoxed(keys & c10::after_autograd_keyset, stack);
}

struct Recorded : torch::autograd::Function<Recorded> {
    using Context = torch::autograd::AutogradContext;
    using List = torch::autograd::variable_list;

    static List forward(Context* ctx, at::TensorList, const Kernel* k, const c10::OperatorHandle* op, c10::DispatchKeySet keys, Stack* stack) {
        ctx->saved_data["kernel"] = reinterpret_cast<int64_t>(k);
        List known, made;
        int64_t present = 0;                          // a bit for each input
        for (size_t i = 0; i < k->inputs.size(); ++i) {
            const c10::IValue& x = torch::jit::peek(*stack, i, k->arguments());
            known.push_back(x.isTensor() ? x.toTensor() : at::Tensor());
            present |= int64_t(known.back().defined()) << i;
        }
        ctx->saved_data["present"] = present;
        for (const int i : k->shared) ctx->saved_data["option" + std::to_string(i)] = torch::jit::peek(*stack, k->inputs.size() + size_t(i), k->arguments());
        below_autograd(*op, keys, stack);
        for (size_t i = 0; i < k->optional.size(); ++i) {
            made.push_back(torch::jit::peek(*stack, i, k->optional.size()).toTensor());
            if (i > 0) ctx->mark_non_differentiable({made.begin() + 1, made.end()});
        }
        known.insert(known.end(), made.begin(), made.end());
        List saved;
        for (const int i : k->saved) saved.push_back(known[size_t(i)]);
        ctx->save_for_backward(std::move(saved));
        ctx->set_materialize_grads(false);
        torch::jit::drop(*stack, k->optional.size());
        return made;
    }

    static List backward(Context* ctx, List dy) {
        const auto& k = *reinterpret_cast<const Kernel*>(ctx->saved_data["kernel"].toInt());
        TORCH_CHECK_NOT_IMPLEMENTED(k.backward[0], "littlecore::", k.name, " has no derivative: a gradient of a gradient was asked for");
        const int64_t present = ctx->saved_data["present"].toInt();
        const auto place = [&](int input) { return size_t(__builtin_popcountll(uint64_t(present) & ((uint64_t(1) << input) - 1))); };
        List gradients(place(int(k.inputs.size())) + 4);         // forward's other arguments have none
        if (!dy[0].defined()) return gradients;
        Stack stack{dy[0]};
        for (const at::Tensor& x : ctx->get_saved_variables()) stack.emplace_back(x.defined() ? c10::IValue(x) : c10::IValue());
        for (const int i : k.shared) stack.push_back(ctx->saved_data["option" + std::to_string(i)]);
        const auto op = c10::Dispatcher::singleton().findSchemaOrThrow(k.backward, "");
        c10::List<bool> needs;
        for (const int input : k.gradients) needs.push_back(input >= 0 && (present >> input & 1) && ctx->needs_input_grad(place(input)));
        if (op.schema().arguments().size() > stack.size()) stack.emplace_back(needs);
        op.callBoxed(stack);
        for (size_t i = 0; i < k.gradients.size(); ++i)
            if (needs.get(i)) gradients[place(k.gradients[i])] = stack[i].toTensor();
        return gradients;
    }
};

class Record final : public c10::OperatorKernel {
public:
    explicit Record(const Kernel& k) : kernel_(k) {}
    void operator()(const c10::OperatorHandle& op, c10::DispatchKeySet keys, Stack* stack) {
        const auto args = torch::jit::last(*stack, kernel_.arguments());
        bool wanted = false;
        for (size_t i = 0; i < kernel_.inputs.size(); ++i) wanted |= args[i].isTensor() && args[i].toTensor().requires_grad();
        if (!wanted || !at::GradMode::is_enabled()) return below_autograd(op, keys, stack);
        std::vector<at::Tensor> given;
        for (size_t i = 0; i < kernel_.inputs.size(); ++i)
            if (args[i].isTensor() && args[i].toTensor().defined()) given.push_back(args[i].toTensor());
        for (at::Tensor& y : Recorded::apply(at::TensorList(given), &kernel_, &op, keys, stack)) stack->emplace_back(std::move(y));
    }

private:
    const Kernel& kernel_;
};

// ---- for littlecore.kernels -------------------------------------------------------------------------------------------

using namespace littlecore;

struct Export {
    DLManagedTensorVersioned managed;
    at::Tensor tensor;
};

template <class F> int answer(F f) {
    try {
        f();
        return 0;
    } catch (const c10::Error& e) {
        const bool type = dynamic_cast<const c10::TypeError*>(&e), value = dynamic_cast<const c10::ValueError*>(&e);
        PyErr_SetString(type ? PyExc_TypeError : value ? PyExc_ValueError
                                                       : PyExc_RuntimeError,
                        e.what_without_backtrace());
    } catch (const std::exception& e) {
        PyErr_SetString(PyExc_RuntimeError, e.what());
    }
    return -1;
}

DLManagedTensorVersioned* hand_out(at::Tensor x) {
    auto* e = new Export{{{1, 1}, nullptr, [](DLManagedTensorVersioned* m) { delete static_cast<Export*>(m->manager_ctx); }, 0, view(x)}, std::move(x)};
    e->managed.manager_ctx = e;
    return &e->managed;
}

}  // namespace

extern "C" __attribute__((visibility("default"))) const DLPackExchangeAPI littlecore_torch_arrays{
    {{1, 3}, nullptr},
    [](DLTensor* t, DLManagedTensorVersioned** out, void*, void (*)(void*, const char*, const char*)) {
        return answer([&] { *out = hand_out(empty({t->shape, size_t(t->ndim)}, scalar_type(t->dtype), device_of(t->device))); });
    },
    [](void* object, DLManagedTensorVersioned** out) {
        return answer([&] { *out = hand_out(THPVariable_Unpack(static_cast<PyObject*>(object))); });
    },
    [](DLManagedTensorVersioned* m, void** object) {
        return answer([&] {
            *object = THPVariable_Wrap(std::move(static_cast<Export*>(m->manager_ctx)->tensor));
            m->deleter(m);
        });
    },
    [](void* object, DLTensor* out) {
        return answer([&] { *out = view(THPVariable_Unpack(static_cast<PyObject*>(object))); });
    },
    [](int32_t type, int32_t id, void** stream) {
        return answer([&] { *stream = type == kDLCUDA ? stream_of(c10::Device(at::kCUDA, c10::DeviceIndex(id))) : nullptr; });
    }};

static void implement(torch::Library& m) {
    for (size_t i = 0; i < std::size(kKernels); ++i)
        m.impl(kKernels[i].name, torch::CppFunction::makeFromBoxedFunctor(std::make_unique<Run>(kKernels[i], int(i))));
}

TORCH_LIBRARY_IMPL(littlecore, CPU, m) { implement(m); }
TORCH_LIBRARY_IMPL(littlecore, CUDA, m) { implement(m); }

TORCH_LIBRARY_IMPL(littlecore, Autograd, m) {
    for (const Kernel& k : kKernels)
        if (k.backward) m.impl(k.name, torch::CppFunction::makeFromBoxedFunctor(std::make_unique<Record>(k)));
}
