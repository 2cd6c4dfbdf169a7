// sort on CPU: radix sort of (key, position), a row a task. Contract: cpp/ops/sort.h
// Bound by the scatter of a radix pass, some 1 to 2 ns an element; four or eight passes, less those where all bytes agree.
#include "cpp/ops/sort.h"
#include <string.h>
#include "cpp/core/parallel.h"

namespace lc::cpu::LC_ISA {
namespace {

constexpr int64_t kShort = 48;                        // up to here inserting is quicker than a radix pass
constexpr int64_t kFew = 64;                          // up to here one inserting pass is quicker than selecting by bytes

template <class T> using key_t = std::conditional_t<sizeof(T) == 8, uint64_t, uint32_t>;

// Keys order as the elements do.
template <class K> LC_INLINE K float_key(K bits, K infinity, K sign) {
    const K magnitude = bits & ~sign;
    if (magnitude > infinity) return ~K(0);           // NaN
    if (magnitude == 0) return sign;                  // either zero
    return bits & sign ? K(sign - magnitude) : K(sign + magnitude);
}
LC_INLINE uint32_t key(float x) { return float_key<uint32_t>(std::bit_cast<uint32_t>(x), 0x7f800000, 0x80000000); }
LC_INLINE uint64_t key(double x) { return float_key<uint64_t>(std::bit_cast<uint64_t>(x), 0x7ffull << 52, 1ull << 63); }
LC_INLINE uint32_t key(bfloat16 x) { return float_key<uint32_t>(x.bits, 0x7f80, 0x8000); }
LC_INLINE uint32_t key(float16 x) { return float_key<uint32_t>(x.bits, 0x7c00, 0x8000); }
LC_INLINE uint64_t key(int64_t x) { return uint64_t(x) ^ 1ull << 63; }
LC_INLINE uint32_t key(int32_t x) { return uint32_t(x) ^ 0x80000000; }
LC_INLINE uint32_t key(uint8_t x) { return x; }
LC_INLINE uint32_t key(bool x) { return x; }

template <class K> struct Item {
    K key, at;
};

template <class K> void insertion_sort(Item<K>* a, int64_t n) {
    for (int64_t i = 1; i < n; ++i) {
        const Item<K> item = a[i];
        int64_t j = i;
        for (; j > 0 && a[j - 1].key > item.key; --j) a[j] = a[j - 1];
        a[j] = item;
    }
}

// Stable; the result is in a or b, whichever is returned.
template <class K> Item<K>* radix_sort(Item<K>* a, Item<K>* b, int64_t n) {
    if (n <= kShort) {
        insertion_sort(a, n);
        return a;
    }
    int64_t count[sizeof(K)][256];
    memset(count, 0, sizeof count);
    for (int64_t i = 0; i < n; ++i)
        for (int d = 0; d < int(sizeof(K)); ++d) ++count[d][a[i].key >> 8 * d & 255];
    for (int d = 0; d < int(sizeof(K)); ++d) {
        if (count[d][a[0].key >> 8 * d & 255] == n) continue;          // this byte is the same everywhere
        int64_t start = 0;
        for (int64_t& c : count[d]) {
            const int64_t here = c;
            c = start;
            start += here;
        }
        for (int64_t i = 0; i < n; ++i) b[count[d][a[i].key >> 8 * d & 255]++] = a[i];
        Item<K>* swap = a;
        a = b, b = swap;
    }
    return a;
}

// Leaves the `keep` first items of the order in a, in the order of their positions: byte by byte from the top, which
// byte the last one kept has, and how many smaller keys there are.
template <class K> void select_first(Item<K>* a, int64_t n, int64_t keep) {
    K last = 0, known = 0;                            // the key of the last one kept, and which of its bits are known
    int64_t wanted = keep;                            // how many of the keys that agree in the known bits
    for (int d = int(sizeof(K)) - 1; d >= 0; --d) {
        int64_t count[256];
        memset(count, 0, sizeof count);
        for (int64_t i = 0; i < n; ++i)
            if ((a[i].key & known) == last) ++count[a[i].key >> 8 * d & 255];
        int byte = 0;
        for (; count[byte] < wanted; ++byte) wanted -= count[byte];
        last |= K(byte) << 8 * d;
        known |= K(255) << 8 * d;
    }
    int64_t out = 0;
    for (int64_t i = 0; i < n; ++i)
        if (a[i].key < last || (a[i].key == last && wanted-- > 0)) a[out++] = a[i];
}

// The `keep` first of the order by one pass that inserts what is smaller than the last one kept: rare, as long as few are kept.
template <class T> void insert_first(const T* x, int64_t n, int64_t keep, key_t<T> flip, Item<key_t<T>>* best) {
    using K = key_t<T>;
    int64_t have = 0;
    for (int64_t i = 0; i < n; ++i) {
        const K k = K(key(x[i]) ^ flip);
        if (have == keep && k >= best[keep - 1].key) continue;
        int64_t j = have < keep ? have++ : keep - 1;
        for (; j > 0 && best[j - 1].key > k; --j) best[j] = best[j - 1];
        best[j] = {k, K(i)};
    }
}

template <class T> void sort_row(const SortForward<T>& a, int64_t row, Item<key_t<T>>* items) {
    using K = key_t<T>;
    const T* x = a.x + row * a.n;
    const K flip = a.descending ? ~K(0) : K(0);
    const Item<K>* sorted = items;
    if (a.keep <= kFew && a.keep < a.n) {
        insert_first(x, a.n, a.keep, flip, items);
    } else {
        int64_t n = a.n;
        for (int64_t i = 0; i < n; ++i) items[i] = {K(key(x[i]) ^ flip), K(i)};
        if (a.keep < n / 4) select_first(items, n, a.keep), n = a.keep;
        sorted = radix_sort(items, items + a.n, n);
    }
    T* y = a.y + row * a.keep;
    int64_t* index = a.index + row * a.keep;
    for (int64_t i = 0; i < a.keep; ++i) {
        y[i] = x[sorted[i].at];
        index[i] = int64_t(sorted[i].at);
    }
}

}  // namespace

template <class T> void sort_forward(const SortForward<T>& a) {
    if (a.keep == 0) return;
    const int64_t grain = a.n >= 4096 ? 1 : 4096 / a.n;
    const int64_t scratch = sort_scratch_bytes(a.n, sizeof(T));
    parallel_for((a.rows + grain - 1) / grain, a.rows * a.n * 10, [&](int64_t task, int worker) {
        auto* items = reinterpret_cast<Item<key_t<T>>*>(static_cast<char*>(a.scratch) + worker * scratch);
        const int64_t end = (task + 1) * grain < a.rows ? (task + 1) * grain : a.rows;
        for (int64_t row = task * grain; row < end; ++row) sort_row(a, row, items);
    });
}

template void sort_forward(const SortForward<float>&);
template void sort_forward(const SortForward<double>&);
template void sort_forward(const SortForward<bfloat16>&);
template void sort_forward(const SortForward<float16>&);
template void sort_forward(const SortForward<int64_t>&);
template void sort_forward(const SortForward<int32_t>&);
template void sort_forward(const SortForward<uint8_t>&);
template void sort_forward(const SortForward<bool>&);

}  // namespace lc::cpu::LC_ISA
