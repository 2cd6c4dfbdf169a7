// embedding and rotary_embedding on the memory of a call.
#include "cpp/c_api/run.h"
#include "cpp/ops/embedding.h"
#include "cpp/ops/grid.h"
#include "cpp/ops/rotary_embedding.h"

namespace lc::c_api {
namespace {

// ---- embedding ------------------------------------------------------------------------------------------------------

// Refuses what names no row of w.
const int64_t* rows_named(const Call& c, const View& index, int64_t rows) {
    const int64_t *i = index.at<int64_t>(), padding = c.integer(0);
    for (int64_t p = 0, n = c.device.is_cpu() ? index.numel() : 0; p < n; ++p)                  // on CUDA the kernel does
        LC_CHECK(i[p] >= 0 && i[p] < rows, IndexError, c.name(), ": index ", i[p], " is out of range for a table of ", rows, " rows");
    LC_CHECK(padding >= -1 && (padding == -1 || padding < rows), IndexError, c.name(), ": padding_index ", padding, " is out of range for a table of ", rows,
             " rows; -1 is for none");
    return i;
}

}  // namespace

void embedding_forward(const Call& c) {
    const View &w = c[0], &index = c[1];
    const int64_t* rows = rows_named(c, index, w.size(0));
    visit_bits(c.dtype, [&]<class T>() { on::embedding_forward<T>(c.device, {w.at<T>(), rows, index.numel(), w.size(0), w.size(1), c[2].at<T>()}); });
}

void embedding_backward(const Call& c) {
    const View &dy = c[0], &index = c[1], &w = c[2];
    const int64_t rows = w.size(0), count = index.numel(), padding = c.integer(0), *i = rows_named(c, index, rows);
    if (!c.device.is_cpu())
        return visit_float_storage(c.dtype, "embedding", [&]<class T>() {
            cuda::embedding_backward_unsorted<T>({dy.at<T>(), i, count, rows, w.size(1), padding, c[3].at<T>()});
        });
    const Buffer<int64_t> starts(rows + 1), order(count);
    detail::sort_by_row(i, count, rows, padding, starts.data(), order.data());
    visit_float_storage(c.dtype, "embedding", [&]<class T>() {
        cpu::embedding_backward<T>({dy.at<T>(), order.data(), starts.data(), count, rows, w.size(1), c[3].at<T>()});
    });
}

// ---- rotary_embedding -----------------------------------------------------------------------------------------------

namespace {

// f(args) with the kernel's arguments, which are the same in either direction.
template <class F> void turn(const Call& c, F f) {
    const View &x = c[0], &cos = c[1];
    LC_CHECK(2 * cos.size(1) <= x.size(-1), ValueError, c.name(), ": the ", cos.size(1), " pairs of cos ", cos.shape, " need at least ", 2 * cos.size(1),
             " features, x has ", x.size(-1));
    if (x.numel() == 0) return;
    visit_float_storage(c.dtype, "rotary_embedding", [&]<class T>() {
        using A = acc_t<T>;
        f(RotaryEmbeddingForward<T>{x.numel() / (x.size(-2) * x.size(-1)), x.size(-2), x.size(-1), cos.size(1), c.integer(0) != 0, x.at<T>(), cos.at<A>(), c[2].at<A>(), c[3].at<T>()});
    });
}

}  // namespace

void rotary_embedding_forward(const Call& c) {
    turn(c, [&]<class T>(const RotaryEmbeddingForward<T>& a) { on::rotary_embedding_forward<T>(c.device, a); });
}
void rotary_embedding_backward(const Call& c) {
    turn(c, [&]<class T>(const RotaryEmbeddingForward<T>& a) { on::rotary_embedding_backward<T>(c.device, a); });
}

}  // namespace lc::c_api
