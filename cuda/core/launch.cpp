// Where everything that a device is to do goes through: launched at once, or kept in a graph that is being collected.
#include "cuda/core/launch.h"
#include <cstdlib>
#include <cstring>
#include <utility>
#include <vector>
#include "cpp/core/cuda_graph.h"
#include "cpp/core/log.h"

namespace lc::cuda {
namespace {

thread_local Work done;

void count_launch() {
    ++done.launches;
    done.device = device_in_use();
}

void check_grid(const Launch& l) {
    const Blocks& b = l.grid.blocks;
    LC_CHECK(b.x >= 1 && b.x < int64_t(1) << 31 && b.y >= 1 && b.y < 65536 && b.z >= 1 && b.z < 65536, ValueError, l.name, ": ", b.x, " x ", b.y, " x ", b.z,
             " blocks of work; a launch on CUDA takes 2147483647 x 65535 x 65535");
}

dim3 dim3_of(const Blocks& b) { return dim3(unsigned(b.x), unsigned(b.y), unsigned(b.z)); }

// For the emulator's messages.
void name_next([[maybe_unused]] const char* name) {
#ifdef LC_EMULATED
    emulator::name_launch(name);
#endif
}

// A cluster's blocks, as CUDA wants to be told.
cudaLaunchAttributeValue cluster_of(const Grid& g) {
    cudaLaunchAttributeValue v{};
    v.clusterDim.x = unsigned(g.cluster);
    v.clusterDim.y = v.clusterDim.z = 1;
    return v;
}

// ---- graphs -----------------------------------------------------------------------------------------------------------

// Memory for arguments, aligned as strictly as any wants.
struct alignas(128) Line {
    char bytes[128];
    bool operator==(const Line&) const = default;
};
constexpr size_t lines(size_t bytes) { return (bytes + sizeof(Line) - 1) / sizeof(Line); }

// What a node of a graph does, with the values it does it with.
struct Node {
    enum class Kind { kernel,
                      copy,
                      fill } kind;
    Launch launch;                                    // its arrays are ours, below
    std::vector<size_t> sizes;
    std::vector<Line> values;                         // every argument begins one
    void* to = nullptr;
    const void* from = nullptr;
    size_t bytes = 0;
    int byte = 0;
    cudaGraphNode_t handle = nullptr;

    bool same_work(const Node& o) const {             // but for the values
        const Grid &g = launch.grid, &h = o.launch.grid;
        return kind == o.kind && launch.kernel == o.launch.kernel && sizes == o.sizes && g.cluster == h.cluster && to == o.to && from == o.from && bytes == o.bytes && byte == o.byte;
    }
    bool same_values(const Node& o) const {
        const Grid &g = launch.grid, &h = o.launch.grid;
        return values == o.values && g.shared_bytes == h.shared_bytes && g.blocks.x == h.blocks.x && g.blocks.y == h.blocks.y && g.blocks.z == h.blocks.z &&
            g.threads.x == h.threads.x && g.threads.y == h.threads.y && g.threads.z == h.threads.z;
    }
};

Node kernel_node(const Launch& l) {
    Node n{Node::Kind::kernel, l, {l.sizes, l.sizes + l.count}, {}};
    for (size_t i = 0; i < l.count; ++i) {
        const size_t at = n.values.size();
        n.values.resize(at + lines(l.sizes[i]));
        std::memcpy(n.values.data() + at, l.values[i], l.sizes[i]);
    }
    return n;
}

cudaKernelNodeParams parameters(Node& n, std::vector<void*>& places) {
    places.clear();
    size_t at = 0;
    for (const size_t size : n.sizes) {
        places.push_back(n.values.data() + at);
        at += lines(size);
    }
    cudaKernelNodeParams p{};
    p.func = const_cast<void*>(n.launch.kernel);
    p.gridDim = dim3_of(n.launch.grid.blocks);
    p.blockDim = n.launch.grid.threads;
    p.sharedMemBytes = unsigned(n.launch.grid.shared_bytes);
    p.kernelParams = places.data();
    return p;
}

class DeviceGraph final : public Graph {
public:
    DeviceGraph() : fixed_(new_region()), varying_(new_region()) {}
    ~DeviceGraph() override {
        drop();
        drop_region(fixed_);
        drop_region(varying_);
    }

    void collect(size_t step, bool fixed, const std::function<void()>& run) override;
    bool collected() const override { return exec_ != nullptr; }
    void launch() override;

    void add(Node n) {
        device_ = device_in_use();
        fresh_.push_back(std::move(n));
    }

private:
    void build();
    void drop() noexcept {
        if (exec_) cudaGraphExecDestroy(exec_);
        if (graph_) cudaGraphDestroy(graph_);
        exec_ = nullptr;
        graph_ = nullptr;
    }

    Region *fixed_, *varying_;                        // scratch of the steps: no other work uses it, the nodes run in order. What a
                                                      // varying step allocates may stay, so it is never a fixed one's scratch
    std::vector<std::vector<Node>> steps_;
    std::vector<Node> fresh_;                         // of the step being collected
    int device_ = 0;
    std::vector<Node*> changed_;
    bool rebuild_ = true;
    cudaGraph_t graph_ = nullptr;
    cudaGraphExec_t exec_ = nullptr;
};

thread_local DeviceGraph* collecting = nullptr;

void DeviceGraph::collect(size_t step, bool fixed, const std::function<void()>& run) {
    struct Collecting {
        Collecting(DeviceGraph* g, Region* r) : region_before(use_region(r)) { collecting = g; }
        ~Collecting() {
            collecting = nullptr;
            use_region(region_before);
        }
        Region* region_before;
    };
    fresh_.clear();
    {
        const Collecting on(this, fixed ? fixed_ : varying_);
        run();
    }
    if (steps_.size() <= step) steps_.resize(step + 1);
    std::vector<Node>& old = steps_[step];
    bool same = !rebuild_ && old.size() == fresh_.size();
    for (size_t i = 0; same && i < old.size(); ++i) same = old[i].same_work(fresh_[i]);
    if (!same) {
        rebuild_ = rebuild_ || !old.empty() || !fresh_.empty();
        old = std::move(fresh_);
        return;
    }
    for (size_t i = 0; i < old.size(); ++i) {
        if (old[i].same_values(fresh_[i])) continue;
        fresh_[i].handle = old[i].handle;
        old[i] = std::move(fresh_[i]);
        changed_.push_back(&old[i]);
    }
}

void DeviceGraph::build() {
    drop();
    check(cudaGraphCreate(&graph_, 0), "capture");
    cudaGraphNode_t last = nullptr;
    std::vector<void*> places;
    for (std::vector<Node>& step : steps_)
        for (Node& n : step) {
            const size_t before = last ? 1 : 0;
            if (n.kind == Node::Kind::kernel) {
                name_next(n.launch.name);
                const cudaKernelNodeParams p = parameters(n, places);
                check(cudaGraphAddKernelNode(&n.handle, graph_, &last, before, &p), n.launch.name);
                if (n.launch.grid.cluster > 1) {
                    const cudaLaunchAttributeValue together = cluster_of(n.launch.grid);
                    check(cudaGraphKernelNodeSetAttribute(n.handle, cudaLaunchAttributeClusterDimension, &together), n.launch.name);
                }
            } else if (n.kind == Node::Kind::copy) {
                check(cudaGraphAddMemcpyNode1D(&n.handle, graph_, &last, before, n.to, n.from, n.bytes, cudaMemcpyDeviceToDevice), "copy");
            } else {
                cudaMemsetParams p{};
                p.dst = n.to;
                p.value = unsigned(n.byte);
                p.elementSize = 1;
                p.width = n.bytes;
                p.height = 1;
                check(cudaGraphAddMemsetNode(&n.handle, graph_, &last, before, &p), "fill");
            }
            last = n.handle;
        }
    check(cudaGraphInstantiate(&exec_, graph_, 0), "capture");
    rebuild_ = false;
}

void DeviceGraph::launch() {
    use({Device::Type::cuda, int8_t(device_)});
    if (rebuild_) {
        build();
    } else {
        std::vector<void*> places;
        for (Node* n : changed_) {
            name_next(n->launch.name);
            const cudaKernelNodeParams p = parameters(*n, places);
            check(cudaGraphExecKernelNodeSetParams(exec_, n->handle, &p), n->launch.name);
        }
    }
    changed_.clear();
    ++done.graphs;
    check(cudaGraphLaunch(exec_, stream_in_use()), "capture");
}

}  // namespace

Work work() { return done; }
void varies() { ++done.varying; }

std::unique_ptr<Graph> new_graph() { return synchronous() ? nullptr : std::make_unique<DeviceGraph>(); }

void host_waits(const char* what) {
    LC_CHECK(!collecting, Error, what, ": the host would wait for the device in the middle of a captured step, where it did not when the step was recorded");
    ++done.waits;
}

// ---- launches -----------------------------------------------------------------------------------------------------------

void launch(const Launch& l) {
    check_grid(l);
    if (l.grid.shared_bytes > 48 << 10) check(cudaFuncSetAttribute(l.kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, l.grid.shared_bytes), l.name);
    if (collecting) return collecting->add(kernel_node(l));
    count_launch();
    cudaLaunchConfig_t c{};
    c.gridDim = dim3_of(l.grid.blocks);
    c.blockDim = l.grid.threads;
    c.dynamicSmemBytes = size_t(l.grid.shared_bytes);
    c.stream = stream_in_use();
    cudaLaunchAttribute together;
    if (l.grid.cluster > 1) {
        together.id = cudaLaunchAttributeClusterDimension;
        together.val = cluster_of(l.grid);
        c.attrs = &together;
        c.numAttrs = 1;
    }
    name_next(l.name);
    check(cudaLaunchKernelExC(&c, l.kernel, const_cast<void**>(l.values)), l.name);
    if (LC_UNLIKELY(synchronous())) check(cudaStreamSynchronize(c.stream), l.name);
}

void copy_on_device(void* to, const void* from, size_t bytes) {
    if (bytes == 0) return;
    if (collecting) return collecting->add({Node::Kind::copy, {}, {}, {}, to, from, bytes});
    count_launch();
    check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, stream_in_use()), "copy");
}

void fill_bytes(void* to, int byte, size_t bytes, Device d) {
    use(d);
    if (bytes == 0) return;
    if (collecting) return collecting->add({Node::Kind::fill, {}, {}, {}, to, nullptr, bytes, byte});
    count_launch();
    check(cudaMemsetAsync(to, byte, bytes, stream_in_use()), "fill");
}

}  // namespace lc::cuda
