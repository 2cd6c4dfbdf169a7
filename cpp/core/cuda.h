// What the rest of littlecore knows of CUDA: memory on a device, copies, and why there is none.
// Defined in cuda/core, or, in a build without CUDA, in cpp/core/no_cuda.cpp, where everything but the questions raises.
#pragma once
#include <string>
#include "cpp/core/allocator.h"
#include "cpp/core/device.h"
#include "cpp/core/error.h"

namespace lc::cuda {

LC_API bool is_available();
LC_API std::string why_not();                         // "" if available, else "no GPU: <reason>"
LC_API int device_count();                            // 0 if not available
LC_API std::string device_name(int device);
LC_API std::string device_details(int device);        // a line for show_config: architecture, multiprocessors, memory

// Memory in the order of the current stream: what is released may be reused by later work of the same stream.
LC_API void* allocate(size_t bytes, Device);          // Error without a GPU, MemoryError on failure
LC_API void release(void*, Device) noexcept;
LC_API void fill_bytes(void* to, int byte, size_t bytes, Device);
LC_API void copy(void* to, Device to_device, const void* from, Device from_device, size_t bytes);   // done on return if one end is the CPU
LC_API void use(Device);                              // later calls of this thread run there
LC_API void synchronize(Device);                      // waits for all work; raises what a kernel did wrong

namespace memory {
LC_API MemoryStats stats(Device);
LC_API void reset_peak(Device);
LC_API void empty_cache(Device);
}  // namespace memory

// Streams and events are handles: 0 is the default stream.
using Stream = void*;
using Event = void*;
LC_API Stream current_stream(Device);
LC_API void set_current_stream(Device, Stream);
LC_API Stream make_stream(Device);
LC_API void drop_stream(Device, Stream) noexcept;
LC_API void synchronize_stream(Device, Stream);
LC_API Event make_event(Device);
LC_API void drop_event(Device, Event) noexcept;
LC_API void record_event(Device, Event, Stream);
LC_API void wait_event(Device, Event, Stream);        // the stream waits, not the caller
LC_API void synchronize_event(Device, Event);
LC_API double elapsed_ms(Device, Event begin, Event end);

// Page-locked memory, which the GPU copies from and to while the CPU goes on.
LC_API void* allocate_pinned(size_t bytes);
LC_API void release_pinned(void*) noexcept;
LC_API void copy_async(void* to, const void* from, size_t bytes, Device);   // on the device's current stream

}  // namespace lc::cuda
