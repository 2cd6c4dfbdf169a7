// The calls that this thread has checked lately: of one that differs by addresses alone only those are checked again.
#pragma once
#include "cpp/c_api/signature.h"

namespace lc::c_api {

// A checked call, ready to run with other addresses.
class Checked {
public:
    Checked(const Call&, const Word* words, bool options_settle);

    bool same_inputs(const Word* words) const;        // in shape, dtype, layout and device
    bool take(const Word* words);                     // all as before but for addresses and options, now these; else false

    Call call;
    bool running = false;                             // Python's signal handlers may call a kernel inside of one

private:
    struct Tensor {
        bool given, written, empty, contiguous;
        int axes;
        uint64_t head[2];                             // device, axes and dtype, as a DLTensor has them
        const int64_t* shape;                         // of the call's view
        View* view;
        uintptr_t unaligned;                          // bits that no address has
        int64_t low, high;                            // bytes from data to the first element, and past the last
        const char *begin, *end;
        Dims strides;

        bool same(const DLTensor*) const;
        bool take(const DLTensor&);                   // false where it is not aligned, or not there
    };
    bool same_options(const Word* words) const;
    bool apart();                                     // what is written overlaps nothing

    int inputs_, arguments_, given_ = 0;
    Tensor tensors_[kMaxArguments];
    Tensor* order_[kMaxArguments];                    // those given, by address in the call before
    std::vector<int64_t> options_;                    // those that shapes follow from
};

// Null where nothing is known. with_outputs: the call found has taken the addresses, and holds until remember().
Checked* find_checked(int kernel, const Word* words, bool with_outputs);
void remember(int kernel, const Call&, const Word* words, bool options_settle);

}  // namespace lc::c_api
