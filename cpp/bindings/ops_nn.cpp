#include "cpp/bindings/bind.h"

namespace lc::python {

void bind_nn(Module&) {}

}  // namespace lc::python
