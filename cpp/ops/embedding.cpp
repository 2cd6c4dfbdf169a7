// embedding: rows of a table, and the sum of gradients back into them. Contract: cpp/ops/embedding.h
#include "cpp/ops/embedding.h"
#include "cpp/autograd/node.h"
#include "cpp/ops/copy.h"
#include "cpp/ops/grid.h"

namespace lc {
namespace {

void check_range(const Tensor& index, int64_t rows) {
    if (!index.device().is_cpu()) return;             // there the kernel does
    replayable([i = index.data<int64_t>(), count = index.numel(), rows] {
        for (int64_t p = 0; p < count; ++p)
            LC_CHECK(i[p] >= 0 && i[p] < rows, IndexError, "embedding: index ", i[p], " is out of range for a table of ", rows, " rows");
    });
}

}  // namespace

void detail::sort_by_row(const int64_t* index, int64_t count, int64_t rows, int64_t padding_index, int64_t* starts, int64_t* order) {
    for (int64_t v = 0; v <= rows; ++v) starts[v] = 0;
    for (int64_t p = 0; p < count; ++p)
        if (index[p] != padding_index) ++starts[index[p]];
    int64_t sum = 0;
    for (int64_t v = 0; v <= rows; ++v) starts[v] = sum += starts[v];
    for (int64_t p = count - 1; p >= 0; --p)
        if (index[p] != padding_index) order[--starts[index[p]]] = p;
}

namespace {

void write_rows(const Tensor& dw, const Tensor& index, const Tensor& dy, int64_t padding_index, bool add) {
    const Tensor rows_of_dy = contiguous(dy);
    const Device d = dy.device();
    const int64_t rows = dw.size(0);
    visit_float_storage(dy.dtype(), "embedding", [&]<class T>() {
        if (!d.is_cpu())
            return replayable([d, a = EmbeddingBackwardUnsorted<T>{rows_of_dy.data_on<T>(d), index.data_on<int64_t>(d), index.numel(), rows, dy.size(-1), padding_index, dw.mutable_data_on<T>(d), add}] {
                cuda::use(d);
                cuda::embedding_backward_unsorted<T>(a);
            });
        replayable([i = index.data<int64_t>(), count = index.numel(), rows, cols = dy.size(-1), padding_index, add, from = rows_of_dy.data<T>(), to = dw.mutable_data<T>()] {
            const Buffer<int64_t> starts(rows + 1), order(count);
            detail::sort_by_row(i, count, rows, padding_index, starts.data(), order.data());
            cpu::embedding_backward<T>(EmbeddingBackward<T>{from, order.data(), starts.data(), count, rows, cols, to, add});
        });
    });
}

}  // namespace

Tensor detail::rows_added(const Tensor& index, const Tensor& dy, int64_t rows, int64_t padding_index) {
    const Tensor dw = Tensor::empty({rows, dy.size(-1)}, dy.dtype(), dy.device());
    write_rows(dw, index, dy, padding_index, false);
    return dw;
}

void detail::add_rows(const Tensor& sum, const Tensor& index, const Tensor& dy, int64_t padding_index) {
    write_rows(sum, index, dy, padding_index, true);
    sum.bump_version();
}

Tensor embedding(const Tensor& given, const Tensor& weight, int64_t padding) {
    LC_CHECK(weight.dim() == 2, ValueError, "embedding: weight must have 2 dims, got shape ", weight.sizes());
    LC_CHECK(is_integral(given.dtype()) && given.dtype() != DType::bool_, TypeError, "embedding: indices must be integers, got ", given.dtype());
    const int64_t rows = weight.size(0), cols = weight.size(1);
    LC_CHECK(padding == kNoPadding || (padding >= -rows && padding < rows), IndexError, "embedding: padding_idx ", padding,
             " is out of range for a table of ", rows, " rows");
    const int64_t padding_index = padding < 0 && padding != kNoPadding ? padding + rows : padding;
    const Tensor index = contiguous(detail::converted(given.detach(), DType::int64)), w = contiguous(weight);
    check_range(index, rows);

    Dims sizes = index.sizes();
    sizes.push_back(cols);
    const Tensor y = Tensor::empty(sizes, w.dtype(), w.device());
    visit_bits(w.dtype(), [&]<class T>() {
        const Device d = w.device();
        on::embedding_forward<T>(d, {static_cast<const T*>(w.raw_on(d)), index.data_on<int64_t>(d), index.numel(), rows, cols, static_cast<T*>(y.mutable_raw_on(d))});
    });
    if (wants_grad({w}))
        record("embedding", {w}, {y}, [rows, padding_index, index = Saved(index)](const Grads& dy) -> Tensors {
            // 16-bit sums would be rounded once, not twice as elsewhere
            if (const Tensor sum = dy.own_sum(0); sum && sum.dtype() == dy[0].dtype() && item_size(sum.dtype()) >= 4) {
                detail::add_rows(sum, index(), dy[0], padding_index);
                return {Tensor()};
            }
            return {detail::rows_added(index(), dy[0], rows, padding_index)};
        });
    return y;
}

}  // namespace lc
