// kernel - what the files of kernels share: access to tensors, sums over a block, launches.
//
// A kernel is a device function NAME(const struct ARGS a, const bool bf16). KERNEL makes NAME_f32
// and NAME_bf16 of it, so that the element is a constant when they are compiled.
//
// "8 channels" or a group: channels 8 g .. 8 g + 7 of a pixel, the unit of every access.
#ifndef KERNEL_H
#define KERNEL_H

#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include "cuda/kernels/launch.h"

#define INLINE static __device__ __forceinline__
// For launchers. Kernels use CUDA's min and max.
#define HOST_MIN(a, b) ((a) < (b) ? (a) : (b))
#define HOST_MAX(a, b) ((a) > (b) ? (a) : (b))

// The largest block is stated, so that the compiler gives a thread no more registers than fit.
#define KERNEL(name, threads, args)                                                                \
    static __global__ void __launch_bounds__(threads) name##_f32(const struct args a) {            \
        name(a, false);                                                                            \
    }                                                                                              \
    static __global__ void __launch_bounds__(threads) name##_bf16(const struct args a) {           \
        name(a, true);                                                                             \
    }
// A kernel without elements: only floats, or only tables.
#define KERNEL_PLAIN(name, threads, args)                                                          \
    static __global__ void __launch_bounds__(threads) name##_plain(const struct args a) {          \
        name(a);                                                                                   \
    }

// CUDA_HOST: the emulation of tests/trainer/cuda/emulation, where a launch is a function call.
#ifdef CUDA_HOST
#define LAUNCH_ONE(l, kernel, grid, block, shared, args)                                           \
    CUDA_HOST_LAUNCH(kernel, grid, block, shared, (l)->stream, args)
#define DYNAMIC_SHARED(name) uint4 *name = (uint4 *)cuda_host_now.shared
#else
#define LAUNCH_ONE(l, kernel, grid, block, shared, args)                                           \
    launch_kernel(l, (const void *)kernel, grid, block, shared, (void *)&(args))
#define DYNAMIC_SHARED(name) extern __shared__ uint4 name[]
// Launches a kernel. Above 48 KiB a block's dynamic shared memory has to be allowed. That limit is
// always set to the device's largest: a lower one, set for a small launch, would still hold when
// larger launches that were recorded before become a graph.
static inline cudaError_t launch_kernel(const struct cuda_launch *l, const void *kernel, dim3 grid,
                                        dim3 block, size_t shared, void *args) {
    void *list[] = {args};

    if (shared > 48 * 1024) {
        cudaError_t error = cudaFuncSetAttribute(
            kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, (int)l->limits->shared_bytes);
        if (error)
            return error;
    }
    return cudaLaunchKernel(kernel, grid, block, list, shared, l->stream);
}
#endif

// Launches the variant of the element. `args` is passed by value.
#define LAUNCH(l, name, grid, block, shared, args)                                                 \
    ((l)->element == CUDA_BF16 ? LAUNCH_ONE(l, name##_bf16, grid, block, shared, args)             \
                               : LAUNCH_ONE(l, name##_f32, grid, block, shared, args))
#define LAUNCH_PLAIN(l, name, grid, block, shared, args)                                           \
    LAUNCH_ONE(l, name##_plain, grid, block, shared, args)

// The most groups of a tensor: kernels count them in 31 bits. That is 32 GiB of bfloat16.
#define GROUPS_MAX (((size_t)1 << 31) - 1)
// Images are the y or z of a grid, which CUDA limits to this.
#define PICTURES_MAX 65535 // a grid's y and z

// Whether the kernels can count the groups of `pixels` pixels with c channels.
static inline bool takes_pixels(size_t pixels, int c) {
    return pixels > 0 && pixels <= GROUPS_MAX &&
           pixels * (size_t)(cuda_channels(c) / 8) <= GROUPS_MAX;
}

// The same for n images of h x w pixels with a border of `pad`.
static inline bool takes(int n, int h, int w, int pad, int c) {
    if (n < 1 || n > PICTURES_MAX || h < 1 || w < 1)
        return false;
    return (size_t)(h + 2 * pad) * (size_t)(w + 2 * pad) <= GROUPS_MAX &&
           takes_pixels((size_t)n * (size_t)(h + 2 * pad) * (size_t)(w + 2 * pad), c);
}

// Blocks of `threads` for `count` things.
static inline unsigned blocks_for(size_t count, unsigned threads) {
    return (unsigned)((count + threads - 1) / threads);
}

// 8 channels as they are in memory: 16 bytes of bfloat16, or 32 of float. b is not set for
// bfloat16.
struct raw8 {
    uint4 a, b; // b: float only
};

// Reads group i of a tensor that nothing writes during the kernel (the read-only cache).
INLINE raw8 fetch_raw(const void *p, size_t i, bool bf16) {
    raw8 r;

    if (bf16) {
        r.a = __ldg((const uint4 *)p + i);
    } else {
        r.a = __ldg((const uint4 *)p + 2 * i);
        r.b = __ldg((const uint4 *)p + 2 * i + 1);
    }
    return r;
}

// Reads group i of any memory, also shared, or that this kernel writes.
INLINE raw8 read_raw(const void *p, size_t i, bool bf16) {
    raw8 r;

    if (bf16) {
        r.a = ((const uint4 *)p)[i];
    } else {
        r.a = ((const uint4 *)p)[2 * i];
        r.b = ((const uint4 *)p)[2 * i + 1];
    }
    return r;
}

// Writes group i; the bits stay as they are.
INLINE void write_raw(void *p, size_t i, bool bf16, raw8 r) {
    if (bf16) {
        ((uint4 *)p)[i] = r.a;
    } else {
        ((uint4 *)p)[2 * i] = r.a;
        ((uint4 *)p)[2 * i + 1] = r.b;
    }
}

// Two bfloat16 of a word as floats: a bfloat16 is the upper half of a float.
INLINE void unpack2(unsigned u, float *ret_low, float *ret_high) {
    *ret_low = __uint_as_float(u << 16);
    *ret_high = __uint_as_float(u & 0xffff0000u);
}

// Exact in both types.
INLINE void unpack8(raw8 r, bool bf16, float v[8]) {
    if (bf16) {
        unpack2(r.a.x, &v[0], &v[1]);
        unpack2(r.a.y, &v[2], &v[3]);
        unpack2(r.a.z, &v[4], &v[5]);
        unpack2(r.a.w, &v[6], &v[7]);
    } else {
        v[0] = __uint_as_float(r.a.x);
        v[1] = __uint_as_float(r.a.y);
        v[2] = __uint_as_float(r.a.z);
        v[3] = __uint_as_float(r.a.w);
        v[4] = __uint_as_float(r.b.x);
        v[5] = __uint_as_float(r.b.y);
        v[6] = __uint_as_float(r.b.z);
        v[7] = __uint_as_float(r.b.w);
    }
}

// Two floats, rounded to nearest even, in a word; the lower channel in the lower half.
INLINE unsigned pack2(float low, float high) {
    __nv_bfloat162 b = __floats2bfloat162_rn(low, high);
    unsigned u;

    memcpy(&u, &b, sizeof u);
    return u;
}

// Rounds 8 floats to the element.
INLINE raw8 pack8(const float v[8], bool bf16) {
    raw8 r;

    if (bf16) {
        r.a =
            make_uint4(pack2(v[0], v[1]), pack2(v[2], v[3]), pack2(v[4], v[5]), pack2(v[6], v[7]));
    } else {
        r.a = make_uint4(__float_as_uint(v[0]), __float_as_uint(v[1]), __float_as_uint(v[2]),
                         __float_as_uint(v[3]));
        r.b = make_uint4(__float_as_uint(v[4]), __float_as_uint(v[5]), __float_as_uint(v[6]),
                         __float_as_uint(v[7]));
    }
    return r;
}

INLINE void fetch8(const void *p, size_t i, bool bf16, float v[8]) {
    unpack8(fetch_raw(p, i, bf16), bf16, v);
}

INLINE void write8(void *p, size_t i, bool bf16, const float v[8]) {
    write_raw(p, i, bf16, pack8(v, bf16));
}

// One element as a float; i counts elements. For channels that do not begin at a group.
INLINE float fetch1(const void *p, size_t i, bool bf16) {
    if (bf16)
        return __uint_as_float((unsigned)__ldg((const unsigned short *)p + i) << 16);
    return __ldg((const float *)p + i);
}

// Channels first .. first + 7 of a parameter p [c]; `other` for surplus channels.
INLINE void fetch_param(const float *p, int first, int c, float other, float v[8]) {
#pragma unroll
    for (int i = 0; i < 8; i++)
        v[i] = first + i < c ? __ldg(p + first + i) : other;
}

INLINE void zero8(float v[8]) {
#pragma unroll
    for (int i = 0; i < 8; i++)
        v[i] = 0;
}

// How a block divides channels and pixels. It works on `groups` groups of channels side by side,
// with `lanes` threads for each. Thread lane * groups + group takes every lanes-th pixel, so that
// neighbouring threads read neighbouring memory. Threads beyond groups * lanes idle, but take part
// in sums. (These lanes are not those of a warp.)
struct tiling {
    int groups, lanes, chunks; // chunks: blocks that have all groups of a pixel
};

// Divides all_groups evenly into chunks of at most `most`. At least one lane: threads >= most.
static inline struct tiling tiling_of(int all_groups, int most, int threads) {
    struct tiling t;

    t.chunks = (all_groups + most - 1) / most;
    t.groups = (all_groups + t.chunks - 1) / t.chunks;
    t.lanes = threads / t.groups;
    return t;
}

// Shared floats that block_sum8 needs for a block of `threads`: every thread's 8 numbers, the
// teams' sums, and the totals of at most 32 groups.
#define SUM_FLOATS(threads) ((threads)*8 + (threads) + 256)

// Sums v over the lanes of each group; every thread gets the sum of its group. All threads of the
// block call it, idle ones with a valid group. Teams of threads sum runs of lanes, then the teams'
// sums are added: the order depends on the tiling alone.
INLINE void block_sum8(float *scratch, int groups, int lanes, int group, float v[8]) {
    int threads = (int)blockDim.x, t = (int)threadIdx.x;
    // A value is a channel of a group. A thread sums one value over a team's lanes.
    int values = groups * 8, teams = min(threads / values, lanes);
    float *of_team = scratch + threads * 8, *total = of_team + threads;

    if (t < groups * lanes) {
        *(float4 *)(scratch + t * 8) = make_float4(v[0], v[1], v[2], v[3]);
        *(float4 *)(scratch + t * 8 + 4) = make_float4(v[4], v[5], v[6], v[7]);
    }
    __syncthreads();
    if (t < teams * values) {
        int team = t / values, value = t % values;
        int from = lanes * team / teams, to = lanes * (team + 1) / teams;
        float sum = 0;
        for (int i = from; i < to; i++)
            sum += scratch[i * values + value];
        of_team[t] = sum;
    }
    __syncthreads();
    if (t < values) {
        float sum = 0;
        for (int i = 0; i < teams; i++)
            sum += of_team[i * values + t];
        total[t] = sum;
    }
    __syncthreads();
#pragma unroll
    for (int i = 0; i < 8; i++)
        v[i] = total[group * 8 + i];
    // No barrier: in the next sum `total` is written behind two of them.
}

// The sum of x over a block of at most 1024 threads, in every thread. scratch: 32 doubles of shared
// memory. The order is fixed: halves of each warp, then the warps in their order.
INLINE double block_sum(double *scratch, double x) {
    int t = (int)threadIdx.x, warps = (int)blockDim.x / 32;
    double sum = 0;

#pragma unroll
    for (int by = 16; by > 0; by /= 2)
        x += __shfl_xor_sync(0xffffffffu, x, by);
    if (t % 32 == 0)
        scratch[t / 32] = x;
    __syncthreads();
    // All threads do this, so that no further exchange is needed.
    for (int i = 0; i < warps; i++)
        sum += scratch[i];
    __syncthreads(); // before the scratch is used again
    return sum;
}

// Whether this block is the last of `blocks` that came here. Then all that the others wrote before
// is visible, and the counter is 0 again. All threads call it; `flag` is in shared memory.
INLINE bool is_last_block(unsigned *counter, unsigned blocks, int *flag) {
    // This block's writes come before its count.
    __threadfence();
    __syncthreads();
    if (threadIdx.x == 0) {
        *flag = atomicAdd(counter, 1u) == blocks - 1;
        if (*flag)
            *counter = 0;
    }
    __syncthreads();
    // Reads of the other blocks' writes come after their counts.
    __threadfence();
    return *flag;
}

#endif
