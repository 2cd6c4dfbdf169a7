// LC_CUDA_KERNEL(name, Args), in the contract beside LC_CPU_KERNEL: the kernel exists for CUDA too. It declares
// lc::cuda::name, which cuda/kernels defines, and defines lc::on::name(device, args), which calls the device's own.
//
// An op that has only LC_CPU_KERNEL calls cpu::name with pointers of Tensor::data(), which refuses a CUDA tensor.
#pragma once
#include "cpp/core/cuda.h"
#include "cpp/core/dtype.h"
#include "cpp/core/plan.h"

// LC_CUDA_WIDER_KERNEL(name, Args): the same where the CPU's kernel is for float32 and float64 alone.
// LC_CUDA_ONLY_KERNEL(name, Args): a kernel the CPU needs none of; lc::cuda::name, never called in a build without CUDA.

// An op's object file is the same in every build: without CUDA these names are left undefined, and no tensor is on a device.
#if defined(LC_CUDA_SOURCE)
#define LC_CUDA_DECLARE(kernel, Args) \
    namespace lc::cuda { \
    template <class T> void kernel(const Args<T>& a); \
    }
#elif defined(__ELF__)
#define LC_CUDA_DECLARE(kernel, Args) \
    namespace lc::cuda { \
    template <class T> [[gnu::weak]] void kernel(const Args<T>& a); \
    }
#else
#define LC_CUDA_DECLARE(kernel, Args) \
    namespace lc::cuda { \
    template <class T> void kernel(const Args<T>&) { __builtin_unreachable(); } \
    }
#endif

namespace lc {

// f<T>() for the element type t of a wider kernel: the 16-bit ones on CUDA alone.
template <class F> void visit_float_on(Device device, DType t, const char* op, F&& f) {
    if (device.is_cpu()) visit_float(t, op, f);
    else visit_float_storage(t, op, f);
}

}  // namespace lc

#if defined(LC_ISA)
#define LC_CUDA_KERNEL(kernel, Args)
#define LC_CUDA_WIDER_KERNEL(kernel, Args)
#define LC_CUDA_ONLY_KERNEL(kernel, Args)
#elif defined(LC_CUDA_SOURCE)
#define LC_CUDA_KERNEL(kernel, Args) LC_CUDA_DECLARE(kernel, Args)
#define LC_CUDA_WIDER_KERNEL(kernel, Args) LC_CUDA_DECLARE(kernel, Args)
#define LC_CUDA_ONLY_KERNEL(kernel, Args) LC_CUDA_DECLARE(kernel, Args)
#else
#define LC_CUDA_ONLY_KERNEL(kernel, Args) LC_CUDA_DECLARE(kernel, Args)
#define LC_CUDA_DISPATCH(kernel, Args, runs_on_cpu) \
    LC_CUDA_DECLARE(kernel, Args) \
    namespace lc::on { \
    template <class T> void kernel(Device device, const Args<T>& a) { \
        if constexpr (runs_on_cpu) \
            if (LC_LIKELY(device.is_cpu())) return cpu::kernel(a); \
        replayable([device, a] { \
            cuda::use(device); \
            cuda::kernel(a); \
        }); \
    } \
    }
#define LC_CUDA_KERNEL(kernel, Args) LC_CUDA_DISPATCH(kernel, Args, true)
#define LC_CUDA_WIDER_KERNEL(kernel, Args) LC_CUDA_DISPATCH(kernel, Args, (sizeof(T) > 2))
#endif
