// cuda_runtime_api - the part of the CUDA runtime that the backend uses, on the host. Kernels run
// as plain functions: blocks one after another, the threads of a block as fibers.
//
// It replaces the toolkit's header of the same name. The CUDA backend's sources compile unchanged,
// and can be run and judged on a machine without a GPU. Names and meanings are the same; functions
// that the backend does not use are absent.
//
// Misuse that a device would ignore or punish later ends the process with a text: divergence at a
// barrier, a wait that nothing ends, accesses out of bounds (guard pages), a copy that leaves its
// allocation, work that a capture misses, a stream destroyed in a capture. Fresh memory is poison:
// every byte 0xff, a NaN in float, double and bfloat16.
#ifndef CUDA_RUNTIME_API_H
#define CUDA_RUNTIME_API_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define CUDART_VERSION 13000
#define CUDA_HOST 1 // this is the emulation

// The order of blocks, threads and streams. Results must not depend on it.
//   seed 0  in order; a stream's work runs as it is issued
//   seed 1  blocks and threads backwards; a stream's work runs as late as possible
//   others  all shuffled; streams wait and advance at random
void cuda_host_order(uint64_t seed);
// Runs only `blocks` blocks of a larger grid, with the first and the last; 0: all. For tests of
// addresses at sizes that would take too long.
void cuda_host_sample(unsigned blocks);
// The device that the functions below describe; 0: the compute capability of the newest.
void cuda_host_device(int major, int minor);
// The whole machine, one thing a line; NULL is the first two lines. A text without a gpu and
// without a driver gets the usual one. It heals what was lost, and begins to count anew. In another
// process: the text of the file that CUDA_HOST_MACHINE in the environment names.
//   driver 13000                   the newest CUDA that the driver knows; 0: there is none
//   gpu 9.0 16384 NAME             compute capability, MiB of memory; in this order from 0 on
//   others 512                     MiB of the gpu's memory that others hold
//   fail cudaGraphLaunch 3 719 stays   the third call of that function returns 719; `stays`: and
//                                  all calls after it, as with a context that is lost. "any": any
//                                  function; "kernel": the third kernel that runs, heard of later;
//                                  "kernel:adam_plain": the third of that name
//   idle                           kernels compute nothing: for tests of calls alone
//   then FILE                      when that has happened, FILE takes the place of the text's file
void cuda_host_machine(const char *text);
// CUDA_HOST_TRACE in the environment names a file that what the host asks for is added to, in
// order:
//   STREAM in|out|copy BYTES, STREAM kernel NAME, STREAM graph NUMBER, STREAM record|wait EVENT,
//   host waits EVENT
// What is captured is not in it.
// Calls since then of functions that can fail; the one that was made to fail, NULL if none was.
uint64_t cuda_host_calls(void);
const char *cuda_host_failed_call(void);
// Allocations, streams, events and graphs that were not given back.
int cuda_host_objects(void);
// Kernels launched since the start, replays counted.
uint64_t cuda_host_launches(void);
// Of the graph that was the i-th to be instantiated, counted from 0, of 256 at most: its nodes and
// those of the longest chain of them that run behind each other. False: there was none.
bool cuda_host_recorded(size_t i, int *ret_nodes, int *ret_chain);
// For kernels that are not CUDA's: `run` with a copy of `args`, in the order of the stream,
// captured as a kernel is.
typedef int cudaError_t;
typedef struct cuda_host_stream *cudaStream_t;
cudaError_t cuda_host_call(cudaStream_t stream, const char *name, void (*run)(void *args),
                           const void *args, size_t bytes);

enum {
    cudaSuccess = 0,
    cudaErrorInvalidValue = 1,
    cudaErrorMemoryAllocation = 2,
    cudaErrorInvalidConfiguration = 9,
    cudaErrorInsufficientDriver = 35,
    cudaErrorInvalidDeviceFunction = 98,
    cudaErrorNoDevice = 100,
    cudaErrorInvalidDevice = 101,
    cudaErrorNoKernelImageForDevice = 209,
    cudaErrorInvalidPtx = 218,
    cudaErrorJitCompilerNotFound = 221,
    cudaErrorUnsupportedPtxVersion = 222,
    cudaErrorJitCompilationDisabled = 223,
    cudaErrorInvalidResourceHandle = 400,
    cudaErrorNotReady = 600,
    cudaErrorIllegalAddress = 700,
    cudaErrorLaunchOutOfResources = 701,
    cudaErrorLaunchFailure = 719,
    cudaErrorStreamCaptureUnsupported = 900,
    cudaErrorStreamCaptureInvalidated = 901,
    cudaErrorStreamCaptureUnjoined = 904,
    cudaErrorCapturedEvent = 907,
    cudaErrorUnknown = 999,
};
const char *cudaGetErrorString(cudaError_t error);
const char *cudaGetErrorName(cudaError_t error);
cudaError_t cudaGetLastError(void);
cudaError_t cudaPeekAtLastError(void);

typedef struct {
    unsigned char bytes[16];
} cudaUUID_t;
struct cudaDeviceProp {
    char name[256];
    cudaUUID_t uuid;
    size_t totalGlobalMem, sharedMemPerBlock, sharedMemPerMultiprocessor, sharedMemPerBlockOptin;
    int regsPerBlock, warpSize, maxThreadsPerBlock, major, minor, multiProcessorCount;
    int l2CacheSize, maxThreadsPerMultiProcessor, integrated, canMapHostMemory;
    int pciBusID, pciDeviceID, pciDomainID, memoryBusWidth;
};
enum cudaDeviceAttr {
    cudaDevAttrMaxSharedMemoryPerBlockOptin = 97,
    cudaDevAttrMultiProcessorCount = 16,
    cudaDevAttrComputeCapabilityMajor = 75,
    cudaDevAttrComputeCapabilityMinor = 76,
};
enum { cudaDeviceScheduleAuto = 0, cudaDeviceScheduleBlockingSync = 4, cudaDeviceMapHost = 8 };
cudaError_t cudaGetDeviceCount(int *ret_count);
cudaError_t cudaSetDevice(int device);
cudaError_t cudaGetDevice(int *ret_device);
cudaError_t cudaSetDeviceFlags(unsigned flags);
cudaError_t cudaGetDeviceProperties(struct cudaDeviceProp *ret, int device);
cudaError_t cudaDeviceGetAttribute(int *ret, enum cudaDeviceAttr attribute, int device);
cudaError_t cudaDeviceGetStreamPriorityRange(int *ret_least, int *ret_greatest);
cudaError_t cudaDriverGetVersion(int *ret);
cudaError_t cudaRuntimeGetVersion(int *ret);
cudaError_t cudaDeviceSynchronize(void);
struct cudaFuncAttributes {
    size_t sharedSizeBytes;
    int numRegs, maxThreadsPerBlock;
};
cudaError_t cudaFuncGetAttributes(struct cudaFuncAttributes *ret, const void *kernel);
cudaError_t cudaDeviceReset(void);

enum { cudaHostAllocDefault = 0, cudaHostAllocPortable = 1, cudaHostAllocMapped = 2 };
cudaError_t cudaMalloc(void **ret, size_t bytes);
cudaError_t cudaFree(void *memory);
cudaError_t cudaHostAlloc(void **ret, size_t bytes, unsigned flags);
cudaError_t cudaMallocHost(void **ret, size_t bytes);
cudaError_t cudaFreeHost(void *memory);
cudaError_t cudaHostGetDevicePointer(void **ret, void *host, unsigned flags);
cudaError_t cudaMemGetInfo(size_t *ret_free, size_t *ret_total);
enum cudaMemcpyKind {
    cudaMemcpyHostToHost,
    cudaMemcpyHostToDevice,
    cudaMemcpyDeviceToHost,
    cudaMemcpyDeviceToDevice,
    cudaMemcpyDefault
};
cudaError_t cudaMemcpy(void *to, const void *from, size_t bytes, enum cudaMemcpyKind kind);
cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, enum cudaMemcpyKind kind,
                            cudaStream_t stream);
cudaError_t cudaMemset(void *memory, int value, size_t bytes);
cudaError_t cudaMemsetAsync(void *memory, int value, size_t bytes, cudaStream_t stream);

enum { cudaStreamDefault = 0, cudaStreamNonBlocking = 1 };
enum { cudaEventDefault = 0, cudaEventBlockingSync = 1, cudaEventDisableTiming = 2 };
enum { cudaEventRecordDefault = 0, cudaEventRecordExternal = 1 };
enum { cudaEventWaitDefault = 0, cudaEventWaitExternal = 1 };
typedef struct cuda_host_event *cudaEvent_t;
cudaError_t cudaStreamCreate(cudaStream_t *ret);
cudaError_t cudaStreamCreateWithFlags(cudaStream_t *ret, unsigned flags);
cudaError_t cudaStreamCreateWithPriority(cudaStream_t *ret, unsigned flags, int priority);
cudaError_t cudaStreamDestroy(cudaStream_t stream);
cudaError_t cudaStreamSynchronize(cudaStream_t stream);
cudaError_t cudaStreamQuery(cudaStream_t stream);
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned flags);
cudaError_t cudaEventCreate(cudaEvent_t *ret);
cudaError_t cudaEventCreateWithFlags(cudaEvent_t *ret, unsigned flags);
cudaError_t cudaEventDestroy(cudaEvent_t event);
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream);
cudaError_t cudaEventRecordWithFlags(cudaEvent_t event, cudaStream_t stream, unsigned flags);
cudaError_t cudaEventQuery(cudaEvent_t event);
cudaError_t cudaEventSynchronize(cudaEvent_t event);
cudaError_t cudaEventElapsedTime(float *ret_ms, cudaEvent_t start, cudaEvent_t end);
typedef void (*cudaHostFn_t)(void *data);
cudaError_t cudaLaunchHostFunc(cudaStream_t stream, cudaHostFn_t run, void *data);

enum cudaStreamCaptureMode {
    cudaStreamCaptureModeGlobal,
    cudaStreamCaptureModeThreadLocal,
    cudaStreamCaptureModeRelaxed
};
enum cudaStreamCaptureStatus {
    cudaStreamCaptureStatusNone,
    cudaStreamCaptureStatusActive,
    cudaStreamCaptureStatusInvalidated
};
typedef struct cuda_host_graph *cudaGraph_t;
typedef struct cuda_host_graph *cudaGraphExec_t;
typedef struct cuda_host_node *cudaGraphNode_t;
cudaError_t cudaStreamBeginCapture(cudaStream_t stream, enum cudaStreamCaptureMode mode);
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t *ret_graph);
cudaError_t cudaStreamIsCapturing(cudaStream_t stream, enum cudaStreamCaptureStatus *ret);
enum { cudaGraphInstantiateFlagUseNodePriority = 8 };
cudaError_t cudaGraphInstantiate(cudaGraphExec_t *ret, cudaGraph_t graph, unsigned long long flags);
cudaError_t cudaGraphGetNodes(cudaGraph_t graph, cudaGraphNode_t *ret_nodes, size_t *count);
cudaError_t cudaGraphLaunch(cudaGraphExec_t graph, cudaStream_t stream);
cudaError_t cudaGraphUpload(cudaGraphExec_t graph, cudaStream_t stream);
cudaError_t cudaGraphDestroy(cudaGraph_t graph);
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t graph);

#ifdef __cplusplus
}
#endif

#endif
