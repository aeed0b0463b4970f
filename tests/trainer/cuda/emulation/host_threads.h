// host_threads - runs a kernel's blocks and threads on one host thread; see cuda_runtime_api.h.
// Each thread of a block is a fiber with a stack of its own; it gives way at barriers and
// exchanges.
#ifndef HOST_THREADS_H
#define HOST_THREADS_H

#include "trainer/cuda/emulation/cuda_runtime_api.h"

struct uint3 {
    unsigned x, y, z;
};
#ifdef __cplusplus
struct dim3 {
    unsigned x, y, z;
    dim3(unsigned a = 1, unsigned b = 1, unsigned c = 1) : x(a), y(b), z(c) {
    }
};
extern "C" {
#else
struct dim3 {
    unsigned x, y, z;
};
#endif

// The place of the thread that runs: CUDA's threadIdx and the like.
struct cuda_host_now {
    struct uint3 thread, block;
    struct dim3 block_size, grid_size;
    unsigned linear_thread;
    void *shared; // dynamic shared memory, aligned to 16
};
extern struct cuda_host_now cuda_host_now;

// Returns when all threads of the block have reached this `place` (a text: file and line).
void cuda_host_barrier(const char *place);
// The values of all 32 lanes of this warp, valid until the lane's next exchange.
const uint64_t *cuda_host_exchange(uint64_t value, const char *place);
// Ends the process if `mask` is not that of all lanes.
void cuda_host_mask(unsigned mask, const char *place);

// A kernel's launch: checks the configuration and issues it on the stream.
cudaError_t cuda_host_launch(const char *name, void (*run)(const void *args), const void *args,
                             size_t bytes, struct dim3 grid, struct dim3 block, size_t shared_bytes,
                             cudaStream_t stream);

// A launch. The runtime (host_runtime.h) runs all of it at once; `seed` is that of cuda_host_order.
struct cuda_host_grid {
    const char *name;
    void (*run)(const void *args);
    const void *args;
    struct dim3 grid, block;
    size_t shared_bytes;
};
void cuda_host_run(const struct cuda_host_grid *g, uint64_t seed);
// The shared memory that a launch may have at most.
size_t cuda_host_shared_limit(void);
// Ends the process with a text that names the kernel, block and thread that run.
void cuda_host_die(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));

#ifdef __cplusplus
}
#endif

#endif
