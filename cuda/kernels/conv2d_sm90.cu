// conv2d of 16-bit elements on Hopper: wgmma fed by the copy engine's im2col loads. Contract: cpp/ops/conv2d.h; what is
// multiplied: conv2d_hopper_plan.h
//
// As in matmul_sm90.cu a persistent block takes tiles in turn, a producer thread keeps a ring of slices full, and two
// warpgroups of consumers multiply. One load brings 64 channels of as many pixels as a tile has columns, zeros for those that
// are padding. Columns are pixels, so that results are written to [n, k, h, w] by runs of a plane. Compute bound from
// some 256 filters on: a tile of 128 x 256 takes 48 KB for 4.2 million products; few filters are bound by L2.
#include "cpp/core/log.h"
#include "cpp/ops/conv2d.h"
#include "cuda/arch/convert.cuh"
#include "cuda/arch/matrix.cuh"
#include "cuda/arch/warp.cuh"
#include "cuda/core/launch.h"
#include "cuda/core/tensor_map.h"
#include "cuda/kernels/conv2d_kernels.h"
#include "cuda/kernels/matmul_slices.cuh"

namespace lc::cuda {
namespace {

constexpr int kConsumers = 2, kThreads = 128 * (kConsumers + 1), kStages = 4;
constexpr int kSlab = 64 * kConvSlice;                // elements of 64 rows or columns of a slice
constexpr int kProducerRegisters = 40, kConsumerRegisters = 232;
constexpr int kPitch = 72;                            // of rows on their way out: eight of them lie in all banks

template <class T> struct alignas(1024) Shared {
    T a[kStages][2 * kSlab], b[kStages][4 * kSlab];
    T out[4 * kConsumers][16 * kPitch];               // a warp's rows, 64 columns at a time
    PhaseBarrier full[kStages], empty[kStages];
};
static_assert(shared_bytes<Shared<bfloat16>> <= 232448, "what a block of sm_90 may have");

struct Problem {
    int m, n, k;                                      // k: slices of depth
    int wide, tiles_m, tiles_n, parts, part;          // as ConvCut has them
    int channels, filter_line;                        // slices of channels of one tap; taps of a line of the filter
    Divider positions, line;                          // windows of an image, of a line
    ConvLine h, w;
    int64_t image, plane;                             // strides of y: images, filters
    int row;                                          // and lines
    bool pairs;                                       // windows 2 i and 2 i + 1 are adjacent in y, at a multiple of 4 bytes
    const void* bias;
};

// ---- device -----------------------------------------------------------------------------------------------------------

struct Work {
    int part, row, col, begin, end;                   // begin, end: slices
};
__device__ __forceinline__ int all_work(const Problem& p) { return p.tiles_m * p.tiles_n * p.parts; }
// Tiles below each other come one after the other: their pixels stay in L2.
template <int cols> __device__ __forceinline__ Work work(int number, const Problem& p) {
    const int tiles = p.tiles_m * p.tiles_n, part = number / tiles, tile = number - part * tiles, begin = part * p.part;
    return {part, tile % p.tiles_m * (p.wide ? 64 : 128), tile / p.tiles_m * (p.wide ? 2 * cols : cols), begin, begin + p.part < p.k ? begin + p.part : p.k};
}

struct Window {
    int image, h, w;                                  // of its number in the image: line and column
};
__device__ __forceinline__ Window window(const Problem& p, int i) {
    const int image = p.positions.divide(i), at = i - image * int(p.positions.d), h = p.line.divide(at);
    return {image, h, at - h * int(p.line.d)};
}

template <class T, int cols> __device__ __forceinline__ void produce(Shared<T>& s, const CUtensorMap& filters, const CUtensorMap& images, const Problem& p) {
    const int bytes = ((p.wide ? 64 : 128) + (p.wide ? 2 * cols : cols)) * kConvSlice * int(sizeof(T));
    RingPlace<kStages> at;
    for (int number = int(blockIdx.x); number < all_work(p); number += int(gridDim.x)) {
        const Work tile = work<cols>(number, p);
        const Window first = window(p, tile.col);
        const int h = p.h.lower + first.h * p.h.stride, w = p.w.lower + first.w * p.w.stride;
        for (int r = 0; r < p.h.taps; ++r)
            for (int q = 0; q < p.w.taps; ++q) {
                const int tap = (p.h.filter + r * p.h.filter_step) * p.filter_line + p.w.filter + q * p.w.filter_step;
                for (int c = 0; c < p.channels; ++c, at.advance()) {
                    phase_wait(s.empty[at.stage], at.lap ^ 1);               // the first lap finds every stage empty
                    PhaseBarrier& full = s.full[at.stage];
                    phase_arrive_expecting(full, bytes);
                    box_load(s.a[at.stage], filters, full, c * kConvSlice, tile.row, tap, 0);
                    pixels_load(s.b[at.stage], images, full, c * kConvSlice, w, h, first.image, p.w.offset + q * p.w.offset_step, p.h.offset + r * p.h.offset_step);
                }
            }
    }
}

// Of dw: slabs of 64 filters, and of 64 channels under one tap, each with the windows of a slice.
template <class T, int cols> __device__ __forceinline__ void produce_weight(Shared<T>& s, const CUtensorMap& dy, const CUtensorMap& images, const Problem& p) {
    const int slabs_a = p.wide ? 1 : 2, slabs_b = (p.wide ? 2 * cols : cols) / 64, bytes = (slabs_a + slabs_b) * kSlab * int(sizeof(T));
    const int taps = p.h.taps * p.w.taps;
    RingPlace<kStages> at;
    for (int number = int(blockIdx.x); number < all_work(p); number += int(gridDim.x)) {
        const Work tile = work<cols>(number, p);
        int channel[4], h[4], w[4];
#pragma unroll
        for (int j = 0; j < 4; ++j) {
            const int slab = tile.col / 64 + j, tap = slab / p.channels;
            channel[j] = tap < taps ? (slab - tap * p.channels) * 64 : p.channels * 64;      // past the last tap: no channels
            h[j] = tap < taps ? tap / p.w.taps : 0;
            w[j] = tap < taps ? tap - h[j] * p.w.taps : 0;
        }
        for (int k = tile.begin; k < tile.end; ++k, at.advance()) {
            const Window first = window(p, k * kConvSlice);
            phase_wait(s.empty[at.stage], at.lap ^ 1);
            PhaseBarrier& full = s.full[at.stage];
            phase_arrive_expecting(full, bytes);
            for (int i = 0; i < slabs_a; ++i) box_load(&s.a[at.stage][i * kSlab], dy, full, tile.row + i * 64, k * kConvSlice);
#pragma unroll
            for (int j = 0; j < 4; ++j)
                if (j < slabs_b)
                    pixels_load(&s.b[at.stage][j * kSlab], images, full, channel[j], p.w.lower + first.w * p.w.stride, p.h.lower + first.h * p.h.stride, first.image,
                                w[j] * p.w.offset_step, h[j] * p.h.offset_step);
        }
    }
}

// Where window i's result lies in filter 0's plane.
__device__ __forceinline__ int64_t result_at(const Problem& p, int i) {
    const Window at = window(p, i);
    return at.image * p.image + int64_t(p.h.result + at.h * p.h.result_step) * p.row + p.w.result + at.w * p.w.result_step;
}

// A warp's 16 rows, by way of shared memory: a lane writes two pixels of each.
template <class T, int cols> __device__ __forceinline__ void store(T* rows, const Problem& p, int row, int col, const float (&sum)[cols / 2], T* y) {
    const T* bias = static_cast<const T*>(p.bias);
    const int own = row + lane_id() / 4;
    const float upper = bias && own < p.m ? widen(bias[own]) : 0.0f, lower = bias && own + 8 < p.m ? widen(bias[own + 8]) : 0.0f;
#pragma unroll
    for (int c = 0; c < cols / 64; ++c) {
        const int pixel = col + c * 64 + 2 * lane_id();
        __syncwarp();                                 // the columns before have been read
#pragma unroll
        for (int j = 0; j < 4; ++j) {
            const float* z = sum + c * 32 + j * 8;
            store_matrices(rows + lane_id() % 16 * kPitch + (2 * j + lane_id() / 16) * 8,
                           {narrow_pair<T>(z[0] + upper, z[1] + upper), narrow_pair<T>(z[2] + lower, z[3] + lower), narrow_pair<T>(z[4] + upper, z[5] + upper),
                            narrow_pair<T>(z[6] + lower, z[7] + lower)});
        }
        __syncwarp();
        const bool first = pixel < p.n, second = pixel + 1 < p.n;
        T* to = y + row * p.plane + (first ? result_at(p, pixel) : 0);
        T* next = p.pairs ? nullptr : y + row * p.plane + (second ? result_at(p, pixel + 1) : 0);
        for (int i = 0; i < 16 && row + i < p.m; ++i, to += p.plane, next += p.plane) {
            const T* two = rows + i * kPitch + 2 * lane_id();
            if (p.pairs) {
                if (first) *reinterpret_cast<uint32_t*>(to) = *reinterpret_cast<const uint32_t*>(two);
            } else {
                if (first) *to = two[0];
                if (second) *next = two[1];
            }
        }
    }
}

// The same as they are, to the floats of a part; whole tiles have a place there.
template <int cols> __device__ __forceinline__ void store_sums(const Problem& p, int part, int row, int col, const float (&sum)[cols / 2], float* y) {
    const int64_t stride = int64_t(p.tiles_n) * (p.wide ? 2 * cols : cols), rows = int64_t(p.tiles_m) * (p.wide ? 64 : 128);
    float* to = y + (part * rows + row + lane_id() / 4) * stride + col + lane_id() % 4 * 2;
#pragma unroll
    for (int i = 0; i < cols / 2; i += 4) {
        *reinterpret_cast<float2*>(to + i * 2) = make_float2(sum[i], sum[i + 1]);
        *reinterpret_cast<float2*>(to + i * 2 + 8 * stride) = make_float2(sum[i + 2], sum[i + 3]);
    }
}

// weight: a is dy, y the floats of the parts; else a is the filters.
template <class T, int cols, bool weight>
__global__ __launch_bounds__(kThreads, 1) void conv_hopper_kernel(const __grid_constant__ CUtensorMap map_a, const __grid_constant__ CUtensorMap images, const __grid_constant__ Problem p,
                                                                  void* y) {
    auto& s = shared_memory<Shared<T>>();
    if (threadIdx.x == 0) {
        for (int i = 0; i < kStages; ++i) {
            phase_init(s.full[i], 1);
            phase_init(s.empty[i], kConsumers);
        }
        phase_fence_init();
        box_prefetch(map_a);
        box_prefetch(images);
    }
    __syncthreads();                                  // everybody sees the barriers

    if (threadIdx.x >= 128 * kConsumers) {
        give_registers<kProducerRegisters>();
        if (threadIdx.x != 128 * kConsumers) return;
        if constexpr (weight) produce_weight<T, cols>(s, map_a, images, p);
        else produce<T, cols>(s, map_a, images, p);
        return;
    }
    take_registers<kConsumerRegisters>();
    const int consumer = int(threadIdx.x) / 128, below = p.wide ? 0 : consumer, beside = p.wide ? consumer : 0;
    RingPlace<kStages> at;
    for (int number = int(blockIdx.x); number < all_work(p); number += int(gridDim.x)) {
        const Work tile = work<cols>(number, p);
        float sum[cols / 2];
        multiply_slices<T, cols, weight, weight>(s.a, below * kSlab, s.b, beside * (cols / 64) * kSlab, s.full, at, tile.end - tile.begin, sum, [&](int stage) {
            if (threadIdx.x % 128 == 0) phase_arrive(s.empty[stage]);
        });
        if (tile.end == tile.begin)                   // pixels of dx under no tap
            for (float& x : sum) x = 0;
        const int row = tile.row + below * 64 + warp_id() % 4 * 16, col = tile.col + beside * cols;
        if constexpr (weight) store_sums<cols>(p, tile.part, row, col, sum, static_cast<float*>(y));
        else store<T, cols>(s.out[warp_id()], p, row, col, sum, static_cast<T*>(y));
    }
}

// ---- host ---------------------------------------------------------------------------------------------------------------

void tell(const char* what, const char* type, const ConvCut& cut, const Problem& p) {
    if (LC_UNLIKELY(log_enabled()))
        log(text("[conv2d] cuda ", what, " wgmma ", cut.tile_m(), "x", cut.tile_n(), " ", type, " m=", p.m, " n=", p.n, " k=", p.k * kConvSlice, ": ", cut.work(), " tiles, ", cut.parts,
                 " parts"));
}

Problem problem_of(const ConvLine& h, const ConvLine& w, int64_t m, int64_t n, int64_t k, const ConvCut& cut) {
    Problem p{};
    p.m = int(m), p.n = int(n), p.k = int(k);
    p.wide = cut.wide, p.tiles_m = cut.tiles_m, p.tiles_n = cut.tiles_n, p.parts = cut.parts, p.part = cut.part;
    p.h = h, p.w = w;
    p.positions = int64_t(h.count) * w.count, p.line = w.count;
    return p;
}

// [n, h, w, c], as the windows of h and w read it.
template <class T> CUtensorMap images_map(const T* x, int64_t n, int64_t rows, int64_t cols, int64_t c, const ConvLine& h, const ConvLine& w, int pixels) {
    return encode_pixels({x, dtype_of<T>, n, rows, cols, c, h.lower, w.lower, h.upper, w.upper, h.stride, w.stride, pixels});
}

template <class T, int cols, bool weight> void start(const ConvCut& cut, const CUtensorMap& a, const CUtensorMap& images, const Problem& p, void* y) {
    const int64_t blocks = std::min<int64_t>(cut.work(), properties().multiprocessors);
    launch("conv2d", conv_hopper_kernel<T, cols, weight>, {dim3(unsigned(blocks)), dim3(kThreads), shared_bytes<Shared<T>>}, a, images, p, y);
}

// filters: [taps, m, c]; x: [n, rows, cols, c]; y: [n, m, y_rows, y_cols].
template <class T>
void convolve(const Conv2dShape& s, const char* what, const ConvLine& h, const ConvLine& w, const T* filters, int64_t m, int64_t c, const T* x, int64_t rows, int64_t cols, const T* bias, T* y,
              int64_t y_rows, int64_t y_cols) {
    const int64_t n = s.n * h.count * w.count, channels = div_up(c, kConvSlice), k = h.taps * w.taps * channels;
    if (n == 0) return;
    const ConvCut cut = conv_cut(m, n, k, false, properties().multiprocessors);
    Problem p = problem_of(h, w, m, n, k, cut);
    p.channels = int(channels);
    p.filter_line = int(s.s);
    p.plane = y_rows * y_cols, p.image = m * p.plane, p.row = int(y_cols);
    p.pairs = h.result_step == 1 && w.result_step == 1 && p.plane % 2 == 0 && reinterpret_cast<uintptr_t>(y) % 4 == 0;
    p.bias = bias;
    tell(what, name(dtype_of<T>), cut, p);
    const CUtensorMap a = encode_matrices({filters, dtype_of<T>, {c, m, s.r * s.s, 1}, {1, c, c * m, c * m * s.r * s.s}, kConvSlice, cut.tile_m()});
    const CUtensorMap images = images_map(x, s.n, rows, cols, c, h, w, cut.tile_n());
    if (cut.cols == 256) start<T, 256, false>(cut, a, images, p, y);
    else start<T, 128, false>(cut, a, images, p, y);
}

template <class T> void forward(const Conv2dShape& s, const T* w, const T* x, const T* bias, T* y) {
    const bool as_is = s.r * s.s == 1 && reinterpret_cast<uintptr_t>(w) % 16 == 0;
    const Scratch<T> filters(as_is ? 0 : s.k * s.c * s.r * s.s), images(s.n * s.c * s.h * s.w);
    if (!as_is) taps_first(w, s.k, s.c, s.r * s.s, false, filters.data());
    channels_last(x, s.n, s.c, s.h * s.w, images.data());
    convolve<T>(s, "forward", conv_line(s.h, s.oh, s.r, s.stride_h, s.pad_h, s.dilation_h), conv_line(s.w, s.ow, s.s, s.stride_w, s.pad_w, s.dilation_w), as_is ? w : filters.data(), s.k,
                s.c, images.data(), s.h, s.w, bias, y, s.oh, s.ow);
}

template <class T> void backward_data(const Conv2dShape& s, const T* w, const T* dy, const T* bias, T* dx) {
    const Scratch<T> filters(s.k * s.c * s.r * s.s), images(s.n * s.k * s.oh * s.ow);
    taps_first(w, s.k, s.c, s.r * s.s, true, filters.data());
    channels_last(dy, s.n, s.k, s.oh * s.ow, images.data());
    for (int64_t i = 0; i < s.stride_h; ++i)
        for (int64_t j = 0; j < s.stride_w; ++j)
            convolve<T>(s, "backward_data", conv_data_line(s.h, s.oh, s.r, s.stride_h, s.pad_h, s.dilation_h, i), conv_data_line(s.w, s.ow, s.s, s.stride_w, s.pad_w, s.dilation_w, j),
                        filters.data(), s.c, s.k, images.data(), s.oh, s.ow, bias, dx, s.h, s.w);
}

template <class T> void backward_weight(const Conv2dShape& s, const T* dy, const T* x, T* dw) {
    const int64_t positions = s.oh * s.ow, windows = s.n * positions, channels = div_up(s.c, kConvSlice), taps = s.r * s.s;
    const Scratch<T> rows(windows * s.k), images(s.n * s.c * s.h * s.w);
    channels_last(dy, s.n, s.k, positions, rows.data());
    channels_last(x, s.n, s.c, s.h * s.w, images.data());
    const ConvLine h = conv_line(s.h, s.oh, s.r, s.stride_h, s.pad_h, s.dilation_h), w = conv_line(s.w, s.ow, s.s, s.stride_w, s.pad_w, s.dilation_w);
    const int64_t slices = div_up(windows, kConvSlice);
    const ConvCut cut = conv_cut(s.k, taps * channels * 64, slices, true, properties().multiprocessors);
    Problem p = problem_of(h, w, s.k, taps * channels * 64, slices, cut);
    p.channels = int(channels);
    tell("backward_weight", name(dtype_of<T>), cut, p);
    const int64_t sums_rows = int64_t(cut.tiles_m) * cut.tile_m(), sums_cols = int64_t(cut.tiles_n) * cut.tile_n();
    const Scratch<float> sums(cut.parts * sums_rows * sums_cols);
    start<T, 128, true>(cut, encode({rows.data(), dtype_of<T>, s.k, windows, s.k, 64, kConvSlice}), images_map(images.data(), s.n, s.h, s.w, s.c, h, w, kConvSlice), p, sums.data());
    add_filter_parts(sums.data(), cut.parts, sums_rows, sums_cols, channels * 64, s.k, s.c, taps, dw);
}

}  // namespace

template <class T> void conv2d_hopper(const Conv2dShape& s, ConvProduct product, const T* a, const T* x, const T* bias, T* y) {
    if (product == ConvProduct::forward) forward(s, a, x, bias, y);
    else if (product == ConvProduct::data) backward_data(s, a, x, bias, y);
    else backward_weight(s, a, x, y);
}

template void conv2d_hopper(const Conv2dShape&, ConvProduct, const bfloat16*, const bfloat16*, const bfloat16*, bfloat16*);
template void conv2d_hopper(const Conv2dShape&, ConvProduct, const float16*, const float16*, const float16*, float16*);

}  // namespace lc::cuda
