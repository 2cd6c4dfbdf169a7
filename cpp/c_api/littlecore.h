// littlecore's kernels for C and everything that can call C: forward and backward pairs on the caller's memory.
//
//     lc_layer_norm_forward_args args = {
//         sizeof args, .x = &x, .y = &y, .base = &base, .rest = &rest, .rstd = &rstd, .eps = 1e-5};
//     if (lc_layer_norm_forward(&args) != LC_OK) puts(lc_last_error());
//
// Tensors are DLPack's DLTensor, on the CPU or all on one CUDA device, aligned to their elements. What is optional may be
// NULL; an optional output that is NULL is not computed. Outputs overwrite, and overlap nothing. Arguments are checked before
// anything is written.
// Every function may be called from any thread. Results have the same bits for any number of threads.
#pragma once
#include <stddef.h>
#include <stdint.h>

// DLPack's own header, where it is used, goes before this one.
#ifndef DLPACK_DLPACK_H_
#define DLPACK_DLPACK_H_
typedef enum { kDLCPU = 1,
               kDLCUDA = 2 } DLDeviceType;
typedef enum { kDLInt = 0,
               kDLUInt = 1,
               kDLFloat = 2,
               kDLBfloat = 4,
               kDLBool = 6 } DLDataTypeCode;
typedef struct {
    int32_t device_type;
    int32_t device_id;
} DLDevice;
typedef struct {
    uint8_t code, bits;
    uint16_t lanes;
} DLDataType;
typedef struct {
    void* data;
    DLDevice device;
    int32_t ndim;
    DLDataType dtype;
    int64_t* shape;
    int64_t* strides;             // in elements; NULL: contiguous
    uint64_t byte_offset;
} DLTensor;
#endif

#ifdef __cplusplus
extern "C" {
#endif

#define LC_EXPORT __attribute__((visibility("default")))

// Programs run with any library of the same major number, whose minor number is not below that they were compiled with.
#define LC_ABI_MAJOR 1
#define LC_ABI_MINOR 4

typedef enum lc_status {
    LC_OK = 0,
    LC_INVALID_VALUE = 1,         // a shape, a size, an option, or memory that must not be shared
    LC_INVALID_TYPE = 2,          // a dtype, a device
    LC_INVALID_INDEX = 3,         // an index in the data
    LC_OUT_OF_MEMORY = 4,
    LC_NOT_SUPPORTED = 5,
    LC_INTERRUPTED = 6,           // Ctrl-C, where Python has asked for it
    LC_FAILED = 7,
} lc_status;

LC_EXPORT lc_status lc_check_abi(int major, int minor);       // LC_ABI_MAJOR, LC_ABI_MINOR; else LC_NOT_SUPPORTED
LC_EXPORT const char* lc_version(void);                       // "0.1.0"
LC_EXPORT const char* lc_last_error(void);                    // of this thread's last call that failed; never NULL

// ---- calls ----------------------------------------------------------------------------------------------------------

// What every args struct begins with. `size` is sizeof(the struct): members added in later versions are then known to be
// missing, and take their usual values.
//
// On the CPU, scratch memory comes from `workspace` where it is given: lc_workspace_size says how much. A workspace of another call at
// the same time must be another one. Without, it comes from the library, which keeps it: a second call asks the system for
// nothing.
#define LC_CALL_FIELDS \
    size_t size; \
    void* workspace; \
    size_t workspace_size;

LC_EXPORT lc_status lc_run(int kernel, const void* args);     // kernel: LC_..., args: its struct. lc_<kernel>() is the same, typed

// The bytes of scratch that lc_run would use for these arguments and the present number of threads. Shapes, dtypes and
// options count, data may be NULL.
LC_EXPORT lc_status lc_workspace_size(int kernel, const void* args, size_t* bytes);

// Where this thread's later calls on CUDA tensors run: a cudaStream_t of their device, NULL for the default one. Returns
// what it was. Such a call returns when its work is queued; its scratch is the library's, and indices in the data, which the
// host cannot check, stop the device instead.
LC_EXPORT void* lc_set_stream(void* stream);

// What the outputs must be: entry i is for the i-th output of the kernel, whose pointers in args do not matter. ndim is -1
// for one that makes no sense with these inputs.
#define LC_MAX_DIMS 16
typedef struct lc_shape {
    int32_t ndim;
    DLDataType dtype;
    int64_t shape[LC_MAX_DIMS];
} lc_shape;
LC_EXPORT lc_status lc_output_shapes(int kernel, const void* args, lc_shape* outputs);

// Every kernel described, for bindings that are made of data: see cpp/c_api/kernels.def for the language. NULL past the last.
typedef struct lc_kernel_info {
    const char *name, *inputs, *outputs, *options, *text;
} lc_kernel_info;
LC_EXPORT const lc_kernel_info* lc_kernel(int kernel);

// ---- threads --------------------------------------------------------------------------------------------------------

LC_EXPORT int lc_num_threads(void);
LC_EXPORT lc_status lc_set_num_threads(int n);

// The caller's own threads instead of the library's. run() calls work(job, i) once for every i from 0 to participants - 1,
// on whatever threads it likes, at once or in turn, and returns when all have returned. threads: the most participants.
typedef struct lc_thread_pool {
    size_t size;                  // sizeof(lc_thread_pool)
    int threads;
    void (*run)(void* context, int participants, void (*work)(void* job, int i), void* job);
    void* context;
} lc_thread_pool;
LC_EXPORT lc_status lc_set_thread_pool(const lc_thread_pool* pool);   // NULL: the library's again, as in a forked child. While nothing runs

#include "littlecore_kernels.h"

#ifdef __cplusplus
}
#endif
