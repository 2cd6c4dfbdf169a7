// Rows shared by a warp or a block: a thread's columns, 16 bytes at a time where the rows allow it, and sums over rows.
#pragma once
#include "cpp/ops/copy.h"
#include "cpp/ops/reduce.h"
#include "cuda/arch/block.cuh"
#include "cuda/arch/convert.cuh"
#include "cuda/core/launch.h"
#include "cuda/kernels/row_plan.h"

namespace lc::cuda {

// Which columns of a row of `cols` a thread has. A span is what the registers of all threads hold; most rows are one.
template <class T, int threads> struct Columns {
    using A = acc_t<T>;
    static constexpr int kPack = Pack<T>::kCount, kKeep = kept_by_thread(threads, int(sizeof(A)));
    static constexpr int64_t kSpan = row_span(threads, int(sizeof(A)));
    using Values = A[kKeep];

    int64_t cols;
    int rank;
    bool packed;                                      // rows can be read 16 bytes at a time

    __device__ __forceinline__ bool whole() const { return cols <= kSpan; }
    __device__ __forceinline__ int64_t column(int64_t begin, int k) const {
        return begin + (packed ? int64_t(k / kPack * threads + rank) * kPack + k % kPack : int64_t(k) * threads + rank);
    }
    // f(begin) for every span, f(k, column) for the columns of one.
    template <class F> __device__ __forceinline__ void spans(F f) const {
        for (int64_t begin = 0; begin < cols; begin += kSpan) f(begin);
    }
    template <class F> __device__ __forceinline__ void each(int64_t begin, F f) const {
#pragma unroll
        for (int k = 0; k < kKeep; ++k)
            if (const int64_t i = column(begin, k); i < cols) f(k, i);
    }
    __device__ __forceinline__ void load(Values& x, const T* row, int64_t begin) const {
        if (packed) {
#pragma unroll
            for (int j = 0; j < kKeep; j += kPack) {
                Pack<T> pack{};
                if (const int64_t i = column(begin, j); i < cols) pack = load_pack(row + i);
#pragma unroll
                for (int e = 0; e < kPack; ++e) x[j + e] = widen(pack.x[e]);
            }
        } else {
#pragma unroll
            for (int k = 0; k < kKeep; ++k) {
                const int64_t i = column(begin, k);
                x[k] = i < cols ? widen(row[i]) : A(0);
            }
        }
    }
    // Again, for a second walk: a row of one span is still there.
    __device__ __forceinline__ void reload(Values& x, const T* row, int64_t begin) const {
        if (!whole()) load(x, row, begin);
    }
    __device__ __forceinline__ void store(T* row, const Values& x, int64_t begin) const {
        if (packed) {
#pragma unroll
            for (int j = 0; j < kKeep; j += kPack) {
                Pack<T> pack;
#pragma unroll
                for (int e = 0; e < kPack; ++e) pack.x[e] = narrow<T>(x[j + e]);
                if (const int64_t i = column(begin, j); i < cols) store_pack(row + i, pack);
            }
        } else {
            each(begin, [&](int k, int64_t i) { row[i] = narrow<T>(x[k]); });
        }
    }
};

template <class T, class... P> bool rows_packed(int64_t cols, const P*... operands) {
    return cols % Pack<T>::kCount == 0 && ((reinterpret_cast<uintptr_t>(operands) % 16 == 0) && ...);      // null is
}

// ---- sums over rows ---------------------------------------------------------------------------------------------------

// The running sums of a thread's own columns, over the rows it has seen: in shared memory, in the order of threads, so
// that neighbours are in different banks; or in `parts`, [sums][blocks][cols], where a row is too long for that.
template <class T, int threads, int sums> class ColumnSums {
public:
    using A = acc_t<T>;
    static constexpr int kGroups = kRowThreads / threads;

    __device__ __forceinline__ ColumnSums(const Columns<T, threads>& c, A* shared, A* parts, bool in_shared, bool wanted)
        : c_(c), strip_((c.cols + c.kSpan - 1) / c.kSpan * c.kSpan), shared_(shared), parts_(parts), in_shared_(in_shared), wanted_(wanted) {
        if (!wanted) return;
        for (int64_t begin = 0; begin < c_.cols; begin += c_.kSpan)
            for (int s = 0; s < sums; ++s) c_.each(begin, [&](int k, int64_t i) { at(s, begin, k, i) = A(0); });
    }
    __device__ __forceinline__ A& at(int s, int64_t begin, int k, int64_t column) const {
        if (!in_shared_) return part(s)[column];
        const int group = threads == 32 ? warp_id() : 0;
        return shared_[(int64_t(group) * sums + s) * strip_ + begin + k * threads + c_.rank];
    }
    // The block's sums to its part, groups in order.
    __device__ __forceinline__ void finish() const {
        if (!in_shared_ || !wanted_) return;
        __syncthreads();                              // all rows of the block have been added
        for (int s = 0; s < sums; ++s)
            for (int64_t i = threadIdx.x; i < c_.cols; i += kRowThreads) {
                const int64_t begin = i / c_.kSpan * c_.kSpan, inside = i - begin;
                const int64_t pack = inside / c_.kPack, rank = c_.packed ? pack % threads : inside % threads;
                const int64_t k = c_.packed ? pack / threads * c_.kPack + inside % c_.kPack : inside / threads;
                A sum = 0;
                for (int g = 0; g < kGroups; ++g) sum += shared_[(int64_t(g) * sums + s) * strip_ + begin + k * threads + rank];
                part(s)[i] = sum;
            }
    }

private:
    __device__ __forceinline__ A* part(int s) const { return parts_ + (int64_t(s) * gridDim.x + blockIdx.x) * c_.cols; }

    const Columns<T, threads>& c_;
    int64_t strip_;
    A *shared_, *parts_;
    bool in_shared_, wanted_;
};

// Loads a span of a row of x; with a residual of its sum with that, which is stored as well, rounded as the sum is.
template <class T, int threads, class P>
__device__ __forceinline__ void load_sum(const Columns<T, threads>& c, const P& p, typename Columns<T, threads>::Values& x, typename Columns<T, threads>::Values& beside, int64_t row, int64_t begin) {
    c.load(x, p.x + row * p.cols, begin);
    if (!p.residual) return;
    c.load(beside, p.residual + row * p.cols, begin);
    c.each(begin, [&](int k, int64_t) { x[k] = widen(narrow<T>(x[k] + beside[k])); });
    c.store(p.sum + row * p.cols, x, begin);
}

// y[c] = sum over p of parts[p, c]; sums of 16-bit elements are float.
template <class T> void sum_parts(const acc_t<T>* parts, int64_t count, int64_t cols, T* y) {
    using A = acc_t<T>;
    if (count == 0) return fill_bytes(y, 0, size_t(cols) * sizeof(T), {Device::Type::cuda, int8_t(device_in_use())});
    if constexpr (sizeof(T) == sizeof(A)) {
        reduce_forward<A>({ReduceOp::sum, 1, count, cols, parts, nullptr, y});
    } else {
        const Scratch<A> sums(cols);
        reduce_forward<A>({ReduceOp::sum, 1, count, cols, parts, nullptr, sums.data()});
        CopyForward<A> a{sums.data(), y, dtype_of<T>, {}};
        a.walk.numel = a.walk.size[0] = cols;
        a.walk.rank = 1;
        a.walk.stride[0][0] = a.walk.stride[1][0] = 1;
        copy_forward<A>(a);
    }
}

}  // namespace lc::cuda
