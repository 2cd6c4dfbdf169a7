// The kernels of kernels.def, each on a call that was checked. Arguments are numbered as there: inputs, then outputs.
#pragma once
#include "cpp/c_api/signature.h"

namespace lc::c_api {

#define LC_KERNEL(name, ...) void name(const Call&);
#include "cpp/c_api/kernels.def"
#undef LC_KERNEL

constexpr int kCount = 0
#define LC_KERNEL(...) +1
#include "cpp/c_api/kernels.def"
#undef LC_KERNEL
    ;

// What follows from the options and sizes: further sizes, outputs that make no sense; and what a shape cannot say.
void settle_conv2d(Call&);
void settle_attention_forward(Call&);
void settle_attention_backward(Call&);
void settle_max_pool2d(Call&);
void settle_avg_pool2d(Call&);
void settle_group_norm(Call&);

// rows x cols, cols being the last axis.
struct RowsCols {
    int64_t rows, cols;
};
inline RowsCols rows_and_cols(const View& x) {
    RowsCols r{1, x.size(-1)};
    for (int i = 0; i + 1 < x.shape.size(); ++i) r.rows *= x.size(i);
    return r;
}

}  // namespace lc::c_api
