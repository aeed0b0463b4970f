// kernel - what the files of kernels share: access to tensors, sums over a block, launches.
//
// A kernel is a device function NAME(const struct ARGS a, const bool bf16); KERNEL makes NAME_f32
// and NAME_bf16 of it, so that the element is known when it is compiled. "8 channels" or a group:
// channels 8 g .. 8 g + 7 of a pixel.
#ifndef KERNEL_H
#define KERNEL_H

#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include "cuda/kernels/launch.h"

#define INLINE static __device__ __forceinline__
#define HOST_MIN(a, b) ((a) < (b) ? (a) : (b))
#define HOST_MAX(a, b) ((a) > (b) ? (a) : (b))

#define KERNEL(name, threads, args)                                                                \
    static __global__ void __launch_bounds__(threads) name##_f32(const struct args a) {            \
        name(a, false);                                                                            \
    }                                                                                              \
    static __global__ void __launch_bounds__(threads) name##_bf16(const struct args a) {           \
        name(a, true);                                                                             \
    }
// One that has no elements.
#define KERNEL_PLAIN(name, threads, args)                                                          \
    static __global__ void __launch_bounds__(threads) name##_plain(const struct args a) {          \
        name(a);                                                                                   \
    }

#ifdef CUDA_HOST
#define LAUNCH_ONE(l, kernel, grid, block, shared, args)                                           \
    CUDA_HOST_LAUNCH(kernel, grid, block, shared, (l)->stream, args)
#define DYNAMIC_SHARED(name) uint4 *name = (uint4 *)cuda_host_now.shared
#else
#define LAUNCH_ONE(l, kernel, grid, block, shared, args)                                           \
    launch_kernel(l, (const void *)kernel, grid, block, shared, (void *)&(args))
#define DYNAMIC_SHARED(name) extern __shared__ uint4 name[]
// What a kernel may have at most is set the same at every launch: less, set for a small one, would
// stand when larger ones that were recorded before it become a graph.
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

#define LAUNCH(l, name, grid, block, shared, args)                                                 \
    ((l)->element == CUDA_BF16 ? LAUNCH_ONE(l, name##_bf16, grid, block, shared, args)             \
                               : LAUNCH_ONE(l, name##_f32, grid, block, shared, args))
#define LAUNCH_PLAIN(l, name, grid, block, shared, args)                                           \
    LAUNCH_ONE(l, name##_plain, grid, block, shared, args)

// The most groups of a tensor: kernels count them in 31 bits (32 GiB of bfloat16).
#define GROUPS_MAX (((size_t)1 << 31) - 1)
#define PICTURES_MAX 65535 // a grid's y and z

// Whether kernels take so many pixels of c channels, and n pictures of h x w pixels with a border.
static inline bool takes_pixels(size_t pixels, int c) {
    return pixels > 0 && pixels <= GROUPS_MAX &&
           pixels * (size_t)(cuda_channels(c) / 8) <= GROUPS_MAX;
}

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

// 8 channels in memory.
struct raw8 {
    uint4 a, b; // b: float only
};

// Group i of a tensor that no one writes meanwhile.
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

INLINE void write_raw(void *p, size_t i, bool bf16, raw8 r) {
    if (bf16) {
        ((uint4 *)p)[i] = r.a;
    } else {
        ((uint4 *)p)[2 * i] = r.a;
        ((uint4 *)p)[2 * i + 1] = r.b;
    }
}

INLINE void unpack2(unsigned u, float *ret_low, float *ret_high) {
    *ret_low = __uint_as_float(u << 16);
    *ret_high = __uint_as_float(u & 0xffff0000u);
}

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

INLINE unsigned pack2(float low, float high) {
    __nv_bfloat162 b = __floats2bfloat162_rn(low, high);
    unsigned u;

    memcpy(&u, &b, sizeof u);
    return u;
}

// Rounds to the element.
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

// One element, i counted in elements.
INLINE float fetch1(const void *p, size_t i, bool bf16) {
    if (bf16)
        return __uint_as_float((unsigned)__ldg((const unsigned short *)p + i) << 16);
    return __ldg((const float *)p + i);
}

// Channels first .. first + 7 of p [c]; `other` for those that are not there.
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

// A block works on `groups` groups of channels side by side with `lanes` threads each, thread
// lane * groups + group; threads beyond groups * lanes idle, but take part in sums.
struct tiling {
    int groups, lanes, chunks; // chunks: blocks that have all groups of a pixel
};

// With at most `most` groups in a block.
static inline struct tiling tiling_of(int all_groups, int most, int threads) {
    struct tiling t;

    t.chunks = (all_groups + most - 1) / most;
    t.groups = (all_groups + t.chunks - 1) / t.chunks;
    t.lanes = threads / t.groups;
    return t;
}

// Scratch floats of block_sum8 for a block of `threads`.
#define SUM_FLOATS(threads) ((threads)*8 + (threads) + 256)

// Sums v over the lanes of each group; every thread gets the sum of its group. All threads of the
// block call it; idle ones with zeros and group 0. First runs of lanes are summed by teams of
// threads, then the teams' sums: the order depends on the tiling alone.
INLINE void block_sum8(float *scratch, int groups, int lanes, int group, float v[8]) {
    int threads = (int)blockDim.x, t = (int)threadIdx.x;
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

// The sum over a block of at most 1024 threads; scratch: 32 doubles in shared memory. Every thread
// gets it.
INLINE double block_sum(double *scratch, double x) {
    int t = (int)threadIdx.x, warps = (int)blockDim.x / 32;
    double sum = 0;

#pragma unroll
    for (int by = 16; by > 0; by /= 2)
        x += __shfl_xor_sync(0xffffffffu, x, by);
    if (t % 32 == 0)
        scratch[t / 32] = x;
    __syncthreads();
    for (int i = 0; i < warps; i++)
        sum += scratch[i];
    __syncthreads(); // before the scratch is used again
    return sum;
}

// Whether this block is the last of `blocks` that came here; what the others wrote before is
// visible then, and the counter zero again. `flag` in shared memory.
INLINE bool is_last_block(unsigned *counter, unsigned blocks, int *flag) {
    __threadfence();
    __syncthreads();
    if (threadIdx.x == 0) {
        *flag = atomicAdd(counter, 1u) == blocks - 1;
        if (*flag)
            *counter = 0;
    }
    __syncthreads();
    __threadfence();
    return *flag;
}

#endif
