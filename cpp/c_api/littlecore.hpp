// littlecore's kernels for C++20: the C functions with exceptions, and arrays that own their memory. Header only.
//
//     littlecore::Array<float> a({2, 3}), b({3, 4}), y({2, 4});
//     littlecore::matmul_forward({.a = a, .b = b, .y = y});        // throws littlecore::Error with the kernel's own text
//
// The members that are left out are NULL or 0; littlecore.h says which may be.
#pragma once
#include <cstdlib>
#include <new>
#include <stdexcept>
#include <vector>
#include "littlecore.h"

namespace littlecore {

struct Error : std::runtime_error {
    Error(lc_status status, const char* text) : std::runtime_error(text), status(status) {}
    lc_status status;
};

inline void check(lc_status status) {
    if (status != LC_OK) throw Error(status, lc_last_error());
}

// First thing in a program: is the library that was loaded one for this header?
inline void check_abi() { check(lc_check_abi(LC_ABI_MAJOR, LC_ABI_MINOR)); }

template <class T> constexpr DLDataType type_of{};
template <> inline constexpr DLDataType type_of<float>{kDLFloat, 32, 1};
template <> inline constexpr DLDataType type_of<double>{kDLFloat, 64, 1};
template <> inline constexpr DLDataType type_of<int64_t>{kDLInt, 64, 1};
template <> inline constexpr DLDataType type_of<bool>{kDLBool, 8, 1};

// Zeros in the shape given, row by row, aligned to cache lines. Passes as a DLTensor.
template <class T> class Array {
public:
    explicit Array(std::vector<int64_t> shape) : shape_(std::move(shape)) {
        static_assert(type_of<T>.bits != 0, "not an element type");
        for (const int64_t n : shape_) size_ *= n;
        const size_t bytes = (size_t(size_) * sizeof(T) + 63) / 64 * 64;
        data_ = static_cast<T*>(std::aligned_alloc(64, bytes ? bytes : 64));
        if (!data_) throw std::bad_alloc();
        for (int64_t i = 0; i < size_; ++i) data_[i] = T();
        tensor_ = {data_, {kDLCPU, 0}, int32_t(shape_.size()), type_of<T>, shape_.data(), nullptr, 0};
    }
    ~Array() { std::free(data_); }
    Array(const Array&) = delete;
    Array& operator=(const Array&) = delete;

    operator DLTensor*() { return &tensor_; }
    T& operator[](int64_t i) { return data_[i]; }
    T* data() { return data_; }
    T* begin() { return data_; }
    T* end() { return data_ + size_; }
    int64_t size() const { return size_; }
    const std::vector<int64_t>& shape() const { return shape_; }

private:
    std::vector<int64_t> shape_;
    int64_t size_ = 1;
    T* data_;
    DLTensor tensor_;
};

// littlecore::layer_norm_forward({.x = x, ...}) and so on for every kernel; workspace_size() takes the same arguments.
#define LC_CPP_KERNEL(name, id) \
    inline void name(lc_##name##_args args) { \
        args.size = sizeof args; \
        check(lc_run(id, &args)); \
    } \
    inline size_t workspace_size(lc_##name##_args args) { \
        args.size = sizeof args; \
        size_t bytes = 0; \
        check(lc_workspace_size(id, &args, &bytes)); \
        return bytes; \
    }
LC_EACH_KERNEL(LC_CPP_KERNEL)
#undef LC_CPP_KERNEL

}  // namespace littlecore
