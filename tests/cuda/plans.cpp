// The plans of CUDA kernels are pure functions of shape and chip; the compiler itself checks these.
#include "cuda/kernels/attention_plan.h"
#include "cuda/kernels/conv2d_hopper_plan.h"
#include "cuda/kernels/matmul_plan.h"
#include "cuda/kernels/pool2d_plan.h"
#include "cuda/kernels/row_plan.h"
#include "cuda/kernels/reduce_plan.h"

namespace lc::cuda {

constexpr MatmulQuestion linear(int64_t m, int64_t n, int64_t k, int bytes = 2, int architecture = 90) {
    return {1, m, n, k, bytes, {k, 1, k * bytes % 16 == 0}, {k, 1, k * bytes % 16 == 0}, n * bytes % 16 == 0, false, architecture, 132};
}
constexpr CudaMatmulPlan plan(int64_t m, int64_t n, int64_t k, int bytes = 2, int architecture = 90) { return cuda_matmul_plan(linear(m, n, k, bytes, architecture)); }
using Kernel = CudaMatmulPlan::Kernel;

// Which kernel: Hopper's wherever the copy engine can read the operands, at any size; never a gate on multiples of a tile.
static_assert(plan(4096, 4096, 4096).kernel == Kernel::hopper);
static_assert(plan(37, 24, 8).kernel == Kernel::hopper);
static_assert(plan(37, 29, 19).kernel == Kernel::tensor, "rows that are no multiple of 16 bytes");
static_assert(plan(4096, 4096, 4096, 2, 80).kernel == Kernel::tensor && plan(int64_t(1) << 31, 8, 8).kernel == Kernel::tensor);
static_assert(plan(4096, 4096, 4096, 4).kernel == Kernel::scalar, "float32 is not rounded to tf32 unasked");
constexpr MatmulQuestion tf32(MatmulQuestion q) {
    q.tf32 = true;
    return q;
}
constexpr MatmulQuestion across(MatmulQuestion q) {
    q.b = {1, q.n, true};
    return q;
}
static_assert(cuda_matmul_plan(tf32(linear(4096, 4096, 4096, 4, 80))).kernel == Kernel::tensor && cuda_matmul_plan(tf32(linear(1, 1, 0, 4))).kernel == Kernel::tensor);
static_assert(cuda_matmul_plan(tf32(linear(4096, 4096, 4096, 4))).kernel == Kernel::hopper && cuda_matmul_plan(across(tf32(linear(64, 64, 64, 4)))).turns_b && !cuda_matmul_plan(across(linear(64, 64, 64))).turns_b, "wgmma takes floats along the depth");
static_assert(cuda_matmul_plan(tf32(linear(64, 64, 64, 8))).kernel == Kernel::scalar && cuda_matmul_plan(tf32(linear(64, 64, 64))).kernel == Kernel::hopper, "only float32 changes");
static_assert(plan(64, 64, 0).kernel == Kernel::tensor, "no product at all is no work for a pipeline");

// Tiles: wide ones where they fill the chip as well as narrow ones do.
static_assert(plan(4096, 4096, 4096).tile_n == 256 && plan(16384, 50304, 768).tile_n == 256 && plan(8192, 3072, 768).tile_n == 256);
static_assert(plan(1024, 1024, 1024).tile_n == 128, "64 tiles of 128 x 128, not 32 of 128 x 256");
static_assert(plan(4096, 4096, 4096).blocks == 132 && plan(1024, 1024, 1024).blocks == 64);
static_assert(plan(130, 520, 64).tiles_m == 2 && plan(130, 520, 64).tiles_n * plan(130, 520, 64).tile_n >= 520);

// Depth is cut for weight gradients whose tiles are few: into parts that cover it, none empty. Never where a's rows may be a
// batch's: their bits would depend on how many there are.
constexpr MatmulQuestion gradient(int64_t m, int64_t n, int64_t k, int architecture = 90, int multiprocessors = 132) {
    return {1, m, n, k, 2, {1, m, m % 8 == 0}, {1, n, n % 8 == 0}, n % 8 == 0, false, architecture, multiprocessors};
}
constexpr bool parts_cover(const MatmulQuestion& q, bool several) {
    const CudaMatmulPlan p = cuda_matmul_plan(q);
    return (p.parts > 1) == several && p.part_k % kHopperDepth == 0 && p.parts * p.part_k >= q.k && (p.parts - 1) * p.part_k < q.k &&
        p.tiles_n * p.tile_n >= q.n && (p.tiles_n - 1) * p.tile_n < q.n;
}
static_assert(parts_cover(gradient(768, 768, 65536), true) && parts_cover(gradient(3072, 768, 16384), true) && parts_cover(gradient(64, 64, 100003), true));
static_assert(parts_cover(gradient(768, 768, 65536, 80), true) && parts_cover(gradient(37, 29, 2311, 80, 3), true) && parts_cover(gradient(120, 72, 2312, 90, 3), true));
static_assert(parts_cover(gradient(4096, 4096, 4096), false) && parts_cover(gradient(50304, 768, 16384), false) && parts_cover(gradient(1024, 1024, 1024), false));
static_assert(parts_cover(linear(64, 64, 65536), false) && parts_cover(linear(1, 768, 65536, 2, 80), false) && cuda_matmul_plan(linear(64, 64, 65536, 4)).parts == 1);
constexpr MatmulQuestion float_gradient(int64_t m, int64_t n, int64_t k) {
    MatmulQuestion q = tf32(gradient(m, n, k));
    q.bytes = 4;
    return q;
}
static_assert(cuda_matmul_plan(float_gradient(4096, 4096, 4096)).kernel == Kernel::tensor && !cuda_matmul_plan(float_gradient(4096, 4096, 4096)).turns_b, "two operands to turn");
static_assert(parts_cover(float_gradient(768, 768, 65536), true) && parts_cover(float_gradient(4096, 4096, 4096), false));
static_assert(cuda_matmul_plan(gradient(768, 768, 65536)).blocks > 120, "18 tiles of 132 multiprocessors without parts");

// Pairs of tiles share b, unless an odd row of tiles would cost a round of its own; every block has a tile of each of its pairs.
constexpr bool paired(const CudaMatmulPlan& p, int cluster) { return p.cluster == cluster && p.tiles_m % cluster == 0 && p.blocks % cluster == 0 && p.blocks > 0; }
static_assert(paired(plan(4096, 4096, 4096), 2) && paired(plan(16384, 768, 768), 2) && paired(plan(129, 520, 64), 2) && paired(plan(128, 4096, 4096), 1));
static_assert(paired(plan(384, 44 * 128, 64), 1), "3 x 44 tiles are one round, 2 x 44 pairs two");
static_assert(paired(plan(37, 29, 19), 1) && paired(plan(4096, 4096, 4096, 2, 80), 1) && paired(cuda_matmul_plan(gradient(768, 768, 65536)), 2));

// Every tile has one number.
constexpr bool all_tiles_once(int tiles_m, int tiles_n, int group) {
    bool seen[512] = {};
    for (int t = 0; t < tiles_m * tiles_n; ++t) {
        const TilePlace p = tile_place(t, tiles_m, tiles_n, group);
        if (p.m < 0 || p.m >= tiles_m || p.n < 0 || p.n >= tiles_n || seen[p.m * tiles_n + p.n]) return false;
        seen[p.m * tiles_n + p.n] = true;
    }
    return true;
}
static_assert(all_tiles_once(1, 1, 8) && all_tiles_once(8, 3, 8) && all_tiles_once(9, 3, 8) && all_tiles_once(21, 17, 8) && all_tiles_once(7, 40, 8));

// Attention: tensor cores for 16-bit heads to 128 wide, Hopper's where rows are whole 16 bytes, whatever the lengths and
// views; what they do not know, the scalar kernel does.
constexpr CudaAttentionPlan heads_of(int64_t dim, int64_t dim_v, double scale = 0.125, int bytes = 2, bool mask = false, bool dropout = false, int architecture = 90) {
    return cuda_attention_plan({dim, dim_v, scale, bytes, mask, dropout, architecture});
}
using Attention = CudaAttentionPlan::Kernel;
static_assert(heads_of(64, 64).kernel == Attention::hopper && heads_of(8, 128).kernel == Attention::hopper);
static_assert(heads_of(64, 64, 0.125, 2, false, false, 80).kernel == Attention::tensor && heads_of(1, 128).kernel == Attention::tensor && heads_of(64, 63).kernel == Attention::tensor);
static_assert(heads_of(64, 136).kernel == Attention::scalar && heads_of(64, 64, 0.125, 4).kernel == Attention::scalar && heads_of(64, 64, -0.125).kernel == Attention::scalar);
static_assert(heads_of(64, 64, 0.125, 2, true).kernel == Attention::tensor && heads_of(64, 64, 0.125, 2, false, true).kernel == Attention::tensor);
static_assert(heads_of(64, 8).width == 64 && heads_of(64, 65).width == 128);

// Persistent blocks take every tile of every head once, and of a group's heads the last rows first.
constexpr bool all_items_once(int row_tiles, int heads, int group, int blocks) {
    bool seen[1024] = {};
    const int items = row_tiles * heads;
    int count = 0;
    for (int block = 0; block < blocks; ++block)
        for (int lap = 0; attention_item_number(lap, block, blocks) < items; ++lap, ++count) {
            const AttentionItem at = attention_item(attention_item_number(lap, block, blocks), row_tiles, heads, group);
            if (at.row_tile < 0 || at.row_tile >= row_tiles || at.head < 0 || at.head >= heads || seen[at.row_tile * heads + at.head]) return false;
            seen[at.row_tile * heads + at.head] = true;
        }
    return count == items;
}
static_assert(all_items_once(1, 1, 8, 1) && all_items_once(5, 7, 3, 4) && all_items_once(6, 48, 4, 132) && all_items_once(3, 9, 9, 27) && all_items_once(2, 5, 100, 3));
static_assert(attention_item(0, 5, 7, 3).row_tile == 4 && attention_item(3, 5, 7, 3).row_tile == 3 && attention_item(15, 5, 7, 3).head == 3);
static_assert(attention_group(1024, 64, 1, 768) == 128 && attention_group(1 << 20, 128, 4, 32) == 4 && attention_group(10, 64, 1, 12) == 12);

// Every key that a query sees lies in a tile that its block visits, and no tile is visited for nothing.
constexpr bool visits_what_is_seen(int64_t tq, int64_t tk, bool causal, int keys, int queries = attention_queries(true)) {
    for (int64_t begin = 0; begin < tq; begin += queries) {
        const int64_t end = begin + queries < tq ? begin + queries : tq, tiles = key_tiles(end, tk, causal, keys);
        const int64_t seen = causal && end < tk ? end : tk;                  // of the block's last query
        if (tiles * keys < seen || (tiles > 0 && (tiles - 1) * keys >= seen)) return false;
    }
    return true;
}
static_assert(visits_what_is_seen(300, 300, true, 64) && visits_what_is_seen(1, 300, true, 64) && visits_what_is_seen(300, 65, true, 32) && visits_what_is_seen(129, 1000, false, 64) && visits_what_is_seen(129, 1000, true, 64, attention_queries(false)));
static_assert(key_tiles(128, 4096, true, 64) == 2 && key_tiles(128, 4096, false, 64) == 64 && key_tiles(128, 0, true, 64) == 0);

// Elsewhere every tile of every head is one block's, of any number of heads.
constexpr bool all_blocks_once(int64_t rows, int tile, unsigned heads) {
    const unsigned tiles = unsigned((rows + tile - 1) / tile);
    for (unsigned n = 0; n < tiles * heads; ++n)
        if (const AttentionBlock at = attention_block(n, rows, tile); at.tiles != tiles || at.tile >= tiles || at.head * tiles + at.tile != n || at.head >= heads) return false;
    return true;
}
static_assert(all_blocks_once(1, 8, 70000) && all_blocks_once(129, 128, 5) && all_blocks_once(128, 128, 3) && all_blocks_once(9, 8, 17));

// Reductions: the parts cover n, none is empty, and they depend on nothing but the shape.
constexpr bool covers(int64_t outer, int64_t n, int64_t inner) {
    const ReducePlan p = reduce_plan(outer, n, inner);
    return p.parts >= 1 && p.parts * p.part >= n && (p.parts - 1) * p.part < n;
}
static_assert(covers(1, 1, 1) && covers(1, 5000, 1) && covers(1, 1 << 26, 1) && covers(3, 1 << 20, 7) && covers(16384, 4096, 1) && covers(1, 16384, 4096) && covers(1, 65, 33));
static_assert(reduce_plan(16384, 768, 1).schedule == ReducePlan::Schedule::warp_rows && reduce_plan(16384, 4096, 1).parts == 1);
static_assert(reduce_plan(1, 1 << 26, 1).parts > 1000, "one long row occupies the whole chip");

// Rows: short ones get a warp; sums over rows fit into shared memory or say that they do not, whatever the sizes.
static_assert(row_plan(16384, 768, 4).warps && row_plan(16384, 768, 4).blocks == 2048 && !row_plan(16384, 1025, 4).warps);
static_assert(row_plan(9, 512, 8).warps && !row_plan(9, 513, 8).warps && row_plan(9, 512, 8).blocks == 2);
static_assert(row_sum_plan(16384, 768, 4, 2).shared && row_sum_plan(16384, 768, 4, 2).parts == 264 && row_sum_plan(3, 768, 4, 2).parts == 1);
static_assert(row_sum_plan(16384, 8192, 4, 2).shared && !row_sum_plan(16384, 16384, 4, 2).shared);

// Convolution: the strides of the matrices lead to the element that the formulas of conv2d_plan.h name, whatever the groups.
constexpr Conv2dShape conv(int64_t n, int64_t c, int64_t side, int64_t k, int64_t taps, int64_t stride, int64_t pad, int64_t groups) {
    const int64_t out = (side + 2 * pad - taps) / stride + 1;
    return {n, c, side, side, k, taps, taps, out, out, stride, stride, pad, pad, 1, 1, groups};
}
constexpr int64_t a_at(const ConvWalk& w, int64_t g, int64_t i, int d) { return g * w.a_group + i * w.a_row + d + w.a_period.divide(d) * w.a_jump; }
constexpr int64_t y_at(const ConvWalk& w, int64_t g, int64_t i, int n) { return g * w.y_group + i * w.y_row + n + w.positions.divide(n) * w.y_jump; }
constexpr bool addresses(const Conv2dShape& s) {
    const int64_t gc = s.c / s.groups, gk = s.k / s.groups, taps = s.r * s.s, in = s.h * s.w, out = s.oh * s.ow;
    const ConvWalk forward = conv_walk(s, ConvProduct::forward, true), data = conv_walk(s, ConvProduct::data, true), weight = conv_walk(s, ConvProduct::weight, true);
    for (int64_t g = 0; g < s.groups; ++g)
        for (int64_t n = 0; n < s.n; ++n)
            for (int64_t k = 0; k < gk; ++k)
                for (int64_t c = 0; c < gc; ++c) {
                    const int64_t filter = ((g * gk + k) * gc + c) * taps, x = (n * s.c + g * gc + c) * in, y = (n * s.k + g * gk + k) * out;
                    const bool right = a_at(forward, g, k, int(c * taps + taps - 1)) == filter + taps - 1 && y_at(forward, g, k, int(n * out + out - 1)) == y + out - 1 &&
                        a_at(data, g, c, int(k * taps)) == filter && y_at(data, g, c, int(n * in + in - 1)) == x + in - 1 &&
                        a_at(weight, g, k, int(n * out + out - 1)) == y + out - 1 && weight.y_group * g + k * weight.y_row + c * taps == filter;
                    if (!right) return false;
                }
    return true;
}
static_assert(addresses(conv(2, 3, 5, 4, 3, 1, 1, 1)) && addresses(conv(3, 6, 7, 4, 3, 2, 0, 2)) && addresses(conv(2, 4, 4, 4, 1, 1, 0, 4)) && addresses(conv(1, 2, 9, 6, 5, 3, 2, 2)));

// Tiles cover the matrices, parts the depth, none of them empty; only the weights' depth is cut.
constexpr bool cut(const Conv2dShape& s, ConvProduct product, bool tensor) {
    const ConvWalk w = conv_walk(s, product, tensor);
    const auto covers = [](int64_t tiles, int64_t tile, int64_t n) { return tiles * tile >= n && (tiles - 1) * tile < n; };
    return covers(w.tiles_m, conv_tile_m, w.m) && covers(w.tiles_n, conv_tile_n(tensor), w.n) && covers(w.parts, w.part_k, w.k) &&
        w.part_k % conv_depth(tensor) == 0 && (w.parts == 1 || product == ConvProduct::weight);
}
constexpr bool all_cut(const Conv2dShape& s) {
    for (const bool tensor : {false, true})
        for (const ConvProduct p : {ConvProduct::forward, ConvProduct::data, ConvProduct::weight})
            if (!cut(s, p, tensor)) return false;
    return true;
}
static_assert(all_cut(conv(1, 1, 3, 1, 3, 1, 0, 1)) && all_cut(conv(7, 5, 13, 70, 3, 2, 1, 1)) && all_cut(conv(256, 64, 56, 64, 3, 1, 1, 1)) && all_cut(conv(32, 512, 7, 512, 3, 1, 1, 32)));
static_assert(conv_walk(conv(256, 64, 56, 64, 3, 1, 1, 1), ConvProduct::weight, true).parts == 52, "5 tiles of filters: 260 blocks for 264 places");
static_assert(conv_walk(conv(256, 512, 7, 512, 3, 1, 1, 1), ConvProduct::weight, true).parts == 1, "288 tiles fill the chip");
static_assert(conv_walk(conv(1, 64, 16, 64, 3, 1, 1, 1), ConvProduct::weight, true).parts == 1, "8 slices of depth are not cut");
static_assert(conv_fits(conv(256, 64, 224, 64, 7, 2, 3, 1)) && !conv_fits(conv(1 << 16, 1, 224, 1, 3, 1, 1, 1)));

// On Hopper: each axis' windows and taps are those of the formulas in cpp/ops/conv2d.h, each pair once, and the copy engine
// counts as many windows between the corners.
constexpr int64_t counted(const ConvLine& l, int64_t size) { return (size - 1 + l.upper - l.lower) / l.stride + 1; }
constexpr bool reads(int64_t size, int64_t taps, int64_t stride, int64_t pad, int64_t dilation) {
    const int64_t out = (size + 2 * pad - dilation * (taps - 1) - 1) / stride + 1;
    const ConvLine f = conv_line(size, out, taps, stride, pad, dilation);
    if (counted(f, size) != out || f.count != out || f.taps != taps) return false;
    for (int64_t i = 0; i < out; ++i)
        for (int64_t r = 0; r < taps; ++r)
            if (f.lower + i * f.stride + f.offset + r * f.offset_step != i * stride + r * dilation - pad || f.filter + r * f.filter_step != r || f.result + i * f.result_step != i) return false;
    int64_t pixels = 0, pairs = 0;
    for (int64_t phase = 0; phase < stride; ++phase) {
        const ConvLine d = conv_data_line(size, out, taps, stride, pad, dilation, phase);
        if (d.count > 0 && counted(d, out) != d.count) return false;
        pixels += d.count;
        pairs += d.taps;
        for (int64_t i = 0; i < d.count; ++i)
            for (int64_t r = 0; r < d.taps; ++r) {
                const int64_t offset = d.offset + r * d.offset_step, from = d.lower + i + offset, at = d.result + i * d.result_step;
                if (offset < 0 || at >= size || from * stride + (d.filter + r * d.filter_step) * dilation - pad != at) return false;
            }
    }
    return pixels == size && pairs == taps;
}
static_assert(reads(9, 3, 1, 1, 1) && reads(10, 3, 2, 1, 1) && reads(7, 1, 2, 0, 1) && reads(12, 3, 1, 3, 2) && reads(11, 7, 2, 3, 1) && reads(5, 2, 3, 2, 1) && reads(1, 1, 1, 0, 1));

constexpr bool on_hopper(const Conv2dShape& s, bool forward, bool data, bool weight) {
    return conv_takes_hopper(s, ConvProduct::forward) == forward && conv_takes_hopper(s, ConvProduct::data) == data && conv_takes_hopper(s, ConvProduct::weight) == weight;
}
static_assert(on_hopper(conv(2, 64, 7, 40, 3, 2, 1, 1), true, true, true) && on_hopper(conv(1, 64, 7, 33, 1, 1, 0, 1), true, false, false), "filters in groups of 8 where they are depth");
static_assert(on_hopper(conv(2, 3, 224, 64, 7, 2, 3, 1), false, true, false) && on_hopper(conv(2, 64, 7, 64, 3, 1, 1, 2), false, false, false), "few channels, groups: portable");
static_assert(on_hopper(conv(1, 64, 300, 64, 1, 1, 140, 1), false, false, false) && on_hopper(conv(1, 64, 33, 64, 3, 9, 1, 1), false, false, false), "corners and steps that do not fit");

constexpr ConvView view(const Conv2dShape& s) {
    return conv_view(s.h, s.w, conv_line(s.h, s.oh, s.r, s.stride_h, s.pad_h, s.dilation_h), conv_line(s.w, s.ow, s.s, s.stride_w, s.pad_w, s.dilation_w));
}
static_assert(view(conv(1, 64, 56, 64, 3, 1, 1, 1)).planes && view(conv(1, 64, 56, 64, 3, 1, 1, 1)).windows() == 56 * 64, "boxes of 64 of 56 pixels");
static_assert(view(conv(1, 64, 28, 64, 1, 1, 0, 1)).planes && view(conv(1, 64, 28, 64, 1, 1, 0, 1)).windows() == 13 * 64, "1 x 1: a plane is one line");
static_assert(!view(conv(1, 64, 28, 64, 3, 1, 1, 1)).planes && !view(conv(1, 64, 14, 64, 1, 1, 0, 1)).planes && !view(conv(1, 64, 32, 64, 3, 1, 1, 1)).planes && !view(conv(1, 64, 56, 64, 3, 2, 1, 1)).planes,
              "lines of 56 bytes, a plane of 392; boxes half empty; a stride");

constexpr bool conv_cut_covers(int64_t m, int64_t n, int64_t slices, bool weight) {
    const ConvCut c = conv_cut(m, n, slices, weight, 132);
    const auto covers = [](int64_t tiles, int64_t tile, int64_t x) { return tiles * tile >= x && (tiles - 1) * tile < x; };
    return covers(c.tiles_m - (c.pair && (c.tiles_m - 1) * c.tile_m() >= m), c.tile_m(), m) && c.tiles_m % (1 + c.pair) == 0 && covers(c.tiles_n, c.tile_n(), n) && covers(c.parts, c.part, slices) && (weight || c.parts == 1) && !(c.wide && c.cols == 256);
}
static_assert(conv_cut_covers(64, 802816, 9, false) && conv_cut_covers(1, 1, 1, false) && conv_cut_covers(64, 576, 12544, true) && conv_cut_covers(72, 4608, 17, true));
static_assert(conv_cut(64, 802816, 9, false, 132).wide, "64 filters have no use for 128 rows");
static_assert(conv_cut(256, 50176, 36, false, 132).cols == 256 && conv_cut(256, 50176, 36, false, 132).pair && conv_cut(512, 12544, 72, false, 132).cols == 128);
static_assert(conv_cut(136, 1020, 1, false, 4).cols == 256 && conv_cut(136, 1020, 1, false, 4).pair, "what test_cuda_conv2d.py means to test");
static_assert(conv_cut(64, 576, 12544, true, 132).parts > 32, "a small dw takes many windows");

// Division by multiplication, up to the largest number of 31 bits.
constexpr bool divides(int64_t d) {
    const Divider by(d);
    for (const int64_t q : {int64_t(0), int64_t(1), int64_t(2), INT32_MAX / d})
        for (const int64_t n : {q * d - 1, q * d, q * d + d - 1})
            if (n >= 0 && n <= INT32_MAX && by.divide(int(n)) != n / d) return false;
    return by.divide(INT32_MAX) == INT32_MAX / d;
}
static_assert(divides(1) && divides(2) && divides(3) && divides(7) && divides(641) && divides(3136) && divides(65535) && divides((1 << 30) - 1) && divides(1 << 30));

// Pooling: an element's outputs are those whose windows hold it, and no window reaches outside of the axis.
constexpr bool windows(int size, int taps, int stride, int pad, int step, bool counts) {
    const int outputs = (size + 2 * pad - step * (taps - 1) - 1) / stride + 1;
    PoolLine line{size, outputs, -pad, stride, taps, step, counts, size, outputs, stride, step};
    for (int u = 0; u < size; ++u) {
        const PoolSpan near = line.covering(u);
        for (int j = 0; j < outputs; ++j) {
            const PoolSpan in = line.window(j);
            const int tap = u - (j * stride - pad);
            const bool holds = tap >= 0 && tap % step == 0 && tap / step < taps, listed = j >= near.begin && j < near.end;
            if (in.begin < 0 || in.end > size || (holds && !listed)) return false;
            if (holds != (u >= in.begin && u < in.end && (u - in.begin) % step == 0)) return false;
            if (step == 1 && listed != holds) return false;
        }
    }
    for (int j = 0; j < outputs; ++j) {
        const int from = j * stride - pad, to = from + taps, inside = (to < size ? to : size) - (from > 0 ? from : 0);
        if (step == 1 && line.count(j) != (counts ? (to < size + pad ? to : size + pad) - from : inside)) return false;
    }
    return true;
}
static_assert(windows(28, 2, 2, 0, 1, false) && windows(13, 3, 2, 1, 1, false) && windows(13, 3, 2, 1, 1, true) && windows(5, 3, 1, 1, 2, false) && windows(9, 2, 3, 1, 1, true) && windows(1, 1, 1, 0, 1, false));

constexpr bool adaptive(int size, int outputs) {
    PoolLine line{size, outputs, 0, 0, 0, 1, false, size, outputs, 1, 1};
    for (int j = 0; j < outputs; ++j) {
        const PoolSpan in = line.window(j);
        if (in.begin != j * size / outputs || in.end != ((j + 1) * size + outputs - 1) / outputs || line.count(j) != in.end - in.begin) return false;
        for (int u = 0; u < size; ++u) {
            const PoolSpan near = line.covering(u);
            if ((u >= in.begin && u < in.end) != (j >= near.begin && j < near.end)) return false;
        }
    }
    return true;
}
static_assert(adaptive(7, 7) && adaptive(13, 6) && adaptive(2, 7) && adaptive(1, 1) && adaptive(224, 7) && adaptive(5, 3));

}  // namespace lc::cuda
