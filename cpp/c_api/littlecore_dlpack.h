// The structs by which arrays change hands, those of DLPack 1.3 (dmlc.github.io/dlpack); their layout is an ABI. DLTensor
// itself is littlecore.h's. In a namespace, as some versions of DLPack's own header lack the last.
#pragma once
#include "littlecore.h"

namespace littlecore {

struct DLPackVersion {
    uint32_t major, minor;
};
struct DLManagedTensor {
    DLTensor dl_tensor;
    void* manager_ctx;
    void (*deleter)(DLManagedTensor*);
};
struct DLManagedTensorVersioned {
    DLPackVersion version;
    void* manager_ctx;
    void (*deleter)(DLManagedTensorVersioned*);
    uint64_t flags;
    DLTensor dl_tensor;
};

// How a type's arrays are read and made without Python: a capsule of this name, in an attribute of the type.
struct DLPackExchangeAPI {
    struct Header {
        DLPackVersion version;
        Header* prev_api;
    } header;
    int (*managed_tensor_allocator)(DLTensor* prototype, DLManagedTensorVersioned** out, void* error_context,
                                    void (*set_error)(void* error_context, const char* kind, const char* message));
    int (*managed_tensor_from_py_object_no_sync)(void* py_object, DLManagedTensorVersioned** out);
    int (*managed_tensor_to_py_object_no_sync)(DLManagedTensorVersioned*, void** py_object);
    int (*dltensor_from_py_object_no_sync)(void* py_object, DLTensor* out);      // borrowed; may be null
    int (*current_work_stream)(int32_t device_type, int32_t device_id, void** stream);
};

constexpr uint64_t kReadOnly = 1, kIsCopied = 2;
constexpr const char* kExchangeAttribute = "__dlpack_c_exchange_api__";
constexpr const char* kExchangeName = "dlpack_exchange_api";

}  // namespace littlecore
