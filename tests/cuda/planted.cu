// Kernels with a bug each, which the emulator must find, and their sound twins, which it must let pass.
// tests/cuda/test_emulator.py runs `planted NAME` and looks for the message.
#include <cstdio>
#include <cstring>
#include <functional>
#include <map>
#include <string>
#include "cuda/arch/async_copy.cuh"
#include "cuda/arch/cluster.cuh"
#include "cuda/arch/convert.cuh"
#include "cuda/arch/matrix.cuh"
#include "cuda/arch/pipeline.cuh"
#include "cuda/arch/warp.cuh"
#include "cuda/arch/wgmma.cuh"
#include "cuda/core/launch.h"
#include "cuda/core/tensor_map.h"

using namespace lc;
using namespace lc::cuda;

namespace {

struct Row {
    float x[64];
};

// ---- memory and barriers ----------------------------------------------------------------------------------------------

__global__ void reverse(const float* x, float* y, int n, bool barrier) {
    auto& row = shared_memory<Row>();
    const int i = int(threadIdx.x);
    row.x[i] = x[i];
    if (barrier) __syncthreads();
    y[i] = row.x[n - 1 - i];
}
__global__ void late_write(const float* x, float* y) {
    auto& row = shared_memory<Row>();
    const int i = int(threadIdx.x);
    row.x[i] = x[i];
    __syncthreads();
    y[i] = row.x[63 - i];
    row.x[i] = 0;                                     // its reader may not have come yet
}
__global__ void past_the_end(const float* x, float* y, int n) {
    if (int(threadIdx.x) < n) y[threadIdx.x] = x[threadIdx.x + 1];
}
__global__ void unwritten(float* y) {
    auto& row = shared_memory<Row>();
    if (threadIdx.x < 63) row.x[threadIdx.x] = 1;
    __syncthreads();
    y[threadIdx.x] = row.x[threadIdx.x];
}
__global__ void too_much_shared(float* y) {
    auto& row = shared_memory<Row>();
    row.x[threadIdx.x + 1] = 1;
    y[threadIdx.x] = 0;
}
__global__ void half_a_barrier(float* y) {
    if (threadIdx.x < 32) barrier_sync<1>(64);
    y[threadIdx.x] = 0;
}
__global__ void diverged(float* y) {
    float x = 1;
    if (threadIdx.x % 2) x = __shfl_xor_sync(kAllLanes, x, 1);
    else __syncwarp();
    y[threadIdx.x] = x;
}
__global__ void two_blocks_one_place(float* y) { y[threadIdx.x] = float(blockIdx.x); }

// ---- asynchronous copies ------------------------------------------------------------------------------------------------

__global__ void copies(const float* x, float* y, bool wait, bool barrier) {
    auto& row = shared_memory<Row>();
    const int i = int(threadIdx.x);
    if (i < 16) copy_async(row.x + 4 * i, x + 4 * i, 16);
    copy_async_commit();
    if (wait) copy_async_wait<0>();
    if (barrier) __syncthreads();
    y[i] = row.x[63 - i];
}

// ---- TMA, wgmma: 64 x 128 = a[64 x 64] b[64 x 128], both along -----------------------------------------------------------

enum class Bug { none,
                 no_phase_wait,
                 wrong_bytes,
                 no_fence,
                 no_store_fence,
                 early_use,
                 wrong_step,
                 unswizzled,
                 none_of_registers,                    // a by way of registers
                 early_change };

struct alignas(1024) Tiles {
    bfloat16 a[64 * 64], b[128 * 64], out[64 * 64];
    PhaseBarrier full;
};

__global__ __launch_bounds__(128) void product(const __grid_constant__ CUtensorMap a, const __grid_constant__ CUtensorMap b, const __grid_constant__ CUtensorMap y, Bug bug) {
    auto& s = shared_memory<Tiles>();
    if (threadIdx.x == 0) {
        phase_init(s.full, 1);
        if (bug != Bug::no_fence) phase_fence_init();
    }
    __syncthreads();
    if (threadIdx.x == 0) {
        phase_arrive_expecting(s.full, (64 + 128) * 64 * 2 + (bug == Bug::wrong_bytes ? 16 : 0));
        box_load(s.a, a, s.full, 0, 0);
        box_load(s.b, b, s.full, 0, 0);
    }
    if (bug != Bug::no_phase_wait) phase_wait(s.full, 0);
    float d[64];
    const uint64_t da = tile_descriptor(s.a, 16, 1024), db = tile_descriptor(s.b, 16, 1024);
    const int at = warp_id() * 16 + lane_id() % 16;
    uint32_t rows[4][4];
    for (int i = 0; i < 4 && bug >= Bug::none_of_registers; ++i) load_matrices(rows[i], s.a + at * 64 + ((2 * i + lane_id() / 16) ^ (at & 7)) * 8);
    warpgroup_fence();
    for (int i = 0; i < 4; ++i)
        if (bug >= Bug::none_of_registers) warpgroup_multiply<bfloat16, 128, false>(d, rows[i], advanced(db, 32 * i), i > 0);
        else warpgroup_multiply<bfloat16, 128, false, false>(d, advanced(da, i * (bug == Bug::wrong_step ? 64 : 32)), advanced(db, 32 * i), i > 0);
    warpgroup_commit();
    if (bug == Bug::early_change) ++rows[2][1];
    if (bug != Bug::early_use) warpgroup_wait<0>();
    for (int j = 0; j < 4; ++j) {
        const int chunk = (2 * j + lane_id() / 16) ^ (bug == Bug::unswizzled ? 0 : at & 7);
        store_matrices(s.out + at * 64 + chunk * 8, {narrow_pair<bfloat16>(d[8 * j], d[8 * j + 1]), narrow_pair<bfloat16>(d[8 * j + 2], d[8 * j + 3]), narrow_pair<bfloat16>(d[8 * j + 4], d[8 * j + 5]), narrow_pair<bfloat16>(d[8 * j + 6], d[8 * j + 7])});
    }
    if (bug == Bug::early_use) warpgroup_wait<0>();
    if (bug != Bug::no_store_fence) fence_async_proxy();
    __syncthreads();
    if (threadIdx.x == 0) {
        box_store(y, s.out, 0, 0);
        box_store_commit();
        box_store_wait<0>();
    }
}

// ---- clusters: two blocks load half of a tile each, for both; twice, so that the second round must wait for the first --------

enum class ClusterBug { none,
                        no_begin,
                        no_end,
                        own_only };

struct alignas(1024) Shared2 {
    bfloat16 x[2 * 64 * 64];
    PhaseBarrier full, empty;
};

__global__ __launch_bounds__(64) void both_halves(const __grid_constant__ CUtensorMap x, bfloat16* y, ClusterBug bug) {
    auto& s = shared_memory<Shared2>();
    const int rank = cluster_rank();
    if (threadIdx.x == 0) {
        phase_init(s.full, 1);
        phase_init(s.empty, bug == ClusterBug::own_only ? 1 : 2);
        phase_fence_init();
    }
    if (bug == ClusterBug::no_begin) __syncthreads();
    else cluster_sync();
    for (int round = 0; round < 2; ++round) {
        if (threadIdx.x == 0) {
            phase_wait(s.empty, round ^ 1);
            phase_arrive_expecting(s.full, int(sizeof(s.x)));
            box_load_to(0b11, s.x + rank * 64 * 64, x, s.full, 0, rank * 64);
        }
        phase_wait(s.full, round);
        for (int i = int(threadIdx.x); i < 2 * 64 * 64; i += 64) y[rank * 2 * 64 * 64 + i] = s.x[i];
        __syncthreads();                              // all have read
        if (threadIdx.x < 2 && (bug != ClusterBug::own_only || int(threadIdx.x) == rank)) phase_arrive_at(s.empty, int(threadIdx.x));
    }
    if (bug != ClusterBug::no_end) cluster_sync();
}

// ---- pixels: two images of 5 x 3, padded by one, as windows of 3 x 3 with stride 2 read them ---------------------------------

enum class PixelBug { none,
                      first_outside,
                      long_offset,
                      as_a_box };

struct alignas(1024) Pixels {
    bfloat16 x[16 * 64];
    PhaseBarrier full;
};

__global__ __launch_bounds__(32) void taps(const __grid_constant__ CUtensorMap x, bfloat16* y, PixelBug bug) {
    auto& s = shared_memory<Pixels>();
    if (threadIdx.x == 0) {
        phase_init(s.full, 1);
        phase_fence_init();
    }
    __syncwarp();
    if (threadIdx.x == 0) {
        phase_arrive_expecting(s.full, int(sizeof(s.x)));
        if (bug == PixelBug::as_a_box) box_load(s.x, x, s.full, 0, 0, 0, 0);
        else pixels_load(s.x, x, s.full, 0, bug == PixelBug::first_outside ? 2 : 1, -1, 0, bug == PixelBug::long_offset ? 256 : 2, 1);
    }
    phase_wait(s.full, 0);
    for (int i = int(threadIdx.x); i < 16 * 64; i += 32) y[i] = s.x[i / 64 * 64 + ((i / 8 % 8) ^ (i / 64 % 8)) * 8 + i % 8];
}

// ---- the cases ----------------------------------------------------------------------------------------------------------

const Device kGpu{Device::Type::cuda, 0};

template <class T> struct Array {
    T* data;
    int n;
    explicit Array(int n, bool filled = true) : data(static_cast<T*>(cuda::allocate(size_t(n) * sizeof(T), kGpu))), n(n) {
        if (filled) cuda::fill_bytes(data, 0, size_t(n) * sizeof(T), kGpu);
    }
    ~Array() { cuda::release(data, kGpu); }
};

void run_product(Bug bug) {
    Array<bfloat16> a(64 * 64), b(128 * 64), y(64 * 64);
    bfloat16 host[128 * 64], out[64 * 64];
    for (int i = 0; i < 128 * 64; ++i) host[i] = from_float<bfloat16>(float(i * 7 % 5 - 2 + (i / 64) % 3));
    cuda::copy(a.data, kGpu, host, {}, sizeof(bfloat16) * 64 * 64);
    cuda::copy(b.data, kGpu, host, {}, sizeof host);
    const auto map = [](const bfloat16* x, int rows) { return encode({x, DType::bfloat16, 64, rows, 64, 64, rows}); };
    launch("product", product, {Blocks(1), dim3(128), shared_bytes<Tiles>}, map(a.data, 64), map(b.data, 128), map(y.data, 64), bug);
    cuda::copy(out, {}, y.data, kGpu, sizeof out);
    for (int i = 0; i < 64; ++i)
        for (int j = 0; j < 64; ++j) {
            float sum = 0;
            for (int k = 0; k < 64; ++k) sum += to_float(host[i * 64 + k]) * to_float(host[j * 64 + k]);
            if (!(to_float(from_float<bfloat16>(sum)) == to_float(out[i * 64 + j]))) throw Error("wrong result");
        }
}

void run_cluster(ClusterBug bug) {
    Array<bfloat16> x(2 * 64 * 64), y(4 * 64 * 64);
    launch("cluster", both_halves, {Blocks(2), dim3(64), shared_bytes<Shared2>, 2}, encode({x.data, DType::bfloat16, 64, 128, 64, 64, 64}), y.data, bug);
}

void run_pixels(PixelBug bug) {
    constexpr int n = 2, rows = 5, cols = 3, channels = 8;
    Array<bfloat16> x(n * rows * cols * channels), y(16 * 64);
    bfloat16 host[n * rows * cols * channels], out[16 * 64];
    for (int i = 0; i < n * rows * cols * channels; ++i) host[i] = from_float<bfloat16>(float(i % 251));
    cuda::copy(x.data, kGpu, host, {}, sizeof host);
    launch("taps", taps, {dim3(1), dim3(32), shared_bytes<Pixels>}, encode_pixels({x.data, DType::bfloat16, n, rows, cols, channels, -1, -1, -1, -1, 2, 2, 16}), y.data, bug);
    cuda::copy(out, {}, y.data, kGpu, sizeof out);
    // Six windows an image, the first one skipped; under the tap 1, 2.
    for (int i = 0; i < 16; ++i)
        for (int c = 0; c < 64; ++c) {
            const int image = (i + 1) / 6, h = (i + 1) % 6 / 2 * 2, w = (i + 1) % 2 * 2 + 1;
            const bool inside = image < n && w < cols && c < channels;
            if (to_float(out[i * 64 + c]) != (inside ? to_float(host[((image * rows + h) * cols + w) * channels + c]) : 0.0f)) throw Error("wrong result");
        }
}

template <class... P, class... A> void simple(void (*kernel)(P...), int64_t blocks, A... a) { launch("planted", kernel, {Blocks(blocks), dim3(64), shared_bytes<Row>}, a...); }

// On a stream that runs late: the error comes when somebody waits, with LITTLECORE_SYNC=1 at the launch.
void late_error() {
    Array<float> x(64), y(64);
    set_current_stream(kGpu, make_stream(kGpu));
    simple(past_the_end, 1, (const float*)x.data, y.data, 64);
    std::puts("launched");
    synchronize(kGpu);
}

const std::map<std::string, std::function<void()>> kCases = {
    {"late_error", late_error},
    {"huge_grid", [] { Array<float> x(64), y(64); simple(reverse, int64_t(1) << 32 | 1, (const float*)x.data, y.data, 64, true); }},
    {"sound_reverse", [] { Array<float> x(64), y(64); simple(reverse, 1, (const float*)x.data, y.data, 64, true); }},
    {"no_barrier", [] { Array<float> x(64), y(64); simple(reverse, 1, (const float*)x.data, y.data, 64, false); }},
    {"late_write", [] { Array<float> x(64), y(64); simple(late_write, 1, (const float*)x.data, y.data); }},
    {"past_the_end", [] { Array<float> x(64), y(64); simple(past_the_end, 1, (const float*)x.data, y.data, 64); }},
    {"unwritten_input", [] { Array<float> x(64, false), y(64); simple(reverse, 1, (const float*)x.data, y.data, 64, true); }},
    {"unwritten_shared", [] { Array<float> y(64); simple(unwritten, 1, y.data); }},
    {"too_much_shared", [] { Array<float> y(64); simple(too_much_shared, 1, y.data); }},
    {"deadlock", [] { Array<float> y(64); simple(half_a_barrier, 1, y.data); }},
    {"diverged", [] { Array<float> y(64); simple(diverged, 1, y.data); }},
    {"two_blocks", [] { Array<float> y(64); simple(two_blocks_one_place, 2, y.data); }},
    {"sound_copies", [] { Array<float> x(64), y(64); simple(copies, 1, (const float*)x.data, y.data, true, true); }},
    {"no_copy_wait", [] { Array<float> x(64), y(64); simple(copies, 1, (const float*)x.data, y.data, false, true); }},
    {"no_copy_barrier", [] { Array<float> x(64), y(64); simple(copies, 1, (const float*)x.data, y.data, true, false); }},
    {"sound_product", [] { run_product(Bug::none); }},
    {"no_phase_wait", [] { run_product(Bug::no_phase_wait); }},
    {"wrong_bytes", [] { run_product(Bug::wrong_bytes); }},
    {"no_fence", [] { run_product(Bug::no_fence); }},
    {"no_store_fence", [] { run_product(Bug::no_store_fence); }},
    {"early_use", [] { run_product(Bug::early_use); }},
    {"wrong_step", [] { run_product(Bug::wrong_step); }},
    {"unswizzled", [] { run_product(Bug::unswizzled); }},
    {"sound_registers", [] { run_product(Bug::none_of_registers); }},
    {"early_change", [] { run_product(Bug::early_change); }},
    {"sound_cluster", [] { run_cluster(ClusterBug::none); }},
    {"cluster_no_begin", [] { run_cluster(ClusterBug::no_begin); }},
    {"cluster_no_end", [] { run_cluster(ClusterBug::no_end); }},
    {"cluster_own_only", [] { run_cluster(ClusterBug::own_only); }},
    {"sound_pixels", [] { run_pixels(PixelBug::none); }},
    {"first_outside", [] { run_pixels(PixelBug::first_outside); }},
    {"long_offset", [] { run_pixels(PixelBug::long_offset); }},
    {"pixels_as_a_box", [] { run_pixels(PixelBug::as_a_box); }},
};

}  // namespace

int main(int argc, char** argv) {
    if (argc < 2) {
        for (const auto& [name, run] : kCases) std::puts(name.c_str());
        return 0;
    }
    try {
        kCases.at(argv[1])();
    } catch (const std::exception& e) {
        std::puts(e.what());
        return 1;
    }
    std::puts("sound");
    return 0;
}
