// einsum. Contract: cpp/ops/einsum.h
#include "cpp/ops/einsum.h"
#include <algorithm>
#include <bitset>
#include <vector>
#include "cpp/ops/binary.h"
#include "cpp/ops/matmul.h"
#include "cpp/ops/reduce.h"
#include "cpp/ops/views.h"

namespace lc {
namespace {

// A label names an axis: 0..25 A-Z, 26..51 a-z, from 52 the axes under an ellipsis, counted from the left.
constexpr int kLetters = 52, kEllipsis = -1;
using Labels = std::vector<int>;
using LabelSet = std::bitset<kLetters + kMaxDims>;

struct Term {                                         // a tensor and the label of each of its axes
    Tensor x;
    Labels labels;
    int axis(int label) const {
        const auto at = std::find(labels.begin(), labels.end(), label);
        return at == labels.end() ? -1 : int(at - labels.begin());
    }
};

struct Equation {
    std::vector<Labels> inputs;
    Labels output;
    bool has_output = false;
};

// ---- reading the equation -------------------------------------------------------------------------------------------

Equation parse(const std::string& text_with_spaces) {
    Equation e;
    e.inputs.emplace_back();
    const std::string& s = text_with_spaces;
    for (size_t i = 0; i < s.size(); ++i) {
        Labels& here = e.has_output ? e.output : e.inputs.back();
        if (s[i] == ' ') continue;
        if (s[i] >= 'A' && s[i] <= 'Z') here.push_back(s[i] - 'A');
        else if (s[i] >= 'a' && s[i] <= 'z') here.push_back(s[i] - 'a' + 26);
        else if (s.compare(i, 3, "...") == 0) {
            LC_CHECK(std::find(here.begin(), here.end(), kEllipsis) == here.end(), ValueError, "einsum: two ellipses in one operand of '", s, "'");
            here.push_back(kEllipsis);
            i += 2;
        } else if (s[i] == ',' && !e.has_output) e.inputs.emplace_back();
        else if (s.compare(i, 2, "->") == 0 && !e.has_output) {
            e.has_output = true;
            ++i;
        } else throw ValueError(text("einsum: unexpected '", s[i], "' in '", s, "'; subscripts are letters, '...', ',' and one '->'"));
    }
    return e;
}

std::string spelled(int label) {
    return label >= kLetters ? "..." : std::string(1, char(label < 26 ? 'A' + label : 'a' + label - 26));
}

// An ellipsis becomes the labels of the axes it stands for, aligned to the right.
Labels expanded(const Labels& labels, int axes, int widest) {
    Labels out;
    for (const int label : labels)
        if (label != kEllipsis) out.push_back(label);
        else
            for (int i = widest - axes; i < widest; ++i) out.push_back(kLetters + i);
    return out;
}

// Letters that occur once, in the alphabet's order, after the axes of the ellipses.
Labels default_output(const std::vector<Labels>& inputs, int widest) {
    std::vector<int> uses(kLetters, 0);
    for (const Labels& labels : inputs)
        for (const int label : labels)
            if (label < kLetters) ++uses[size_t(label)];
    Labels out;
    for (int i = 0; i < widest; ++i) out.push_back(kLetters + i);
    for (int label = 0; label < kLetters; ++label)
        if (uses[size_t(label)] == 1) out.push_back(label);
    return out;
}

// ---- single operands ------------------------------------------------------------------------------------------------

// A label that stands twice in one operand takes the diagonal of its axes.
Term without_repeats(Term t) {
    for (size_t i = 0; i < t.labels.size(); ++i)
        for (size_t j = i + 1; j < t.labels.size();) {
            if (t.labels[i] != t.labels[j]) {
                ++j;
                continue;
            }
            const int label = t.labels[i];
            LC_CHECK(t.x.size(int(i)) == t.x.size(int(j)), ValueError, "einsum: '", spelled(label), "' stands twice in an operand for axes of sizes ",
                     t.x.size(int(i)), " and ", t.x.size(int(j)));
            t.x = movedim(diagonal(t.x, 0, int64_t(i), int64_t(j)), {-1}, {int64_t(i)});
            t.labels.erase(t.labels.begin() + long(j));
        }
    return t;
}

Term summed(Term t, const LabelSet& keep) {
    Dims dims;
    Labels left;
    for (size_t i = 0; i < t.labels.size(); ++i)
        if (keep[size_t(t.labels[i])]) left.push_back(t.labels[i]);
        else dims.push_back(int64_t(i));
    if (dims.empty()) return t;
    return {sum(t.x, dims), left};
}

// The axes of `order`; those that t lacks become axes of size 1.
Tensor arranged(const Term& t, const Labels& order) {
    Dims dims;
    std::vector<int> missing;
    for (size_t i = 0; i < order.size(); ++i) {
        const int axis = t.axis(order[i]);
        if (axis >= 0) dims.push_back(axis);
        else missing.push_back(int(i));
    }
    Tensor x = permute(t.x, dims);
    for (const int at : missing) x = unsqueeze(x, at);
    return x;
}

LabelSet set_of(const Labels& labels) {
    LabelSet s;
    for (const int label : labels) s.set(size_t(label));
    return s;
}

// ---- pairs ----------------------------------------------------------------------------------------------------------

// Axes of size 1 that the other operand has in full are dropped: broadcasting needs no label.
Term without_broadcast(Term t, const Term& other) {
    for (int i = int(t.labels.size()) - 1; i >= 0; --i) {
        const int there = other.axis(t.labels[size_t(i)]);
        if (there < 0 || t.x.size(i) != 1 || other.x.size(there) == 1) continue;
        t.x = squeeze(t.x, {i});
        t.labels.erase(t.labels.begin() + i);
    }
    return t;
}

int64_t size_of(const Term& t, const Labels& labels) {
    int64_t n = 1;
    for (const int label : labels) n *= t.x.size(t.axis(label));
    return n;
}

Term contracted(Term a, Term b, const LabelSet& keep) {
    a = without_broadcast(std::move(a), b);
    b = without_broadcast(std::move(b), a);
    const LabelSet in_a = set_of(a.labels), in_b = set_of(b.labels);
    a = summed(std::move(a), keep | in_b);
    b = summed(std::move(b), keep | in_a);

    Labels batch, inner, rows, cols;
    for (const int label : a.labels) (in_b[size_t(label)] ? keep[size_t(label)] ? batch : inner : rows).push_back(label);
    for (const int label : b.labels)
        if (!in_a[size_t(label)]) cols.push_back(label);

    Term y;
    for (const Labels* part : {&batch, &rows, &cols}) y.labels.insert(y.labels.end(), part->begin(), part->end());
    if (inner.empty()) {                              // nothing to sum: a product with broadcasting
        y.x = mul(arranged(a, y.labels), arranged(b, y.labels));
        return y;
    }
    const auto joined = [](const Labels& p, const Labels& q, const Labels& r) {
        Labels all = p;
        all.insert(all.end(), q.begin(), q.end());
        all.insert(all.end(), r.begin(), r.end());
        return all;
    };
    const int64_t n = size_of(a, batch), k = size_of(a, inner);
    const DType dtype = a.x.dtype();
    if (rows.empty() && cols.empty() && n > 1 && k <= 4096 && (dtype == DType::float32 || dtype == DType::float64) && b.x.dtype() == dtype) {
        const Labels all = joined(batch, inner, {});  // many short dot products: a matmul of each costs 200 ns
        Dims last;
        for (size_t i = batch.size(); i < all.size(); ++i) last.push_back(int64_t(i));
        y.x = sum(mul(arranged(a, all), arranged(b, all)), last);
        return y;
    }
    const Tensor left = reshape(arranged(a, joined(batch, rows, inner)), {n, size_of(a, rows), k});
    const Tensor right = reshape(arranged(b, joined(batch, inner, cols)), {n, k, size_of(b, cols)});
    Dims sizes;
    for (const int label : y.labels) sizes.push_back(a.axis(label) >= 0 ? a.x.size(a.axis(label)) : b.x.size(b.axis(label)));
    y.x = reshape(matmul(left, right), sizes);
    return y;
}

// Every label names one size; 1 broadcasts.
void check_sizes(const std::vector<Term>& terms) {
    std::vector<int64_t> sizes(LabelSet().size(), 1);
    for (const Term& t : terms)
        for (size_t i = 0; i < t.labels.size(); ++i) {
            int64_t& size = sizes[size_t(t.labels[i])];
            const int64_t here = t.x.size(int(i));
            LC_CHECK(here == 1 || size == 1 || here == size, ValueError, "einsum: '", spelled(t.labels[i]), "' names axes of sizes ", size, " and ", here);
            if (here != 1) size = here;
        }
}

}  // namespace

Tensor einsum(const std::string& equation, const Tensors& operands) {
    Equation e = parse(equation);
    LC_CHECK(!operands.empty(), ValueError, "einsum: needs at least one operand");
    LC_CHECK(e.inputs.size() == operands.size(), ValueError, "einsum: '", equation, "' names ", e.inputs.size(), " operands, ", operands.size(), " were given");

    int widest = 0;                                   // axes under the widest ellipsis
    std::vector<int> under(operands.size(), 0);
    for (size_t i = 0; i < operands.size(); ++i) {
        LC_CHECK(operands[i], TypeError, "einsum: operand ", i, " is None");
        const bool ellipsis = std::find(e.inputs[i].begin(), e.inputs[i].end(), kEllipsis) != e.inputs[i].end();
        const int named = int(e.inputs[i].size()) - ellipsis, rank = operands[i].dim();
        LC_CHECK(ellipsis ? named <= rank : named == rank, ValueError, "einsum: operand ", i, " has ", rank, " axes ", operands[i].sizes(),
                 ", its subscripts name ", named);
        under[i] = rank - named;
        widest = std::max(widest, under[i]);
    }
    std::vector<Term> terms;
    for (size_t i = 0; i < operands.size(); ++i)
        terms.push_back(without_repeats({operands[i], expanded(e.inputs[i], under[i], widest)}));
    check_sizes(terms);

    for (Labels& labels : e.inputs) labels.erase(std::remove(labels.begin(), labels.end(), kEllipsis), labels.end());
    const Labels output = e.has_output ? expanded(e.output, widest, widest) : default_output(e.inputs, widest);
    LabelSet wanted, known;
    for (const Term& t : terms) known |= set_of(t.labels);
    for (const int label : output) {
        LC_CHECK(!wanted[size_t(label)], ValueError, "einsum: '", spelled(label), "' stands twice in the output of '", equation, "'");
        LC_CHECK(known[size_t(label)], ValueError, "einsum: '", spelled(label), "' of the output is in no operand of '", equation, "'");
        wanted.set(size_t(label));
    }

    Term y = std::move(terms[0]);
    for (size_t i = 1; i < terms.size(); ++i) {
        LabelSet keep = wanted;
        for (size_t j = i + 1; j < terms.size(); ++j) keep |= set_of(terms[j].labels);
        y = contracted(std::move(y), std::move(terms[i]), keep);
    }
    return arranged(summed(std::move(y), wanted), output);
}

}  // namespace lc
