#include "cpp/bindings/bind.h"
#include <vector>
namespace lc::python { std::vector<PyType_Slot> operator_slots() { return {}; } }
