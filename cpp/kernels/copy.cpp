// copy on CPU. Contract: cpp/ops/copy.h. Memory bound: each element is read and written once.
//
// A dtype is converted in two steps of dense chunks, S -> wide -> D, where wide is int64 for integers and float or
// double for floats: both steps are exact but the last.
#include "cpp/ops/copy.h"

#include "cpp/core/allocator.h"
#include "cpp/core/parallel.h"
#include "cpp/core/strided_rows.h"
#include "cpp/simd/move.h"

namespace lc::cpu::LC_ISA {
namespace {

template <class S> using wide_t = std::conditional_t<std::is_integral_v<S>, int64_t, acc_t<S>>;

template <class T> constexpr bool is_half = std::is_same_v<T, bfloat16> || std::is_same_v<T, float16>;

// The type that stands for all of its size.
template <int bytes> struct bits;
template <> struct bits<1> {
    using type = uint8_t;
};
template <> struct bits<2> {
    using type = bfloat16;
};
template <> struct bits<4> {
    using type = int32_t;
};
template <> struct bits<8> {
    using type = int64_t;
};
template <class S> using bits_t = typename bits<sizeof(S)>::type;

template <class W> using Widen = const W* (*)(const void*, int64_t, W* buffer);
template <class W> using Narrow = void (*)(const W*, void*, int64_t);

template <class S> const wide_t<S>* widen(const void* from, int64_t n, wide_t<S>* buffer) {
    const S* x = static_cast<const S*>(from);
    if constexpr (std::is_same_v<S, wide_t<S>>) {
        return x;
    } else if constexpr (is_half<S>) {
        each_vec<float>(n, [&](int64_t i, auto k) { store(buffer + i, load(x + i, k), k); });
        return buffer;
    } else {
        for (int64_t i = 0; i < n; ++i) buffer[i] = x[i];
        return buffer;
    }
}

template <class W, class D> void narrow(const W* x, void* to, int64_t n) {
    D* y = static_cast<D*>(to);
    if constexpr (std::is_same_v<D, bool>) {
        for (int64_t i = 0; i < n; ++i) y[i] = x[i] != 0;
    } else if constexpr (is_half<D> && std::is_same_v<W, float>) {
        int64_t done = 0;
        if constexpr (std::is_same_v<D, bfloat16>)
            for (; done + 2 * lanes<float> <= n; done += 2 * lanes<float>) store(y + done, load(x + done), load(x + done + lanes<float>));
        each_vec<float>(n - done, [&](int64_t i, auto k) { store(y + done + i, load(x + done + i, k), k); });
    } else if constexpr (is_half<D>) {
        for (int64_t i = 0; i < n; ++i) y[i] = from_float<D>(float(x[i]));
    } else if constexpr (std::is_same_v<D, uint8_t> && !std::is_integral_v<W>) {
        for (int64_t i = 0; i < n; ++i) y[i] = uint8_t(int64_t(x[i]));         // -1.0 wraps to 255, as integers do
    } else {
        for (int64_t i = 0; i < n; ++i) y[i] = D(x[i]);
    }
}

template <class W> Narrow<W> narrow_to(DType to) {
    switch (to) {
        case DType::float32: return narrow<W, float>;
        case DType::float64: return narrow<W, double>;
        case DType::bfloat16: return narrow<W, bfloat16>;
        case DType::float16: return narrow<W, float16>;
        case DType::int64: return narrow<W, int64_t>;
        case DType::int32: return narrow<W, int32_t>;
        case DType::uint8: return narrow<W, uint8_t>;
        case DType::bool_: return narrow<W, bool>;
    }
    __builtin_unreachable();
}

// One copy of the walk for all dtypes of a size.
template <class W, class S, class D>
void convert(const S* x, const Strided<2>& walk, D* y, int64_t begin, int64_t end, Widen<W> widened, Narrow<W> narrowed) {
    ChunkReader<S> read(x);
    ChunkWriter<D> write(y);
    alignas(64) W buffer[kChunk];
    each_chunk(walk, begin, end, [&](const Position<2>& at, int64_t n) {
        narrowed(widened(read(walk, 1, at, n), n, buffer), write.open(walk, 0, at, n), n);
        write.close(walk, 0, at, n);
    });
}

// ---- bits alone ---------------------------------------------------------------------------------------------------------

constexpr int64_t kStreamed = 24 << 20;               // bytes of y from which neither x nor y stays in a cache of 32 MiB

template <class S> void move(const S* x, const Strided<2>& s, S* y, int64_t begin, int64_t end) {
    const int last = s.rank - 1;
    const int64_t to_step = s.stride[0][last], from_step = s.stride[1][last];
    if (to_step == 1 && from_step == 1 && s.numel * int64_t(sizeof(S)) >= kStreamed) {
        each_row(s, begin, end, [&](const int64_t (&at)[2], int64_t n) { stream_run(x + at[1], y + at[0], n); });
        end_stream();
    } else if (to_step == 1 && from_step == 1) {
        each_row(s, begin, end, [&](const int64_t (&at)[2], int64_t n) { copy_run(x + at[1], y + at[0], n); });
    } else if (to_step == 1 && from_step == 0) {
        each_row(s, begin, end, [&](const int64_t (&at)[2], int64_t n) { fill_run(x[at[1]], y + at[0], n); });
    } else if (to_step == 1 && from_step == -1) {
        each_row(s, begin, end, [&](const int64_t (&at)[2], int64_t n) { reverse_run(x + at[1], y + at[0], n); });
    } else {
        each_row(s, begin, end, [&](const int64_t (&at)[2], int64_t n) {
            for (int64_t i = 0; i < n; ++i) y[at[0] + i * to_step] = x[at[1] + i * from_step];
        });
    }
}

// ---- transposed: y runs along the last dimension of the walk, x along another one ------------------------------------------

constexpr int64_t kTileRows = 64, kTileCols = 128;    // of y: 32 or 64 KiB, each line of x whole

// The dimension along which x is dense, if that is not where y is; else -1.
template <class S> int transposed_dim(const Strided<2>& walk) {
    const int last = walk.rank - 1;
    if (sizeof(S) < 4 || last == 0 || walk.stride[0][last] != 1 || walk.size[last] < lanes<S>) return -1;
    for (int d = 0; d < last; ++d)
        if (walk.stride[1][d] == 1 && walk.size[d] >= lanes<S>) return d;
    return -1;
}

// y[i * y_step + j] = x[j * x_step + i] for i < rows, j < cols
template <class S> void transpose_tile(const S* x, int64_t x_step, S* y, int64_t y_step, int64_t rows, int64_t cols) {
    constexpr int w = lanes<S>;
    for (int64_t i = 0; i < rows; i += w)
        for (int64_t j = 0; j < cols; j += w) {
            const S* from = x + j * x_step + i;
            S* to = y + i * y_step + j;
            vec<S> r[w];
            if (rows - i >= w && cols - j >= w) {
#pragma GCC unroll 16
                for (int k = 0; k < w; ++k) r[k] = load(from + k * x_step);
                transpose(r);
#pragma GCC unroll 16
                for (int k = 0; k < w; ++k) store(to + k * y_step, r[k]);
            } else {
                const int height = rows - i < w ? int(rows - i) : w, width = cols - j < w ? int(cols - j) : w;
                for (int k = 0; k < height; ++k)
                    for (int l = 0; l < width; ++l) to[k * y_step + l] = from[l * x_step + k];
            }
        }
}

template <class S> void copy_transposed(const CopyForward<S>& a, int d) {
    const Strided<2>& s = a.walk;
    const int last = s.rank - 1;
    const int64_t tiles_d = (s.size[d] + kTileRows - 1) / kTileRows, tiles_last = (s.size[last] + kTileCols - 1) / kTileCols;
    const int64_t planes = s.numel / (s.size[d] * s.size[last]), size = s.numel * int64_t(sizeof(S));
    // Beyond the second cache by way of a tile of scratch, whose rows are then written whole: rows a power of two apart
    // would push one another out of the caches half written. 1.2x, with streamed writes 1.7x.
    const bool buffered = size >= 1 << 20, streamed = size >= kStreamed;
    constexpr int64_t step = kTileCols + 64 / int64_t(sizeof(S));
    parallel_ranges(planes * tiles_d * tiles_last, 4, s.numel / 2, [&](int64_t begin, int64_t end) {
        const Buffer<S> tile(buffered ? kTileRows * step : 0);
        for (int64_t task = begin; task < end; ++task) {
            const int64_t i = task / tiles_last % tiles_d * kTileRows, j = task % tiles_last * kTileCols;
            int64_t plane = task / (tiles_d * tiles_last), to = i * s.stride[0][d] + j, from = i + j * s.stride[1][last];
            for (int k = last - 1; k >= 0; --k) {
                if (k == d) continue;
                to += plane % s.size[k] * s.stride[0][k];
                from += plane % s.size[k] * s.stride[1][k];
                plane /= s.size[k];
            }
            const int64_t rows = s.size[d] - i < kTileRows ? s.size[d] - i : kTileRows;
            const int64_t cols = s.size[last] - j < kTileCols ? s.size[last] - j : kTileCols, y_step = s.stride[0][d];
            S* y = static_cast<S*>(a.y) + to;
            transpose_tile(a.x + from, s.stride[1][last], buffered ? tile.data() : y, buffered ? step : y_step, rows, cols);
            if (streamed)
                for (int64_t r = 0; r < rows; ++r) stream_run(tile.data() + r * step, y + r * y_step, cols);
            else if (buffered)
                for (int64_t r = 0; r < rows; ++r) copy_run(tile.data() + r * step, y + r * y_step, cols);
        }
        if (streamed) end_stream();
    });
}

template <class S> void copy_range(const CopyForward<S>& a, int64_t begin, int64_t end) {
    using W = wide_t<S>;
    const auto* x = reinterpret_cast<const bits_t<S>*>(a.x);
    if (a.to == dtype_of<S>) return move(x, a.walk, static_cast<bits_t<S>*>(a.y), begin, end);
    const Narrow<W> narrowed = narrow_to<W>(a.to);
    switch (item_size(a.to)) {
        case 1: return convert<W>(x, a.walk, static_cast<uint8_t*>(a.y), begin, end, widen<S>, narrowed);
        case 2: return convert<W>(x, a.walk, static_cast<bfloat16*>(a.y), begin, end, widen<S>, narrowed);
        case 4: return convert<W>(x, a.walk, static_cast<int32_t*>(a.y), begin, end, widen<S>, narrowed);
        default: return convert<W>(x, a.walk, static_cast<int64_t*>(a.y), begin, end, widen<S>, narrowed);
    }
}

}  // namespace

template <class S> void copy_forward(const CopyForward<S>& a) {
    if constexpr (std::is_same_v<S, int32_t> || std::is_same_v<S, int64_t>)       // the types that stand for their size
        if (const int d = a.to == dtype_of<S> ? transposed_dim<S>(a.walk) : -1; d >= 0) return copy_transposed(a, d);
    parallel_ranges(a.walk.numel, kGrain, a.walk.numel / 4 * int64_t(sizeof(S)) / 4,
                    [&](int64_t begin, int64_t end) { copy_range(a, begin, end); });
}

template void copy_forward(const CopyForward<float>&);
template void copy_forward(const CopyForward<double>&);
template void copy_forward(const CopyForward<bfloat16>&);
template void copy_forward(const CopyForward<float16>&);
template void copy_forward(const CopyForward<int64_t>&);
template void copy_forward(const CopyForward<int32_t>&);
template void copy_forward(const CopyForward<uint8_t>&);
template void copy_forward(const CopyForward<bool>&);

}  // namespace lc::cpu::LC_ISA
