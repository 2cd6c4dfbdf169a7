// What kernels.def says of a kernel, parsed, and the check of a call by it.
#pragma once
#include <cstdint>
#include <vector>
#include "cpp/c_api/littlecore.h"
#include "cpp/core/device.h"
#include "cpp/core/dims.h"
#include "cpp/core/dtype.h"

namespace lc::c_api {

constexpr int kMaxArguments = 16, kMaxSizes = 16;

enum class Type : uint8_t { floating,
                            real,
                            same,
                            acc,
                            int64,
                            mask };
enum class Layout : uint8_t { contiguous,
                              dense_last_axis,
                              any };

struct Axis {
    int size;                                         // index into Signature::sizes; -1: the axes that * stands for
    bool broadcast;
};

struct Argument {
    std::string name;
    Type type;
    Layout layout = Layout::contiguous;
    bool optional = false, output = false, in_place = false;
    int like = -1;                                    // has the shape of that argument
    std::vector<Axis> axes;
    std::string text;                                 // as written: "T[*,cols]"
};

struct Option {
    std::string name;
    bool real = false;                                // double; else int64
    int count = 1;                                    // 2: a pair
    bool required = false;
    double usual = 0;
};

struct Signature {
    std::string name;
    std::vector<Argument> arguments;                  // inputs, then outputs
    int inputs = 0;
    std::vector<Option> options;
    std::vector<std::string> sizes;
    int bytes = 0;                                    // of the args struct
};

LC_API Signature parse(const lc_kernel_info&);

// The three words every args struct begins with, then a word for each argument and option.
struct Fields {
    size_t size;
    void* workspace;
    size_t workspace_size;
};

// One tensor of a call; strides are filled in where the layout is not contiguous.
struct View {
    char* data = nullptr;
    bool given = false;
    DType dtype = DType::float32;
    Dims shape, strides;
    int64_t elements = 0;

    int64_t numel() const { return elements; }
    int64_t size(int i) const { return shape[i < 0 ? i + shape.size() : i]; }
    int64_t stride(int i) const { return strides[i < 0 ? i + strides.size() : i]; }
    template <class T> T* at() const { return reinterpret_cast<T*>(data); }
};

union Word {
    const DLTensor* tensor;
    double real;
    int64_t integer;
};

constexpr int kHeaderWords = int(sizeof(Fields) / sizeof(Word));

// A call while it is checked and run. `make` sees it before the outputs' shapes are settled (to bind sizes that follow
// from options, to skip outputs), `run` after.
struct Call {
    const Signature& signature;
    DType dtype = DType::float32;                     // T
    Device device;                                    // of the first argument, and so of all
    View views[kMaxArguments];
    int64_t sizes[kMaxSizes];                         // -1: not bound yet
    Dims lead;                                        // what * stands for
    bool lead_bound = false, lead_settled = false;    // settled: by an argument that is not broadcast
    uint32_t skipped = 0;                             // outputs, by index among the arguments
    const Word* options = nullptr;                    // a pair takes two

    explicit Call(const Signature& s) : signature(s) {
        for (int64_t& n : sizes) n = -1;
    }
    const View& operator[](int i) const { return views[i]; }
    int64_t integer(int i) const { return options[i].integer; }
    double real(int i) const { return options[i].real; }
    const char* name() const { return signature.name.c_str(); }
    void bind(const char* size, int64_t value);
};

// Reads the inputs of args (its missing members filled in by `words`, which must hold them all).
void read_inputs(Call&, const Word* words);
void read_outputs(Call&, const Word* words, bool with_memory);   // checks shapes, and with memory that nothing overlaps

struct Extent {
    const char *begin, *end;                          // of the memory that holds a view's elements
};
Extent extent(const View&);
Dims output_shape(const Call&, int argument);         // after `make`
DType type_of(const Call&, int argument);
LC_API DLDataType dlpack_type(DType);

}  // namespace lc::c_api
