// What a plan needs of CUDA: memory of its own, and stretches of its steps launched by one call.
#pragma once
#include <cstddef>
#include <functional>
#include <memory>
#include "cpp/core/cuda.h"

namespace lc::cuda {

// Device memory for one plan: what is allocated while the thread uses a region is reused within it alone.
struct Region;
LC_API Region* new_region();                          // null in a build without CUDA
LC_API void drop_region(Region*) noexcept;            // its last block gives it back
LC_API Region* use_region(Region*) noexcept;          // for this thread; null: the common one. Returns the one before
LC_API Region* region_of(const void* data, Device);   // of a live block

// What this thread has asked of devices so far.
struct Work {
    int64_t launches = 0;                             // kernels, copies and fills there
    int64_t waits = 0;                                // what the host waits for, such as copies from and to it
    int64_t graphs = 0;
    int64_t varying = 0;                              // calls of varies()
    int device = 0;                                   // of the last launch
};
LC_API Work work();
LC_API void varies();                                 // the step that runs here does not launch the same in every replay

// The launches of a row of steps, in order. A step that is not fixed is collected again before every launch.
class Graph {
public:
    virtual ~Graph() = default;
    virtual void collect(size_t step, bool fixed, const std::function<void()>& run) = 0;     // what run() would launch, is the step's
    virtual bool collected() const = 0;               // launched before: every step's launches are there
    virtual void launch() = 0;                        // on the current stream
};
LC_API std::unique_ptr<Graph> new_graph();            // null where kernels are launched one by one: LITTLECORE_SYNC=1

}  // namespace lc::cuda
