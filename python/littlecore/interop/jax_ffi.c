// Every kernel as one handler of XLA's FFI, in C against jaxlib's header: built by jax.py where a compiler is, linked with
// liblittlecore alone. The attribute `call` says what to run, in words of 64 bits:
//
//   kernel, arguments, options, traced
//   for each argument: -1, or the number of its buffer, operands before results; + kPairs: int64 as pairs of int32
//   for each option: its bits
//   for each traced option: its place among the options, the operand that holds it, whether it is a double
#include <string.h>
#include <littlecore.h>
#include <xla/ffi/api/c_api.h>

enum { kMaxArguments = 32,
       kMaxOptions = 32 };
static const int64_t kPairs = 1 << 16;

static XLA_FFI_Error* fail(const XLA_FFI_CallFrame* frame, XLA_FFI_Error_Code code, const char* message) {
    XLA_FFI_Error_Create_Args args = {XLA_FFI_Error_Create_Args_STRUCT_SIZE, NULL, message, code};
    return frame->api->XLA_FFI_Error_Create(&args);
}

static XLA_FFI_Error_Code code_of(lc_status status) {
    switch (status) {
        case LC_INVALID_VALUE:
        case LC_INVALID_TYPE: return XLA_FFI_Error_Code_INVALID_ARGUMENT;
        case LC_INVALID_INDEX: return XLA_FFI_Error_Code_OUT_OF_RANGE;
        case LC_OUT_OF_MEMORY: return XLA_FFI_Error_Code_RESOURCE_EXHAUSTED;
        case LC_NOT_SUPPORTED: return XLA_FFI_Error_Code_UNIMPLEMENTED;
        case LC_INTERRUPTED: return XLA_FFI_Error_Code_CANCELLED;
        default: return XLA_FFI_Error_Code_INTERNAL;
    }
}

static DLDataType type_of(XLA_FFI_DataType t) {
    switch (t) {
        case XLA_FFI_DataType_PRED: return (DLDataType){kDLBool, 8, 1};
        case XLA_FFI_DataType_S32: return (DLDataType){kDLInt, 32, 1};
        case XLA_FFI_DataType_S64: return (DLDataType){kDLInt, 64, 1};
        case XLA_FFI_DataType_BF16: return (DLDataType){kDLBfloat, 16, 1};
        case XLA_FFI_DataType_F16: return (DLDataType){kDLFloat, 16, 1};
        case XLA_FFI_DataType_F32: return (DLDataType){kDLFloat, 32, 1};
        case XLA_FFI_DataType_F64: return (DLDataType){kDLFloat, 64, 1};
        default: return (DLDataType){0xff, 0, 0};                 // refused by its kernel
    }
}

static int64_t read_option(const XLA_FFI_Buffer* b, int is_double) {
    double real = 0;
    int64_t integer = 0, bits;
    switch (b->dtype) {
        case XLA_FFI_DataType_F32: real = *(const float*)b->data, integer = (int64_t)real; break;
        case XLA_FFI_DataType_F64: real = *(const double*)b->data, integer = (int64_t)real; break;
        case XLA_FFI_DataType_S32: integer = *(const int32_t*)b->data, real = (double)integer; break;
        default: integer = *(const int64_t*)b->data, real = (double)integer; break;   // jax.py sends no other
    }
    if (!is_double) return integer;
    memcpy(&bits, &real, sizeof bits);
    return bits;
}

// A version check, when XLA asks for it instead of a call.
static int tell_version(XLA_FFI_CallFrame* frame) {
    XLA_FFI_Extension_Base* e = frame->extension_start;
    if (!e || e->type != XLA_FFI_Extension_Metadata) return 0;
    XLA_FFI_Metadata* metadata = ((XLA_FFI_Metadata_Extension*)e)->metadata;
    metadata->api_version.major_version = XLA_FFI_API_MAJOR;
    metadata->api_version.minor_version = XLA_FFI_API_MINOR;
    return 1;
}

static XLA_FFI_Error* run(const XLA_FFI_CallFrame* frame, DLDevice device) {
    const XLA_FFI_Array* attribute = frame->attrs.size == 1 ? frame->attrs.attrs[0] : NULL;
    if (!attribute || attribute->dtype != XLA_FFI_DataType_S64 || attribute->size < 4) return fail(frame, XLA_FFI_Error_Code_INVALID_ARGUMENT, "littlecore: no attribute `call`");
    const int64_t *call = attribute->data, arguments = call[1], options = call[2], traced = call[3];
    if (arguments > kMaxArguments || options > kMaxOptions) return fail(frame, XLA_FFI_Error_Code_INVALID_ARGUMENT, "littlecore: more arguments than any kernel has");
    if (traced && device.device_type != kDLCPU) return fail(frame, XLA_FFI_Error_Code_UNIMPLEMENTED, "littlecore: an option is traced, and lies on the device: on CUDA it must be a Python number");

    struct {
        size_t size;
        void* workspace;
        size_t workspace_size;
        int64_t words[kMaxArguments + kMaxOptions];
    } args = {.size = 24 + 8 * (size_t)(arguments + options)};
    DLTensor tensors[kMaxArguments];
    const int64_t* places = call + 4;
    for (int i = 0; i < arguments; ++i) {
        if (places[i] < 0) continue;
        const int64_t pairs = places[i] & kPairs, at = places[i] & ~kPairs, operands = frame->args.size;
        const XLA_FFI_Buffer* b = at < operands ? frame->args.args[at] : frame->rets.rets[at - operands];
        tensors[i] = (DLTensor){b->data, device, (int32_t)(pairs ? b->rank - 1 : b->rank), pairs ? (DLDataType){kDLInt, 64, 1} : type_of(b->dtype), b->dims, NULL, 0};
        args.words[i] = (int64_t)(intptr_t)&tensors[i];
    }
    memcpy(args.words + arguments, places + arguments, 8 * (size_t)options);
    const int64_t* t = places + arguments + options;
    for (int i = 0; i < traced; ++i, t += 3) args.words[arguments + t[0]] = read_option(frame->args.args[t[1]], (int)t[2]);

    const lc_status status = lc_run((int)call[0], &args);
    return status == LC_OK ? NULL : fail(frame, code_of(status), lc_last_error());
}

XLA_FFI_Error* littlecore_xla_ffi(XLA_FFI_CallFrame* frame) {
    return tell_version(frame) ? NULL : run(frame, (DLDevice){kDLCPU, 0});
}

XLA_FFI_Error* littlecore_xla_ffi_cuda(XLA_FFI_CallFrame* frame) {
    if (tell_version(frame)) return NULL;
#if XLA_FFI_API_MAJOR == 0 && XLA_FFI_API_MINOR < 3
    return fail(frame, XLA_FFI_Error_Code_UNIMPLEMENTED, "littlecore: on CUDA this needs a jaxlib that tells the device, XLA FFI 0.3");
#else
    XLA_FFI_Stream_Get_Args stream = {XLA_FFI_Stream_Get_Args_STRUCT_SIZE, NULL, frame->ctx, NULL};
    XLA_FFI_DeviceOrdinal_Get_Args device = {XLA_FFI_DeviceOrdinal_Get_Args_STRUCT_SIZE, NULL, frame->ctx, 0};
    XLA_FFI_Error* error = frame->api->XLA_FFI_Stream_Get(&stream);
    if (!error) error = frame->api->XLA_FFI_DeviceOrdinal_Get(&device);
    if (error) return error;
    void* before = lc_set_stream(stream.stream);
    error = run(frame, (DLDevice){kDLCUDA, device.device_ordinal});
    lc_set_stream(before);
    return error;
#endif
}
