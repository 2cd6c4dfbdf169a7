// matmul and its special cases. Contract: cpp/ops/matmul.h
#include "cpp/ops/matmul.h"
#include <vector>
#include "cpp/autograd/node.h"
#include "cpp/core/log.h"
#include "cpp/core/parallel.h"
#include "cpp/ops/binary.h"
#include "cpp/ops/copy.h"
#include "cpp/ops/matmul_batch.h"
#include "cpp/ops/reduce.h"
#include "cpp/ops/views.h"

namespace lc {
namespace {

// Plans and runs one kernel call; everything but the plan is set. CUDA plans for itself.
template <class T> void run(MatmulForward<T>& f, Device device) {
    if (LC_UNLIKELY(!device.is_cpu())) return on::matmul_forward(device, f);
    const TileSize tile = tile_size(isa(), int(sizeof(acc_t<T>)));
    constexpr bool wide = std::is_same_v<T, acc_t<T>>;
    const bool rows_of_b = f.b_col == 1 && wide;
    f.plan = matmul_plan({f.batch, f.m, f.n, f.k, int(sizeof(acc_t<T>)), rows_of_b, rows_of_b && f.b_depth == f.n, f.b_depth == 1 && !rows_of_b && wide, f.add, f.a_depth == 1}, tile);
    if (LC_UNLIKELY(log_enabled())) {
        const MatmulPlan& p = f.plan;
        constexpr const char* schedules[] = {"panels", "rows", "blocks"};
        std::string cut = text(p.tile_rows, " x ", p.tile_cols, " a task, packed ", p.block_rows, " x ", p.block_cols);
        if (p.schedule == MatmulPlan::Schedule::panels)
            cut = text(p.items, " items x ", p.rows, " rows x ", p.cols, " columns a task, ", p.turned ? "turned, " : "", p.pack_a ? "a packed, " : "", p.pack_b ? "b packed" : "b in place");
        if (p.schedule == MatmulPlan::Schedule::rows) cut = text(p.tile_rows, " rows a task");
        log(text("[matmul] ", name(isa()), " ", tile.rows, "x", tile.cols, " ", name(dtype_of<T>), " batch=", f.batch, " m=", f.m,
                 " n=", f.n, " k=", f.k, ": ", schedules[int(p.schedule)], ", k in blocks of ", p.k_block, " and ", p.chains, " chains, ", cut));
    }
    cpu::matmul_forward(f);
}

// ---- shapes -------------------------------------------------------------------------------------------------------

using detail::Operand;

Operand operand(const Tensor& x, bool column) {
    Operand o;
    o.data = x.address();
    const int n = x.dim();
    if (n == 1) {
        o.rows = column ? x.size(0) : 1;
        o.cols = column ? 1 : x.size(0);
        o.row = column ? x.stride(0) : 0;
        o.col = column ? 0 : x.stride(0);
        return o;
    }
    o.batch = Dims(x.sizes().begin(), n - 2);
    o.strides = Dims(x.strides().begin(), n - 2);
    o.rows = x.size(-2);
    o.cols = x.size(-1);
    o.row = x.stride(-2);
    o.col = x.stride(-1);
    return o;
}

// Strides of o's batch axes over the common batch: 0 where o is broadcast.
Dims batch_strides(const Operand& o, const Dims& batch) {
    Dims s = Dims::filled(batch.size(), 0);
    const int skip = batch.size() - o.batch.size();
    for (int i = 0; i < o.batch.size(); ++i) s[skip + i] = o.batch[i] == 1 ? 0 : o.strides[i];
    return s;
}

// Joins batch axes that both operands walk in one stride.
void join_axes(Dims& sizes, Dims& a, Dims& b) {
    for (int i = sizes.size() - 1; i >= 0; --i)
        if (sizes[i] == 1) {
            sizes.erase(i);
            a.erase(i);
            b.erase(i);
        }
    for (int i = sizes.size() - 2; i >= 0; --i)
        if (a[i] == sizes[i + 1] * a[i + 1] && b[i] == sizes[i + 1] * b[i + 1]) {
            sizes[i] *= sizes[i + 1];
            a[i] = a[i + 1];
            b[i] = b[i + 1];
            sizes.erase(i + 1);
            a.erase(i + 1);
            b.erase(i + 1);
        }
}

// Where each batch entry begins, in order.
std::vector<int64_t> offsets(const Dims& sizes, const Dims& strides) {
    std::vector<int64_t> at{0};
    for (int i = 0; i < sizes.size(); ++i) {
        std::vector<int64_t> finer;
        finer.reserve(at.size() * size_t(sizes[i]));
        for (const int64_t base : at)
            for (int64_t j = 0; j < sizes[i]; ++j) finer.push_back(base + j * strides[i]);
        at = std::move(finer);
    }
    return at;
}

template <class T> void run_batched(const Operand& a, const Operand& b, const Dims& batch, T* y, Device d) {
    MatmulForward<T> f{};
    f.a = static_cast<const T*>(a.data);
    f.b = static_cast<const T*>(b.data);
    f.y = y;
    f.m = a.rows;
    f.n = b.cols;
    f.k = a.cols;
    f.a_row = a.row;
    f.a_depth = a.col;
    f.b_depth = b.row;
    f.b_col = b.col;
    f.y_row = f.n;
    f.batch = 1;

    Dims sizes = batch, sa = batch_strides(a, batch), sb = batch_strides(b, batch);
    join_axes(sizes, sa, sb);
    std::vector<int64_t> at_a, at_b;
    if (sizes.size() == 1 && sb[0] == 0 && (f.m == 1 || sa[0] == f.m * f.a_row)) {
        if (f.m == 1) f.a_row = sa[0];                // one b for all: the batch is only more rows
        f.m *= sizes[0];
    } else if (sizes.size() == 1) {
        f.batch = sizes[0];
        f.a_batch = sa[0];
        f.b_batch = sb[0];
    } else if (sizes.size() > 1) {
        at_a = offsets(sizes, sa);
        at_b = offsets(sizes, sb);
        f.batch = int64_t(at_a.size());
        f.a_offsets = at_a.data();
        f.b_offsets = at_b.data();
    }
    if (f.n == 1 && f.m > 1) {                        // a column is computed as a row: a b = (b' a')'
        std::swap(f.a, f.b);
        std::swap(f.a_batch, f.b_batch);
        std::swap(f.a_offsets, f.b_offsets);
        std::swap(f.a_depth, f.b_depth);
        f.b_col = f.a_row;
        f.a_row = 0;
        std::swap(f.m, f.n);
        f.y_row = f.n;
    }
    f.y_batch = f.m * f.n;
    run(f, d);
    if (Plan* plan = recording()) plan->add([at_a = std::move(at_a), at_b = std::move(at_b)] {});      // f points into them
}

// Without history, as a view of other sizes.
Tensor seen_as(const Tensor& x, const Dims& sizes, const Dims& strides) { return Tensor::view_of(x, sizes, strides, x.offset()); }

Tensor transposed(const Tensor& x) {
    Dims sizes = x.sizes(), strides = x.strides();
    const int n = sizes.size();
    std::swap(sizes[n - 1], sizes[n - 2]);
    std::swap(strides[n - 1], strides[n - 2]);
    return seen_as(x, sizes, strides);
}

Tensor with_axis(const Tensor& x, int at) {
    Dims sizes = x.sizes(), strides = x.strides();
    sizes.insert(at, 1);
    strides.insert(at, 0);
    return seen_as(x, sizes, strides);
}

// x[..., m, n] over the common batch as one matrix [batch * m, n], copied only if no stride walks its rows.
Tensor as_rows(const Tensor& x, const Dims& batch) {
    const int n = batch.size();
    Dims sizes = batch, strides = batch_strides(operand(x, false), batch);
    sizes.push_back(x.size(-2));
    sizes.push_back(x.size(-1));
    strides.push_back(x.stride(-2));
    strides.push_back(x.stride(-1));
    const int64_t rows = element_count(Dims(sizes.begin(), n + 1));
    int64_t walk = strides[n], span = sizes[n];
    bool even = true;
    for (int i = n - 1; i >= 0; --i) {
        if (sizes[i] == 1) continue;
        if (span == 1) walk = strides[i];
        even = even && strides[i] == span * walk;
        span *= sizes[i];
    }
    if (even) return seen_as(x, {rows, x.size(-1)}, {walk, x.stride(-1)});
    const Tensor copy = contiguous(seen_as(x, sizes, strides));
    return seen_as(copy, {rows, x.size(-1)}, {x.size(-1), 1});
}

}  // namespace

// ---- forward ------------------------------------------------------------------------------------------------------

namespace detail {

Tensor product(const char* op, const Tensor& a, const Tensor& b) {
    LC_CHECK(a.dim() > 0 && b.dim() > 0, ValueError, op, ": both operands need at least one axis, a is ", a.sizes(), ", b is ", b.sizes());
    LC_CHECK(a.dtype() == b.dtype(), TypeError, op, ": a is ", a.dtype(), " but b is ", b.dtype());
    check_same_device(op, a.device(), b.device());
    const Operand oa = operand(a, false), ob = operand(b, true);
    LC_CHECK(oa.cols == ob.rows, ValueError, op, ": inner sizes differ: a is ", a.sizes(), ", b is ", b.sizes());
    const Dims batch = oa.batch == ob.batch ? oa.batch : broadcast(op, oa.batch, ob.batch);
    Dims sizes = batch;
    if (a.dim() > 1) sizes.push_back(oa.rows);
    if (b.dim() > 1) sizes.push_back(ob.cols);
    return visit_float_storage(a.dtype(), op, [&]<class T>() {
        const Tensor y = Tensor::empty(sizes, a.dtype(), a.device());
        if (y.numel() > 0) run_batched(oa, ob, batch, y.mutable_data_on<T>(y.device()), y.device());
        return y;
    });
}

void multiply_batched(DType dtype, const Operand& a, const Operand& b, const Dims& batch, void* y, Device device) {
    visit_float_storage(dtype, "matmul", [&]<class T>() { run_batched(a, b, batch, static_cast<T*>(y), device); });
}

void multiply(DType dtype, const Product& p, Device device) {
    if (p.m == 0 || p.n == 0) return;
    visit_float_storage(dtype, "matmul", [&]<class T>() {
        MatmulForward<T> f{};
        f.a = static_cast<const T*>(p.a.data);
        f.b = static_cast<const T*>(p.b.data);
        f.y = static_cast<T*>(p.y);
        f.batch = 1;
        f.m = p.m;
        f.n = p.n;
        f.k = p.k;
        f.a_row = p.a.row;
        f.a_depth = p.a.col;
        f.b_depth = p.b.row;
        f.b_col = p.b.col;
        f.y_row = p.y_row;
        f.bias = static_cast<const T*>(p.bias);
        f.before = static_cast<T*>(p.before);
        f.residual = static_cast<const T*>(p.residual);
        f.slope_of = static_cast<const T*>(p.slope_of);
        f.activation = p.activation;
        f.add = p.add;
        run(f, device);
    });
}

}  // namespace detail

// ---- backward -----------------------------------------------------------------------------------------------------

namespace {

// da = dy b', db = a' dy, each summed over the batch axes it was broadcast along. Vectors take part as the matrices
// with one row (a) or one column (b) that they are.
Tensors matmul_backward(const Grads& g, const Tensor& va, const Tensor& vb) {
    const Tensor a = va.dim() == 1 ? with_axis(va, 0) : va, b = vb.dim() == 1 ? with_axis(vb, 1) : vb;
    Tensor dy = g[0];
    if (vb.dim() == 1) dy = with_axis(dy, dy.dim());
    if (va.dim() == 1) dy = with_axis(dy, dy.dim() - 1);
    const Dims batch(dy.sizes().begin(), dy.dim() - 2);

    Tensor da, db;
    if (g.needs(0)) {
        da = sum_to(detail::product("matmul", dy, transposed(b)), a.sizes());
        if (va.dim() == 1) da = seen_as(da, va.sizes(), {1});
    }
    if (g.needs(1)) {
        if (element_count(Dims(b.sizes().begin(), b.dim() - 2)) == 1) {             // one b: its sum over the batch is a product
            db = detail::product("matmul", transposed(as_rows(a, batch)), as_rows(dy, batch));
            db = seen_as(db, b.sizes(), contiguous_strides(b.sizes()));
        } else {
            db = sum_to(detail::product("matmul", transposed(a), dy), b.sizes());
        }
        if (vb.dim() == 1) db = seen_as(db, vb.sizes(), {1});
    }
    return {da, db};
}

Tensor recorded(const char* op, const Tensor& a, const Tensor& b) {
    Tensor y = detail::product(op, a, b);
    if (wants_grad({a, b}))
        record(op, {a, b}, {y}, [a = Saved(a), b = Saved(b)](const Grads& dy) { return matmul_backward(dy, a(), b()); });
    return y;
}

}  // namespace

// ---- the public ops ------------------------------------------------------------------------------------------------

Tensor matmul(const Tensor& a, const Tensor& b) { return recorded("matmul", a, b); }

Tensor mm(const Tensor& a, const Tensor& b) {
    LC_CHECK(a.dim() == 2 && b.dim() == 2, ValueError, "mm: wants two matrices, got ", a.sizes(), " and ", b.sizes(), "; matmul broadcasts");
    return recorded("mm", a, b);
}

Tensor bmm(const Tensor& a, const Tensor& b) {
    LC_CHECK(a.dim() == 3 && b.dim() == 3 && a.size(0) == b.size(0), ValueError, "bmm: wants two batches of as many matrices, got ",
             a.sizes(), " and ", b.sizes(), "; matmul broadcasts");
    return recorded("bmm", a, b);
}

Tensor mv(const Tensor& a, const Tensor& v) {
    LC_CHECK(a.dim() == 2 && v.dim() == 1, ValueError, "mv: wants a matrix and a vector, got ", a.sizes(), " and ", v.sizes());
    return recorded("mv", a, v);
}

Tensor dot(const Tensor& a, const Tensor& b) {
    LC_CHECK(a.dim() == 1 && b.dim() == 1, ValueError, "dot: wants two vectors, got ", a.sizes(), " and ", b.sizes());
    return recorded("dot", a, b);
}

Tensor outer(const Tensor& a, const Tensor& b) {
    LC_CHECK(a.dim() == 1 && b.dim() == 1, ValueError, "outer: wants two vectors, got ", a.sizes(), " and ", b.sizes());
    return recorded("outer", unsqueeze(a, 1), unsqueeze(b, 0));
}

namespace {

Tensor scaled(const Tensor& x, double by) { return by == 1 ? x : mul(x, by); }

}  // namespace

Tensor addmm(const Tensor& x, const Tensor& a, const Tensor& b, double beta, double alpha) {
    const Tensor y = scaled(mm(a, b), alpha);
    return beta == 0 ? y : add(scaled(x, beta), y);
}

Tensor baddbmm(const Tensor& x, const Tensor& a, const Tensor& b, double beta, double alpha) {
    const Tensor y = scaled(bmm(a, b), alpha);
    return beta == 0 ? y : add(scaled(x, beta), y);
}

}  // namespace lc
