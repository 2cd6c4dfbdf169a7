// resample: a sparse matrix applied along one axis. Members of the family: pad, interpolate, unfold, fold.
//
//   forward    y[o, i, :] = sum over entries e of i of weight[e] * x[o, from[e], :]
//              with rows, inner = 1: y[n, r, i] = sum over entries e of i of weight[e] * x[n, row[r], from[e]]
//   backward   the transposed matrix along the same axis
//
// A member is a table or a chain of tables, one per axis, or a copy:
//   pad          one entry per place: the reflected, clamped or wrapped index; with a constant, a copy into a window
//   interpolate  nearest: one entry; linear: two; cubic: four; area: the mean of a window
//                Axes after one another; the last two in one pass where rows are only picked.
//   fold         by position, the (tap, window) that land on it
//   unfold       the transpose of fold, a copy of overlapping windows
//
// Saved: nothing. Sums in table order, in acc_t<T>. A gather in both directions, so no two threads write one place.
#pragma once
#include <memory>
#include <optional>
#include <string>
#include <vector>
#include "cpp/core/cpu_kernel.h"
#include "cpp/core/cuda_kernel.h"
#include "cpp/core/tensor.h"

namespace lc {

template <class T> struct ResampleForward {
    int64_t outer, in, out, inner;                    // x: [outer, in, inner], y: [outer, out, inner]
    const int64_t *start, *from;                      // entries of i: start[i] .. start[i + 1]
    const double* weight;                             // null: all 1
    const T* x;
    T* y;
    int64_t rows_in = 1, rows_out = 1;                // outer counts rows of y
    const int64_t* row = nullptr;                     // null: every row is made of its own
};

// The row of x that row o of y is made of.
template <class T> LC_INLINE int64_t row_of(const ResampleForward<T>& a, int64_t o) {
    return a.row ? o / a.rows_out * a.rows_in + a.row[o % a.rows_out] : o;
}

}  // namespace lc
LC_CPU_KERNEL(resample_forward, ResampleForward)
LC_CUDA_KERNEL(resample_forward, ResampleForward)
namespace lc {

struct AxisMap {
    int64_t in = 0;
    std::vector<int64_t> start{0}, from;
    std::vector<double> weight;                       // empty: all 1

    int64_t out() const { return int64_t(start.size()) - 1; }
    void add(int64_t index) { from.push_back(index); }
    void add(int64_t index, double w) {
        from.push_back(index);
        weight.push_back(w);
    }
    void close() { start.push_back(int64_t(from.size())); }       // ends the entries of one place
    AxisMap transposed() const;
};

// One axis; differentiable.
LC_API Tensor resample(const char* op, const Tensor& x, int64_t dim, AxisMap map);
// The last two axes, by rows of one entry of weight 1 each.
LC_API Tensor resample(const char* op, const Tensor& x, AxisMap rows, AxisMap columns);

// padding: (before, after) of the last dim, then of the one before it, ...; negative amounts cut off (constant mode).
LC_API Tensor pad(const Tensor& x, const Dims& padding, const std::string& mode, double value);

// Over the dims after the first two. One of size and scale is given.
struct Interpolation {
    std::optional<Dims> size;
    std::vector<double> scale;                        // one, or one per dim
    std::string mode = "nearest";
    bool align_corners = false, recompute_scale = false;
};
LC_API Tensor interpolate(const Tensor& x, const Interpolation& how);

struct Unfolding {
    Dims kernel, dilation{1}, padding{0}, stride{1};
};
LC_API Tensor unfold(const Tensor& x, const Unfolding& u);        // [n, c, h, w] -> [n, c * r * s, windows]
LC_API Tensor unfold(const Tensor& x, int64_t dim, int64_t size, int64_t step);   // a view: dim becomes windows, their elements a last dim
LC_API Tensor fold(const Tensor& x, const Dims& output_size, const Unfolding& u);

}  // namespace lc
