#include "cpp/ops/instance_norm.h"
#include "cpp/ops/batch_norm.h"
#include "cpp/ops/binary.h"
#include "cpp/ops/group_norm.h"
#include "cpp/ops/norm_check.h"
#include "cpp/ops/reduce.h"
#include "cpp/ops/unary.h"
#include "cpp/ops/views.h"
#include "cpp/ops/where.h"

namespace lc {
namespace {

// update_running_statistics where the statistics are not the host's to read.
void update_on_device(const Tensor& running_mean, const Tensor& running_var, const Tensor& statistics, double count, double momentum) {
    const NoGrad none;
    const Tensor base = select(statistics, 0, 0), rest = select(statistics, 0, 1), var = select(statistics, 0, 2);
    const auto update = [&](const Tensor& running, double factor, const Tensor& values) {
        copy_(running, add(mul(running, number(1 - momentum)), mul(mean(values, Dims{0}), number(momentum * factor))));
    };
    update(running_mean, 1, where(isfinite(rest), add(base, rest), base));
    update(running_var, count / (count - 1), var);
}

}  // namespace

Tensor instance_norm(const Tensor& x, const Tensor& running_mean, const Tensor& running_var, const Tensor& w, const Tensor& b,
                     bool use_input_stats, double momentum, double eps) {
    LC_CHECK(x.dim() >= 3, ValueError, "instance_norm: input needs at least 3 dimensions (n, c, ...), has shape ", x.sizes());
    LC_CHECK(use_input_stats || (running_mean && running_var), ValueError, "instance_norm: without input statistics running_mean and running_var are needed");
    if (!use_input_stats) return batch_norm(x, running_mean, running_var, w, b, false, momentum, eps);
    const int64_t n = x.size(0), c = x.size(1), s = elements_from(x, 2);
    LC_CHECK(s != 1, ValueError, "instance_norm: needs more than one value per channel, input has shape ", x.sizes());
    check_running_statistics("instance_norm", running_mean, running_var, c);
    const GroupNormResult r = group_norm_with_statistics("instance_norm", x, c > 0 ? c : 1, w, b, eps);
    if (running_mean && x.numel() > 0 && !x.device().is_cpu()) update_on_device(running_mean, running_var, r.statistics, double(s), momentum);
    else if (running_mean && x.numel() > 0)
        update_running_statistics(running_mean, running_var, r.statistics.data<double>(), n, double(s), momentum);
    return r.y;
}

}  // namespace lc
