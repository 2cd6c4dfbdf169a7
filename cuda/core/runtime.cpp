// Devices, streams, events, copies.
#include "cuda/core/runtime.h"
#include <cstdlib>
#include <cstring>
#include <memory>
#include <utility>
#include <vector>
#include "cpp/core/cuda_stream.h"
#include "cpp/core/log.h"

namespace lc::cuda {
namespace {

struct Devices {
    std::string why_not;
    std::vector<cudaDeviceProp> all;
};

// Asked once. A machine without a driver is no error: the answer says why there is no GPU.
const Devices& devices() {
    static const Devices* found = [] {
        auto* d = new Devices;
        int n = 0;
        const cudaError_t e = cudaGetDeviceCount(&n);
        if (e != cudaSuccess || n == 0) {
            cudaGetLastError();                       // not the next call's error
            d->why_not = text("no GPU: ", e == cudaSuccess ? "the driver lists no device" : cudaGetErrorString(e));
            return d;
        }
        for (int i = 0; i < n; ++i) {
            cudaDeviceProp p;
            check(cudaGetDeviceProperties(&p, i), "cuda");
            if (p.major < 8) {
                d->why_not = text("no GPU: ", p.name, " is of architecture sm_", p.major, p.minor, ", sm_80 is the oldest supported");
                continue;
            }
            d->all.push_back(p);
        }
        if (!d->all.empty()) d->why_not.clear();
        return d;
    }();
    return *found;
}

thread_local int device_now = -1;                     // what this thread last set
thread_local std::vector<cudaStream_t> streams;       // the current one of each device; null: the default

cudaStream_t& stream_of(Device d) {
    if (streams.size() <= size_t(d.index)) streams.resize(size_t(d.index) + 1, nullptr);
    return streams[size_t(d.index)];
}

}  // namespace

void raise(cudaError_t e, const char* what) {
    cudaGetLastError();
    const bool memory = e == cudaErrorMemoryAllocation;
    const std::string message = text(what, ": CUDA reports '", cudaGetErrorString(e), "'", memory || synchronous() ? "" : "; LITTLECORE_SYNC=1 shows which operation failed");
    if (memory) throw MemoryError(message);
    throw Error(message);
}

bool is_available() { return !devices().all.empty(); }
std::string why_not() { return devices().why_not; }
int device_count() { return int(devices().all.size()); }

bool synchronous() {
    static const bool on = [] {
        const char* v = std::getenv("LITTLECORE_SYNC");
        return v && std::strcmp(v, "0") != 0;
    }();
    return on;
}

void use(Device d) {
    if (LC_LIKELY(d.index == device_now)) return;
    LC_CHECK(is_available(), Error, "cuda: ", why_not());
    LC_CHECK(d.index >= 0 && d.index < device_count(), ValueError, "cuda: there is no device ", int(d.index), "; devices: 0 to ", device_count() - 1);
    check(cudaSetDevice(d.index), "cuda");
    device_now = d.index;
}

int device_in_use() {
    if (device_now < 0) use({Device::Type::cuda, 0});
    return device_now;
}
cudaStream_t stream_in_use() { return stream_of({Device::Type::cuda, int8_t(device_in_use())}); }

const Properties& properties() {
    static const std::vector<Properties>* all = [] {
        auto* v = new std::vector<Properties>;
        for (const cudaDeviceProp& p : devices().all) v->push_back({10 * p.major + p.minor, p.multiProcessorCount, int(p.sharedMemPerBlockOptin)});
        return v;
    }();
    return (*all)[size_t(device_in_use())];
}

std::string device_name(int device) {
    LC_CHECK(device >= 0 && device < device_count(), ValueError, "cuda: there is no device ", device, "; ", is_available() ? text("devices: 0 to ", device_count() - 1) : why_not());
    return devices().all[size_t(device)].name;
}
std::string device_details(int device) {
    const std::string name = device_name(device);
    const cudaDeviceProp& p = devices().all[size_t(device)];
    return text(name, ", sm_", p.major, p.minor, ", ", p.multiProcessorCount, " multiprocessors, ", p.totalGlobalMem >> 20, " MiB");
}

// ---- copies -----------------------------------------------------------------------------------------------------------

void copy(void* to, Device to_device, const void* from, Device from_device, size_t bytes) {
    use(to_device.is_cpu() ? from_device : to_device);
    if (to_device == from_device) return copy_on_device(to, from, bytes);
    if (bytes == 0) return;
    host_waits("copy");
    const cudaStream_t s = stream_in_use();
    const cudaMemcpyKind kind = to_device.is_cpu() ? cudaMemcpyDeviceToHost : from_device.is_cpu() ? cudaMemcpyHostToDevice
                                                                                                   : cudaMemcpyDeviceToDevice;
    if (kind == cudaMemcpyDeviceToDevice) check(cudaStreamSynchronize(stream_of(from_device)), "copy");
    check(cudaMemcpyAsync(to, from, bytes, kind, s), "copy");
    if (kind != cudaMemcpyDeviceToDevice) check(cudaStreamSynchronize(s), "copy");
}

void copy_async(void* to, const void* from, size_t bytes, Device d) {
    use(d);
    host_waits("copy");                               // or would have to, before it writes there again
    if (bytes) check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDefault, stream_in_use()), "copy");
}

void* allocate_pinned(size_t bytes) {
    use({Device::Type::cuda, int8_t(device_in_use())});
    void* p = nullptr;
    check(cudaMallocHost(&p, bytes ? bytes : 1), "pin_memory");
    return p;
}
void release_pinned(void* p) noexcept { cudaFreeHost(p); }

// ---- streams and events -------------------------------------------------------------------------------------------------

void synchronize(Device d) {
    use(d);
    host_waits("synchronize");
    check(cudaDeviceSynchronize(), "synchronize");
}
Stream current_stream(Device d) {
    use(d);
    return stream_of(d);
}
void set_current_stream(Device d, Stream s) {
    use(d);
    stream_of(d) = static_cast<cudaStream_t>(s);
}
Stream make_stream(Device d) {
    use(d);
    cudaStream_t s;
    check(cudaStreamCreateWithFlags(&s, cudaStreamNonBlocking), "Stream");
    return s;
}
void drop_stream(Device d, Stream s) noexcept {
    forget_stream(d, static_cast<cudaStream_t>(s));
    cudaStreamDestroy(static_cast<cudaStream_t>(s));
}
void synchronize_stream(Device d, Stream s) {
    use(d);
    host_waits("Stream.synchronize");
    check(cudaStreamSynchronize(static_cast<cudaStream_t>(s)), "Stream.synchronize");
}
Event make_event(Device d) {
    use(d);
    cudaEvent_t e;
    check(cudaEventCreateWithFlags(&e, 0), "Event");
    return e;
}
void drop_event(Device, Event e) noexcept { cudaEventDestroy(static_cast<cudaEvent_t>(e)); }
void record_event(Device d, Event e, Stream s) {
    use(d);
    check(cudaEventRecord(static_cast<cudaEvent_t>(e), static_cast<cudaStream_t>(s)), "Event.record");
}
void wait_event(Device d, Event e, Stream s) {
    use(d);
    check(cudaStreamWaitEvent(static_cast<cudaStream_t>(s), static_cast<cudaEvent_t>(e), 0), "Event.wait");
}
void synchronize_event(Device d, Event e) {
    use(d);
    host_waits("Event.synchronize");
    check(cudaEventSynchronize(static_cast<cudaEvent_t>(e)), "Event.synchronize");
}
double elapsed_ms(Device d, Event begin, Event end) {
    use(d);
    float ms = 0;
    check(cudaEventElapsedTime(&ms, static_cast<cudaEvent_t>(begin), static_cast<cudaEvent_t>(end)), "Event.elapsed_time");
    return ms;
}

void order(Device d, Stream first, Stream then) {
    if (first == then) return;
    use(d);
    struct Done {
        ~Done() { cudaEventDestroy(event); }
        cudaEvent_t event = nullptr;
    } done;
    check(cudaEventCreateWithFlags(&done.event, cudaEventDisableTiming), "stream");
    check(cudaEventRecord(done.event, static_cast<cudaStream_t>(first)), "stream");
    check(cudaStreamWaitEvent(static_cast<cudaStream_t>(then), done.event, 0), "stream");
}

Device device_of([[maybe_unused]] const void* data) {
#ifdef LC_EMULATED
    return {Device::Type::cuda, 0};                   // there is one
#else
    cudaPointerAttributes a;
    check(cudaPointerGetAttributes(&a, data), "cuda");
    LC_CHECK(a.type == cudaMemoryTypeDevice || a.type == cudaMemoryTypeManaged, ValueError, "cuda: the address is of no device's memory");
    return {Device::Type::cuda, int8_t(a.device)};
#endif
}

OnStream::OnStream(Device d, Stream s) : device_(d) {
    check(cudaGetDevice(&device_before_), "cuda");
    device_now = device_before_;                      // others may have set it since we did
    use(d);
    stream_before_ = std::exchange(stream_of(d), static_cast<cudaStream_t>(s));
}
OnStream::~OnStream() {
    stream_of(device_) = static_cast<cudaStream_t>(stream_before_);
    if (device_now != device_before_ && cudaSetDevice(device_before_) == cudaSuccess) device_now = device_before_;
}

}  // namespace lc::cuda
