// Streams, events, launches and graphs. The default stream's work is done at once, that of every other stream as late as
// the program allows: when somebody waits for it. What another stream still needs and nobody guards is gone by then.
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <variant>
#include <vector>
#include "cpp/core/error.h"
#include "cuda/emulator/machine.h"

using namespace emulator;

struct CUstream_st {
    std::deque<std::function<void()>> waiting;
    uint64_t done = 0;
};
struct CUevent_st {
    CUstream_st* stream = nullptr;                    // null: all before it is done
    uint64_t end = 0;
};

namespace {

std::recursive_mutex mutex;
std::map<const void*, Kernel> kernels;
std::vector<CUstream_st*> streams;

void drain(CUstream_st* s, uint64_t end) {
    while (s->done < end && !s->waiting.empty()) {
        const std::function<void()> work = std::move(s->waiting.front());
        s->waiting.pop_front();
        ++s->done;
        work();
    }
}
void drain(CUstream_st* s) { drain(s, s->done + s->waiting.size()); }

cudaError_t put(cudaStream_t s, std::function<void()> work) {
    const std::lock_guard lock(mutex);
    if (s) s->waiting.push_back(std::move(work));
    else work();
    return cudaSuccess;
}

void must_copy(void* to, const void* from, size_t bytes) {
    LC_CHECK(copy_now(to, from, bytes) == cudaSuccess, Error, "emulator: a copy of ", bytes, " bytes touches memory that is no allocation");
}

// A kernel with the values of its parameters.
struct Bound {
    const void* kernel;
    Kernel known;
    std::shared_ptr<void> values;
    dim3 grid, block;
    size_t shared_bytes;
    unsigned cluster = 1;
    const char* name = launch_name();

    Bound(const void* kernel, void** parameters, dim3 grid, dim3 block, size_t shared_bytes)
        : kernel(kernel), known(kernels.at(kernel)), values(known.copy(parameters)), grid(grid), block(block), shared_bytes(shared_bytes) {}
    void operator()() const {
        cudaLaunchAttribute together{cudaLaunchAttributeClusterDimension, {{cluster, 1, 1}}};
        const cudaLaunchConfig_t c{grid, block, shared_bytes, nullptr, &together, cluster > 1};
        name_launch(name);
        run(c, [](void* p) { static_cast<Bound*>(p)->known.call(static_cast<Bound*>(p)->kernel, static_cast<Bound*>(p)->values.get()); }, const_cast<Bound*>(this));
    }
};

}  // namespace

namespace emulator {
void introduce(const void* kernel, Kernel k) {
    const std::lock_guard lock(mutex);
    kernels.try_emplace(kernel, k);
}
void own(void* p, size_t bytes, cudaStream_t s) {
    put(s, [p, bytes] { own_now(p, bytes); });
}
void disown(void* p, size_t bytes, cudaStream_t s) {
    put(s, [p, bytes] { disown_now(p, bytes); });
}
}  // namespace emulator

cudaError_t cudaLaunchKernelExC(const cudaLaunchConfig_t* c, const void* kernel, void** parameters) {
    Bound work(kernel, parameters, c->gridDim, c->blockDim, c->dynamicSmemBytes);
    if (c->numAttrs) work.cluster = c->attrs->val.clusterDim.x;
    return put(c->stream, std::move(work));
}
cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind, cudaStream_t s) {
    if (!s) return copy_now(to, from, bytes);
    return put(s, [=] { must_copy(to, from, bytes); });
}
cudaError_t cudaMemsetAsync(void* p, int byte, size_t bytes, cudaStream_t s) {
    return put(s, [=] { fill_now(p, byte, bytes); });
}

// ---- streams and events -------------------------------------------------------------------------------------------------

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* s, unsigned) {
    const std::lock_guard lock(mutex);
    streams.push_back(*s = new CUstream_st);
    return cudaSuccess;
}
cudaError_t cudaStreamDestroy(cudaStream_t s) {
    const std::lock_guard lock(mutex);
    drain(s);
    std::erase(streams, s);                           // but not deleted: an event may have been recorded there
    return cudaSuccess;
}
cudaError_t cudaStreamSynchronize(cudaStream_t s) {
    const std::lock_guard lock(mutex);
    if (s) drain(s);
    return cudaSuccess;
}
cudaError_t cudaDeviceSynchronize() {
    const std::lock_guard lock(mutex);
    for (CUstream_st* s : streams) drain(s);
    return cudaSuccess;
}
cudaError_t cudaStreamWaitEvent(cudaStream_t s, cudaEvent_t e, unsigned) {
    if (!e->stream || e->stream == s) return cudaSuccess;
    return put(s, [of = e->stream, end = e->end] { drain(of, end); });
}
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* e, unsigned) {
    *e = new CUevent_st;
    return cudaSuccess;
}
cudaError_t cudaEventDestroy(cudaEvent_t e) {
    delete e;
    return cudaSuccess;
}
cudaError_t cudaEventRecord(cudaEvent_t e, cudaStream_t s) {
    const std::lock_guard lock(mutex);
    *e = {s, s ? s->done + s->waiting.size() : 0};
    return cudaSuccess;
}
cudaError_t cudaEventQuery(cudaEvent_t e) { return !e->stream || e->stream->done >= e->end ? cudaSuccess : cudaErrorNotReady; }
cudaError_t cudaEventSynchronize(cudaEvent_t e) {
    const std::lock_guard lock(mutex);
    if (e->stream) drain(e->stream, e->end);
    return cudaSuccess;
}
cudaError_t cudaEventElapsedTime(float* ms, cudaEvent_t, cudaEvent_t) {
    *ms = 0;
    return cudaSuccess;
}

// ---- graphs: a list, every node behind the one before ---------------------------------------------------------------------

struct CUgraphNode_st {
    std::variant<Bound, std::function<void()>> work;
};
struct CUgraph_st {
    std::vector<std::unique_ptr<CUgraphNode_st>> nodes;
};
struct CUgraphExec_st {
    std::vector<std::pair<cudaGraphNode_t, CUgraphNode_st>> nodes;
};

namespace {

cudaError_t append(cudaGraphNode_t* n, cudaGraph_t g, const cudaGraphNode_t* after, size_t count, CUgraphNode_st node) {
    const bool in_order = g->nodes.empty() ? count == 0 : count == 1 && *after == g->nodes.back().get();
    if (!in_order) return cudaErrorInvalidValue;
    g->nodes.push_back(std::make_unique<CUgraphNode_st>(std::move(node)));
    *n = g->nodes.back().get();
    return cudaSuccess;
}
Bound bound(const cudaKernelNodeParams& p) { return {p.func, p.kernelParams, p.gridDim, p.blockDim, p.sharedMemBytes}; }

}  // namespace

cudaError_t cudaGraphCreate(cudaGraph_t* g, unsigned) {
    *g = new CUgraph_st;
    return cudaSuccess;
}
cudaError_t cudaGraphDestroy(cudaGraph_t g) {
    delete g;
    return cudaSuccess;
}
cudaError_t cudaGraphAddKernelNode(cudaGraphNode_t* n, cudaGraph_t g, const cudaGraphNode_t* after, size_t count, const cudaKernelNodeParams* p) {
    return append(n, g, after, count, {bound(*p)});
}
cudaError_t cudaGraphKernelNodeSetAttribute(cudaGraphNode_t n, cudaLaunchAttributeID, const cudaLaunchAttributeValue* v) {
    std::get<Bound>(n->work).cluster = v->clusterDim.x;
    return cudaSuccess;
}
cudaError_t cudaGraphAddMemcpyNode1D(cudaGraphNode_t* n, cudaGraph_t g, const cudaGraphNode_t* after, size_t count, void* to, const void* from, size_t bytes, cudaMemcpyKind) {
    return append(n, g, after, count, {[=] { must_copy(to, from, bytes); }});
}
cudaError_t cudaGraphAddMemsetNode(cudaGraphNode_t* n, cudaGraph_t g, const cudaGraphNode_t* after, size_t count, const cudaMemsetParams* p) {
    if (p->elementSize != 1 || p->height != 1) return cudaErrorInvalidValue;
    return append(n, g, after, count, {[p = *p] { fill_now(p.dst, int(p.value), p.width); }});
}
cudaError_t cudaGraphInstantiate(cudaGraphExec_t* e, cudaGraph_t g, unsigned long long) {
    *e = new CUgraphExec_st;
    for (const auto& node : g->nodes) (*e)->nodes.emplace_back(node.get(), *node);
    return cudaSuccess;
}
cudaError_t cudaGraphExecKernelNodeSetParams(cudaGraphExec_t e, cudaGraphNode_t n, const cudaKernelNodeParams* p) {
    for (auto& [node, mine] : e->nodes) {
        if (node != n) continue;
        Bound& old = std::get<Bound>(mine.work);
        Bound now = bound(*p);
        if (now.kernel != old.kernel) return cudaErrorInvalidValue;
        now.cluster = old.cluster;
        old = now;
        return cudaSuccess;
    }
    return cudaErrorInvalidValue;
}
cudaError_t cudaGraphLaunch(cudaGraphExec_t e, cudaStream_t s) {
    for (const auto& [node, mine] : e->nodes)         // as they are now: later changes are for later launches
        std::visit([&](const auto& work) { put(s, work); }, mine.work);
    return cudaSuccess;
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t e) {
    delete e;
    return cudaSuccess;
}
