// host_threads - a kernel's blocks and threads on one host thread; see cuda_runtime_api.h.
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

// Where the running thread is.
struct cuda_host_now {
    struct uint3 thread, block;
    struct dim3 block_size, grid_size;
    unsigned linear_thread;
    void *shared; // dynamic shared memory, aligned to 16
};
extern struct cuda_host_now cuda_host_now;

// Returns when all threads of the block are at this `place` (a text: file and line).
void cuda_host_barrier(const char *place);
// The values of the 32 lanes of this warp; valid until the lane's next exchange.
const uint64_t *cuda_host_exchange(uint64_t value, const char *place);
// Ends the process if `mask` is not that of all lanes.
void cuda_host_mask(unsigned mask, const char *place);

// A kernel's launch: checks the configuration and issues it on the stream.
cudaError_t cuda_host_launch(const char *name, void (*run)(const void *args), const void *args,
                             size_t bytes, struct dim3 grid, struct dim3 block, size_t shared_bytes,
                             cudaStream_t stream);

// Of the runtime (host_runtime.h): `seed` is cuda_host_order's seed. Runs the whole grid now.
struct cuda_host_grid {
    const char *name;
    void (*run)(const void *args);
    const void *args;
    struct dim3 grid, block;
    size_t shared_bytes;
};
void cuda_host_run(const struct cuda_host_grid *g, uint64_t seed);
// The limits that a launch is checked against.
size_t cuda_host_shared_limit(void);
// Ends the process with a text that names the kernel, block and thread that run.
void cuda_host_die(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));

#ifdef __cplusplus
}
#endif

#endif
