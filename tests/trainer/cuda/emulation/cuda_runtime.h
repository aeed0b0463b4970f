// cuda_runtime - the language of CUDA kernels as plain C++ functions; see cuda_runtime_api.h.
//
// A __shared__ variable is static, since blocks run one after another on one host thread. All of
// these variables are in one section, which is poisoned before each block. Warp functions take only
// the mask of all 32 lanes.
#ifndef CUDA_RUNTIME_H
#define CUDA_RUNTIME_H

#include <math.h>
#include <string.h>

#include "trainer/cuda/emulation/cuda_runtime_api.h"
#include "trainer/cuda/emulation/host_threads.h"

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)
#define __align__(n) __attribute__((aligned(n)))
#define __shared__ static __attribute__((section("cuda_shared")))

struct __align__(16) uint4 {
    unsigned x, y, z, w;
};
struct __align__(16) float4 {
    float x, y, z, w;
};
static inline float4 make_float4(float x, float y, float z, float w) {
    float4 r = {x, y, z, w};
    return r;
}
static inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) {
    uint4 r = {x, y, z, w};
    return r;
}

// The fiber that runs knows its place; see host_threads.h.
#define threadIdx cuda_host_now.thread
#define blockIdx cuda_host_now.block
#define blockDim cuda_host_now.block_size
#define gridDim cuda_host_now.grid_size

#define CUDA_HOST_TEXT_(x) #x
#define CUDA_HOST_TEXT(x) CUDA_HOST_TEXT_(x)
#define CUDA_HOST_PLACE __FILE__ ":" CUDA_HOST_TEXT(__LINE__)
// Barriers carry their place in the source: threads that wait at different ones are an error.
#define __syncthreads() cuda_host_barrier(CUDA_HOST_PLACE)
#define __syncwarp() ((void)cuda_host_exchange(0, CUDA_HOST_PLACE))
// Blocks run one after another: the order of writes needs no fence.
static inline void __threadfence(void) {
}

// The value of lane `from` of this warp.
template <typename T> static inline T cuda_host_shuffle(T value, int from, const char *place) {
    uint64_t bits = 0;
    memcpy(&bits, &value, sizeof value);
    bits = cuda_host_exchange(bits, place)[from & 31];
    memcpy(&value, &bits, sizeof value);
    return value;
}
static inline int cuda_host_lane(void) {
    return cuda_host_now.linear_thread & 31;
}
#define __shfl_sync(mask, v, lane)                                                                 \
    cuda_host_shuffle((cuda_host_mask(mask, CUDA_HOST_PLACE), v), lane, CUDA_HOST_PLACE)
#define __shfl_xor_sync(mask, v, bits)                                                             \
    cuda_host_shuffle((cuda_host_mask(mask, CUDA_HOST_PLACE), v), cuda_host_lane() ^ (bits),       \
                      CUDA_HOST_PLACE)
// A lane that would read beyond the warp keeps its value.
#define __shfl_down_sync(mask, v, by)                                                              \
    cuda_host_shuffle((cuda_host_mask(mask, CUDA_HOST_PLACE), v),                                  \
                      cuda_host_lane() + (by) < 32 ? cuda_host_lane() + (by) : cuda_host_lane(),   \
                      CUDA_HOST_PLACE)
static inline unsigned cuda_host_ballot(bool bit, const char *place) {
    const uint64_t *all = cuda_host_exchange(bit, place);
    unsigned bits = 0;
    for (int i = 0; i < 32; i++)
        bits |= (unsigned)all[i] << i;
    return bits;
}
#define __ballot_sync(mask, p)                                                                     \
    cuda_host_ballot((cuda_host_mask(mask, CUDA_HOST_PLACE), (p) != 0), CUDA_HOST_PLACE)
#define __any_sync(mask, p) (__ballot_sync(mask, p) != 0)
#define __all_sync(mask, p) (__ballot_sync(mask, p) == 0xffffffffu)

// Fibers switch only at barriers, so plain accesses are atomic.
template <typename T> static inline T atomicAdd(T *p, T by) {
    T old = *p;
    *p = old + by;
    return old;
}
template <typename T> static inline T atomicOr(T *p, T bits) {
    T old = *p;
    *p = old | bits;
    return old;
}
// No caches: loads of all kinds are plain.
template <typename T> static inline T __ldg(const T *p) {
    return *p;
}
template <typename T> static inline T __ldcg(const T *p) {
    return *p;
}

static inline float __uint_as_float(unsigned bits) {
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}
static inline unsigned __float_as_uint(float x) {
    unsigned bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}
static inline float __fmaf_rn(float a, float b, float c) {
    return fmaf(a, b, c);
}
static inline float __fmul_rn(float a, float b) {
    return a * b;
}
static inline float __fadd_rn(float a, float b) {
    return a + b;
}
static inline unsigned __umulhi(unsigned a, unsigned b) {
    return (unsigned)((uint64_t)a * b >> 32);
}
template <typename T> static inline T min(T a, T b) {
    return a < b ? a : b;
}
template <typename T> static inline T max(T a, T b) {
    return a > b ? a : b;
}

// A launch for LAUNCH_ONE in kernel.h: a function that calls the kernel with a copy of its
// arguments.
template <typename T> struct cuda_host_plain { typedef T type; };
template <typename T> struct cuda_host_plain<T &> { typedef T type; };
#define CUDA_HOST_LAUNCH(kernel, grid, block, shared, stream, args)                                \
    cuda_host_launch(                                                                              \
        #kernel, [](const void *p) { kernel(*(const cuda_host_plain<decltype(args)>::type *)p); }, \
        &(args), sizeof(args), grid, block, shared, stream)

#endif
