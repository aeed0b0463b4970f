// The CUDA backend's memory, and plain copies between it and the host.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/util.h"
#include "cuda/cuda.h"

// Rounded up: a small allocation is not reported as 0.
static size_t mebibytes(size_t bytes) {
    return (bytes + (1 << 20) - 1) >> 20;
}

int cuda_memory_error(const struct cuda_device *d, const char *what, size_t bytes,
                      cudaError_t code) {
    size_t unused = 0, total = 0;
    char more[40] = "";

    if (code != cudaErrorMemoryAllocation)
        return cuda_error(ERR_DEVICE_LOST, what, code);
    (void)cudaGetLastError();              // reported here
    (void)cudaMemGetInfo(&unused, &total); // both 0 if it fails
    if (bytes)
        (void)snprintf(more, sizeof more, " of %zu MiB", mebibytes(bytes)); // fits
    return err_set(ERR_LIMIT,
                   "GPU %d (%s) has no memory left for %s%s: %zu of its %zu MiB are free, %zu hold "
                   "what this process has",
                   d->gpu, d->name, what, more, unused >> 20, total >> 20, mebibytes(d->bytes));
}

// Page-locked memory of the host. Only from there do copies run beside the host.
int cuda_pinned_new(size_t bytes, unsigned flags, void **ret_memory) {
    cudaError_t code = cudaHostAlloc(ret_memory, bytes, flags);

    if (code == cudaErrorMemoryAllocation) {
        (void)cudaGetLastError(); // reported here
        return err_set(ERR_LIMIT,
                       "the host has no %zu MiB of memory that can be pinned for the GPU",
                       mebibytes(bytes));
    }
    CUDA(ERR_DEVICE, code);
    return ERR_OK;
}

int cuda_entry_memory_new(struct device *device, size_t bytes, void **ret_memory) {
    struct cuda_device *d = cuda_of(device);
    struct cuda_block *block;
    void *memory;
    // cudaMalloc of 0 bytes may give NULL, which memory_free ignores.
    cudaError_t code = cudaMalloc(&memory, MAX(bytes, 1));

    if (code != cudaSuccess)
        return cuda_memory_error(d, "an allocation", bytes, code);
    block = xmalloc(sizeof *block);
    *block = (struct cuda_block){memory, bytes, d->blocks};
    d->blocks = block;
    d->bytes += bytes;
    // Ops of any stream may use it next, so the host waits for the zeros.
    code = cudaMemsetAsync(memory, 0, bytes, cuda_stream_of(d));
    if (code == cudaSuccess)
        code = cudaStreamSynchronize(cuda_stream_of(d));
    if (code != cudaSuccess) {
        cuda_entry_memory_free(device, memory);
        return cuda_error(ERR_DEVICE, "zeroing memory", code);
    }
    d->peak_bytes = MAX(d->peak_bytes, d->bytes);
    *ret_memory = memory;
    return ERR_OK;
}

void cuda_entry_memory_free(struct device *device, void *memory) {
    struct cuda_device *d = cuda_of(device);
    struct cuda_block **at = &d->blocks;

    if (!memory)
        return;
    // A model makes few allocations, and frees them at its end.
    while (*at && (*at)->memory != memory)
        at = &(*at)->next;
    struct cuda_block *block = *at;
    if (!block)
        BUG("this memory is none of the device's");
    d->bytes -= block->bytes;
    *at = block->next;
    free(block);
    // Ops in flight may use it. Errors are ignored: a lost device has nothing to wait for or to
    // free.
    (void)cudaDeviceSynchronize();
    (void)cudaFree(memory);
}

int cuda_entry_shared_new(struct device *device, size_t bytes, void **ret_memory) {
    void *memory, *same;
    int err = cuda_pinned_new(MAX(bytes, 1), cudaHostAllocMapped, &memory);

    if (err)
        return err;
    // The contract gives host and device one pointer, which unified addressing provides.
    cudaError_t code = cudaHostGetDevicePointer(&same, memory, 0);
    if (code != cudaSuccess || same != memory) {
        (void)cudaFreeHost(memory); // it is not used
        CUDA(ERR_DEVICE, code);
        return err_set(ERR_DEVICE, "the GPU and the host address their memory differently");
    }
    memset(memory, 0, bytes);
    *ret_memory = memory;
    return ERR_OK;
}

void cuda_entry_shared_free(struct device *device, void *memory) {
    if (!memory)
        return;
    // As in memory_free: kernels may still write to it.
    (void)cudaDeviceSynchronize();
    (void)cudaFreeHost(memory);
}

size_t cuda_entry_memory_peak(struct device *device) {
    return cuda_of(device)->peak_bytes;
}

static int copy_and_wait(struct device *device, void *to, const void *from, size_t bytes,
                         enum cudaMemcpyKind kind) {
    cudaStream_t stream = cuda_stream_of(cuda_of(device));

    CUDA(ERR_DEVICE_LOST, cudaMemcpyAsync(to, from, bytes, kind, stream));
    CUDA(ERR_DEVICE_LOST, cudaStreamSynchronize(stream));
    return ERR_OK;
}

// One pinned allocation, cut into slots: each one costs a call of the driver.
int cuda_uploads_open(struct cuda_device *d) {
    int err = cuda_entry_shared_new(&d->base, (size_t)CUDA_UPLOADS * CUDA_UPLOAD_BYTES,
                                    &d->upload_memory);

    if (err)
        return err;
    for (int i = 0; i < CUDA_UPLOADS; i++) {
        d->uploads[i].host = (char *)d->upload_memory + (size_t)i * CUDA_UPLOAD_BYTES;
        CUDA(ERR_DEVICE, cudaEventCreateWithFlags(&d->uploads[i].sent, cudaEventDisableTiming));
    }
    return ERR_OK;
}

void cuda_uploads_close(struct cuda_device *d) {
    cuda_entry_shared_free(&d->base, d->upload_memory);
    for (int i = 0; i < CUDA_UPLOADS; i++)
        if (d->uploads[i].sent)
            (void)cudaEventDestroy(d->uploads[i].sent); // while closing, failures are ignored
}

int cuda_upload_send(struct cuda_device *d, void *to, const void *from, size_t bytes) {
    struct cuda_upload *u = &d->uploads[d->next_upload];
    cudaStream_t stream = d->launches[0].stream;

    d->next_upload = (d->next_upload + 1) % CUDA_UPLOADS;
    // Waits only if the slot's last copy, CUDA_UPLOADS ago, is still in flight. An event that was
    // never recorded counts as reached.
    CUDA(ERR_DEVICE_LOST, cudaEventSynchronize(u->sent));
    memcpy(u->host, from, bytes);
    CUDA(ERR_DEVICE_LOST, cudaMemcpyAsync(to, u->host, bytes, cudaMemcpyHostToDevice, stream));
    CUDA(ERR_DEVICE_LOST, cudaEventRecord(u->sent, stream));
    return ERR_OK;
}

// A small copy goes through a slot, so that the host need not wait for earlier work.
int cuda_entry_copy_in(struct device *device, void *to, const void *from, size_t bytes) {
    if (bytes <= CUDA_UPLOAD_BYTES)
        return cuda_upload_send(cuda_of(device), to, from, bytes);
    return copy_and_wait(device, to, from, bytes, cudaMemcpyHostToDevice);
}

int cuda_entry_copy_out(struct device *device, void *to, const void *from, size_t bytes) {
    return copy_and_wait(device, to, from, bytes, cudaMemcpyDeviceToHost);
}

// An op of its stream, which a section records.
int cuda_entry_copy(struct device *device, void *to, const void *from, size_t bytes) {
    CUDA(ERR_DEVICE_LOST, cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice,
                                          cuda_stream_of(cuda_of(device))));
    return ERR_OK;
}
