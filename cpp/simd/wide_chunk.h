// WideReader and WideWriter: the chunks of cpp/core/strided.h as the type arithmetic runs in. 16-bit floats are widened
// to float32 on the way in and rounded on the way out, so that a kernel has loops over float and double alone.
#pragma once
#include "cpp/core/strided.h"
#include "cpp/simd/move.h"

namespace lc::cpu::LC_ISA {

template <class T> class WideReader : ChunkReader<T> {
public:
    using ChunkReader<T>::ChunkReader;
    template <int N> LC_INLINE const T* operator()(const Strided<N>& s, int k, const Position<N>& at, int64_t n) {
        return ChunkReader<T>::operator()(s, k, at, n);
    }
};
template <class T>
    requires(sizeof(T) == 2)
class WideReader<T> : ChunkReader<T> {
public:
    using ChunkReader<T>::ChunkReader;
    template <int N> LC_INLINE const float* operator()(const Strided<N>& s, int k, const Position<N>& at, int64_t n) {
        const T* x = ChunkReader<T>::operator()(s, k, at, n);
        each_vec<float>(n, [&](int64_t i, auto k) { store(wide_ + i, load(x + i, k), k); });
        return wide_;
    }

private:
    alignas(64) float wide_[kChunk];
};

template <class T> class WideWriter : ChunkWriter<T> {
public:
    using ChunkWriter<T>::ChunkWriter;
    template <int N> LC_INLINE T* open(const Strided<N>& s, int k, const Position<N>& at, int64_t n) {
        return ChunkWriter<T>::open(s, k, at, n);
    }
    template <int N> LC_INLINE void close(const Strided<N>& s, int k, const Position<N>& at, int64_t n) {
        ChunkWriter<T>::close(s, k, at, n);
    }
};
template <class T>
    requires(sizeof(T) == 2)
class WideWriter<T> : ChunkWriter<T> {
public:
    using ChunkWriter<T>::ChunkWriter;
    template <int N> LC_INLINE float* open(const Strided<N>&, int, const Position<N>&, int64_t) { return wide_; }
    template <int N> LC_INLINE void close(const Strided<N>& s, int k, const Position<N>& at, int64_t n) {
        T* y = ChunkWriter<T>::open(s, k, at, n);
        each_vec<float>(n, [&](int64_t i, auto k) { store(y + i, load(wide_ + i, k), k); });
        ChunkWriter<T>::close(s, k, at, n);
    }

private:
    alignas(64) float wide_[kChunk];
};

// What functions of a few instructions derive from, to be run by map_short.
struct Short {
    static constexpr bool kShort = true;
};

// For such bodies: four registers a turn, since the loop's own instructions count. f maps the loaded registers to the one
// stored; streamed, y is aligned.
template <class T, class F, class... X> LC_INLINE void map_short(int64_t n, T* y, bool streamed, F&& f, const X*... x) {
    constexpr int w = lanes<T>;
    constexpr int64_t ahead = 1024 / sizeof(T);       // of reading: streamed stores leave the prefetcher behind
    int64_t i = 0;
    if (streamed) {
        for (; i + 2 * w <= n; i += 2 * w) {
            (__builtin_prefetch(x + i + ahead), ...);
            stream(y + i, f(load(x + i)...));
            stream(y + i + w, f(load(x + i + w)...));
        }
    }
#pragma GCC unroll 4
    for (; i + w <= n; i += w) store(y + i, f(load(x + i)...));
    if (i < n) store(y + i, f(load(x + i, int(n - i))...), int(n - i));
}

// For long bodies: one copy of f for full registers and tail alike.
template <class T, class F, class... X> LC_INLINE void map_vec(int64_t n, T* y, F&& f, const X*... x) {
    for (int64_t i = 0; i < n; i += lanes<T>) {
        const bool whole = n - i >= lanes<T>;
        const int k = int(n - i);
        const vec<T> v = f((whole ? load(x + i) : load(x + i, k))...);
        if (whole) store(y + i, v);
        else store(y + i, v, k);
    }
}

}  // namespace lc::cpu::LC_ISA
