#include "cpp/ops/attention.h"
#include <array>
#include <cmath>
#include <memory>
#include "cpp/autograd/node.h"
#include "cpp/core/cuda_graph.h"
#include "cpp/core/log.h"
#include "cpp/ops/attention_plan.h"
#include "cpp/ops/copy.h"
#include "cpp/ops/reduce.h"

namespace lc {
namespace {

constexpr const char* kOp = "scaled_dot_product_attention";

struct Problem {
    AttentionShape shape;
    AttentionDropout dropout;
    std::shared_ptr<RandomKey> key;                   // of the dropout
    Dims lead;                                        // what stands before [tq, dim]; 0 to any number of dims, heads last
};

// x as [batch, heads, rows, cols]: missing dims are 1, more than two leading ones become the batch.
Tensor four_dims(const Tensor& x_any) {
    const int rank = x_any.dim();
    const bool dense_cols = x_any.size(-1) <= 1 || x_any.stride(-1) == 1;
    const Tensor x = rank > 4 || !dense_cols ? contiguous(x_any) : x_any;
    Dims sizes{1, 1, x.size(-2), x.size(-1)}, strides{0, 0, x.stride(-2), 1};
    if (rank == 3) {                                  // [batch, rows, cols]: one head each
        sizes[0] = x.size(0);
        strides[0] = x.stride(0);
    } else if (rank >= 4) {
        sizes[1] = x.size(-3);
        strides[1] = x.stride(-3);
        for (int i = 0; i < rank - 3; ++i) sizes[0] *= x.size(i);
        strides[0] = rank == 4 ? x.stride(0) : sizes[1] * sizes[2] * sizes[3];
    }
    return Tensor::view_of(x, sizes, strides, x.offset());
}

// Memory for [batch, heads, rows, cols] in like's order of axes: heads inside rows where a projection left them so, for
// then joining the heads again copies nothing.
Tensor empty_ordered(const Tensor& like, int64_t cols) {
    const int64_t b = like.size(0), h = like.size(1), t = like.size(2);
    if (h == 1 || like.stride(1) >= like.stride(2)) return Tensor::empty({b, h, t, cols}, like.dtype(), like.device());
    return Tensor::view_of(Tensor::empty({b, t, h, cols}, like.dtype(), like.device()), {b, h, t, cols}, {t * h * cols, cols, h * cols, 1}, 0);
}

// Memory for the gradients of q, k and v. Where these are three parts of one projection's rows, so are those: its split
// need not put them together.
std::array<Tensor, 3> empty_gradients(const Tensor& q, const Tensor& k, const Tensor& v) {
    const int64_t b = q.size(0), t = q.size(2), width = q.size(1) * q.size(3) + k.size(1) * (k.size(3) + v.size(3));
    int64_t begin = 0;
    bool one = k.size(2) == t;
    for (const Tensor& x : {q, k, v}) {
        one = one && x.storage() == q.storage() && x.offset() == q.offset() + begin && x.stride(0) == t * width && x.stride(1) == x.size(3) && x.stride(2) == width;
        begin += x.size(1) * x.size(3);
    }
    if (!one) return {empty_ordered(q, q.size(3)), empty_ordered(k, k.size(3)), empty_ordered(v, v.size(3))};
    const Tensor rows = Tensor::empty({b, t, width}, q.dtype(), q.device());
    const auto part = [&](const Tensor& x) { return Tensor::view_of(rows, x.sizes(), x.strides(), x.offset() - q.offset()); };
    return {part(q), part(k), part(v)};
}

// x, [batch, heads, rows, cols], with the leading dims the caller has.
Tensor with_lead(const Tensor& x, const Dims& lead) {
    if (lead.size() == 2) return x;
    Dims sizes = lead, strides;
    sizes.push_back(x.size(2));
    sizes.push_back(x.size(3));
    if (lead.size() > 2) return Tensor::view_of(contiguous(x), sizes, contiguous_strides(sizes), 0);
    if (lead.size() == 1) strides.push_back(x.stride(0));
    strides.push_back(x.stride(2));
    strides.push_back(x.stride(3));
    return Tensor::view_of(x, sizes, strides, x.offset());
}

template <class T> AttentionMatrix<const T> matrix(const Tensor& x, Device d) { return {x.data_on<T>(d), x.stride(0), x.stride(1), x.stride(2)}; }
template <class T> AttentionMatrix<T> mutable_matrix(const Tensor& x, Device d) { return {x.mutable_data_on<T>(d), x.stride(0), x.stride(1), x.stride(2)}; }

Problem check(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& mask, double dropout_p, bool causal, std::optional<double> scale, bool gqa) {
    LC_CHECK(q.dim() >= 2 && k.dim() == q.dim() && v.dim() == q.dim(), ValueError, kOp, ": query, key and value need the same number of dimensions, at least 2; shapes ",
             q.sizes(), ", ", k.sizes(), ", ", v.sizes());
    LC_CHECK(k.dtype() == q.dtype() && v.dtype() == q.dtype(), TypeError, kOp, ": query is ", q.dtype(), ", key ", k.dtype(), ", value ", v.dtype());
    LC_CHECK(k.size(-1) == q.size(-1), ValueError, kOp, ": query and key differ in width: ", q.sizes(), ", ", k.sizes());
    LC_CHECK(k.size(-2) == v.size(-2), ValueError, kOp, ": key and value differ in length: ", k.sizes(), ", ", v.sizes());
    LC_CHECK(!(causal && mask), ValueError, kOp, ": give attn_mask or is_causal, not both");
    LC_CHECK(dropout_p >= 0 && dropout_p < 1, ValueError, kOp, ": dropout_p must lie in [0, 1), is ", dropout_p);
    const int rank = q.dim();
    Problem p;
    for (int i = 0; i < rank - 2; ++i) {
        const bool shared_head = gqa && i == rank - 3 && rank >= 4;
        const bool fits = shared_head ? k.size(i) == v.size(i) && k.size(i) > 0 && q.size(i) % k.size(i) == 0 : k.size(i) == q.size(i) && v.size(i) == q.size(i);
        LC_CHECK(fits, ValueError, kOp, ": leading dimensions do not match: query ", q.sizes(), ", key ", k.sizes(), ", value ", v.sizes(),
                 shared_head ? " (query heads must be a multiple of key heads)" : "");
        p.lead.push_back(q.size(i));
    }
    int64_t batch = 1;
    for (int i = 0; i < rank - (rank == 3 ? 2 : 3); ++i) batch *= q.size(i);
    const int64_t heads = rank >= 4 ? q.size(-3) : 1, kv_heads = rank >= 4 ? k.size(-3) : 1;
    p.shape = {batch, heads, kv_heads > 0 ? kv_heads : 1, q.size(-2), k.size(-2), q.size(-1), v.size(-1), scale.value_or(1 / std::sqrt(double(q.size(-1)))), causal};
    p.dropout.probability = dropout_p;
    return p;
}

// The mask as [batch, heads, tq, tk], broadcast by strides of 0.
Tensor four_dim_mask(const Tensor& mask, const Tensor& q, const Problem& p) {
    LC_CHECK(mask.dtype() == DType::bool_ || mask.dtype() == q.dtype(), TypeError, kOp, ": attn_mask is ", mask.dtype(), ", needs bool or ", q.dtype());
    Dims full = p.lead;
    full.push_back(p.shape.tq);
    full.push_back(p.shape.tk);
    const int missing = full.size() - mask.dim();
    Dims strides = Dims::filled(full.size(), 0);
    for (int i = 0; i < full.size(); ++i) {
        const bool fits = i < missing || mask.size(i - missing) == 1 || mask.size(i - missing) == full[i];
        LC_CHECK(missing >= 0 && fits, ValueError, kOp, ": attn_mask of shape ", mask.sizes(), " does not broadcast to ", full);
        if (i >= missing && mask.size(i - missing) > 1) strides[i] = mask.stride(i - missing);
    }
    const Tensor expanded = Tensor::view_of(mask, full, strides, mask.offset());
    if (full.size() > 4) {
        const Tensor dense = contiguous(expanded);
        const AttentionShape& s = p.shape;
        return Tensor::view_of(dense, {s.batch, s.heads, s.tq, s.tk}, contiguous_strides({s.batch, s.heads, s.tq, s.tk}), 0);
    }
    Dims sizes = full;
    while (sizes.size() < 4) {                        // [batch, tq, tk] has one head; [tq, tk] one sample too
        const int at = sizes.size() == 3 ? 1 : 0;
        sizes.insert(at, 1);
        strides.insert(at, 0);
    }
    return Tensor::view_of(mask, sizes, strides, mask.offset());
}

AttentionMask mask_argument(const Tensor& m, Device d) {
    if (!m) return {nullptr, false, 0, 0, 0, 0};
    return {m.raw_on(d), m.dtype() == DType::bool_, m.stride(0), m.stride(1), m.stride(2), m.stride(3)};
}

// Zeros for the gradient of a mask of these sizes, [batch, heads, tq, tk] with 1 where the kernel is to sum.
Tensor empty_mask_gradient(const Dims& mask, const Problem& p, DType dtype, Device d) {
    const AttentionShape& s = p.shape;
    if (p.lead.size() > 2) return Tensor::zeros({s.batch, s.heads, s.tq, s.tk}, dtype, d);
    Dims sizes = mask;
    while (sizes.size() < p.lead.size() + 2) sizes.insert(0, 1);
    while (sizes.size() < 4) sizes.insert(sizes.size() == 3 ? 1 : 0, 1);
    return Tensor::zeros(sizes, dtype, d);
}

// The kernel's sums as the gradient of a mask of these sizes.
Tensor as_mask(const Tensor& dmask, const Dims& mask, const Problem& p) {
    if (p.lead.size() <= 2) return Tensor::view_of(dmask, mask, contiguous_strides(mask), 0);
    Dims full = p.lead;
    full.push_back(p.shape.tq);
    full.push_back(p.shape.tk);
    return sum_to(Tensor::view_of(dmask, full, contiguous_strides(full), 0), mask);
}

template <class... Plan> void tell(const char* direction, const Tensor& q, const Problem& p, const Plan&... plan) {
    const AttentionShape& s = p.shape;
    log(text("[attention] ", direction, " ", q.dtype(), " batch=", s.batch, " heads=", s.heads, "/", s.kv_heads, " tq=", s.tq, " tk=", s.tk, " dim=", s.dim, "/",
             s.dim_v, s.causal ? " causal: " : ": ", plan...));
}

// With the key of its dropout, if it has one.
template <class Args, class F> void run(Args a, const std::shared_ptr<RandomKey>& key, F kernel) {
    if (!key) return kernel(a);
    replayable([a, key, kernel]() mutable {
        cuda::varies();
        a.dropout.key = *key;
        kernel(a);
    });
}

template <class T> AttentionMaskGradient<T> mask_gradient(const Tensor& dmask, Device d) {
    if (!dmask) return {nullptr, 0, 0, 0, 0};
    return {dmask.mutable_data_on<T>(d), dmask.size(0), dmask.size(1), dmask.size(2), dmask.size(3)};
}

Tensors backward(const Grads& dy, const Problem& p, const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& mask, const Dims& mask_sizes, const Tensor& o,
                 const Tensor& lse) {
    const Device d = q.device();
    const Tensor d_o = four_dims(dy[0]);
    const auto [dq, dk, dv] = empty_gradients(q, k, v);
    if (LC_UNLIKELY(log_enabled())) {
        const AttentionBackwardPlan plan = attention_backward_plan(p.shape);
        tell("backward", q, p, plan.keys, " keys a task, ", plan.strips, " strips, ", plan.rounds, " rounds");
    }
    const Tensor dmask = dy.needs(3) ? empty_mask_gradient(mask_sizes, p, q.dtype(), d) : Tensor();
    visit_float_storage(q.dtype(), kOp, [&]<class T>() {
        run(AttentionBackward<T>{p.shape, matrix<T>(d_o, d), matrix<T>(q, d), matrix<T>(k, d), matrix<T>(v, d), matrix<T>(o, d), mask_argument(mask, d), p.dropout,
                                 lse.data_on<acc_t<T>>(d), mutable_matrix<T>(dq, d), mutable_matrix<T>(dk, d), mutable_matrix<T>(dv, d), mask_gradient<T>(dmask, d)},
            p.key, [d](const AttentionBackward<T>& a) { on::attention_backward<T>(d, a); });
    });
    Dims kv_lead = p.lead;
    if (kv_lead.size() >= 2) kv_lead[kv_lead.size() - 1] = k.size(1);
    return {with_lead(dq, p.lead), with_lead(dk, kv_lead), with_lead(dv, kv_lead), dmask ? as_mask(dmask, mask_sizes, p) : Tensor()};
}

}  // namespace

Tensor scaled_dot_product_attention(const Tensor& query, const Tensor& key, const Tensor& value, const Tensor& attn_mask, double dropout_p, bool is_causal,
                                    std::optional<double> scale, bool enable_gqa) {
    Problem p = check(query, key, value, attn_mask, dropout_p, is_causal, scale, enable_gqa);
    if (dropout_p > 0) {
        p.key = std::make_shared<RandomKey>();
        replayable([key = p.key] { *key = next_random_key(); });
    }
    Tensor q, k, v, mask, o, lse, y;
    {
        NoGrad no_grad;
        q = four_dims(query);
        if (LC_UNLIKELY(log_enabled())) {
            const AttentionForwardPlan plan = attention_forward_plan(p.shape, dropout_p > 0);
            tell("forward", q, p, plan.rows ? "rows, " : "panels, ", plan.tasks, " tasks");
        }
        k = four_dims(key);
        v = four_dims(value);
        if (attn_mask) mask = four_dim_mask(attn_mask, query, p);
        o = empty_ordered(q, p.shape.dim_v);
        lse = Tensor::empty({p.shape.batch, p.shape.heads, p.shape.tq}, q.dtype() == DType::float64 ? DType::float64 : DType::float32, query.device());
        const Device d = query.device();
        visit_float_storage(q.dtype(), kOp, [&]<class T>() {
            run(AttentionForward<T>{p.shape, matrix<T>(q, d), matrix<T>(k, d), matrix<T>(v, d), mask_argument(mask, d), p.dropout, mutable_matrix<T>(o, d),
                                    lse.mutable_data_on<acc_t<T>>(d)},
                p.key, [d](const AttentionForward<T>& a) { on::attention_forward<T>(d, a); });
        });
        y = with_lead(o, p.lead);
    }
    if (wants_grad({query, key, value, attn_mask})) {
        const Dims sizes = attn_mask ? attn_mask.sizes() : Dims{};
        record(kOp, {query, key, value, attn_mask}, {y}, [p, q = Saved(q), k = Saved(k), v = Saved(v), mask = Saved(mask), sizes, o = Saved(o), lse](const Grads& dy) {
            return backward(dy, p, q(), k(), v(), mask(), sizes, o(), lse);
        });
    }
    return y;
}

}  // namespace lc
