// Ref<T>: a counted pointer to a RefCounted; one word, the count inside the object.
#pragma once
#include <atomic>
#include <utility>
#include "cpp/core/pool.h"

namespace lc {

class RefCounted {
public:
    RefCounted() = default;
    RefCounted(const RefCounted&) = delete;
    RefCounted& operator=(const RefCounted&) = delete;
    virtual ~RefCounted() = default;

    static void* operator new(size_t bytes) { return pool_allocate(bytes); }
    static void operator delete(void* p, size_t bytes) noexcept { pool_release(p, bytes); }

    void retain() const noexcept { count_.fetch_add(1, std::memory_order_relaxed); }
    void release() const noexcept {
        if (count_.fetch_sub(1, std::memory_order_acq_rel) == 1) const_cast<RefCounted*>(this)->dispose();
    }
    int use_count() const noexcept { return count_.load(std::memory_order_acquire); }

protected:
    virtual void dispose() noexcept { delete this; }

private:
    mutable std::atomic<int> count_{0};
};

template <class T> class Ref {
public:
    Ref() = default;
    Ref(std::nullptr_t) {}
    explicit Ref(T* p) : p_(p) {
        if (p_) p_->retain();
    }
    Ref(const Ref& o) : p_(o.p_) {
        if (p_) p_->retain();
    }
    Ref(Ref&& o) noexcept : p_(std::exchange(o.p_, nullptr)) {}
    template <class U> Ref(const Ref<U>& o) : Ref(static_cast<T*>(o.get())) {}
    Ref& operator=(Ref o) noexcept {
        std::swap(p_, o.p_);
        return *this;
    }
    ~Ref() {
        if (p_) p_->release();
    }

    T* get() const { return p_; }
    T* operator->() const { return p_; }
    T& operator*() const { return *p_; }
    explicit operator bool() const { return p_ != nullptr; }
    bool operator==(const Ref& o) const { return p_ == o.p_; }
    T* detach() { return std::exchange(p_, nullptr); }              // gives the count away
    static Ref adopt(T* p) {
        Ref r;
        r.p_ = p;
        return r;
    }           // takes a count over

private:
    T* p_ = nullptr;
};

template <class T, class... Args> Ref<T> make(Args&&... args) { return Ref<T>(new T(std::forward<Args>(args)...)); }

}  // namespace lc
