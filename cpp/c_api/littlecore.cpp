// The C ABI: calls are completed, checked and run; no exception leaves.
#include "cpp/c_api/littlecore.h"
#include <sys/mman.h>
#include <algorithm>
#include <cstring>
#include <utility>
#include "cpp/c_api/checked.h"
#include "cpp/c_api/run.h"
#include "cpp/core/allocator.h"
#include "cpp/core/cuda_stream.h"
#include "cpp/core/parallel.h"
#include "cpp/core/plan.h"
#include "cpp/core/thread_pool.h"
#include "cpp/core/workspace.h"

namespace lc::c_api {
namespace {

struct Kernel {
    lc_kernel_info info;
    void (*run)(const Call&);
};

constexpr Kernel kKernels[] = {
#define LC_KERNEL(name, inputs, outputs, options, text) {{#name, inputs, outputs, options, text}, name},
#include "cpp/c_api/kernels.def"
#undef LC_KERNEL
};

const Signature& signature_of(int kernel) {
    static const std::vector<Signature> all = [] {
        std::vector<Signature> s;
        for (const Kernel& k : kKernels) s.push_back(parse(k.info));
        return s;
    }();
    return all[size_t(kernel)];
}

// What the structs of littlecore_kernels.h take.
constexpr int kStructBytes[] = {
#define LC_KERNEL(name, ...) int(sizeof(lc_##name##_args)),
#include "cpp/c_api/kernels.def"
#undef LC_KERNEL
};
static_assert(sizeof(Word) == 8 && sizeof(Fields) == 24);
constexpr int kMaxWords = *std::max_element(std::begin(kStructBytes), std::end(kStructBytes)) / int(sizeof(Word));

// What else a call must be, which its shapes and options say; null where nothing.
constexpr auto settle_of(int kernel) -> void (*)(Call&) {
    switch (kernel) {
        case LC_CONV2D_FORWARD:
        case LC_CONV2D_BACKWARD: return settle_conv2d;
        case LC_CONV_TRANSPOSE2D_FORWARD:
        case LC_CONV_TRANSPOSE2D_BACKWARD: return settle_conv_transpose2d;
        case LC_MAX_POOL2D_FORWARD:
        case LC_MAX_POOL2D_BACKWARD: return settle_max_pool2d;
        case LC_AVG_POOL2D_FORWARD:
        case LC_AVG_POOL2D_BACKWARD: return settle_avg_pool2d;
        case LC_GROUP_NORM_FORWARD:
        case LC_GROUP_NORM_BACKWARD: return settle_group_norm;
        case LC_ATTENTION_FORWARD: return settle_attention_forward;
        case LC_ATTENTION_BACKWARD: return settle_attention_backward;
        default: return nullptr;
    }
}

// ---- errors ---------------------------------------------------------------------------------------------------------

thread_local std::string last_error;

template <class F> lc_status guarded(F f) noexcept {
    lc_status status = LC_FAILED;
    try {
        try {
            f();
            return LC_OK;
        } catch (const ValueError& e) {
            status = LC_INVALID_VALUE;
            last_error = e.what();
        } catch (const TypeError& e) {
            status = LC_INVALID_TYPE;
            last_error = e.what();
        } catch (const IndexError& e) {
            status = LC_INVALID_INDEX;
            last_error = e.what();
        } catch (const MemoryError& e) {
            status = LC_OUT_OF_MEMORY;
            last_error = e.what();
        } catch (const NotImplemented& e) {
            status = LC_NOT_SUPPORTED;
            last_error = e.what();
        } catch (const Interrupted& e) {
            status = LC_INTERRUPTED;
            last_error = e.what();
        } catch (const std::bad_alloc&) {
            status = LC_OUT_OF_MEMORY;
            last_error = "out of memory";
        } catch (const std::exception& e) {
            last_error = e.what();
        }
    } catch (...) {                                   // no memory for the text
        last_error.clear();
    }
    return status;
}

// ---- calls ----------------------------------------------------------------------------------------------------------

// The whole struct: the caller's own, or a copy with the members that an older header lacks.
class Words {
public:
    Words(int kernel, const void* args) : signature(signature_of(kernel)) {
        LC_CHECK(args, ValueError, signature.name, ": args is NULL");
        const size_t given = static_cast<const Fields*>(args)->size, known = size_t(signature.bytes);
        LC_CHECK(given >= sizeof(Fields) && given % sizeof(Word) == 0, ValueError, signature.name, ": args.size is ", given, ", must be sizeof(lc_", signature.name, "_args), ", known);
        for (size_t at = known; at < given; at += sizeof(Word))
            LC_CHECK(static_cast<const Word*>(args)[at / sizeof(Word)].integer == 0, NotImplemented, signature.name, ": an argument is newer than this library, ", lc_version());
        words = static_cast<const Word*>(args);
        if (LC_LIKELY(given >= known)) return;
        std::memset(copy_, 0, known);
        Word* option = copy_ + kHeaderWords + signature.arguments.size();
        for (const Option& o : signature.options)
            for (int i = 0; i < o.count; ++i, ++option) o.real ? option->real = o.usual : option->integer = int64_t(o.usual);
        std::memcpy(copy_, args, given);
        words = copy_;
    }
    const Signature& signature;
    const Word* words;

private:
    Word copy_[kMaxWords];
};

void check_id(const char* function, int kernel) {
    LC_CHECK(kernel >= 0 && kernel < kCount, NotImplemented, function, ": there is no kernel ", kernel, " in version ", lc_version());
}

// Memory that nobody reads or writes in earnest, for calls whose tasks are skipped.
class Nowhere {
public:
    explicit Nowhere(Call& c) {
        const int n = int(c.signature.arguments.size());
        for (int i = 0; i < n; ++i) bytes_ = std::max(bytes_, span(c.views[i]));
        if (bytes_ == 0) return;
        memory_ = mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        LC_CHECK(memory_ != MAP_FAILED, MemoryError, "lc_workspace_size: the system has no room for addresses");
        for (int i = 0; i < n; ++i)
            if (c.views[i].given) c.views[i].data = static_cast<char*>(memory_);
    }
    ~Nowhere() {
        if (bytes_) munmap(memory_, bytes_);
    }
    Nowhere(const Nowhere&) = delete;

private:
    static size_t span(View& v) {                     // negative strides are made positive: only distances count
        if (!v.given || v.numel() == 0) return 0;
        size_t elements = v.strides.empty() ? size_t(v.numel()) : 1;
        for (int i = 0; i < v.strides.size(); ++i) {
            v.strides[i] = std::abs(v.strides[i]);
            elements += size_t(v.strides[i]) * size_t(v.shape[i] - 1);
        }
        return elements * item_size(v.dtype);
    }

    void* memory_ = nullptr;
    size_t bytes_ = 0;
};

// Inputs checked, outputs known.
void check_inputs(int kernel, Call& c, const Words& w) {
    read_inputs(c, w.words);
    if (const auto settle = settle_of(kernel)) settle(c);
}

thread_local void* stream = nullptr;                  // of calls on CUDA

void run(int kernel, const Call& c, const Words& w) {
    if (LC_UNLIKELY(!c.device.is_cpu())) {
        const cuda::OnStream on(c.device, stream);
        return kKernels[kernel].run(c);
    }
    const Fields& fields = *reinterpret_cast<const Fields*>(w.words);
    if (!fields.workspace) return kKernels[kernel].run(c);
    const size_t shift = (kAlignment - reinterpret_cast<uintptr_t>(fields.workspace) % kAlignment) % kAlignment;
    Workspace workspace{static_cast<char*>(fields.workspace) + shift, fields.workspace_size > shift ? fields.workspace_size - shift : 0};
    const UseWorkspace use(workspace);
    try {
        kKernels[kernel].run(c);
    } catch (const MemoryError& e) {                  // says how much is needed, not who needs it
        throw MemoryError(text(c.name(), ": ", e.what()));
    }
}

void run(int kernel, const void* args) {
    check_id("lc_run", kernel);
    refuse_recording("lc_run", "its memory is not the plan's");
    const Words w(kernel, args);
    if (Checked* known = find_checked(kernel, w.words, true); LC_LIKELY(known != nullptr)) {
        struct Running {
            bool& on;
            explicit Running(bool& b) : on(b) { on = true; }
            ~Running() { on = false; }
        } const running(known->running);
        return run(kernel, known->call, w);
    }
    Call c(w.signature);
    check_inputs(kernel, c, w);
    read_outputs(c, w.words, true);
    remember(kernel, c, w.words, settle_of(kernel));
    run(kernel, c, w);
}

size_t workspace_size(int kernel, const void* args) {
    check_id("lc_workspace_size", kernel);
    refuse_recording("lc_workspace_size", "its memory is not the plan's");
    const Words w(kernel, args);
    Call c(w.signature);
    check_inputs(kernel, c, w);
    read_outputs(c, w.words, false);
    if (!c.device.is_cpu()) return 0;                 // the library's own
    const Nowhere nowhere(c);
    Workspace counted;
    const UseWorkspace use(counted, true);
    kKernels[kernel].run(c);
    return counted.peak ? counted.peak + kAlignment : 0;
}

void output_shapes(const Call& c, lc_shape* outputs) {
    for (int i = c.signature.inputs; i < int(c.signature.arguments.size()); ++i, ++outputs) {
        if (c.skipped >> i & 1) {
            outputs->ndim = -1;
            continue;
        }
        const Dims shape = output_shape(c, i);
        outputs->ndim = shape.size();
        outputs->dtype = dlpack_type(type_of(c, i));
        std::copy(shape.begin(), shape.end(), outputs->shape);
    }
}

void output_shapes(int kernel, const void* args, lc_shape* outputs) {
    check_id("lc_output_shapes", kernel);
    const Words w(kernel, args);
    if (const Checked* known = find_checked(kernel, w.words, false)) return output_shapes(known->call, outputs);
    Call c(w.signature);
    check_inputs(kernel, c, w);
    output_shapes(c, outputs);
}

}  // namespace
}  // namespace lc::c_api

using namespace lc::c_api;

extern "C" {

lc_status lc_check_abi(int major, int minor) {
    return guarded([&] {
        LC_CHECK(major == LC_ABI_MAJOR && minor <= LC_ABI_MINOR, NotImplemented, "littlecore ", LC_VERSION, " has the C ABI ", LC_ABI_MAJOR, ".", LC_ABI_MINOR,
                 ", the program was compiled for ", major, ".", minor);
    });
}
const char* lc_version(void) { return LC_VERSION; }
const char* lc_last_error(void) { return last_error.c_str(); }

lc_status lc_run(int kernel, const void* args) {
    return guarded([&] { run(kernel, args); });
}
lc_status lc_workspace_size(int kernel, const void* args, size_t* bytes) {
    return guarded([&] { *bytes = workspace_size(kernel, args); });
}
lc_status lc_output_shapes(int kernel, const void* args, lc_shape* outputs) {
    return guarded([&] { output_shapes(kernel, args, outputs); });
}
void* lc_set_stream(void* named) { return std::exchange(stream, named); }
const lc_kernel_info* lc_kernel(int kernel) { return kernel >= 0 && kernel < kCount ? &kKernels[kernel].info : nullptr; }

int lc_num_threads(void) { return lc::num_threads(); }
lc_status lc_set_num_threads(int n) {
    return guarded([&] { lc::set_num_threads(n); });
}
lc_status lc_set_thread_pool(const lc_thread_pool* pool) {
    return guarded([&] {
        if (!pool) return lc::set_thread_pool(nullptr);
        LC_CHECK(pool->size >= sizeof(lc_thread_pool) && pool->run && pool->threads >= 1, ValueError,
                 "lc_set_thread_pool: size, threads and run must be set");
        const lc::ThreadPool own{pool->threads, pool->run, pool->context};
        lc::set_thread_pool(&own);
    });
}

}  // extern "C"
