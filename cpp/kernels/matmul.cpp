// matmul on CPU. Math: cpp/ops/matmul.h; tile and packing: cpp/kernels/gemm.h; shape -> schedule: cpp/ops/matmul_plan.h.
// Compute bound but for few rows or columns, where each operand is read from memory once.
#include "cpp/ops/matmul.h"
#include "cpp/core/allocator.h"
#include "cpp/core/parallel.h"
#include "cpp/kernels/activation.h"
#include "cpp/kernels/matmul_columns.h"

namespace lc::cpu::LC_ISA {

static_assert(tile_size(Isa::LC_ISA, 4).rows == kTileRows<float> && tile_size(Isa::LC_ISA, 4).cols == kTileCols<float>);
static_assert(tile_size(Isa::LC_ISA, 8).rows == kTileRows<double> && tile_size(Isa::LC_ISA, 8).cols == kTileCols<double>);

namespace {

template <int rows, class T>
LC_NOINLINE void tile_of_height(int vecs, int64_t k, const StridedRows<T>& a, const T* b, int64_t ldb, const TileOut<T>& out) {
    if constexpr (rows == 1)
        if (vecs == 8) return multiply_tile<rows, 8>(k, a, b, ldb, out);
    if constexpr (rows <= 3)
        if (vecs == 4) return multiply_tile<rows, 4>(k, a, b, ldb, out);
    if (vecs == 1) return multiply_tile<rows, 1>(k, a, b, ldb, out);
    multiply_tile<rows, 2>(k, a, b, ldb, out);
}

template <class T, int... lower>
LC_INLINE void tile_of_any_height(int rows, int vecs, int64_t k, const StridedRows<T>& a, const T* b, int64_t ldb,
                                  const TileOut<T>& out, std::integer_sequence<int, lower...>) {
    using Tile = void (*)(int, int64_t, const StridedRows<T>&, const T*, int64_t, const TileOut<T>&);
    static constexpr Tile tiles[] = {&tile_of_height<lower + 1, T>...};
    tiles[rows - 1](vecs, k, a, b, ldb, out);
}

}  // namespace

template <class T>
void multiply_any_tile(int rows, int vecs, int64_t k, StridedRows<T> a, const T* b, int64_t ldb, TileOut<T> out) {
    tile_of_any_height(rows, vecs, k, a, b, ldb, out, std::make_integer_sequence<int, kTileRows<T>>());
}

template <class T> void multiply_panels(const PanelProduct<T>& p) {
    constexpr int rows = kTileRows<T>, cols = kTileCols<T>;
    constexpr int64_t line = 64 / int64_t(sizeof(T));
    const int64_t tiles = p.m / rows;
    for (int64_t j = 0; j < p.n; j += cols) {
        const T* b = p.b + j * p.k;
        const int width = int(smaller(cols, p.n - j));
        // The next panel, read from L3, would take its first tile twice the time.
        Ahead<T> ahead = p.ahead.rows > 0 || tiles < 8 || j + cols >= p.n ? p.ahead : Ahead<T>{b + cols * p.k, line, p.k * cols / line, line};
        const int64_t step = tiles > 0 ? ceil_div(ahead.rows, tiles) : 0;
        int64_t i = 0;
        for (; i + rows <= p.m; i += rows) {
            T* c = p.c + i * p.ldc + j;
            for (int r = 0; r < rows; ++r) __builtin_prefetch(c + r * p.ldc);   // needed after k steps
            ahead.ask(step);
            multiply_tile<rows, 2>(p.k, PanelRows<T>{p.a + i * p.k}, b, cols, TileOut<T>{c, p.ldc, width, p.add});
        }
        if (i < p.m)
            multiply_any_tile<T>(int(p.m - i), 2, p.k, {p.a + i * p.k, 1, rows}, b, cols,
                                 {p.c + i * p.ldc + j, p.ldc, width, p.add});
    }
}

template <class A, class T>
LC_NOINLINE void pack_columns(const T* b, int64_t depth, int64_t col, int64_t n, Depths k, A* panel, int64_t width) {
    for (int64_t g = 0; g < width; g += lanes<A>) {
        const int count = int(smaller(lanes<A>, n - g));
        A* chain[part_lanes<A>];
        for (int r = 0; r < k.chains; ++r) chain[r] = panel + k.begin(r) * width + g;
        if (depth == 1) detail::pack_lines<lanes<A>>(b + g * col, col, count, k, chain, width);
        else
            for (int r = 0; r < k.chains; ++r)
                detail::pack_panel<lanes<A>>(b + g * col + r * depth, col, k.chains * depth, count, k.length(r), chain[r], width);
    }
}

namespace {

// ---- finishing: bias, activation, conversion ----------------------------------------------------------------------

template <class T> constexpr bool kNarrow = !std::is_same_v<T, acc_t<T>>;           // y cannot hold a sum

// A finished part of y: sums c[m, n] (which may be y itself) -> before, y.
template <class T> struct Part {
    acc_t<T>* c;
    int64_t ldc, m, n;
    T *y, *before;
    int64_t y_row;
    const T* bias;
};

template <class T> void finish(const Part<T>& p, Activation activation) {
    using A = acc_t<T>;
    if (!kNarrow<T> && !p.bias && !p.before && activation == Activation::none) return;
    with_activation<A>(activation, [&](auto f) {
        for (int64_t i = 0; i < p.m; ++i) {
            A* c = p.c + i * p.ldc;
            T *y = p.y + i * p.y_row, *before = p.before ? p.before + i * p.y_row : nullptr;
            const auto sum = [&](int64_t j, auto k) {
                vec<A> z = load(c + j, k);
                if (p.bias) z = z + load(p.bias + j, k);
                if (before) store(before + j, z, k);
                return z;
            };
            if constexpr (f.two_steps) {
                if (p.bias || before) each_vec<A>(p.n, [&](int64_t j, auto k) { store(c + j, sum(j, k), k); });
                f.each(p.n, c, [&](int64_t j, auto k, vec<A> v) { store(y + j, v, k); });
            } else {
                each_vec<A>(p.n, [&](int64_t j, auto k) { store(y + j, f.of(sum(j, k)), k); });
            }
        }
    });
}

// ---- schedule: panels ---------------------------------------------------------------------------------------------

template <class T> LC_INLINE const T* entry(const T* base, const int64_t* offsets, int64_t stride, int64_t item) {
    return base + (offsets ? offsets[item] : item * stride);
}

constexpr int64_t kL1Bytes = 32 << 10;

// All panels of a task are packed at once, to L2, where that reads rows of b in long runs.
template <class T> LC_INLINE bool packs_together(const MatmulForward<T>& p) {
    return p.plan.pack_b && p.b_col == 1 && p.plan.panel_cols == kTileCols<acc_t<T>>;
}

template <class T> LC_INLINE bool reads_columns(const MatmulForward<T>& p) { return p.b_depth == 1 && few_rows(p.m, p.plan.chains); }

// A worker's scratch: panels of b, a's rows in acc_t, sums in acc_t; each only where needed.
struct PanelScratch {
    int64_t b, a, c;
    int64_t size() const { return b + a + c; }
};

template <class T> LC_INLINE PanelScratch panel_scratch(const MatmulForward<T>& p) {
    if (p.plan.turned) return {0, 0, packed_cols_size<acc_t<T>>(p.m, ceil_div(smaller(p.plan.cols, p.n), lanes<acc_t<T>>) * lanes<acc_t<T>>)};
    const bool packs = p.plan.pack_b || p.n % p.plan.panel_cols != 0, whole_rows = reads_columns(p);
    const int64_t rows = smaller(p.plan.rows, p.m), panels = packs_together(p) ? ceil_div(smaller(p.plan.cols, p.n), p.plan.panel_cols) : 1;
    return {packs ? panels * p.plan.k_block * p.plan.panel_cols : 0,
            kNarrow<T> || (whole_rows && p.a_depth != 1) ? rows * (whole_rows ? p.k : p.plan.k_block) : 0,
            kNarrow<T> ? rows * smaller(p.plan.cols, p.n) : 0};
}

// m rows of a in acc_t, adjacent along whichever axis they are in a, or by rows.
template <class T>
StridedRows<acc_t<T>> widen_rows(const MatmulForward<T>& p, const T* a, int64_t m, int64_t k, acc_t<T>* wide, bool by_rows) {
    using A = acc_t<T>;
    const bool by_depth = p.a_row == 1 && p.a_depth != 1 && !by_rows;
    const int64_t lines = by_depth ? k : m, length = by_depth ? m : k;
    const int64_t line = by_depth ? p.a_depth : p.a_row, step = by_depth ? p.a_row : p.a_depth;
    for (int64_t i = 0; i < lines; ++i) {
        const T* from = a + i * line;
        A* to = wide + i * length;
        if (step == 1) each_vec<A>(length, [&](int64_t j, auto n) { store(to + j, load(from + j, n), n); });
        else
            for (int64_t j = 0; j < length; ++j) to[j] = to_float(from[j * step]);
    }
    return by_depth ? StridedRows<A>{wide, 1, length} : StridedRows<A>{wide, length, 1};
}

// y[m, n], n <= panel_cols, over chains [first, last) of a block of k: c = a b or c += a b. `packed` has the panel of those
// chains, or takes that of all. With plan.pack_a, a.p are panels.
template <class T>
void panel_product(const MatmulForward<T>& p, int64_t m, int64_t n, Depths k, int first, int last, const StridedRows<acc_t<T>>& a, const T* b,
                   acc_t<T>* packed, TileOut<acc_t<T>> out, const Ahead<acc_t<T>>& ahead) {
    using A = acc_t<T>;
    int vecs = int(p.plan.panel_cols / lanes<A>);
    while (!p.plan.pack_a && vecs > 1 && vecs / 2 * lanes<A> >= n) vecs /= 2;
    const int64_t width = vecs * lanes<A>;
    const bool together = packs_together(p);
    bool in_place = false;
    if constexpr (!kNarrow<T>) in_place = !p.plan.pack_b && n == width;
    if (!together && !in_place) pack_columns(b, p.b_depth, p.b_col, n, k, packed, width);
    const int64_t tiles = ceil_div(m, kTileRows<A>);
    for (int chain = first; chain < last; ++chain) {
        const A* panel = packed;
        int64_t ldb = together ? kTileCols<A> : width;
        if constexpr (!kNarrow<T>)
            if (in_place) {
                panel = b + chain * p.b_depth;
                ldb = k.chains * p.b_depth;
            }
        if (!together && !in_place) panel += k.begin(chain) * width;
        if (p.plan.pack_a) {
            multiply_panels(PanelProduct<A>{a.p + k.begin(chain) * packed_rows_size<A>(m, 1), panel, out.c, out.ldc, m, n, k.length(chain), out.add || chain > 0, ahead});
            continue;
        }
        // Rows in tiles of even height: 4 + 4 keep more sums in flight than 6 + 2.
        int64_t i = 0;
        for (int64_t t = 0; t < tiles; ++t) {
            const int rows = int(m / tiles + (t < m % tiles));
            multiply_any_tile<A>(rows, vecs, k.length(chain), {a.p + i * a.row + chain * a.depth, a.row, k.chains * a.depth}, panel, ldb,
                                 {out.c + i * out.ldc, out.ldc, int(n), out.add || chain > 0});
            i += rows;
        }
    }
}

// Rows [i, i + m) and columns [j, j + n) of one batch entry.
struct Window {
    int64_t i, m, j, n;
};

// a_panels: of all rows, block of k by block, or null.
template <class T> void panel_task(const MatmulForward<T>& p, int64_t item, const Window& w, const acc_t<T>* a_panels, acc_t<T>* scratch) {
    using A = acc_t<T>;
    const T* a = entry(p.a, p.a_offsets, p.a_batch, item) + w.i * p.a_row;
    const T* b = entry(p.b, p.b_offsets, p.b_batch, item) + w.j * p.b_col;
    const int64_t at = item * p.y_batch + w.i * p.y_row + w.j;
    const PanelScratch size = panel_scratch(p);
    A *packed_b = scratch, *wide_a = packed_b + size.b, *sums = wide_a + size.a;

    // Rows [i, i + m) and columns [j, j + n) of the window: where their sums are kept, and what is done to them at the end.
    const auto result = [&](int64_t i, int64_t j, int64_t n, bool add) {
        if constexpr (kNarrow<T>) return TileOut<A>{sums + i * w.n + j, w.n, int(n), add};
        else return TileOut<A>{p.y + at + i * p.y_row + j, p.y_row, int(n), p.add || add};
    };
    const auto complete = [&](int64_t i, int64_t m, int64_t j, int64_t n) {
        const TileOut<A> out = result(i, j, n, true);
        const int64_t to = at + i * p.y_row + j;
        finish<T>({out.c, out.ldc, m, n, p.y + to, p.before ? p.before + to : nullptr, p.y_row, p.bias ? p.bias + w.j + j : nullptr},
                  p.activation);
    };

    int64_t done = 0;
    if (reads_columns(p)) {
        StridedRows<A> rows{};
        if constexpr (!kNarrow<T>) rows = {a, p.a_row, p.a_depth};
        if (kNarrow<T> || p.a_depth != 1) rows = widen_rows(p, a, w.m, p.k, wide_a, true);
        const TileOut<A> out = result(0, 0, w.n, false);
        if (p.plan.chains == 1) done = turn_columns(p, rows.p, b, w.n, out);
        else if (w.n >= parts<A>) done = dot_columns(p, w.m, rows.p, rows.row, b, w.n, out);
        complete(0, w.m, 0, done);
        if (done == w.n) return;
    }
    const bool together = packs_together(p);
    int64_t kk = 0;
    do {                                                          // once for k = 0, which gives zeros
        const Depths k{smaller(p.plan.k_block, p.k - kk), p.plan.chains};
        StridedRows<A> rows{};
        if (a_panels) rows.p = a_panels + kk * packed_rows_size<A>(p.m, 1);
        else if constexpr (kNarrow<T>) rows = widen_rows(p, a + kk * p.a_depth, w.m, k.count, wide_a, false);
        else rows = {a + kk * p.a_depth, p.a_row, p.a_depth};
        // Rows pass by a panel; but a y beyond L2 is written in long runs, panels passing by a tile's rows if they stay in L1.
        const bool in_l1 = together && w.n * k.length(0) * int64_t(sizeof(A)) <= kL1Bytes / 2, large = w.m * w.n * int64_t(sizeof(A)) > kL2Bytes;
        const int64_t step = in_l1 && large && !a_panels ? kTileRows<A> : w.m;
        for (int first = 0; first < k.chains;) {
            const int last = together ? first + 1 : k.chains;
            const int64_t depth = k.length(first);
            if (together) pack_b<A>(b + (kk + first) * p.b_depth, k.chains * p.b_depth, p.b_col, w.n, {depth}, packed_b);
            // Packed next: the chain after this one, at the end the first of the columns beside these.
            const int64_t after = kk + (last < k.chains ? last : k.count);
            const T* next = after < p.k ? b + after * p.b_depth : b + w.n;
            StridedRows<A> here = rows;
            for (int64_t i = 0; i < w.m; i += step, here.p += step * here.row)
                for (int64_t j = done; j < w.n; j += p.plan.panel_cols) {
                    const int64_t m = smaller(step, w.m - i), n = smaller(p.plan.panel_cols, w.n - j);
                    Ahead<A> ahead{};
                    if constexpr (!kNarrow<T>)
                        if (together && (after < p.k || w.j + 2 * w.n <= p.n)) {
                            const int64_t from = j * depth / w.n, to = (j + n) * depth / w.n, row = k.chains * p.b_depth;
                            ahead = {next + from * row, row, to - from, w.n};
                        }
                    panel_product(p, m, n, k, first, last, here, b + kk * p.b_depth + j * p.b_col, packed_b + (together ? j * depth : 0), result(i, j, n, kk > 0), ahead);
                    if (kk + k.count >= p.k && last == k.chains) complete(i, m, j, n);
                }
            first = last;
        }
        kk += k.count;
    } while (kk < p.k);
}

// a as panels of each block of k in turn, `width` rows wide.
template <int width, class T> void pack_rows(const MatmulForward<T>& p, acc_t<T>* panels) {
    constexpr int64_t rows = 32 / width > 1 ? 32 / width * width : width;
    const int64_t row_tasks = ceil_div(p.m, rows), all = ceil_div(p.m, width) * width;
    parallel_for(row_tasks * ceil_div(p.k, p.plan.k_block), p.m * p.k / 2, [&](int64_t task, int) {
        const int64_t i = task % row_tasks * rows, kk = task / row_tasks * p.plan.k_block;
        pack<width>(p.a + i * p.a_row + kk * p.a_depth, p.a_row, p.a_depth, smaller(rows, p.m - i), Depths{smaller(p.plan.k_block, p.k - kk), p.plan.chains}, panels + kk * all, i, all);
    });
}

// All rows and columns [j, j + n) of y by the sums of its transpose: rows of a tile are columns of b, which need no packing,
// its columns are rows of a. Sums of a panel of them lie together, tile after tile; at the end they are turned.
template <class T> void turned_task(const MatmulForward<T>& p, int64_t j, int64_t n, const T* a_panels, T* sums) {
    constexpr int L = lanes<T>;
    const int64_t all = packed_cols_size<T>(p.m, 1), pitch = ceil_div(n, L) * L, tiles = ceil_div(n, kTileRows<T>);
    for (int64_t t = 0, i = 0; t < tiles; ++t) {
        const int rows = int(n / tiles + (t < n % tiles));
        const T* columns = p.b + (j + i) * p.b_col;
        Ahead<T> ahead{columns + rows * p.b_col, 64 / int64_t(sizeof(T)), t + 1 < tiles ? rows * p.k * int64_t(sizeof(T)) / 64 : 0, 1};
        const int64_t step = ceil_div(ahead.rows, ceil_div(p.m, kTileCols<T>) * p.plan.chains * ceil_div(p.k, p.plan.k_block));
        for (int64_t row = 0; row < p.m; row += kTileCols<T>) {
            const int vecs = p.m - row > L ? 2 : 1;
            for (int64_t kk = 0; kk < p.k; kk += p.plan.k_block) {
                const Depths k{smaller(p.plan.k_block, p.k - kk), p.plan.chains};
                for (int chain = 0; chain < k.chains; ++chain) {
                    ahead.ask(step);
                    multiply_any_tile<T>(rows, vecs, k.length(chain), {columns + kk + chain, p.b_col, k.chains},
                                         a_panels + kk * all + k.begin(chain) * all + row * k.length(chain), kTileCols<T>,
                                         {sums + row * pitch + i * kTileCols<T>, kTileCols<T>, vecs * L, kk + chain > 0});
                }
            }
        }
        i += rows;
    }
    T* y = p.y + j;
    for (int64_t row = 0; row < p.m; row += L) {
        const T* from = sums + row / kTileCols<T> * kTileCols<T> * pitch + row % kTileCols<T>;
        const int64_t count = smaller(L, p.m - row);
        for (int64_t i = 0; i < n; i += L) {
            vec<T> r[size_t(L)];
            load_transposed(from + i * kTileCols<T>, kTileCols<T>, r);
            for (int64_t l = 0; l < count; ++l)
                if (n - i >= L) store(y + (row + l) * p.y_row + i, r[l]);
                else store(y + (row + l) * p.y_row + i, r[l], int(n - i));
        }
    }
    finish<T>({y, p.y_row, p.m, n, y, p.before ? p.before + j : nullptr, p.y_row, p.bias ? p.bias + j : nullptr}, p.activation);
}

template <class T> void run_panels(const MatmulForward<T>& p) {
    using A = acc_t<T>;
    const MatmulPlan& plan = p.plan;
    const int64_t item_tasks = ceil_div(p.batch, plan.items), row_tasks = ceil_div(p.m, plan.rows), col_tasks = ceil_div(p.n, plan.cols);
    const int64_t tasks = item_tasks * row_tasks * col_tasks, size = ceil_div(panel_scratch(p).size(), 16) * 16;
    const Buffer<A> a_panels(plan.turned ? packed_cols_size<A>(p.m, p.k) : plan.pack_a ? packed_rows_size<A>(p.m, p.k)
                                                                                       : 0);
    if (plan.turned) pack_rows<kTileCols<A>>(p, a_panels.data());
    else if (plan.pack_a) pack_rows<kTileRows<A>>(p, a_panels.data());
    auto run = [&](A* scratch) {
        parallel_for(tasks, plan.work_ns, [&](int64_t task, int worker) {
            const int64_t j = task % col_tasks * plan.cols, i = task / col_tasks % row_tasks * plan.rows;
            if constexpr (!kNarrow<T>)
                if (plan.turned) return turned_task<T>(p, j, smaller(plan.cols, p.n - j), a_panels.data(), scratch + worker * size);
            const Window w{i, smaller(plan.rows, p.m - i), j, smaller(plan.cols, p.n - j)};
            const int64_t first = task / col_tasks / row_tasks * plan.items, last = smaller(first + plan.items, p.batch);
            for (int64_t item = first; item < last; ++item) panel_task<T>(p, item, w, plan.pack_a ? a_panels.data() : nullptr, scratch + worker * size);
        });
    };
    if (size == 0) return run(nullptr);
    Buffer<A> scratch(size * (tasks == 1 ? 1 : num_threads()));
    run(scratch.data());
}

// ---- schedule: blocks ---------------------------------------------------------------------------------------------

// Rows [i, i + m), columns [j, j + n) and depths [kk, kk + k) of one batch entry.
struct Block {
    int64_t item, i, m, j, n, kk, k;
};

// How packing is shared out: adjacent lines in long runs of some depths, others whole, some 5 to 30 us each.
struct PackingCut {
    struct Part {
        int64_t line, lines, from, to;
    };
    int64_t lines, depths, all_lines, all_depths;
    int64_t across() const { return ceil_div(all_lines, lines); }
    int64_t tasks() const { return across() * ceil_div(all_depths, depths); }
    Part part(int64_t task) const {
        const int64_t i = task % across() * lines, kk = task / across() * depths;
        return {i, smaller(lines, all_lines - i), kk, smaller(kk + depths, all_depths)};
    }
};
LC_INLINE PackingCut packing_cut(bool adjacent, int64_t lines, int64_t depths, int width) {
    return {ceil_div(adjacent ? 384 : 48, width) * width, adjacent ? 256 : depths, lines, depths};
}

template <class T> struct BlockPanels {
    acc_t<T>*a, *b;
};

// What a block takes of a and b, packed in tasks.
template <class T> struct BlockPacking {
    PackingCut a, b;
    LC_INLINE BlockPacking(const MatmulForward<T>& p, const Block& r)
        : a(packing_cut(p.a_row == 1, r.m, r.k, kTileRows<acc_t<T>>)), b(packing_cut(p.b_col == 1, r.n, r.k, kTileCols<acc_t<T>>)) {}
    LC_INLINE int64_t tasks() const { return a.tasks() + b.tasks(); }

    void run(const MatmulForward<T>& p, const Block& r, int64_t task, const BlockPanels<T>& to) const {
        using A = acc_t<T>;
        if (task < a.tasks()) {
            const PackingCut::Part part = a.part(task);
            const T* from = entry(p.a, p.a_offsets, p.a_batch, r.item) + (r.i + part.line) * p.a_row + r.kk * p.a_depth;
            pack_a<A>(from, p.a_row, p.a_depth, part.lines, {r.k, p.plan.chains, part.from, part.to}, to.a, part.line, packed_rows_size<A>(r.m, 1));
        } else {
            const PackingCut::Part part = b.part(task - a.tasks());
            const T* from = entry(p.b, p.b_offsets, p.b_batch, r.item) + (r.j + part.line) * p.b_col + r.kk * p.b_depth;
            pack_b<A>(from, p.b_depth, p.b_col, part.lines, {r.k, p.plan.chains, part.from, part.to}, to.b, part.line, packed_cols_size<A>(r.n, 1));
        }
    }
};

// Lines of panels of a block of k, `before` of `all` from the first.
template <class A> struct Panels {
    const A* p;
    int64_t all, before;
    const A* chain(Depths k, int r) const { return p + k.begin(r) * all + before * k.length(r); }
};

// Depths [kk, kk + k.count) of a window of one batch entry; sums are kept in y, or where y is narrow in `sums`, ld apart.
template <class T>
void multiply_window(const MatmulForward<T>& p, int64_t item, const Window& w, int64_t kk, Depths k, const Panels<acc_t<T>>& a, const Panels<acc_t<T>>& b,
                     acc_t<T>* sums, int64_t ld) {
    using A = acc_t<T>;
    const int64_t at = item * p.y_batch + w.i * p.y_row + w.j;
    PanelProduct<A> product{nullptr, nullptr, nullptr, 0, w.m, w.n, 0, false};
    if constexpr (kNarrow<T>) {
        product.c = sums;
        product.ldc = ld;
        product.add = kk > 0;
    } else {
        product.c = p.y + at;
        product.ldc = p.y_row;
        product.add = p.add || kk > 0;
    }
    for (int chain = 0; chain < k.chains; ++chain) {
        product.k = k.length(chain);
        product.a = a.chain(k, chain);
        product.b = b.chain(k, chain);
        multiply_panels(product);
        product.add = true;
    }
    if (kk + k.count >= p.k)
        finish<T>({product.c, product.ldc, w.m, w.n, p.y + at, p.before ? p.before + at : nullptr, p.y_row, p.bias ? p.bias + w.j : nullptr}, p.activation);
}

// Blocks in turn. The next one is packed beside the products of this one, at the end of either half of the tasks: pieces so
// small that no thread waits long for another.
template <class T> void run_blocks(const MatmulForward<T>& p) {
    using A = acc_t<T>;
    const MatmulPlan& plan = p.plan;
    const int64_t deep = ceil_div(p.k, plan.k_block), across = ceil_div(p.n, plan.block_cols), down = ceil_div(p.m, plan.block_rows);
    const int64_t blocks = p.batch * down * across * deep, a_size = plan.block_rows * plan.k_block, size = a_size + plan.block_cols * plan.k_block;
    const Buffer<A> packed(size * smaller(blocks, 2)), sums(kNarrow<T> ? plan.block_rows * plan.block_cols : 0);
    const auto block = [&](int64_t t) {
        const int64_t kk = t % deep * plan.k_block, j = t / deep % across * plan.block_cols, i = t / deep / across % down * plan.block_rows;
        return Block{t / deep / across / down, i, smaller(plan.block_rows, p.m - i), j, smaller(plan.block_cols, p.n - j), kk, smaller(plan.k_block, p.k - kk)};
    };
    for (int64_t t = -1; t < blocks; ++t) {               // before the first there are no products, after the last nothing to pack
        const Block r = block(t < 0 ? 0 : t), next = block(t + 1);
        A *here = packed.data() + (t & 1) * size, *there = packed.data() + (~t & 1) * size;
        const BlockPacking<T> packing(p, next);
        const int64_t col_tasks = ceil_div(r.n, plan.tile_cols), products = t < 0 ? 0 : ceil_div(r.m, plan.tile_rows) * col_tasks;
        const int64_t tasks = products + (t + 1 < blocks ? packing.tasks() : 0), half = tasks / 2, first = products / 2;
        const double flops = t < 0 ? 0 : 2.0 * double(r.m) * double(r.n) * double(r.k);
        parallel_for(tasks, int64_t(flops / (320 / sizeof(A))) + (next.m + next.n) * next.k / 4, [&](int64_t task, int) {
            const bool second = task >= half;
            const int64_t product = second ? task - half + first : task;
            if (product >= (second ? products : first))
                return packing.run(p, next, second ? task - products : task - first, {there, there + a_size});
            const int64_t i = product / col_tasks * plan.tile_rows, j = product % col_tasks * plan.tile_cols;
            multiply_window(p, r.item, {r.i + i, smaller(plan.tile_rows, r.m - i), r.j + j, smaller(plan.tile_cols, r.n - j)}, r.kk, {r.k, plan.chains},
                            {here, packed_rows_size<A>(r.m, 1), i}, {here + a_size, packed_cols_size<A>(r.n, 1), j}, sums.data() + i * r.n + j, r.n);
        });
    }
}

// ---- schedule: rows -----------------------------------------------------------------------------------------------

template <class T> void run_rows(const MatmulForward<T>& p) {
    using A = acc_t<T>;
    const MatmulPlan& plan = p.plan;
    const int64_t all = packed_cols_size<A>(p.n, 1);
    const auto depths = [&](int64_t kk) { return Depths{smaller(plan.k_block, p.k - kk), plan.chains}; };
    Buffer<A> b_panels(all * p.k);
    const PackingCut cut = packing_cut(p.b_col == 1, p.n, plan.k_block, kTileCols<A>);
    parallel_for(cut.tasks() * ceil_div(p.k, plan.k_block), p.n * p.k / 4, [&](int64_t task, int) {
        const int64_t kk = task / cut.tasks() * plan.k_block;
        const PackingCut::Part part = cut.part(task % cut.tasks());
        Depths k = depths(kk);
        k.from = part.from, k.to = part.to;
        pack_b<A>(p.b + part.line * p.b_col + kk * p.b_depth, p.b_depth, p.b_col, part.lines, k, b_panels.data() + kk * all, part.line, all);
    });

    const int64_t a_size = ceil_div(plan.tile_rows * plan.k_block, 16) * 16, size = a_size + (kNarrow<T> ? ceil_div(plan.tile_rows * p.n, 16) * 16 : 0);
    Buffer<A> scratch(size * num_threads());
    parallel_for(ceil_div(p.m, plan.tile_rows), plan.work_ns, [&](int64_t task, int worker) {
        const int64_t i = task * plan.tile_rows, m = smaller(plan.tile_rows, p.m - i);
        A *a_panels = scratch.data() + worker * size, *sums = a_panels + a_size;
        for (int64_t kk = 0; kk < p.k; kk += plan.k_block) {
            const Panels<A> a{a_panels, packed_rows_size<A>(m, 1), 0};
            pack_a<A>(p.a + i * p.a_row + kk * p.a_depth, p.a_row, p.a_depth, m, depths(kk), a_panels, 0, a.all);
            for (int64_t j = 0; j < p.n; j += plan.tile_cols)
                multiply_window(p, 0, {i, m, j, smaller(plan.tile_cols, p.n - j)}, kk, depths(kk), a, {b_panels.data() + kk * all, all, j}, sums + j, p.n);
        }
    });
}

}  // namespace

template <class T> void matmul_forward(const MatmulForward<T>& p) {
    switch (p.plan.schedule) {
        case MatmulPlan::Schedule::panels: return run_panels(p);
        case MatmulPlan::Schedule::rows: return run_rows(p);
        case MatmulPlan::Schedule::blocks: return run_blocks(p);
    }
}

#define LC_INSTANTIATE(T) \
    template void multiply_any_tile(int, int, int64_t, StridedRows<T>, const T*, int64_t, TileOut<T>); \
    template void pack_columns(const T*, int64_t, int64_t, int64_t, Depths, T*, int64_t); \
    template void multiply_panels(const PanelProduct<T>&);
LC_INSTANTIATE(float)
LC_INSTANTIATE(double)
#undef LC_INSTANTIATE

template void matmul_forward(const MatmulForward<float>&);
template void matmul_forward(const MatmulForward<double>&);
template void matmul_forward(const MatmulForward<bfloat16>&);
template void matmul_forward(const MatmulForward<float16>&);

}  // namespace lc::cpu::LC_ISA
