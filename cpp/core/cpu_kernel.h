// LC_CPU_KERNEL(name, Args): declares the kernel `template <class T> void name(const Args<T>&)`.
//
// A file of cpp/kernels is compiled once per ISA with LC_ISA set to baseline, avx2, avx512 or neon; there the macro
// declares the function in lc::cpu::LC_ISA, where the file defines and instantiates it. Everywhere else the macro
// defines lc::cpu::name, which calls the copy of the ISA in use. A thread that records a plan (plan.h) keeps the call.
#pragma once
#include "cpp/core/cpu_features.h"
#include "cpp/core/plan.h"

#if defined(LC_CUDA_SOURCE)
#define LC_CPU_KERNEL(kernel, Args)
#elif defined(LC_ISA)
#define LC_CPU_KERNEL(kernel, Args) \
    namespace lc::cpu::LC_ISA { \
    template <class T> void kernel(const Args<T>& a); \
    }
#else
#ifdef LC_HAVE_AVX2
#define LC_IF_AVX2(...) __VA_ARGS__
#else
#define LC_IF_AVX2(...)
#endif
#ifdef LC_HAVE_AVX512
#define LC_IF_AVX512(...) __VA_ARGS__
#else
#define LC_IF_AVX512(...)
#endif
#ifdef LC_HAVE_NEON
#define LC_IF_NEON(...) __VA_ARGS__
#else
#define LC_IF_NEON(...)
#endif
#ifdef LC_HAVE_BASELINE
#define LC_IF_BASELINE(...) __VA_ARGS__
#else
#define LC_IF_BASELINE(...)
#endif
#define LC_CPU_KERNEL(kernel, Args) \
    LC_IF_BASELINE(namespace lc::cpu::baseline { template <class T> void kernel(const Args<T>&); }) \
    LC_IF_AVX2(namespace lc::cpu::avx2 { template <class T> void kernel(const Args<T>&); }) \
    LC_IF_AVX512(namespace lc::cpu::avx512 { template <class T> void kernel(const Args<T>&); }) \
    LC_IF_NEON(namespace lc::cpu::neon { template <class T> void kernel(const Args<T>&); }) \
    namespace lc::cpu { \
    template <class T> void kernel(const Args<T>& a) { \
        if (LC_UNLIKELY(recording() != nullptr)) return replayable([a] { kernel<T>(a); }); \
        switch (isa()) { \
            LC_IF_BASELINE(case Isa::baseline : return baseline::kernel(a);) \
            LC_IF_AVX2(case Isa::avx2 : return avx2::kernel(a);) \
            LC_IF_AVX512(case Isa::avx512 : return avx512::kernel(a);) \
            LC_IF_NEON(case Isa::neon : return neon::kernel(a);) \
            default: __builtin_unreachable(); \
        } \
    } \
    }
#endif
