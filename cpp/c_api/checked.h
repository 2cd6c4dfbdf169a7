// The calls that this thread has checked lately: of one that differs by addresses alone only those are checked again.
#pragma once
#include "cpp/c_api/signature.h"

namespace lc::c_api {

// A checked call, ready to run with other addresses.
class Checked {
public:
    Checked(const Call&, const Word* words, bool options_settle);

    bool same_inputs(const Word* words) const;        // in shape, dtype, layout and device
    bool same_outputs(const Word* words) const;
    bool take(const Word* words);                     // addresses and options; false if memory overlaps or is not aligned

    Call call;
    bool running = false;                             // Python's signal handlers may call a kernel inside of one

private:
    struct Tensor {
        bool given, written, empty, contiguous;
        uint64_t head[2];                             // device, axes and dtype, as a DLTensor has them
        uintptr_t unaligned;                          // bits that no address has
        Dims strides;
        int64_t low, high;                            // bytes from data to the first element, and past the last
        const char *begin, *end;
    };
    bool same(int argument, const Word* words) const;

    Tensor tensors_[kMaxArguments];
    bool some_input_written_ = false;
    std::vector<int64_t> options_;                    // those that shapes follow from
};

// Null where nothing is known. with_outputs: the call found has taken the addresses, and holds until remember().
Checked* find_checked(int kernel, const Word* words, bool with_outputs);
void remember(int kernel, const Call&, const Word* words, bool options_settle);

}  // namespace lc::c_api
