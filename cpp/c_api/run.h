// The kernels of kernels.def, each on a call that was checked. Arguments are numbered as there: inputs, then outputs.
#pragma once
#include <cstring>
#include "cpp/c_api/signature.h"
#include "cpp/core/allocator.h"
#include "cpp/core/cuda.h"
#include "cpp/core/strided.h"

namespace lc::c_api {

#define LC_KERNEL(name, ...) void name(const Call&);
#include "cpp/c_api/kernels.def"
#undef LC_KERNEL

constexpr int kCount = 0
#define LC_KERNEL(...) +1
#include "cpp/c_api/kernels.def"
#undef LC_KERNEL
    ;

// What follows from the options and sizes: further sizes, outputs that make no sense; and what a shape cannot say.
void settle_conv2d(Call&);
void settle_conv_transpose2d(Call&);
void settle_attention_forward(Call&);
void settle_attention_backward(Call&);
void settle_max_pool2d(Call&);
void settle_avg_pool2d(Call&);
void settle_group_norm(Call&);

// Scratch of one call, where the call is.
template <class T> class Scratch {
public:
    Scratch(const Call& c, int64_t count) : device_(c.device), data_(static_cast<T*>(device_.is_cpu() ? allocate(size_t(count) * sizeof(T)) : cuda::allocate(size_t(count) * sizeof(T), device_))) {}
    ~Scratch() { device_.is_cpu() ? release(data_) : cuda::release(data_, device_); }
    Scratch(const Scratch&) = delete;
    T* data() const { return data_; }

private:
    Device device_;
    T* data_;
};

inline void zero(const Call& c, void* data, size_t bytes) {
    if (c.device.is_cpu()) std::memset(data, 0, bytes);
    else cuda::fill_bytes(data, 0, bytes, c.device);
}

// N operands of one shape, one element after the other.
template <int N> Strided<N> dense(int64_t numel) {
    Strided<N> s;
    s.numel = s.size[0] = numel;
    s.rank = 1;
    for (int i = 0; i < N; ++i) s.stride[i][0] = 1;
    return s;
}

// rows x cols, cols being the last axis.
struct RowsCols {
    int64_t rows, cols;
};
inline RowsCols rows_and_cols(const View& x) {
    RowsCols r{1, x.size(-1)};
    for (int i = 0; i + 1 < x.shape.size(); ++i) r.rows *= x.size(i);
    return r;
}

}  // namespace lc::c_api
