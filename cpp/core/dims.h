// Dims: a short list of sizes or strides held in place.
#pragma once
#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <iosfwd>
#include "cpp/core/error.h"

namespace lc {

constexpr int kMaxDims = 16;

class Dims {
public:
    Dims() = default;
    Dims(std::initializer_list<int64_t> v) : Dims(v.begin(), int(v.size())) {}
    Dims(const int64_t* v, int n) {
        for (int i = 0; i < n; ++i) push_back(v[i]);
    }
    Dims(const Dims& o) : n_(o.n_) { std::memcpy(v_, o.v_, size_t(n_) * sizeof v_[0]); }
    Dims& operator=(const Dims& o) {
        n_ = o.n_;
        std::memcpy(v_, o.v_, size_t(n_) * sizeof v_[0]);
        return *this;
    }
    static Dims filled(int n, int64_t value) {
        Dims d;
        for (int i = 0; i < n; ++i) d.push_back(value);
        return d;
    }

    int size() const { return n_; }
    bool empty() const { return n_ == 0; }
    int64_t& operator[](int i) { return v_[i]; }
    int64_t operator[](int i) const { return v_[i]; }
    int64_t back() const { return v_[n_ - 1]; }
    const int64_t* begin() const { return v_; }
    const int64_t* end() const { return v_ + n_; }
    int64_t* begin() { return v_; }
    int64_t* end() { return v_ + n_; }

    void push_back(int64_t x) {
        LC_CHECK(n_ < kMaxDims, ValueError, "tensor: at most ", kMaxDims, " dimensions");
        v_[n_++] = x;
    }
    void insert(int at, int64_t x) {
        push_back(0);
        for (int i = n_ - 1; i > at; --i) v_[i] = v_[i - 1];
        v_[at] = x;
    }
    void erase(int at) {
        for (int i = at; i + 1 < n_; ++i) v_[i] = v_[i + 1];
        --n_;
    }
    bool operator==(const Dims& o) const { return n_ == o.n_ && std::memcmp(v_, o.v_, size_t(n_) * sizeof v_[0]) == 0; }

private:
    int n_ = 0;
    int64_t v_[kMaxDims];
};

LC_API std::ostream& operator<<(std::ostream&, const Dims&);          // [2, 3, 4]
LC_API int64_t element_count(const Dims& sizes);                      // ValueError if negative or over 2^62
LC_API Dims contiguous_strides(const Dims& sizes);
LC_API Dims broadcast(const char* op, const Dims& a, const Dims& b);  // ValueError names op and both shapes
LC_API int wrap_dim(const char* op, int64_t dim, int rank);           // -1 is the last; IndexError; rank 0 allows 0 and -1

}  // namespace lc
