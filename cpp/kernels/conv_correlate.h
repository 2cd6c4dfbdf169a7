// Forward and backward_data: a product of packed weights with windows that are never materialised (implicit GEMM).
//
//   out[m, pixel] = bias[m] + sum over (c, tap) w[m, c, tap] * planes[c][pixel + shift(tap)]
//
// Forward is one pass over all pixels. Backward_data is one dense pass for every residue of the pixel by the stride,
// with the taps that reach it, so that no multiplication by an inserted zero is made; the residues' results are made
// apart, in whole registers, and interleaved at the end.
// Compute bound: 2 * depth flops for each result, planes and packed weights stay in L2.
#pragma once
#include "cpp/core/allocator.h"
#include "cpp/core/parallel.h"
#include "cpp/kernels/conv_planes.h"

namespace lc::cpu::LC_ISA {
namespace {

struct Pass {
    Grid grid;                                        // of one image
    int64_t tap_rows, tap_cols, depth;                // depth = tap_rows * channels * tap_cols, in that order
    const int64_t* tap;                               // [tap_rows * tap_cols] which of the r * s
    const int64_t *first_tap, *last_tap;              // [grid.rows] the tap rows that see more than zeros, first .. last - 1
    const int64_t* offset;                            // [depth] from a pixel to channel and tap kk
    int64_t weights;                                  // where its packed weights start
    bool packed;                                      // windows of a tile copied to a panel, rather than read in place
};

template <class T> struct Correlation {
    const T *x, *w, *bias;
    T* out;
    int64_t images, groups, channels, h, width;       // channels of a group
    int64_t m, out_h, out_width;                      // rows of a group, and their pixels
    int64_t step_h, step_w;                           // pass y * min(step_w, out_width) + x makes rows y + i * step_h, columns x + j * step_w
    int64_t w_group, w_row, w_channel;                // strides of w
    Planes planes;
    bool in_place;                                    // x itself serves as its planes
    const Pass* passes;
    int64_t pass_count;
    double work_ns;                                   // of everything on one thread

    bool in_residues() const { return step_h * step_w > 1; }
    int64_t out_plane() const { return out_h * out_width; }
    // Results of a residue: one row of them, an odd number of lines, and all.
    int64_t residue_row(int64_t images) const { return spread<T>(images * passes[0].grid.rows * passes[0].grid.cols); }
    int64_t residue_size(int64_t images) const { return m * residue_row(images); }

    // Few pixels: weights whose rows are contiguous are read where they are, which saves writing them once more.
    bool weights_in_place() const {
        const Pass& p = passes[0];
        return pass_count == 1 && p.tap_rows == 1 && w_channel == p.tap_cols && w_row == p.depth && images * p.grid.rows * p.grid.cols <= 256;
    }
};

// Depth is cut into equal blocks: a block of one tile's columns stays in L1 while the rows pass by.
constexpr int64_t kDepthBlock = 288;
LC_INLINE int64_t depth_blocks(int64_t depth) { return depth ? ceil_div(depth, kDepthBlock) : 1; }
LC_INLINE int64_t depth_block(int64_t depth) { return depth ? ceil_div(depth, depth_blocks(depth)) : 1; }

// Rows whose weights for one block of depth take half of L2.
template <class T> LC_INLINE int64_t panels_per_block(int64_t depth) {
    const int64_t rows = 256 * 1024 / int64_t(sizeof(T)) / (depth_block(depth) + 1);
    return rows > kTileRows<T> ? rows / kTileRows<T> : 1;
}

template <class T> LC_INLINE int64_t registers(const Pass& p, int64_t images) {
    return p.packed ? ceil_div(images * p.grid.rows * p.grid.cols, lanes<T>) : images * p.grid.rows * RowWalk<T>::per_row(p.grid);
}

// Copying costs about 4 cycles a register, using one m / 2: worth it where rows would leave many lanes empty, or where
// the same pixel of all channels falls into a few cache sets.
template <class T> LC_INLINE bool should_pack(const Grid& g, const Planes& planes, int64_t m) {
    const int64_t in_rows = g.rows * ceil_div(g.cols, lanes<T>), flat = ceil_div(g.rows * g.cols, lanes<T>);
    const bool collides = planes.plane * int64_t(sizeof(T)) % 512 == 0;
    return in_rows * m > flat * (m + 8) || (collides && m >= 16);
}

// Weights of a panel of `rows`, [depth][rows]: the part of input channels [ch, end).
template <int rows, class T> LC_NOINLINE void pack_channels(const Correlation<T>& c, const Pass& p, int64_t ch, int64_t end, const T* w, T* dst) {
    for (; ch < end; ++ch)
        for (int64_t r = 0; r < p.tap_rows; ++r) {
            T* to = dst + (r * c.channels + ch) * p.tap_cols * rows;
            for (int64_t t = 0; t < p.tap_cols; ++t, to += rows) {
                const T* from = w + ch * c.w_channel + p.tap[r * p.tap_cols + t];
#pragma GCC unroll 16
                for (int i = 0; i < rows; ++i) to[i] = from[i * c.w_row];
            }
        }
}

// Panels [first, last). Where the rows of a channel are neighbours in memory, many panels together read it in long runs.
template <class T, int... lower>
void pack_weights(const Correlation<T>& c, const Pass& p, const Panels& panels, int64_t group, int64_t first, int64_t last, T* dst,
                  std::integer_sequence<int, lower...>) {
    using Pack = void (*)(const Correlation<T>&, const Pass&, int64_t, int64_t, const T*, T*);
    static constexpr Pack packs[] = {&pack_channels<lower + 1, T>...};
    constexpr int64_t chunk = 8;                      // channels: as many streams
    for (int64_t ch = 0; ch < c.channels; ch += chunk)
        for (int64_t panel = first; panel < last; ++panel) {
            const int64_t m = panels.first(panel);
            packs[panels.rows(panel) - 1](c, p, ch, ch + chunk < c.channels ? ch + chunk : c.channels,
                                          c.w + group * c.w_group + m * c.w_row, dst + (group * c.m + m) * p.depth);
        }
}
template <class T> LC_INLINE int64_t packed_weights(const Correlation<T>& c) {
    int64_t count = 0;
    for (int64_t i = 0; i < c.pass_count; ++i) count += c.groups * c.m * c.passes[i].depth;
    return count;
}
template <class T> void pack_weights(const Correlation<T>& c, T* dst) {
    const Panels panels = cut_panels<T>(c.m);
    const int64_t together = c.w_row < c.w_channel ? 16 : 1, bundles = ceil_div(panels.count, together);
    parallel_for(c.pass_count * c.groups * bundles, packed_weights(c), [&](int64_t task, int) {
        const Pass& p = c.passes[task / bundles / c.groups];
        const int64_t first = task % bundles * together, last = first + together < panels.count ? first + together : panels.count;
        pack_weights(c, p, panels, task / bundles % c.groups, first, last, dst + p.weights, std::make_integer_sequence<int, kTileRows<T>>());
    });
}

template <class T> struct Part {
    int64_t group, images;
    T* out;
    int64_t out_plane, out_image;                     // from one row of results, and one image, to the next
    int64_t first, last, first_panel, last_panel;     // tiles [first, last)
};

template <class T, int vecs>
void run_part(const Correlation<T>& c, const Pass& p, const Part<T>& part, const T* planes, const T* weights, const int64_t* in_panel, T* panel) {
    constexpr int L = lanes<T>;
    const Panels panels = cut_panels<T>(c.m);
    const int64_t block = depth_block(p.depth), per_block = panels_per_block<T>(p.depth);
    const int64_t total = registers<T>(p, part.images);
    Grid grid = p.grid;
    grid.images = part.images;
    grid.out_image = part.out_image;
    T* out = part.out;
    const T* bias = c.bias ? c.bias + part.group * c.m : nullptr;
    const bool weights_in_place = c.weights_in_place();
    weights += part.group * c.m * p.depth;

    for (int64_t p0 = part.first_panel; p0 < part.last_panel; p0 += per_block) {
        const int64_t p1 = p0 + per_block < part.last_panel ? p0 + per_block : part.last_panel;
        for (int64_t k0 = 0; k0 == 0 || k0 < p.depth; k0 += block) {
            RowWalk<T> walk(grid, c.planes, part.first * vecs);
            for (int64_t tile = part.first; tile < part.last; ++tile) {
                ConvTile<T> t;
                PackedPixels<T> pixels[vecs];
                int64_t first_row = grid.rows, last_row = -1;                        // of the tile's pixels
                t.row = part.out_plane;
                t.scattered = false;
                t.add = k0 > 0;
                for (int v = 0; v < vecs; ++v) {
                    const int64_t at = tile * vecs + v;
                    if (at >= total) {
                        t.b[v] = t.b[0];
                        t.count[v] = 0;
                    } else if (p.packed) {
                        t.count[v] = pixels[v].find(grid, c.planes, at * L, first_row, last_row);
                        t.scattered = t.scattered || !pixels[v].contiguous(t.count[v]);
                        t.b[v] = panel + v * L;
                        t.y[v] = out + pixels[v].lane[0];
                        t.lane[v] = pixels[v].lane;
                    } else {
                        first_row = walk.i < first_row ? walk.i : first_row;
                        last_row = walk.i > last_row ? walk.i : last_row;
                        walk.next(planes, out, t, v);
                    }
                }
                // Tap rows that see only padding from all of these pixels are left out.
                const int64_t per_row = c.channels * p.tap_cols;
                int64_t begin = p.tap_rows, end = 0;
                for (int64_t i = first_row; i <= last_row; ++i) {
                    begin = p.first_tap[i] < begin ? p.first_tap[i] : begin;
                    end = p.last_tap[i] > end ? p.last_tap[i] : end;
                }
                begin = begin * per_row > k0 ? begin * per_row : k0;
                end = end * per_row < k0 + block ? end * per_row : k0 + block;
                t.depth = end > begin ? end - begin : 0;
                if (t.depth == 0 && t.add) continue;
                t.offset = p.packed ? in_panel : p.offset + begin;
                if (p.packed)
                    for (int v = 0; v < vecs && t.count[v]; ++v) pixels[v].pack(planes, p.offset + begin, t.depth, vecs * L, panel + v * L);
                if (t.scattered)
                    for (int v = 0; v < vecs; ++v) t.y[v] = out;
                for (int64_t i = p0; i < p1; ++i) {
                    const int64_t m = panels.first(i);
                    const T* a = weights + m * p.depth;
                    if (weights_in_place) run_tile_of<vecs>(panels.rows(i), t, [&](auto) { return MatrixRows<T>{a + begin, p.depth}; }, m, bias);
                    else run_tile_of<vecs>(panels.rows(i), t, [&](auto rows) { return PackedRows<T, rows>{a + begin * rows}; }, m, bias);
                }
            }
        }
    }
}

template <class T> void run_part(const Correlation<T>& c, const Pass& p, const Part<T>& part, const T* planes, const T* weights, const int64_t* in_panel, T* panel) {
    with_tile_vecs<T>(c.m, [&](auto vecs) { run_part<T, vecs>(c, p, part, planes, weights + p.weights, in_panel, panel); });
}

// Images that are worked on together: enough pixels that neither the last tile's empty lanes nor reading the weights
// once a unit matters.
template <class T> LC_INLINE int64_t images_per_unit(const Correlation<T>& c) {
    const int64_t pixels = c.passes[0].grid.rows * c.passes[0].grid.cols;
    if (pixels == 0 || pixels >= 12 * lanes<T>) return 1;
    const int64_t units = ceil_div(c.images, ceil_div(16 * lanes<T>, pixels));
    return ceil_div(c.images, units);
}

// A row of pixels from two rows of every second one.
template <class T> LC_INLINE void interleave(const T* even, const T* odd, int64_t n, T* dst) {
    constexpr int64_t L = lanes<T>;
    int64_t j = 0;
    for (; 2 * (j + L) <= n; j += L) {
        const vec<T> a = load(even + j), b = load(odd + j);
        store(dst + 2 * j, interleave_low(a, b));
        store(dst + 2 * j + L, interleave_high(a, b));
    }
    for (; 2 * j < n; ++j) {
        dst[2 * j] = even[j];
        if (2 * j + 1 < n) dst[2 * j + 1] = odd[j];
    }
}

// Rows [first, last) of a group's result, from those of its passes: [m][image][pixel] of each.
template <class T> void join_residues(const Correlation<T>& c, const T* results, int64_t images, int64_t first, int64_t last, T* out) {
    const int64_t per_row = c.step_w < c.out_width ? c.step_w : c.out_width;
    for (int64_t m = first; m < last; ++m)
        for (int64_t n = 0; n < images; ++n)
            for (int64_t y = 0; y < c.out_h; ++y) {
                const auto row = [&](int64_t x) {
                    const Pass& p = c.passes[y % c.step_h * per_row + x];
                    return results + (&p - c.passes) * c.residue_size(images) + m * c.residue_row(images) + (n * p.grid.rows + y / c.step_h) * p.grid.cols;
                };
                T* dst = out + (n * c.groups * c.m + m) * c.out_plane() + y * c.out_width;
                if (per_row == 2) interleave(row(0), row(1), c.out_width, dst);
                else
                    for (int64_t x = 0; x < per_row; ++x) {
                        const T* from = row(x);
                        for (int64_t at = x; at < c.out_width; at += c.step_w) dst[at] = *from++;
                    }
            }
}

template <class T> void correlate(const Correlation<T>& c) {
    if (c.images == 0 || c.m == 0) return;
    const int vecs = tile_vecs<T>(c.m);
    const Panels panels = cut_panels<T>(c.m);
    const bool in_place = c.weights_in_place();
    const Buffer<T> packed(in_place ? 0 : packed_weights(c));
    const T* weights = in_place ? c.w : packed.data();
    if (!in_place) pack_weights(c, packed.data());

    const Buffer<int64_t> in_panel(kDepthBlock);
    for (int64_t kk = 0; kk < kDepthBlock; ++kk) in_panel[kk] = kk * vecs * lanes<T>;

    const int64_t unit = images_per_unit(c), units = ceil_div(c.images, unit);
    const int64_t plane_count = c.in_place ? 0 : unit * c.planes.image, panel_count = kDepthBlock * vecs * lanes<T>;
    const int64_t result_count = c.in_residues() ? c.pass_count * c.residue_size(unit) : 0;
    const double unit_ns = c.work_ns / double(units * c.groups);
    const int threads = num_threads();

    const auto images_of = [&](int64_t u) { return u * unit + unit < c.images ? unit : c.images - u * unit; };
    const auto source = [&](int64_t image, int64_t group, int64_t channel) {
        return c.x + ((image * c.groups + group) * c.channels + channel) * c.h * c.width;
    };
    const auto target = [&](int64_t image, int64_t group) { return c.out + (image * c.groups + group) * c.m * c.out_plane(); };
    const auto all_of = [&](const Pass& p, int64_t image, int64_t group, int64_t images, T* results) -> Part<T> {
        const int64_t pixels = p.grid.rows * p.grid.cols, tiles = ceil_div(registers<T>(p, images), vecs);
        if (!c.in_residues()) return {group, images, target(image, group), c.out_plane(), c.groups * c.m * c.out_plane(), 0, tiles, 0, panels.count};
        return {group, images, results + (&p - c.passes) * c.residue_size(images), c.residue_row(images), pixels, 0, tiles, 0, panels.count};
    };

    const bool even = units * c.groups >= 4 * threads || units * c.groups % threads == 0;      // between threads
    const bool alone = threads == 1 || c.work_ns < 2e4;                                        // on the calling thread
    if (alone || (even && unit_ns < 8e6)) {             // a task prepares and computes its images
        const int64_t each = plane_count + panel_count + result_count;
        const Buffer<T> scratch(threads * each);
        parallel_for(units * c.groups, int64_t(c.work_ns), [&](int64_t task, int worker) {
            const int64_t group = task % c.groups, image = task / c.groups * unit, images = images_of(task / c.groups);
            T *planes = scratch.data() + worker * each, *panel = planes + plane_count, *results = panel + panel_count;
            if (!c.in_place)
                for (int64_t i = 0; i < images; ++i)
                    for (int64_t ch = 0; ch < c.channels; ++ch)
                        fill_channel(c.planes, source(image + i, group, ch), c.h, c.width, planes + i * c.planes.image + ch * c.planes.channel);
            for (int64_t i = 0; i < c.pass_count; ++i) {
                const Pass& p = c.passes[i];
                run_part(c, p, all_of(p, image, group, images, results), c.in_place ? source(image, group, 0) : planes, weights, in_panel.data(), panel);
            }
            if (c.in_residues()) join_residues(c, results, images, 0, c.m, target(image, group));
        });
        return;
    }

    const Buffer<T> shared(plane_count), panel(threads * panel_count), results(result_count);   // all threads work on one unit
    for (int64_t task = 0; task < units * c.groups; ++task) {
        const int64_t group = task % c.groups, image = task / c.groups * unit, images = images_of(task / c.groups);
        if (!c.in_place)
            parallel_for(images * c.channels, plane_count, [&](int64_t at, int) {
                const int64_t i = at / c.channels, ch = at % c.channels;
                fill_channel(c.planes, source(image + i, group, ch), c.h, c.width, shared.data() + i * c.planes.image + ch * c.planes.channel);
            });
        for (int64_t i = 0; i < c.pass_count; ++i) {
            const Pass& p = c.passes[i];
            const Part<T> all = all_of(p, image, group, images, results.data());
            const int64_t tiles = all.last, wanted = unit_ns < 5e6 * threads ? 4 * threads : ceil_div(int64_t(unit_ns / 2e6), threads) * threads;
            // Heavy weights: split the rows first, so that each thread streams its own weights.
            int64_t tile_parts = tiles < wanted ? tiles : wanted, row_parts = ceil_div(wanted, tile_parts ? tile_parts : 1);
            if (c.m > tiles * vecs * lanes<T>) {
                row_parts = panels.count < wanted ? panels.count : wanted;
                tile_parts = ceil_div(wanted, row_parts);
                if (tile_parts > tiles) tile_parts = tiles;
            }
            if (row_parts > panels.count) row_parts = panels.count;
            const T* planes = c.in_place ? source(image, group, 0) : shared.data();
            parallel_for(tile_parts * row_parts, int64_t(unit_ns) / c.pass_count, [&](int64_t at, int worker) {
                const int64_t a = at / row_parts, b = at % row_parts;
                Part<T> part = all;
                part.first = tiles * a / tile_parts;
                part.last = tiles * (a + 1) / tile_parts;
                part.first_panel = panels.count * b / row_parts;
                part.last_panel = panels.count * (b + 1) / row_parts;
                run_part(c, p, part, planes, weights, in_panel.data(), panel.data() + worker * panel_count);
            });
        }
        if (c.in_residues())
            parallel_ranges(c.m, ceil_div(c.m, 4 * threads), result_count, [&](int64_t first, int64_t last) {
                join_residues(c, results.data(), images, first, last, target(image, group));
            });
    }
}

}  // namespace
}  // namespace lc::cpu::LC_ISA
