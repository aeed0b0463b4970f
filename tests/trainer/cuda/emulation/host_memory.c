// Memory of the emulation.
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "trainer/cuda/emulation/host_runtime.h"

struct area {
    char *start;
    size_t bytes;
    void *map;
    size_t map_bytes;
    bool pinned;
    struct area *next;
};

static struct area *areas;
static size_t used; // of the device's memory

static size_t unused(void) {
    size_t total, others;

    cuda_host_budget(&total, &others);
    return total > others + used ? total - others - used : 0;
}

// Memory: each allocation ends at a page that nobody may touch. Of large ones only the ends are
// poison, the rest zeros that the system has not made yet.
enum { POISON_WHOLE = 64 << 20, POISON_EDGE = 1 << 20 };

static cudaError_t area_new(void **ret, size_t bytes, bool pinned) {
    size_t page = 4096, size = (bytes + 15) & ~(size_t)15, whole = (size + page - 1) / page * page;
    struct area *a;

    if (!ret)
        return cuda_host_failed(cudaErrorInvalidValue);
    *ret = NULL;
    if (bytes == 0)
        return cudaSuccess;
    if (!pinned && bytes > unused())
        return cuda_host_failed(cudaErrorMemoryAllocation);
    a = cuda_host_take(sizeof *a);
    a->map_bytes = whole + 2 * page;
    a->map = mmap(NULL, a->map_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (a->map == MAP_FAILED || mprotect((char *)a->map + page, whole, PROT_READ | PROT_WRITE) != 0)
        cuda_host_die("no memory for %zu bytes", bytes);
    a->start = (char *)a->map + page + whole - size;
    a->bytes = bytes;
    a->pinned = pinned;
    a->next = areas;
    areas = a;
    cuda_host.objects++;
    used += pinned ? 0 : bytes;
    if (size > POISON_WHOLE) {
        memset(a->start, 0xff, POISON_EDGE);
        memset(a->start + size - POISON_EDGE, 0xff, POISON_EDGE);
    } else {
        memset(a->start, 0xff, size);
    }
    *ret = a->start;
    return cudaSuccess;
}

// It is given back even if an error is returned, which is one of earlier work.
static cudaError_t area_free(void *memory, bool pinned, cudaError_t earlier) {
    if (!memory)
        return earlier;
    cuda_host_finish_all();
    for (struct area **at = &areas; *at; at = &(*at)->next) {
        struct area *a = *at;
        if (a->start != memory || a->pinned != pinned)
            continue;
        *at = a->next;
        used -= pinned ? 0 : a->bytes;
        cuda_host.objects--;
        (void)munmap(a->map, a->map_bytes); // cannot fail: it is ours
        free(a);
        return earlier;
    }
    return cuda_host_failed(cudaErrorInvalidValue);
}

// Not while a stream is captured: that ends the capture.
static cudaError_t check_capture(void) {
    if (!cuda_host_is_capturing())
        return cudaSuccess;
    cuda_host_spoil_captures();
    return cuda_host_failed(cudaErrorStreamCaptureUnsupported);
}

static cudaError_t area_take(void **ret, size_t bytes, bool pinned) {
    cudaError_t error = check_capture();

    return error ? error : area_new(ret, bytes, pinned);
}

static cudaError_t area_give_back(void *memory, bool pinned, cudaError_t earlier) {
    cudaError_t error = memory ? check_capture() : cudaSuccess;

    return error ? error : area_free(memory, pinned, earlier);
}

cudaError_t cudaMalloc(void **ret, size_t bytes) {
    ENTER();
    return area_take(ret, bytes, false);
}

cudaError_t cudaFree(void *memory) {
    return area_give_back(memory, false, cuda_host_enter(__func__));
}

cudaError_t cudaHostAlloc(void **ret, size_t bytes, unsigned flags) {
    ENTER();
    return area_take(ret, bytes, true);
}

cudaError_t cudaMallocHost(void **ret, size_t bytes) {
    ENTER();
    return area_take(ret, bytes, true);
}

cudaError_t cudaFreeHost(void *memory) {
    return area_give_back(memory, true, cuda_host_enter(__func__));
}

cudaError_t cudaHostGetDevicePointer(void **ret, void *memory, unsigned flags) {
    ENTER();
    *ret = memory;
    return cudaSuccess;
}

cudaError_t cudaMemGetInfo(size_t *ret_free, size_t *ret_total) {
    size_t others;

    ENTER();
    cuda_host_budget(ret_total, &others);
    *ret_free = unused();
    return cudaSuccess;
}

enum cuda_host_place cuda_host_place(const void *at, size_t bytes) {
    const char *p = at;

    for (const struct area *a = areas; a; a = a->next) {
        if (p < a->start || p >= a->start + a->bytes)
            continue;
        if (p + bytes > a->start + a->bytes)
            cuda_host_die("%zu bytes at %zu of an allocation of %zu", bytes, (size_t)(p - a->start),
                          a->bytes);
        return a->pinned ? PLACE_PINNED : PLACE_DEVICE;
    }
    return PLACE_UNKNOWN;
}
