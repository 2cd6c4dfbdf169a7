// A build without CUDA: the questions of cpp/core/cuda.h have answers, the rest raises.
#include "cpp/core/cuda_graph.h"
#include "cpp/core/cuda_stream.h"

namespace lc::cuda {
namespace {
[[noreturn]] void refuse() { throw Error("cuda: " + why_not()); }
}  // namespace

bool is_available() { return false; }
std::string why_not() { return "no GPU: this littlecore was built without CUDA; build it where nvcc is, with LITTLECORE_CUDA=on"; }
int device_count() { return 0; }
std::string device_name(int) { refuse(); }
std::string device_details(int) { refuse(); }

void* allocate(size_t, Device) { refuse(); }
void release(void*, Device) noexcept {}
void fill_bytes(void*, int, size_t, Device) { refuse(); }
void copy(void*, Device, const void*, Device, size_t) { refuse(); }
void use(Device) { refuse(); }
void synchronize(Device) { refuse(); }

namespace memory {
MemoryStats stats(Device) { refuse(); }
void reset_peak(Device) { refuse(); }
void empty_cache(Device) { refuse(); }
}  // namespace memory

Stream current_stream(Device) { refuse(); }
void set_current_stream(Device, Stream) { refuse(); }
Stream make_stream(Device) { refuse(); }
void drop_stream(Device, Stream) noexcept {}
void synchronize_stream(Device, Stream) { refuse(); }
Event make_event(Device) { refuse(); }
void drop_event(Device, Event) noexcept {}
void record_event(Device, Event, Stream) { refuse(); }
void wait_event(Device, Event, Stream) { refuse(); }
void synchronize_event(Device, Event) { refuse(); }
double elapsed_ms(Device, Event, Event) { refuse(); }

Region* new_region() { return nullptr; }
void drop_region(Region*) noexcept {}
Region* use_region(Region*) noexcept { return nullptr; }
Region* region_of(const void*, Device) { refuse(); }
Work work() { return {}; }
void varies() {}
std::unique_ptr<Graph> new_graph() { return nullptr; }

void order(Device, Stream, Stream) { refuse(); }
Device device_of(const void*) { refuse(); }
void record_stream(const void*, Device, Stream) { refuse(); }
OnStream::OnStream(Device, Stream) { refuse(); }
OnStream::~OnStream() = default;

void* allocate_pinned(size_t) { refuse(); }
void release_pinned(void*) noexcept {}
void copy_async(void*, const void*, size_t, Device) { refuse(); }

}  // namespace lc::cuda
