#include "cpp/c_api/signature.h"
#include <algorithm>
#include <cmath>
#include <string_view>
#include "cpp/core/cuda.h"

namespace lc::c_api {
namespace {

using std::string_view;

// ---- parsing --------------------------------------------------------------------------------------------------------

string_view next_word(string_view& rest) {
    const size_t begin = std::min(rest.find_first_not_of(' '), rest.size()), end = std::min(rest.find(' ', begin), rest.size());
    const string_view word = rest.substr(begin, end - begin);
    rest.remove_prefix(end);
    return word;
}

bool take_suffix(string_view& word, char c) {
    if (word.empty() || word.back() != c) return false;
    word.remove_suffix(1);
    return true;
}

int index_of_size(Signature& s, string_view name) {
    for (size_t i = 0; i < s.sizes.size(); ++i)
        if (s.sizes[i] == name) return int(i);
    s.sizes.emplace_back(name);
    return int(s.sizes.size()) - 1;
}

Type type_named(string_view t) {
    return t == "float" ? Type::floating : t == "real" ? Type::real
        : t == "acc"                                   ? Type::acc
        : t == "int64"                                 ? Type::int64
        : t == "mask"                                  ? Type::mask
                                                       : Type::same;
}

Argument parse_argument(Signature& s, string_view word, bool output) {
    Argument a;
    a.output = output;
    const size_t colon = word.find(':'), bracket = word.find('[');
    string_view name = word.substr(0, colon), type = word.substr(colon + 1, bracket - colon - 1), shape = word.substr(bracket + 1);
    a.text = word.substr(colon + 1);
    while (take_suffix(name, '!') || take_suffix(name, '?')) {
        a.in_place |= word[name.size()] == '!';
        a.optional |= word[name.size()] == '?';
    }
    a.name = name;
    if (take_suffix(type, '1')) a.layout = Layout::dense_last_axis;
    if (take_suffix(type, '~') && a.layout == Layout::contiguous) a.layout = Layout::any;
    a.type = type_named(type);
    take_suffix(shape, ']');
    if (shape.starts_with('=')) {
        for (size_t i = 0; i < s.arguments.size(); ++i)
            if (s.arguments[i].name == shape.substr(1)) a.like = int(i);
        return a;
    }
    for (;;) {
        const size_t comma = std::min(shape.find(','), shape.size());
        string_view size = shape.substr(0, comma);
        const bool broadcast = take_suffix(size, '^');
        a.axes.push_back({size == "*" ? -1 : index_of_size(s, size), broadcast});
        if (comma == shape.size()) return a;
        shape.remove_prefix(comma + 1);
    }
}

Option parse_option(string_view word) {
    Option o;
    const size_t colon = word.find(':'), equals = std::min(word.find('='), word.size());
    const string_view type = word.substr(colon + 1, equals - colon - 1);
    o.name = word.substr(0, colon);
    o.real = type == "double";
    o.count = type == "int2" ? 2 : 1;
    o.required = equals == word.size();
    if (!o.required) o.usual = std::stod(std::string(word.substr(equals + 1)));
    return o;
}

}  // namespace

Signature parse(const lc_kernel_info& info) {
    Signature s;
    s.name = info.name;
    for (string_view rest = info.inputs, word; !(word = next_word(rest)).empty();) s.arguments.push_back(parse_argument(s, word, false));
    s.inputs = int(s.arguments.size());
    for (string_view rest = info.outputs, word; !(word = next_word(rest)).empty();) s.arguments.push_back(parse_argument(s, word, true));
    int words = kHeaderWords + int(s.arguments.size());
    for (string_view rest = info.options, word; !(word = next_word(rest)).empty();) {
        s.options.push_back(parse_option(word));
        words += s.options.back().count;
    }
    s.bytes = words * int(sizeof(Word));
    return s;
}

// ---- reading a tensor -----------------------------------------------------------------------------------------------

namespace {

bool same(DLDataType a, DLDataType b) { return a.code == b.code && a.bits == b.bits && a.lanes == b.lanes; }

DType dtype_of(const Call& c, const Argument& a, DLDataType t) {
    if (same(dlpack_type(c.dtype), t)) return c.dtype;        // most often
    for (int i = 0; i < kDTypes; ++i)
        if (same(dlpack_type(DType(i)), t)) return DType(i);
    throw TypeError(text(c.name(), ": ", a.name, " has elements of DLPack type code ", int(t.code), " with ", int(t.bits), " bits and ", t.lanes,
                         " lanes, which no kernel takes"));
}

Device device_of(const Call& c, const Argument& a, DLDevice d) {
    if (d.device_type == kDLCPU) return {};
    LC_CHECK(d.device_type == kDLCUDA, TypeError, c.name(), ": ", a.name, " is on a device of DLPack type ", d.device_type, ", these kernels run on the CPU and on CUDA");
    LC_CHECK(cuda::is_available(), TypeError, c.name(), ": ", a.name, " is on a CUDA device, but there is ", cuda::why_not());
    LC_CHECK(d.device_id >= 0 && d.device_id < cuda::device_count(), ValueError, c.name(), ": ", a.name, " is on CUDA device ", d.device_id, " of ", cuda::device_count());
    return {Device::Type::cuda, int8_t(d.device_id)};
}

bool contiguous(const DLTensor& t) {
    if (!t.strides) return true;
    int64_t expected = 1;
    for (int i = t.ndim - 1; i >= 0; --i) {
        if (t.shape[i] == 0) return true;
        if (t.shape[i] != 1 && t.strides[i] != expected) break;
        expected *= t.shape[i];
        if (i == 0) return true;
    }
    if (t.ndim == 0) return true;
    for (int i = 0; i < t.ndim; ++i)
        if (t.shape[i] == 0) return true;
    return false;
}

Dims strides_of(const DLTensor& t) { return t.strides ? Dims(t.strides, t.ndim) : contiguous_strides(Dims(t.shape, t.ndim)); }

int64_t count(const Call& c, const Argument& a, const Dims& shape) {
    try {
        return element_count(shape);
    } catch (const ValueError&) {
        throw ValueError(text(c.name(), ": ", a.name, " has shape ", shape, ", which is negative or has more elements than memory can hold"));
    }
}

// From the first element to the last is less than any memory.
bool within_reach(const View& v) {
    double reach = 0;
    for (int i = 0; i < v.strides.size(); ++i) reach += std::abs(double(v.strides[i])) * double(v.shape[i]);
    return reach < 0x1p58;
}

void read(Call& c, int index, const DLTensor* given) {
    const Argument& a = c.signature.arguments[size_t(index)];
    View& v = c.views[index];
    if (!given) {
        LC_CHECK(a.optional, ValueError, c.name(), ": ", a.name, " is missing, needs ", a.text);
        return;
    }
    const DLTensor& t = *given;
    const Device device = device_of(c, a, t.device);
    if (index == 0) c.device = device;
    LC_CHECK(device == c.device, TypeError, c.name(), ": ", a.name, " is on ", device, ", but ", c.signature.arguments[0].name, " on ", c.device, "; a call is on one device");
    LC_CHECK(t.ndim >= 0 && t.ndim <= kMaxDims, ValueError, c.name(), ": ", a.name, " has ", t.ndim, " axes, at most ", kMaxDims, " are allowed");
    LC_CHECK(t.ndim == 0 || t.shape, ValueError, c.name(), ": ", a.name, " has ", t.ndim, " axes, but its shape is NULL");
    v.given = true;
    v.dtype = dtype_of(c, a, t.dtype);
    v.shape = Dims(t.shape, t.ndim);
    v.elements = count(c, a, v.shape);
    v.data = t.data ? static_cast<char*>(t.data) + t.byte_offset : nullptr;
    LC_CHECK(reinterpret_cast<uintptr_t>(v.data) % item_size(v.dtype) == 0, ValueError, c.name(), ": ", a.name, " is not aligned to its elements of ", v.dtype);

    if (a.layout == Layout::contiguous) {
        LC_CHECK(contiguous(t), ValueError, c.name(), ": ", a.name, " of shape ", v.shape, " has strides ", strides_of(t), ", must be contiguous");
    } else {
        v.strides = strides_of(t);
        LC_CHECK(a.layout == Layout::any || t.ndim == 0 || v.size(-1) <= 1 || v.stride(-1) == 1, ValueError, c.name(), ": ", a.name, " of shape ", v.shape,
                 " has strides ", v.strides, ", its last axis must be dense");
        LC_CHECK(within_reach(v), ValueError, c.name(), ": ", a.name, " of shape ", v.shape, " has strides ", v.strides, ", which lead out of any memory");
    }
}

void check_type(const Call& c, int index) {
    const Argument& a = c.signature.arguments[size_t(index)];
    const DType got = c.views[index].dtype, wanted = type_of(c, index);
    if (a.type == Type::mask && got == DType::bool_) return;
    if (index == 0) {
        const bool fits = is_floating(got) && (a.type == Type::floating || got == DType::float32 || got == DType::float64);
        LC_CHECK(fits, TypeError, c.name(), ": ", a.name, " is ", got, ", needs ", a.type == Type::real ? "float32 or float64" : "a floating-point dtype");
    }
    LC_CHECK(got == wanted, TypeError, c.name(), ": ", a.name, " is ", got, ", needs ", wanted, a.type == Type::mask ? " or bool" : "", ", as ",
             c.signature.arguments[0].name, " is ", c.dtype);
}

// The sizes a shape was to have, as far as they are known: "[2, 3, cols=4]".
std::string known(const Call& c, const Argument& a) {
    std::string out;
    const auto add = [&](const auto&... parts) { out += text(out.empty() ? "" : ", ", parts...); };
    for (const Axis& axis : a.axes) {
        if (axis.size < 0 && !c.lead_bound) add("*");
        else if (axis.size < 0)
            for (const int64_t n : c.lead) add(n);
        else if (c.sizes[axis.size] >= 0) add(c.signature.sizes[size_t(axis.size)], "=", c.sizes[axis.size]);
        else add(c.signature.sizes[size_t(axis.size)]);
    }
    return "[" + out + "]";
}

[[noreturn]] void refuse_shape(const Call& c, int index) {
    const Argument& a = c.signature.arguments[size_t(index)];
    throw ValueError(text(c.name(), ": ", a.name, " has shape ", c.views[index].shape, ", needs ", a.like >= 0 ? text(c.views[a.like].shape) : known(c, a)));
}

void bind_lead(Call& c, int index, int begin, int count, bool broadcast) {
    const Dims& shape = c.views[index].shape;
    if (!c.lead_bound) {
        c.lead = Dims(shape.begin() + begin, count);
        c.lead_bound = true;
        c.lead_settled = !broadcast;
        return;
    }
    if (!broadcast) {
        if (count != c.lead.size()) refuse_shape(c, index);
        for (int i = 0; i < count; ++i)
            if (shape[begin + i] != c.lead[i]) refuse_shape(c, index);
        return;
    }
    const int rank = std::max(count, c.lead.size());
    Dims joined = Dims::filled(rank, 1);
    for (int i = 1; i <= rank; ++i) {
        const int64_t mine = i <= count ? shape[begin + count - i] : 1, other = i <= c.lead.size() ? c.lead[c.lead.size() - i] : 1;
        if (mine != other && mine != 1 && other != 1) refuse_shape(c, index);
        joined[rank - i] = mine == 1 ? other : mine;
    }
    if (c.lead_settled && !(joined == c.lead)) refuse_shape(c, index);
    c.lead = joined;
}

void bind_shape(Call& c, int index) {
    const Argument& a = c.signature.arguments[size_t(index)];
    const Dims& shape = c.views[index].shape;
    const int fixed = int(a.axes.size()) - int(std::any_of(a.axes.begin(), a.axes.end(), [](const Axis& x) { return x.size < 0; }));
    const int lead = shape.size() - fixed;
    if (lead < 0 || (lead > 0 && fixed == int(a.axes.size()))) refuse_shape(c, index);
    int at = 0;
    for (const Axis& axis : a.axes) {
        if (axis.size < 0) {
            bind_lead(c, index, at, lead, axis.broadcast);
            at += lead;
            continue;
        }
        int64_t& size = c.sizes[axis.size];
        const int64_t mine = shape[at++];
        if (axis.broadcast && mine == 1) continue;
        if (size < 0) size = mine;
        else if (size != mine) refuse_shape(c, index);
    }
}

// ---- memory that is shared ------------------------------------------------------------------------------------------

// Every element has a place of its own: taken by rising strides, each passes over what lies inside it.
bool distinct(const View& v) {
    if (v.strides.empty()) return true;
    int order[kMaxDims], n = 0;
    for (int i = 0; i < v.shape.size(); ++i)
        if (v.shape[i] > 1) order[n++] = i;
    std::sort(order, order + n, [&](int a, int b) { return v.strides[a] < v.strides[b]; });
    int64_t span = 1;
    for (int i = 0; i < n; ++i) {
        if (v.strides[order[i]] < span) return false;
        span = v.strides[order[i]] * (v.shape[order[i]] - 1) + span;
    }
    return true;
}

void check_memory(const Call& c, int index, const Extent* extents) {
    const Argument& a = c.signature.arguments[size_t(index)];
    const View& v = c.views[index];
    if (v.numel() == 0) return;
    LC_CHECK(distinct(v), ValueError, c.name(), ": ", a.name, " of shape ", v.shape, " has strides ", v.strides, ": elements of an output must not share memory");
    const Extent mine = extents[index];
    for (int i = 0; i < int(c.signature.arguments.size()); ++i) {
        if (i == index || !c.views[i].given || c.views[i].numel() == 0) continue;
        const Extent other = extents[i];
        LC_CHECK(mine.end <= other.begin || other.end <= mine.begin, ValueError, c.name(), ": ", a.name, " overlaps ", c.signature.arguments[size_t(i)].name,
                 " in memory; an output needs memory of its own");
    }
}

}  // namespace

Extent extent(const View& v) {
    const int64_t item = int64_t(item_size(v.dtype));
    int64_t low = 0, high = 0;
    if (v.strides.empty()) high = v.numel() - 1;
    else
        for (int i = 0; i < v.shape.size(); ++i) (v.strides[i] < 0 ? low : high) += (v.shape[i] - 1) * v.strides[i];
    return {v.data + low * item, v.data + (high + 1) * item};
}

void Call::bind(const char* size, int64_t value) {
    for (size_t i = 0; i < signature.sizes.size(); ++i)
        if (signature.sizes[i] == size) {
            LC_CHECK(sizes[i] < 0 || sizes[i] == value, ValueError, name(), ": ", size, " is ", sizes[i], ", but the other arguments make it ", value);
            sizes[i] = value;
        }
}

DLDataType dlpack_type(DType t) {
    const uint8_t bits = uint8_t(8 * item_size(t));
    switch (t) {
        case DType::bfloat16: return {kDLBfloat, bits, 1};
        case DType::int64:
        case DType::int32: return {kDLInt, bits, 1};
        case DType::uint8: return {kDLUInt, bits, 1};
        case DType::bool_: return {kDLBool, bits, 1};
        default: return {kDLFloat, bits, 1};
    }
}

DType type_of(const Call& c, int argument) {
    switch (c.signature.arguments[size_t(argument)].type) {
        case Type::acc: return c.dtype == DType::float64 ? DType::float64 : DType::float32;
        case Type::int64: return DType::int64;
        default: return c.dtype;
    }
}

Dims output_shape(const Call& c, int argument) {
    const Argument& a = c.signature.arguments[size_t(argument)];
    if (a.like >= 0) return c.views[a.like].shape;
    Dims shape;
    for (const Axis& axis : a.axes) {
        if (axis.size >= 0) shape.push_back(c.sizes[axis.size]);
        else
            for (const int64_t n : c.lead) shape.push_back(n);
    }
    return shape;
}

void read_inputs(Call& c, const Word* words) {
    const Signature& s = c.signature;
    const Word* tensors = words + kHeaderWords;
    c.options = tensors + s.arguments.size();
    for (int i = 0; i < s.inputs; ++i) {
        read(c, i, tensors[i].tensor);
        if (!c.views[i].given) continue;
        if (i == 0) c.dtype = c.views[0].dtype;
        check_type(c, i);
        bind_shape(c, i);
    }
    // An output in the shape of what is not there has none.
    for (int i = s.inputs; i < int(s.arguments.size()); ++i)
        if (const int like = s.arguments[size_t(i)].like; like >= 0 && !c.views[like].given) c.skipped |= 1u << i;
}

void read_outputs(Call& c, const Word* words, bool with_memory) {
    const Signature& s = c.signature;
    const Word* tensors = words + kHeaderWords;
    for (int i = s.inputs; i < int(s.arguments.size()); ++i) {
        LC_CHECK(!tensors[i].tensor || !(c.skipped >> i & 1), ValueError, c.name(), ": there is no ", s.arguments[size_t(i)].name, " for these inputs");
        if (c.skipped >> i & 1) continue;
        read(c, i, tensors[i].tensor);
        if (!c.views[i].given) continue;
        check_type(c, i);
        if (!(c.views[i].shape == output_shape(c, i))) refuse_shape(c, i);
    }
    if (!with_memory) return;
    Extent extents[kMaxArguments];
    for (int i = 0; i < int(s.arguments.size()); ++i)
        if (c.views[i].given && c.views[i].numel() > 0) extents[i] = extent(c.views[i]);
    for (int i = 0; i < int(s.arguments.size()); ++i)
        if (c.views[i].given && (i >= s.inputs || s.arguments[size_t(i)].in_place)) check_memory(c, i, extents);
    for (int i = 0; i < int(s.arguments.size()); ++i)
        LC_CHECK(!c.views[i].given || c.views[i].data || c.views[i].numel() == 0, ValueError, c.name(), ": ", s.arguments[size_t(i)].name, " has no data");
}

}  // namespace lc::c_api
