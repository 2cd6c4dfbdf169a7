#include "cpp/c_api/checked.h"
#include <algorithm>
#include <cstddef>
#include <cstring>
#include <memory>
#include "cpp/c_api/run.h"

namespace lc::c_api {
namespace {

constexpr int kShapes = 8;                            // of a kernel; the one remembered first goes first

struct Memory {
    struct Kernel {
        std::unique_ptr<Checked> calls[kShapes];
        unsigned next = 0;
    };
    Kernel kernels[kCount];
};

// A plain pointer costs no check of its own, and is null once the thread has ended.
thread_local Memory* memory = nullptr;
thread_local struct Owner {
    bool here = false;
    ~Owner() {
        delete memory;
        memory = nullptr;
    }
} owner;

const DLTensor* tensor(const Word* words, int argument) { return words[kHeaderWords + argument].tensor; }

void read_head(const DLTensor& t, uint64_t (&head)[2]) {
    static_assert(offsetof(DLTensor, shape) - offsetof(DLTensor, device) == sizeof head);
    std::memcpy(head, &t.device, sizeof head);
}

}  // namespace

Checked::Checked(const Call& c, const Word* words, bool options_settle) : call(c), inputs_(c.signature.inputs), arguments_(int(c.signature.arguments.size())) {
    for (int i = 0; i < arguments_; ++i) {
        View& v = call.views[i];
        Tensor& t = tensors_[i];
        t.given = v.given;
        if (!v.given) continue;
        order_[given_++] = &t;
        read_head(*tensor(words, i), t.head);
        t.written = i >= inputs_ || c.signature.arguments[size_t(i)].in_place;
        t.empty = v.numel() == 0;
        t.view = &v;
        t.shape = v.shape.begin();
        t.axes = v.shape.size();
        t.unaligned = item_size(v.dtype) - 1;
        const Dims dense = contiguous_strides(v.shape);
        t.strides = tensor(words, i)->strides ? Dims(tensor(words, i)->strides, t.axes) : dense;
        t.contiguous = t.strides == dense;
        const Extent e = extent(v);
        t.low = e.begin - v.data;
        t.high = e.end - v.data;
    }
    if (!options_settle) return;
    options_.resize(size_t(c.signature.bytes) / sizeof(Word) - size_t(kHeaderWords + arguments_));
    std::memcpy(options_.data(), c.options, options_.size() * sizeof(Word));
}

LC_INLINE bool Checked::Tensor::same(const DLTensor* other) const {
    if (!other || !given) return !other && !given;
    uint64_t other_head[2];
    read_head(*other, other_head);
    if (other_head[0] != head[0] || other_head[1] != head[1] || (!other->shape && axes)) return false;
    for (int i = 0; i < axes; ++i)
        if (other->shape[i] != shape[i]) return false;
    if (!other->strides) return contiguous;
    for (int i = 0; i < axes; ++i)
        if (other->strides[i] != strides[i]) return false;
    return true;
}

LC_INLINE bool Checked::Tensor::take(const DLTensor& from) {
    char* const data = from.data ? static_cast<char*>(from.data) + from.byte_offset : nullptr;
    if ((reinterpret_cast<uintptr_t>(data) & unaligned) || (!data && !empty)) return false;
    view->data = data;
    begin = empty ? nullptr : data + low;
    end = empty ? nullptr : data + high;
    return true;
}

LC_INLINE bool Checked::same_options(const Word* words) const {
    return options_.empty() || std::memcmp(options_.data(), words + kHeaderWords + arguments_, options_.size() * sizeof(Word)) == 0;
}

bool Checked::same_inputs(const Word* words) const {
    for (int i = 0; i < inputs_; ++i)
        if (!tensors_[i].same(tensor(words, i))) return false;
    return same_options(words);
}

LC_INLINE bool Checked::apart() {
    const auto before = [](const Tensor* a, const Tensor* b) { return a->begin < b->begin; };
    if (!std::is_sorted(order_, order_ + given_, before)) std::sort(order_, order_ + given_, before);
    const char *end = nullptr, *end_written = nullptr; // of those passed
    for (int i = 0; i < given_; ++i) {
        const Tensor& t = *order_[i];
        if (t.begin < (t.written ? end : end_written)) return false;
        if (t.end > end) end = t.end;
        if (t.written && t.end > end_written) end_written = t.end;
    }
    return true;
}

bool Checked::take(const Word* words) {
    if (running) return false;
    for (int i = 0; i < arguments_; ++i) {
        const DLTensor* given = tensor(words, i);
        if (!tensors_[i].same(given) || (given && !tensors_[i].take(*given))) return false;
    }
    if (!same_options(words) || !apart()) return false;
    call.options = words + kHeaderWords + arguments_;
    return true;
}

Checked* find_checked(int kernel, const Word* words, bool with_outputs) {
    if (!memory) return nullptr;
    for (const auto& known : memory->kernels[kernel].calls) {
        if (!known) return nullptr;
        if (with_outputs ? known->take(words) : known->same_inputs(words)) return known.get();
    }
    return nullptr;
}

void remember(int kernel, const Call& c, const Word* words, bool options_settle) {
    if (!memory) {
        owner.here = true;                            // its destructor runs when the thread ends
        memory = new Memory;
    }
    Memory::Kernel& k = memory->kernels[kernel];
    std::unique_ptr<Checked>& place = k.calls[k.next % kShapes];
    if (place && place->running) return;
    place = std::make_unique<Checked>(c, words, options_settle);
    ++k.next;
}

}  // namespace lc::c_api
