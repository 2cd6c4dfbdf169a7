// The CUDA runtime inside littlecore: errors, the devices' properties, launches' streams. cpp/core/cuda.h is its public half.
#pragma once
#include <cuda_runtime.h>
#include "cpp/core/cuda.h"

namespace lc::cuda {

[[noreturn]] void raise(cudaError_t e, const char* what);
inline void check(cudaError_t e, const char* what) {
    if (LC_UNLIKELY(e != cudaSuccess)) raise(e, what);
}

struct Properties {
    int architecture;                                 // 80, 90, ...
    int multiprocessors;
    int shared_bytes;                                 // most a block may ask for
};
const Properties& properties();                       // of the device in use
int device_in_use();
cudaStream_t stream_in_use();                         // what kernels are launched on
bool synchronous();                                   // LITTLECORE_SYNC=1: every launch is waited for and checked
void copy_on_device(void* to, const void* from, size_t bytes);
void forget_stream(Device, cudaStream_t) noexcept;    // it ends: its memory goes to the default stream, behind its work
void host_waits(const char* what);                    // what cannot be repeated without the host says so

// Scratch of one kernel call, in stream order.
template <class T> class Scratch {
public:
    explicit Scratch(int64_t count) : device_{Device::Type::cuda, int8_t(device_in_use())}, data_(static_cast<T*>(allocate(size_t(count) * sizeof(T), device_))) {}
    ~Scratch() { release(data_, device_); }
    Scratch(const Scratch&) = delete;
    Scratch& operator=(const Scratch&) = delete;
    T* data() const { return data_; }

private:
    Device device_;
    T* data_;
};

}  // namespace lc::cuda
