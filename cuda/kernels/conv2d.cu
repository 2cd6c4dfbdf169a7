// conv2d on CUDA. Contract: cpp/ops/conv2d.h; the matrices: conv2d_plan.h
//
// Implicit products: pixels are gathered into shared memory tap by tap, the matrix of windows is never written. Bound by
// the gathering, some 12 instructions per pixel, rather than by the products.
#include "cpp/ops/conv2d.h"
#include "cpp/core/exact.h"
#include "cpp/core/log.h"
#include "cpp/core/precision.h"
#include "cuda/arch/block.cuh"
#include "cuda/core/launch.h"
#include "cuda/kernels/conv2d_kernels.h"
#include "cuda/kernels/conv2d_tile.cuh"
#include "cuda/kernels/row.cuh"

namespace lc::cuda {
namespace {

template <class T, bool tensor> using Tile = std::conditional_t<tensor, TensorTile<T>, ScalarTile<T>>;
constexpr int kNowhere = -(1 << 30);                  // a row no image has, whatever it is moved by

// ---- device: where pixels are -------------------------------------------------------------------------------------------

struct Pixel {                                        // the window's upper left in the image; for data: what lies under tap 0, 0
    int64_t image;
    int h, w;
};
struct Tap {
    int channel, h, w;                                // channel: offset of its plane
};

template <ConvProduct product> __device__ __forceinline__ Pixel pixel(const ConvWalk& p, int i, int end) {
    if (i >= end) return {0, kNowhere, 0};
    const int image = p.positions.divide(i), at = i - image * int(p.positions.d), row = p.line.divide(at), col = at - row * int(p.line.d);
    if (product == ConvProduct::data) return {image * p.image, row + p.pad_h, col + p.pad_w};
    return {image * p.image, row * p.stride_h - p.pad_h, col * p.stride_w - p.pad_w};
}
template <ConvProduct product> __device__ __forceinline__ Tap tap(const ConvWalk& p, int i, int end) {
    if (i >= end) return {0, product == ConvProduct::data ? -kNowhere : kNowhere, 0};
    const int channel = p.taps.divide(i), at = i - channel * int(p.taps.d), row = p.tap_line.divide(at), col = at - row * int(p.tap_line.d);
    return {channel * p.plane, row * p.dilation_h, col * p.dilation_w};
}

// The pixel under a tap of a window, zero outside; for data: of dy, the window whose tap lies there, if there is one.
template <ConvProduct product, class T> __device__ __forceinline__ T gather(const ConvWalk& p, const T* x, const Pixel& at, const Tap& t) {
    int h = at.h + t.h, w = at.w + t.w;
    bool inside = true;
    if (product == ConvProduct::data) {
        h = at.h - t.h, w = at.w - t.w;
        if (h < 0 || w < 0) return T{0};
        const int i = p.by_stride_h.divide(h), j = p.by_stride_w.divide(w);
        inside = i * p.stride_h == h && j * p.stride_w == w;
        h = i, w = j;
    }
    inside = inside && unsigned(h) < unsigned(p.rows) && unsigned(w) < unsigned(p.cols);
    return inside ? x[at.image + t.channel + h * p.cols + w] : T{0};
}

// ---- device: the product ------------------------------------------------------------------------------------------------

// parts: for weight in several parts, their sums; else null, and y is the result.
template <class T, ConvProduct product, bool tensor>
__global__ __launch_bounds__(kConvThreads) void conv_kernel(ConvWalk p, const T* a, const T* x, const T* bias, T* y, acc_t<T>* parts) {
    using Block = Tile<T, tensor>;
    constexpr bool weight = product == ConvProduct::weight;
    constexpr int kUnit = Block::kUnit, kUnits = Block::kDepth / kUnit;
    constexpr int kEachA = Block::kM * kUnits / kConvThreads, kEachB = Block::kN * kUnits / kConvThreads;
    auto& slices = shared_memory<typename Block::Slices>();

    int block = int(blockIdx.x);
    const int col0 = block % p.tiles_n * Block::kN;
    block /= p.tiles_n;
    const int row0 = block % p.tiles_m * Block::kM;
    block /= p.tiles_m;
    const int group = block % p.groups, part = block / p.groups;
    const int begin = part * p.part_k, end = p.k - begin < p.part_k ? p.k : begin + p.part_k;
    a += group * p.a_group;
    x += group * p.group_image;

    // Neighbouring threads read neighbouring depths of a; of x, neighbouring positions of a plane.
    const auto unit_a = [](int) { return int(threadIdx.x) % kUnits; };
    const auto row_a = [](int e) { return (e * kConvThreads + int(threadIdx.x)) / kUnits; };
    const auto unit_b = [](int e) { return weight ? int(threadIdx.x) % kUnits : (e * kConvThreads + int(threadIdx.x)) / Block::kN; };
    const auto col_b = [](int e) { return weight ? (e * kConvThreads + int(threadIdx.x)) / kUnits : int(threadIdx.x) % Block::kN; };
    Pixel of_column{};
    Tap of_columns[kEachB];
    if constexpr (weight) {
        for (int e = 0; e < kEachB; ++e) of_columns[e] = tap<product>(p, col0 + col_b(e), p.n);
    } else {
        of_column = pixel<product>(p, col0 + col_b(0), p.n);
    }

    T from_a[kEachA][kUnit], from_b[kEachB][kUnit];
    const auto load = [&](int k0) {                   // x first: after a, or beside it, it costs registers that are not there
#pragma unroll
        for (int u = 0; u < kUnit; ++u) {
            if constexpr (weight) {
                const Pixel at = pixel<product>(p, k0 + unit_b(0) * kUnit + u, end);
#pragma unroll
                for (int e = 0; e < kEachB; ++e) from_b[e][u] = gather<product>(p, x, at, of_columns[e]);
            } else {
#pragma unroll
                for (int e = 0; e < kEachB; ++e) from_b[e][u] = gather<product>(p, x, of_column, tap<product>(p, k0 + unit_b(e) * kUnit + u, end));
            }
        }
#pragma unroll
        for (int u = 0; u < kUnit; ++u) {
            const int d = k0 + unit_a(0) * kUnit + u;
            const T* line = a + d + (product == ConvProduct::forward ? 0 : p.a_period.divide(d) * p.a_jump);    // forward: no jump
#pragma unroll
            for (int e = 0; e < kEachA; ++e) from_a[e][u] = d < end && row0 + row_a(e) < p.m ? line[int64_t(row0 + row_a(e)) * p.a_row] : T{0};
        }
    };

    Block tile;
    load(begin);
    for (int k0 = begin, half = 0; k0 < end; k0 += Block::kDepth, half ^= 1) {
#pragma unroll
        for (int e = 0; e < kEachA; ++e) Block::put_a(slices, half, row_a(e), unit_a(e), from_a[e]);
#pragma unroll
        for (int e = 0; e < kEachB; ++e) Block::put_b(slices, half, col_b(e), unit_b(e), from_b[e]);
        __syncthreads();                              // the slices are complete; the other half was read one barrier ago
        if (k0 + Block::kDepth < end) load(k0 + Block::kDepth);
        tile.multiply(slices, half);
    }

    const int64_t from = group * p.y_group + part * p.y_part;
    tile.each([&](int i, int j, acc_t<T> sum) {
        const int row = row0 + i, col = col0 + j;
        if (row >= p.m || col >= p.n) return;
        const int64_t at = from + int64_t(row) * p.y_row + col + p.positions.divide(col) * p.y_jump;
        if (weight && parts) {
            parts[at] = sum;
            return;
        }
        if (bias) sum += widen(bias[group * p.m + row]);
        y[at] = narrow<T>(sum);
    });
}

// parts[b, k] = the sum of dy over the positions of filter k that fall to block b.
template <class T> __global__ __launch_bounds__(kConvThreads) void bias_kernel(const T* dy, int filters, int count, Divider positions, acc_t<T>* parts) {
    using A = acc_t<T>;
    const Group<A, kConvThreads> group{shared_memory<GroupResults<A, kConvThreads>>()};
    const int filter = int(blockIdx.x), plane = int(positions.d);
    A sum = 0;
    for (int i = int(blockIdx.y) * kConvThreads + int(threadIdx.x); i < count; i += int(gridDim.y) * kConvThreads) {
        const int image = positions.divide(i);
        sum += widen(dy[(int64_t(image) * filters + filter) * plane + i - image * plane]);
    }
    sum = group.sum(sum);
    if (threadIdx.x == 0) parts[int64_t(blockIdx.y) * filters + filter] = sum;
}

// ---- host ---------------------------------------------------------------------------------------------------------------

template <class T, ConvProduct product, bool tensor = sizeof(T) == 2> void run(const Conv2dShape& s, const T* a, const T* x, const T* bias, T* y) {
    LC_CHECK(conv_fits(s), ValueError, "conv2d: ", s.n, " images of ", s.c, " x ", s.h, " x ", s.w, " and ", s.k, " filters of ", s.r, " x ", s.s,
             " are too large for CUDA; give fewer than 2^30 positions and elements of an image at once");
    if constexpr (sizeof(T) == 2)
        if (properties().architecture == 90 && conv_takes_hopper(s, product)) return conv2d_hopper(s, product, a, x, bias, y);
    if constexpr (sizeof(T) == 4 && !tensor)
        if (float32_matmul_precision() != MatmulPrecision::highest && !exact()) return run<T, product, true>(s, a, x, bias, y);
    const ConvWalk walk = conv_walk(s, product, tensor);
    if (walk.m == 0 || walk.n == 0) return;
    if (LC_UNLIKELY(log_enabled())) {
        constexpr const char* kNames[] = {"forward", "backward_data", "backward_weight"};
        log(text("[conv2d] cuda ", kNames[int(product)], tensor ? " mma " : " scalar ", name(dtype_of<T>), " groups=", walk.groups, " m=", walk.m, " n=", walk.n, " k=", walk.k,
                 ": ", walk.blocks(), " blocks, ", walk.parts, " parts"));
    }
    const bool several = walk.parts > 1;
    const Scratch<acc_t<T>> parts(several ? walk.parts * walk.y_part : 0);
    launch("conv2d", conv_kernel<T, product, tensor>, {dim3(unsigned(walk.blocks())), dim3(kConvThreads), shared_bytes<typename Tile<T, tensor>::Slices>}, walk, a, x, bias, y,
           several ? parts.data() : nullptr);
    if (several) sum_parts(parts.data(), walk.parts, walk.y_part, y);
}

}  // namespace

template <class T> void conv2d_forward(const Conv2dForward<T>& f) { run<T, ConvProduct::forward>(f.shape, f.w, f.x, f.b, f.y); }

template <class T> void conv2d_backward_data(const Conv2dBackwardData<T>& f) { run<T, ConvProduct::data>(f.shape, f.w, f.dy, f.b, f.dx); }

template <class T> void conv2d_backward_weight(const Conv2dBackwardWeight<T>& f) {
    const Conv2dShape& s = f.shape;
    if (f.dw) run<T, ConvProduct::weight>(s, f.dy, f.x, nullptr, f.dw);
    if (!f.db || s.k == 0) return;
    const int64_t count = s.n * s.oh * s.ow;
    const int64_t blocks = count == 0 ? 0 : std::min(div_up(count, 16 * kConvThreads), div_up(264, s.k));
    const Scratch<acc_t<T>> parts(blocks * s.k);
    if (blocks > 0)
        launch("conv2d", bias_kernel<T>, {dim3(unsigned(s.k), unsigned(blocks)), dim3(kConvThreads), shared_bytes<GroupResults<acc_t<T>, kConvThreads>>}, f.dy, int(s.k), int(count),
               Divider(s.oh * s.ow), parts.data());
    sum_parts(parts.data(), blocks, s.k, f.db);
}

template void conv2d_forward(const Conv2dForward<float>&);
template void conv2d_forward(const Conv2dForward<double>&);
template void conv2d_forward(const Conv2dForward<bfloat16>&);
template void conv2d_forward(const Conv2dForward<float16>&);
template void conv2d_backward_data(const Conv2dBackwardData<float>&);
template void conv2d_backward_data(const Conv2dBackwardData<double>&);
template void conv2d_backward_data(const Conv2dBackwardData<bfloat16>&);
template void conv2d_backward_data(const Conv2dBackwardData<float16>&);
template void conv2d_backward_weight(const Conv2dBackwardWeight<float>&);
template void conv2d_backward_weight(const Conv2dBackwardWeight<double>&);
template void conv2d_backward_weight(const Conv2dBackwardWeight<bfloat16>&);
template void conv2d_backward_weight(const Conv2dBackwardWeight<float16>&);

}  // namespace lc::cuda
