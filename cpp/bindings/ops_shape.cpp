#include "cpp/bindings/bind.h"

namespace lc::python {

void bind_shape(Module&) {}

}  // namespace lc::python
