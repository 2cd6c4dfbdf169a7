// conv2d of 16-bit elements on Hopper: wgmma fed by the copy engine. Contract: cpp/ops/conv2d.h; what is multiplied:
// conv2d_hopper_plan.h
//
// As in matmul_sm90.cu a persistent block takes tiles in turn, a producer thread keeps a ring of slices full, and two
// warpgroups of consumers multiply. From images with adjacent channels one load (im2col) brings 64 channels of as many pixels
// as a tile has columns, from planes it brings 64 pixels of a line; what is padding comes as zeros. Columns are pixels, so
// that results are written to [n, k, h, w] by runs of a plane. Compute bound from some 256 filters on: a tile of 128 x 256
// takes 48 KB, in a pair 32, for 4.2 million products; few filters are bound by L2.
#include "cpp/core/log.h"
#include "cpp/ops/conv2d.h"
#include "cuda/arch/cluster.cuh"
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
constexpr int kProducerRegisters = 56, kConsumerRegisters = 224;      // 128 x 56 + 256 x 224 of 65536
constexpr int kPitch = 72;                            // of rows on their way out: eight of them lie in all banks

template <class T> struct alignas(1024) Shared {
    T a[kStages][2 * kSlab], b[kStages][4 * kSlab];
    T out[4 * kConsumers][16 * kPitch];               // a warp's rows, 64 columns at a time
    PhaseBarrier full[kStages], empty[kStages];
};
static_assert(shared_bytes<Shared<bfloat16>> <= 232448, "what a block of sm_90 may have");

// What the producer loads: filters and windows of images with adjacent channels, or of planes; or of dw, dy and either.
enum class Feed : uint8_t { pixels,
                            planes,
                            weight,
                            weight_planes };          // 1 x 1: a window is its pixel
constexpr bool is_weight(Feed f) { return f == Feed::weight || f == Feed::weight_planes; }

struct Problem {
    int m, n, k;                                      // k: slices of depth
    int wide, pair, tiles_m, tiles_n, parts, part;    // as ConvCut has them
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
// A pair of blocks counts as one. Tiles below each other come one after the other: their pixels stay in L2.
template <int cols> __device__ __forceinline__ Work work(int number, const Problem& p) {
    const int rows = p.tiles_m >> p.pair, tiles = rows * p.tiles_n, part = number / tiles, tile = number - part * tiles, begin = part * p.part;
    const int row = (tile % rows << p.pair) + (int(blockIdx.x) & p.pair);
    return {part, row * (p.wide ? 64 : 128), tile / rows * (p.wide ? 2 * cols : cols), begin, begin + p.part < p.k ? begin + p.part : p.k};
}

struct Window {
    int image, h, w;                                  // of its number in the image: line and column
};
__device__ __forceinline__ Window window(const Problem& p, int i) {
    const int image = p.positions.divide(i), at = i - image * int(p.positions.d), h = p.line.divide(at);
    return {image, h, at - h * int(p.line.d)};
}

__device__ __forceinline__ void load_pixels(const Problem& p, void* to, const CUtensorMap& map, PhaseBarrier& full, int c, int w, int h, int n, int offset_w, int offset_h) {
    if (p.pair) pixels_load_to(0b11, to, map, full, c, w, h, n, offset_w, offset_h);
    else pixels_load(to, map, full, c, w, h, n, offset_w, offset_h);
}
__device__ __forceinline__ void load_box(const Problem& p, void* to, const CUtensorMap& map, PhaseBarrier& full, int x, int y, int z, int w) {
    if (p.pair) box_load_to(0b11, to, map, full, x, y, z, w);
    else box_load(to, map, full, x, y, z, w);
}

template <class T, int cols, Feed feed> __device__ __forceinline__ void produce(Shared<T>& s, const CUtensorMap& filters, const CUtensorMap& images, const Problem& p) {
    const int boxes = (p.wide ? 2 * cols : cols) / 64, bytes = ((p.wide ? 1 : 2) + boxes) * kSlab * int(sizeof(T));
    const int own = boxes >> p.pair, before = p.pair ? cluster_rank() * own : 0;     // columns that this block loads, in 64s
    RingPlace<kStages> at;
    for (int number = first_work(p); number < all_work(p); number += next_work(p)) {
        const Work tile = work<cols>(number, p);
        const Window first = window(p, tile.col + before * 64);      // past the last image: zeros
        const int h = p.h.lower + first.h * p.h.stride, w = p.w.lower + first.w * p.w.stride;
        Window box[4];
        if constexpr (feed == Feed::planes) {
#pragma unroll
            for (int j = 0; j < 4; ++j) box[j] = window(p, tile.col + (before + j) * 64);
        }
        for (int r = 0; r < p.h.taps; ++r)
            for (int q = 0; q < p.w.taps; ++q) {
                const int tap = (p.h.filter + r * p.h.filter_step) * p.filter_line + p.w.filter + q * p.w.filter_step;
                const int below = p.h.offset + r * p.h.offset_step, beside = p.w.offset + q * p.w.offset_step;
                for (int c = 0; c < p.channels; ++c, at.advance()) {
                    phase_wait(s.empty[at.stage], at.lap ^ 1);               // the first lap finds every stage empty
                    PhaseBarrier& full = s.full[at.stage];
                    phase_arrive_expecting(full, bytes);
                    box_load(s.a[at.stage], filters, full, c * kConvSlice, tile.row, tap, 0);
                    if constexpr (feed == Feed::pixels) {
                        load_pixels(p, &s.b[at.stage][before * kSlab], images, full, c * kConvSlice, w, h, first.image, beside, below);
                    } else {
#pragma unroll
                        for (int j = 0; j < 4; ++j)
                            if (j < own)
                                load_box(p, &s.b[at.stage][(before + j) * kSlab], images, full, p.w.lower + box[j].w + beside, c * kConvSlice, p.h.lower + box[j].h + below, box[j].image);
                    }
                }
            }
    }
}

// Of dw: slabs of 64 filters, and of 64 channels under one tap, each with the windows of a slice.
template <class T, int cols> __device__ __forceinline__ void produce_weight(Shared<T>& s, const CUtensorMap& dy, const CUtensorMap& images, const Problem& p) {
    const int slabs_a = p.wide ? 1 : 2, slabs_b = (p.wide ? 2 * cols : cols) / 64, bytes = (slabs_a + slabs_b) * kSlab * int(sizeof(T));
    const int taps = p.h.taps * p.w.taps, own = slabs_b >> p.pair, before = p.pair ? cluster_rank() * own : 0;
    RingPlace<kStages> at;
    for (int number = first_work(p); number < all_work(p); number += next_work(p)) {
        const Work tile = work<cols>(number, p);
        int channel[4], h[4], w[4];
#pragma unroll
        for (int j = 0; j < 4; ++j) {
            const int slab = tile.col / 64 + before + j, tap = slab / p.channels;
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
                if (j < own)
                    load_pixels(p, &s.b[at.stage][(before + j) * kSlab], images, full, channel[j], p.w.lower + first.w * p.w.stride, p.h.lower + first.h * p.h.stride, first.image,
                                w[j] * p.w.offset_step, h[j] * p.h.offset_step);
        }
    }
}

// Of dw of 1 x 1 filters: rows of filters and of channels, along the pixels of an image.
template <class T, int cols> __device__ __forceinline__ void produce_weight_planes(Shared<T>& s, const CUtensorMap& dy, const CUtensorMap& images, const Problem& p) {
    const int bytes = ((p.wide ? 64 : 128) + (p.wide ? 2 * cols : cols)) * kConvSlice * int(sizeof(T));
    const int first_row = p.pair ? cluster_rank() * ((p.wide ? 2 * cols : cols) / 2) : 0;
    RingPlace<kStages> at;
    for (int number = first_work(p); number < all_work(p); number += next_work(p)) {
        const Work tile = work<cols>(number, p);
        for (int k = tile.begin; k < tile.end; ++k, at.advance()) {
            const Window first = window(p, k * kConvSlice);
            phase_wait(s.empty[at.stage], at.lap ^ 1);
            PhaseBarrier& full = s.full[at.stage];
            phase_arrive_expecting(full, bytes);
            box_load(s.a[at.stage], dy, full, first.w, tile.row, 0, first.image);
            load_box(p, &s.b[at.stage][first_row * kConvSlice], images, full, first.w, tile.col + first_row, 0, first.image);
        }
    }
}

// Where window i's result lies in filter 0's plane; -1: there is no such window.
__device__ __forceinline__ int64_t result_at(const Problem& p, int i) {
    const Window at = window(p, i);
    if (i >= p.n || at.w >= p.w.count) return -1;
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
        int64_t first = result_at(p, pixel), second = p.pairs ? -1 : result_at(p, pixel + 1);
        const T* two = rows + 2 * lane_id();
        const int64_t step = p.plane;
        T* to = y + row * step;
        for (int i = 0; i < 16 && row + i < p.m; ++i, to += step, two += kPitch) {
            if (p.pairs && first >= 0) *reinterpret_cast<uint32_t*>(to + first) = *reinterpret_cast<const uint32_t*>(two);
            else if (first >= 0) to[first] = two[0];
            if (second >= 0) to[second] = two[1];
        }
    }
}

// Where a warp's sums go among the floats of the parts; whole tiles have a place there.
template <int cols> __device__ __forceinline__ void store_sums(const Problem& p, int part, int row, int col, const float (&sum)[cols / 2], float* y) {
    const int64_t stride = int64_t(p.tiles_n) * (p.wide ? 2 * cols : cols), rows = int64_t(p.tiles_m) * (p.wide ? 64 : 128);
    write_sums<cols>(y + (part * rows + row) * stride + col, stride, sum);
}

// Of weights a is dy, y the floats of the parts; else a is the filters.
template <class T, int cols, Feed feed>
__global__ __launch_bounds__(kThreads, 1) void conv_hopper_kernel(const __grid_constant__ CUtensorMap map_a, const __grid_constant__ CUtensorMap images, const __grid_constant__ Problem p,
                                                                  void* y) {
    auto& s = shared_memory<Shared<T>>();
    begin_ring(s.full, s.empty, kConsumers, p.pair, map_a, images);

    if (threadIdx.x >= 128 * kConsumers) {
        give_registers<kProducerRegisters>();
        if (threadIdx.x == 128 * kConsumers) {
            if constexpr (feed == Feed::weight) produce_weight<T, cols>(s, map_a, images, p);
            else if constexpr (feed == Feed::weight_planes) produce_weight_planes<T, cols>(s, map_a, images, p);
            else produce<T, cols, feed>(s, map_a, images, p);
        }
    } else {
        take_registers<kConsumerRegisters>();
        const int consumer = int(threadIdx.x) / 128, below = p.wide ? 0 : consumer, beside = p.wide ? consumer : 0;
        RingPlace<kStages> at;
        for (int number = first_work(p); number < all_work(p); number += next_work(p)) {
            const Work tile = work<cols>(number, p);
            float sum[cols / 2];
            multiply_slices<T, cols, feed == Feed::weight, feed == Feed::weight || feed == Feed::planes>(
                s.a, below * kSlab, s.b, beside * (cols / 64) * kSlab, s.full, at, tile.end - tile.begin, sum, s.empty, p.pair);
            if (tile.end == tile.begin)               // pixels of dx under no tap
                for (float& x : sum) x = 0;
            const int row = tile.row + below * 64 + warp_id() % 4 * 16, col = tile.col + beside * cols;
            if constexpr (is_weight(feed)) store_sums<cols>(p, tile.part, row, col, sum, static_cast<float*>(y));
            else store<T, cols>(s.out[warp_id()], p, row, col, sum, static_cast<T*>(y));
        }
    }
    if (p.pair) cluster_sync();                       // also the other block's last arrival here
}

// ---- host ---------------------------------------------------------------------------------------------------------------

Problem problem_of(const ConvView& v, int64_t m, int64_t n, int64_t k, const ConvCut& cut) {
    Problem p{};
    p.m = int(m), p.n = int(n), p.k = int(k);
    p.wide = cut.wide, p.pair = cut.pair, p.tiles_m = cut.tiles_m, p.tiles_n = cut.tiles_n, p.parts = cut.parts, p.part = cut.part;
    p.h = v.h, p.w = v.w;
    p.positions = v.windows(), p.line = v.padded();
    return p;
}

template <class T, int cols, Feed feed> void start(const char* what, const ConvCut& cut, const CUtensorMap& a, const CUtensorMap& images, const Problem& p, void* y) {
    if (LC_UNLIKELY(log_enabled()))
        log(text("[conv2d] cuda ", what, " wgmma ", cut.tile_m(), "x", cut.tile_n(), " ", name(dtype_of<T>), feed == Feed::planes || feed == Feed::weight_planes ? " planes" : " pixels",
                 " m=", p.m, " n=", p.n, " k=", p.k * kConvSlice, ": ", cut.work(), " tiles, ", cut.parts, " parts"));
    const int pair = 1 + cut.pair;
    const int64_t blocks = std::min<int64_t>(cut.work(), properties().multiprocessors / pair * pair);
    launch("conv2d", conv_hopper_kernel<T, cols, feed>, {dim3(unsigned(blocks)), dim3(kThreads), shared_bytes<Shared<T>>, pair}, a, images, p, y);
}

// [n, h, w, c], as the windows read it.
template <class T> CUtensorMap pixels_map(const T* x, int64_t n, int64_t c, const ConvView& v, int pixels) {
    return encode_pixels({x, dtype_of<T>, n, v.rows, v.cols, c, v.h.lower, v.w.lower, v.h.upper, v.w.upper, v.h.stride, v.w.stride, pixels});
}
// [n, c, h, w]: boxes of 64 pixels of a line, of so many channels.
template <class T> CUtensorMap planes_map(const T* x, int64_t n, int64_t c, int64_t rows, int64_t cols, int channels) {
    return encode_matrices({x, dtype_of<T>, {cols, c, rows, n}, {1, rows * cols, cols, c * rows * cols}, kConvSlice, channels});
}
template <class T> bool at_16_bytes(const T* x) { return reinterpret_cast<uintptr_t>(x) % 16 == 0; }

// Images as they lie, or a copy with adjacent channels.
template <class T> class Images {
public:
    Images(const T* x, int64_t n, int64_t c, int64_t plane, bool planes) : data_(planes ? 0 : n * c * plane), x_(x) {
        if (planes) return;
        channels_last(x, n, c, plane, data_.data());
        x_ = data_.data();
    }
    const T* data() const { return x_; }

private:
    Scratch<T> data_;
    const T* x_;
};

// filters: [taps, m, c]; x: [n, c, rows, cols] if planes, else [n, rows, cols, c]; y: [n, m, y_rows, y_cols].
template <class T>
void convolve(const Conv2dShape& s, const char* what, const ConvView& v, bool planes, const T* filters, int64_t m, int64_t c, const T* x, const T* bias, T* y, int64_t y_rows, int64_t y_cols) {
    const int64_t n = s.n * v.windows(), channels = div_up(c, kConvSlice), k = v.h.taps * v.w.taps * channels, taps = s.r * s.s;
    if (n == 0) return;
    const ConvCut cut = conv_cut(m, n, k, false, properties().multiprocessors);
    Problem p = problem_of(v, m, n, k, cut);
    p.channels = int(channels);
    p.filter_line = int(s.s);
    p.plane = y_rows * y_cols, p.image = m * p.plane, p.row = int(y_cols);
    p.pairs = v.h.result_step == 1 && v.w.result_step == 1 && (v.w.count % 2 == 0 || (!planes && p.plane % 2 == 0)) && p.plane % 2 == 0 && reinterpret_cast<uintptr_t>(y) % 4 == 0;
    p.bias = bias;
    const CUtensorMap a = encode_matrices({filters, dtype_of<T>, {c, m, taps, 1}, {1, c, c * m, c * m * taps}, kConvSlice, cut.tile_m()});
    if (planes) {
        const CUtensorMap images = planes_map(x, s.n, c, v.rows, v.cols, kConvSlice);
        if (cut.cols == 256) start<T, 256, Feed::planes>(what, cut, a, images, p, y);
        else start<T, 128, Feed::planes>(what, cut, a, images, p, y);
    } else {
        const CUtensorMap images = pixels_map(x, s.n, c, v, cut.tile_n() >> cut.pair);
        if (cut.cols == 256) start<T, 256, Feed::pixels>(what, cut, a, images, p, y);
        else start<T, 128, Feed::pixels>(what, cut, a, images, p, y);
    }
}

ConvView view_of_x(const Conv2dShape& s) {
    return conv_view(s.h, s.w, conv_line(s.h, s.oh, s.r, s.stride_h, s.pad_h, s.dilation_h), conv_line(s.w, s.ow, s.s, s.stride_w, s.pad_w, s.dilation_w));
}

template <class T> void forward(const Conv2dShape& s, const T* w, const T* x, const T* bias, T* y) {
    const ConvView v = view_of_x(s);
    const bool as_is = s.r * s.s == 1 && at_16_bytes(w), planes = v.planes && at_16_bytes(x);
    const Scratch<T> filters(as_is ? 0 : s.k * s.c * s.r * s.s);
    if (!as_is) taps_first(w, s.k, s.c, s.r * s.s, false, filters.data());
    const Images<T> images(x, s.n, s.c, s.h * s.w, planes);
    convolve<T>(s, "forward", v, planes, as_is ? w : filters.data(), s.k, s.c, images.data(), bias, y, s.oh, s.ow);
}

template <class T> void backward_data(const Conv2dShape& s, const T* w, const T* dy, const T* bias, T* dx) {
    const Scratch<T> filters(s.k * s.c * s.r * s.s);
    taps_first(w, s.k, s.c, s.r * s.s, true, filters.data());
    const auto view = [&](int64_t i, int64_t j) {
        return conv_view(s.oh, s.ow, conv_data_line(s.h, s.oh, s.r, s.stride_h, s.pad_h, s.dilation_h, i), conv_data_line(s.w, s.ow, s.s, s.stride_w, s.pad_w, s.dilation_w, j));
    };
    const bool planes = s.stride_h * s.stride_w == 1 && view(0, 0).planes && at_16_bytes(dy);      // one view for all phases
    const Images<T> images(dy, s.n, s.k, s.oh * s.ow, planes);
    for (int64_t i = 0; i < s.stride_h; ++i)
        for (int64_t j = 0; j < s.stride_w; ++j) {
            ConvView v = view(i, j);
            v.planes = planes;
            convolve<T>(s, "backward_data", v, planes, filters.data(), s.c, s.k, images.data(), bias, dx, s.h, s.w);
        }
}

template <class T> void backward_weight(const Conv2dShape& s, const T* dy, const T* x, T* dw) {
    ConvView v = view_of_x(s);
    const bool planes = v.planes && v.rows == 1 && v.h.taps * v.w.taps == 1 && at_16_bytes(x) && at_16_bytes(dy);
    v.planes = planes;
    const int64_t positions = s.oh * s.ow, taps = s.r * s.s, channels = div_up(s.c, 64), cols = planes ? s.c : taps * channels * 64;
    const Images<T> rows(dy, s.n, s.k, positions, planes), images(x, s.n, s.c, s.h * s.w, planes);
    const int64_t slices = div_up(s.n * v.windows(), kConvSlice);
    const ConvCut cut = conv_cut(s.k, cols, slices, true, properties().multiprocessors);
    Problem p = problem_of(v, s.k, cols, slices, cut);
    p.channels = int(channels);
    const int64_t sums_rows = int64_t(cut.tiles_m) * cut.tile_m(), sums_cols = int64_t(cut.tiles_n) * cut.tile_n();
    const Scratch<float> sums(cut.parts * sums_rows * sums_cols);
    const char* what = "backward_weight";
    if (planes)
        start<T, 128, Feed::weight_planes>(what, cut, planes_map(dy, s.n, s.k, 1, positions, cut.tile_m()), planes_map(x, s.n, s.c, 1, positions, cut.tile_n() >> cut.pair), p, sums.data());
    else
        start<T, 128, Feed::weight>(what, cut, encode({rows.data(), dtype_of<T>, s.k, s.n * positions, s.k, 64, kConvSlice}), pixels_map(images.data(), s.n, s.c, v, kConvSlice), p,
                                    sums.data());
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
