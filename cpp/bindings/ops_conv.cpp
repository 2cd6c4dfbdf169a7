#include "cpp/bindings/bind.h"

namespace lc::python {

void bind_conv(Module&) {}

}  // namespace lc::python
