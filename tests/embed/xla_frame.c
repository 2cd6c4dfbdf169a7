// XLA's side of a call, for test_jax_cuda.py: what a GPU's XLA would hand to the handler, of which nothing is here.
#include <stdlib.h>
#include <string.h>
#include <xla/ffi/api/c_api.h>

struct XLA_FFI_Error {
    XLA_FFI_Error_Code code;
    char text[1000];
};
struct XLA_FFI_ExecutionContext {
    void* stream;
    int32_t device;
    int asked;
};

static XLA_FFI_Error* error_create(XLA_FFI_Error_Create_Args* args) {
    XLA_FFI_Error* e = calloc(1, sizeof *e);
    e->code = args->errc;
    strncpy(e->text, args->message, sizeof e->text - 1);
    return e;
}

static XLA_FFI_Error* stream_get(XLA_FFI_Stream_Get_Args* args) {
    ++args->ctx->asked;
    args->stream = args->ctx->stream;
    return NULL;
}

static XLA_FFI_Error* device_get(XLA_FFI_DeviceOrdinal_Get_Args* args) {
    ++args->ctx->asked;
    args->device_ordinal = args->ctx->device;
    return NULL;
}

// y = handler(x) of n floats each, by the words of `call`; returns the error's code, 0 for none, and its text.
int run_on_floats(XLA_FFI_Handler* handler, void* stream, int device, void* x, void* y, int64_t n, int64_t* call, size_t words, char* text, int* asked) {
    XLA_FFI_Api api = {.struct_size = XLA_FFI_Api_STRUCT_SIZE, .XLA_FFI_Error_Create = error_create, .XLA_FFI_Stream_Get = stream_get, .XLA_FFI_DeviceOrdinal_Get = device_get};
    struct XLA_FFI_ExecutionContext context = {stream, device, 0};
    XLA_FFI_Buffer in = {XLA_FFI_Buffer_STRUCT_SIZE, NULL, XLA_FFI_DataType_F32, x, 1, &n}, out = in;
    out.data = y;
    XLA_FFI_Array words_of = {XLA_FFI_DataType_S64, words, call};
    void *args[] = {&in}, *rets[] = {&out}, *attrs[] = {&words_of};
    XLA_FFI_ArgType arg_type = XLA_FFI_ArgType_BUFFER;
    XLA_FFI_RetType ret_type = XLA_FFI_RetType_BUFFER;
    XLA_FFI_AttrType attr_type = XLA_FFI_AttrType_ARRAY;
    XLA_FFI_CallFrame frame = {
        .struct_size = XLA_FFI_CallFrame_STRUCT_SIZE,
        .api = &api,
        .ctx = &context,
        .stage = XLA_FFI_ExecutionStage_EXECUTE,
        .args = {XLA_FFI_Args_STRUCT_SIZE, NULL, 1, &arg_type, args},
        .rets = {XLA_FFI_Rets_STRUCT_SIZE, NULL, 1, &ret_type, rets},
        .attrs = {XLA_FFI_Attrs_STRUCT_SIZE, NULL, 1, &attr_type, NULL, attrs},
    };
    XLA_FFI_Error* e = handler(&frame);
    *asked = context.asked;
    strcpy(text, e ? e->text : "");
    const int code = e ? (int)e->code : 0;
    free(e);
    return code;
}
