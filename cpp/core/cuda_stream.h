// CUDA beside streams that others run: on behalf of a program that has devices and streams of its own, and memory they use.
#pragma once
#include "cpp/core/cuda.h"

namespace lc::cuda {

LC_API void order(Device, Stream first, Stream then);            // what `then` is given later waits for what is in `first` now
LC_API Device device_of(const void* data);                       // whose memory it is
LC_API void record_stream(const void* data, Device, Stream);     // uses it, too: what is released waits for the stream

// While one lives, the thread's device and stream are these; then what CUDA itself says they were before.
class LC_API OnStream {
public:
    OnStream(Device, Stream);
    ~OnStream();
    OnStream(const OnStream&) = delete;

private:
    [[maybe_unused]] Device device_;                  // not in a build without CUDA
    [[maybe_unused]] int device_before_ = 0;
    [[maybe_unused]] Stream stream_before_ = nullptr;
};

}  // namespace lc::cuda
