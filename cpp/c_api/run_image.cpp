// batch_norm, group_norm and the pools on the memory of a call.
#include <algorithm>
#include "cpp/c_api/run.h"
#include "cpp/ops/batch_norm.h"
#include "cpp/ops/binary.h"
#include "cpp/ops/copy.h"
#include "cpp/ops/group_norm.h"
#include "cpp/ops/pool2d.h"

namespace lc::c_api {
namespace {

// ---- batch_norm -----------------------------------------------------------------------------------------------------

// x as [n, c, s].
struct Channels {
    int64_t n, c, s;
};

Channels channels(const View& x) {
    Channels r{x.size(0), x.size(1), 1};
    for (int i = 2; i < x.shape.size(); ++i) r.s *= x.size(i);
    return r;
}

// The kernel's statistics, base, rest and var, in float64.
struct Statistics {
    Device device;
    Scratch<double> memory;
    int64_t n;

    Statistics(const Call& c, int64_t count) : device(c.device), memory(c, 3 * count), n(count) { zero(c, memory.data(), size_t(3 * count) * sizeof(double)); }
    double* row(int i) const { return memory.data() + i * n; }
    template <class T> void read(int i, const View& from) const { device.is_cpu() ? void(std::copy_n(from.at<T>(), n, row(i))) : convert(from.at<T>(), row(i)); }
    // To three outputs, the first given: two numbers of T hold what the kernel knows of the mean.
    template <class T> void write(const View* to) const {
        if (!device.is_cpu()) {
            combine(BinaryOp::add, row(0), row(1), row(0));
            convert(row(0), to[0].at<T>());
            convert(to[0].at<T>(), row(1));
            combine(BinaryOp::sub, row(0), row(1), row(1));
            convert(row(1), to[1].at<T>());
            return convert(row(2), to[2].at<T>());
        }
        for (int64_t i = 0; i < n; ++i) {
            const double m = row(0)[i] + row(1)[i];
            to[0].at<T>()[i] = T(m);
            to[1].at<T>()[i] = T(m - double(T(m)));
            to[2].at<T>()[i] = T(row(2)[i]);
        }
    }

private:
    template <class From, class To> void convert(const From* from, To* to) const {
        if (n > 0) on::copy_forward<From>(device, {from, to, dtype_of<To>, dense<2>(n)});
    }
    void combine(BinaryOp op, const double* a, const double* b, double* y) const {
        if (n > 0) on::binary_forward<double>(device, {op, a, b, y, dense<3>(n)});
    }
};

}  // namespace

void batch_norm_forward(const Call& c) {
    const View &x = c[0], &mean = c[3], &var = c[4];
    const bool training = c.integer(0) != 0;
    const auto [n, channel_count, s] = channels(x);
    LC_CHECK(!training || n * s != 1, ValueError, c.name(), ": training needs more than one value per channel, x has shape ", x.shape);
    LC_CHECK(mean.given == !training && var.given == !training, ValueError, c.name(), ": running_mean and running_var are needed without training, and only then");
    visit_float(c.dtype, "batch_norm", [&, n = n, channel_count = channel_count, s = s]<class T>() {
        const Statistics used(c, channel_count);
        if (!training) {
            used.read<T>(0, mean);
            used.read<T>(2, var);
        }
        if (x.numel() > 0)
            on::batch_norm_forward<T>(c.device, {n, channel_count, s, c.real(1), training, x.at<T>(), c[1].at<T>(), c[2].at<T>(), used.row(0), used.row(1), used.row(2), c[5].at<T>()});
        used.write<T>(&c[6]);
    });
}

void batch_norm_backward(const Call& c) {
    const View &dy = c[0], &x = c[1], &dw = c[7], &db = c[8];
    const auto [n, channel_count, s] = channels(x);
    visit_float(c.dtype, "batch_norm", [&, n = n, channel_count = channel_count, s = s]<class T>() {
        const Statistics used(c, channel_count);
        for (int i = 0; i < 3; ++i) used.read<T>(i, c[3 + i]);
        if (x.numel() > 0)
            return on::batch_norm_backward<T>(c.device, {n, channel_count, s, c.real(1), c.integer(0) != 0, dy.at<T>(), x.at<T>(), c[2].at<T>(), used.row(0), used.row(1), used.row(2), c[6].at<T>(), dw.at<T>(), db.at<T>()});
        if (dw.given) zero(c, dw.data, size_t(channel_count) * sizeof(T));
        if (db.given) zero(c, db.data, size_t(channel_count) * sizeof(T));
    });
}

// ---- group_norm -----------------------------------------------------------------------------------------------------

void settle_group_norm(Call& c) {
    const int64_t groups = c.integer(0), channel_count = c[0].size(1);
    LC_CHECK(groups > 0 && channel_count % groups == 0, ValueError, c.name(), ": ", channel_count, " channels do not divide into ", groups, " groups");
    c.bind("groups", groups);
}

void group_norm_forward(const Call& c) {
    const View& x = c[0];
    const auto [n, channel_count, s] = channels(x);
    const int64_t groups = c.integer(0);
    visit_float(c.dtype, "group_norm", [&, n = n, channel_count = channel_count, s = s]<class T>() {
        const Statistics found(c, n * groups);
        on::group_norm_forward<T>(c.device, {n, channel_count, s, groups, c.real(1), x.at<T>(), c[1].at<T>(), c[2].at<T>(), c[3].at<T>(), found.row(0), found.row(1), found.row(2)});
        found.write<T>(&c[4]);
    });
}

void group_norm_backward(const Call& c) {
    const View &dy = c[0], &x = c[1];
    const auto [n, channel_count, s] = channels(x);
    const int64_t groups = c.integer(0);
    visit_float(c.dtype, "group_norm", [&, n = n, channel_count = channel_count, s = s]<class T>() {
        const Statistics used(c, n * groups);
        for (int i = 0; i < 3; ++i) used.read<T>(i, c[3 + i]);
        on::group_norm_backward<T>(c.device, {n, channel_count, s, groups, c.real(1), dy.at<T>(), x.at<T>(), c[2].at<T>(), used.row(0), used.row(1), used.row(2), c[6].at<T>(), c[7].at<T>(), c[8].at<T>()});
    });
}

// ---- pools ----------------------------------------------------------------------------------------------------------

namespace {

struct Windows {
    PoolWindows rows, cols;
    Pool2dShape shape;
};

// The options of a pool begin with kernel, stride and padding (two words each), of max also dilation; then come ceil_mode
// and of avg whether padding counts, and a divisor.
Windows windows_of(const Call& c, const View& x, bool max) {
    const int pairs = max ? 8 : 6;
    const auto along = [&](int i) {
        for (int option = 0; option < pairs; option += 2)
            LC_CHECK(c.integer(option + i) >= 0 && c.integer(option + i) <= INT32_MAX, ValueError, c.name(), ": an option is ", c.integer(option + i), ", out of range");
        const int64_t kernel = c.integer(i), stride = c.integer(2 + i);
        return pool_windows(c.name(), x.size(2 + i), kernel, stride ? stride : kernel, c.integer(4 + i), max ? c.integer(6 + i) : 1, c.integer(pairs) != 0, !max && c.integer(7) != 0);
    };
    const int64_t h = x.size(2), w = x.size(3);
    LC_CHECK(h > 0 && w > 0 && h <= INT32_MAX / w, ValueError, c.name(), ": x of shape ", x.shape, " has planes of ", h * w, " elements; between 1 and 2^31 - 1 are possible");
    Windows found{along(0), along(1), {}};
    found.shape = {x.size(0) * x.size(1), h, w, found.rows.outputs(), found.cols.outputs(), found.rows.axis(), found.cols.axis(), max ? 0 : double(c.integer(8))};
    return found;
}

void settle_pool(Call& c, const View& x, bool max) {
    const Windows w = windows_of(c, x, max);
    c.bind("out_h", w.rows.outputs());
    c.bind("out_w", w.cols.outputs());
}

}  // namespace

void settle_max_pool2d(Call& c) { settle_pool(c, c[c.signature.inputs == 1 ? 0 : 1], true); }
void settle_avg_pool2d(Call& c) { settle_pool(c, c[c.signature.inputs == 1 ? 0 : 1], false); }

void max_pool2d_forward(const Call& c) {
    const Windows w = windows_of(c, c[0], true);
    visit_float(c.dtype, "max_pool2d", [&]<class T>() { on::max_pool2d_forward<T>(c.device, {w.shape, c[0].at<T>(), c[1].at<T>(), c[2].at<int64_t>()}); });
}

void max_pool2d_backward(const Call& c) {
    const Windows w = windows_of(c, c[1], true);
    const int64_t* index = c[2].at<int64_t>();
    for (int64_t i = 0, n = c.device.is_cpu() ? c[2].numel() : 0; i < n; ++i)
        LC_CHECK(index[i] >= -1 && index[i] < w.shape.h * w.shape.w, IndexError, c.name(), ": index ", index[i], " is no place in a plane of ", w.shape.h, " x ", w.shape.w);
    visit_float(c.dtype, "max_pool2d", [&]<class T>() { on::max_pool2d_backward<T>(c.device, {w.shape, c[0].at<T>(), index, c[3].at<T>()}); });
}

void avg_pool2d_forward(const Call& c) {
    const Windows w = windows_of(c, c[0], false);
    visit_float(c.dtype, "avg_pool2d", [&]<class T>() { on::avg_pool2d_forward<T>(c.device, {w.shape, c[0].at<T>(), c[1].at<T>()}); });
}

void avg_pool2d_backward(const Call& c) {
    const Windows w = windows_of(c, c[1], false);
    visit_float(c.dtype, "avg_pool2d", [&]<class T>() { on::avg_pool2d_backward<T>(c.device, {w.shape, c[0].at<T>(), c[2].at<T>()}); });
}

}  // namespace lc::c_api
