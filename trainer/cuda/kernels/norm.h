// norm - what the norms' forward and backward kernels share. Private to norm*.cu, head.cu and
// tangent.cu.
//
// Two ways to compute an instance norm. Resident: a block holds some channels of an image in shared
// memory, reads them once, sums and writes. Tiled: blocks sum tiles of pixels, another kernel
// merges the sums, a third one applies them. Batch norm is always tiled.
#ifndef KERNELS_NORM_H
#define KERNELS_NORM_H

#include "base/rng.h"
#include "cuda/kernels/kernel.h"

// Threads of a block, its most groups of channels side by side, and threads of a resident block
// that has a processor for itself.
enum { NORM_THREADS = 256, NORM_GROUPS = 32, NORM_RESIDENT_THREADS = 512 };

// A norm's statistics, its layer and dropout, and the shape that they belong to.
struct norm_layer {
    int n, h, w, c, groups; // groups of channels
    enum activation act;
    const float *mean, *rstd;   // NULL without a norm
    bool per_picture;           // mean and rstd are [n,c], else [c]
    const float *weight, *bias; // NULL: 1 and 0
    bool drops;
    struct cuda_dropout dropout;
};

// The norm of 8 channels as numbers in registers: xhat = (x - mean) rstd, z = (x - mean) scale +
// bias, scale = rstd weight.
struct norm_line {
    float mean[8], rstd[8], scale[8], bias[8];
};

INLINE void fill8(float v[8], float value) {
#pragma unroll
    for (int i = 0; i < 8; i++)
        v[i] = value;
}

// Fills in scale and bias; mean and rstd are set. Surplus channels of x, mean and bias are 0, and
// so is their z.
INLINE void norm_line_layer(const struct norm_layer *a, int first, struct norm_line *line) {
    float weight[8];

    fill8(weight, 1);
    fill8(line->bias, 0);
    if (a->weight) {
        fetch_param(a->weight, first, a->c, 0, weight);
        fetch_param(a->bias, first, a->c, 0, line->bias);
    }
#pragma unroll
    for (int i = 0; i < 8; i++)
        line->scale[i] = line->rstd[i] * weight[i];
}

// The line of a group of image n. Without a norm it is the identity.
INLINE void norm_line_of(const struct norm_layer *a, int n, int group, struct norm_line *line) {
    int first = group * 8;
    size_t row = a->per_picture ? (size_t)n * a->c : 0;

    fill8(line->mean, 0);
    fill8(line->rstd, 1);
    if (a->mean) {
        fetch_param(a->mean + row, first, a->c, 0, line->mean);
        fetch_param(a->rstd + row, first, a->c, 0, line->rstd);
    }
    norm_line_layer(a, first, line);
}

// The activation's argument. The only place that computes it: forward and backward have to agree on
// its sign to the last bit.
INLINE float norm_z(const struct norm_line *line, int i, float x) {
    return __fmaf_rn(x - line->mean[i], line->scale[i], line->bias[i]);
}

// act(z), with ReLU's and leaky ReLU's slope below 0.
INLINE float activate(enum activation act, float z) {
    if (act == ACT_NONE || z > 0)
        return z;
    return act == ACT_LEAKY ? (float)LEAKY_SLOPE * z : 0;
}

// act'(z); act'(0) is that of the negative side, as in backend.h.
INLINE float slope(enum activation act, float z) {
    if (act == ACT_NONE || z > 0)
        return 1;
    return act == ACT_LEAKY ? (float)LEAKY_SLOPE : 0;
}

// Word `word` of rng_block(seed, RNG_DROPOUT, index, sub), as the CPU computes it: Philox4x32-10.
// Source: Salmon et al. 2011.
INLINE unsigned dropout_word(uint64_t seed, uint64_t index, unsigned sub, int word) {
    unsigned c0 = (unsigned)index, c1 = (unsigned)(index >> 32), c2 = RNG_DROPOUT, c3 = sub;
    unsigned k0 = (unsigned)seed, k1 = (unsigned)(seed >> 32);

    // Two multiplications a round; the keys grow by Philox's Weyl constants.
#pragma unroll
    for (int round = 0; round < 10; round++) {
        unsigned high0 = __umulhi(0xd2511f53u, c0), low0 = 0xd2511f53u * c0;
        unsigned high1 = __umulhi(0xcd9e8d57u, c2), low1 = 0xcd9e8d57u * c2;
        c0 = high1 ^ c1 ^ k0;
        c1 = low1;
        c2 = high0 ^ c3 ^ k1;
        c3 = low0;
        k0 += 0x9e3779b9u;
        k1 += 0xbb67ae85u;
    }
    return word == 0 ? c0 : word == 1 ? c1 : word == 2 ? c2 : c3;
}

// Doubles or clears 8 channels that begin at element e of [n,h,w,c]. The numbers are functions of
// the element's index, so forward and backward drop the same ones without a mask in memory.
INLINE void drop8(const struct norm_layer *a, size_t e, int first, float v[8]) {
    uint64_t seed = __ldg(a->dropout.seed);
    uint64_t index = __ldg(a->dropout.step) << 24 | a->dropout.draw;
    // Elements count without surplus channels, so only whole groups have their 8 bits in one word.
    bool whole = a->c % 8 == 0; // then 8 bits of one word
    unsigned bits = 0;

    if (whole)
        bits = dropout_word(seed, index, (unsigned)(e / 128), (int)(e % 128 / 32)) >> e % 32;
    for (int i = 0; i < 8; i++) {
        size_t k = e + i;
        if (!whole && first + i < a->c)
            bits = dropout_word(seed, index, (unsigned)(k / 128), (int)(k % 128 / 32)) >> k % 32
                                                                                              << i;
        v[i] = bits >> i & 1 ? 2 * v[i] : 0;
    }
}

// The coordinate in [0, size) that coordinate i repeats. Borders are smaller than the image, so one
// reflection is enough.
INLINE int reflected(int i, int size) {
    i = i < 0 ? -i : i;
    return i >= size ? 2 * (size - 1) - i : i;
}

// The parts of a gradient, see struct grad_sum in backend.h.
struct norm_parts {
    int count;
    struct {
        const void *data;
        int pad, first, n;
    } part[GRAD_PARTS];
};

struct norm_parts norm_parts_of(const struct grad_sum *dy);

// v += group i of a tensor.
INLINE void add_fetched(const void *p, size_t i, bool bf16, float v[8]) {
    float x[8];

    fetch8(p, i, bf16, x);
#pragma unroll
    for (int k = 0; k < 8; k++)
        v[k] += x[k];
}

// Adds those border pixels of a part that repeat pixel (y, x). A pixel near an edge is repeated
// across it, and one near a corner across both edges and the corner.
INLINE void add_mirrored(const void *data, size_t picture, int y, int x, int h, int w, int pad,
                         int groups, int group, bool bf16, float v[8]) {
    int below = h - 1 - y, right = w - 1 - x;

#pragma unroll 1
    for (int i = 1; i < 9; i++) { // row i / 3, column i % 3: itself, mirrored low, mirrored high
        bool row = i / 3 == 0 || (i / 3 == 1 ? y >= 1 && y <= pad : below >= 1 && below <= pad);
        bool column = i % 3 == 0 || (i % 3 == 1 ? x >= 1 && x <= pad : right >= 1 && right <= pad);
        int at_y = pad + (i / 3 == 0 ? y : i / 3 == 1 ? -y : h - 1 + below);
        int at_x = pad + (i % 3 == 0 ? x : i % 3 == 1 ? -x : w - 1 + right);
        if (row && column)
            add_fetched(data, (picture + (size_t)at_y * (w + 2 * pad) + at_x) * groups + group,
                        bf16, v);
    }
}

// 8 channels of the sum of all parts at pixel (y, x) of image n, with borders folded back.
// Gathering has a fixed order of sums; scattering would need atomics.
INLINE void gather8(const struct norm_parts *p, int n, int y, int x, int h, int w, int groups,
                    int group, bool bf16, float v[8]) {
    zero8(v);
#pragma unroll
    for (int i = 0; i < GRAD_PARTS; i++) {
        int k = n - p->part[i].first, pad = p->part[i].pad;
        if (i >= p->count || k < 0 || k >= p->part[i].n)
            continue;
        size_t picture = (size_t)k * (h + 2 * pad) * (w + 2 * pad);
        add_fetched(p->part[i].data,
                    (picture + (size_t)(y + pad) * (w + 2 * pad) + (x + pad)) * groups + group,
                    bf16, v);
        // Most pixels are repeated nowhere. add_mirrored tests the exact conditions.
        if (pad > 0 && (y <= pad || x <= pad || y >= h - 1 - pad || x >= w - 1 - pad))
            add_mirrored(p->part[i].data, picture, y, x, h, w, pad, groups, group, bf16, v);
    }
}

// Groups side by side that fill 32 bytes, the unit in which memory is read.
#define NORM_GROUPS_LEAST(element) ((element) == CUDA_BF16 ? 2 : 1)

// Tiles of the kernels that sum over tiles: pixels of a tile, and tiles of an image.
struct norm_tiles {
    struct tiling tiling;
    int pixels, count;
};
struct norm_tiles norm_tiles_of(const struct norm_shape *s);

// The division of the resident kernels, which hold `slabs` copies of their pixels in shared memory.
// threads 0: an image does not fit.
struct norm_resident {
    struct tiling tiling;
    int threads;
    size_t shared_bytes;
};
struct norm_resident norm_resident_of(const struct cuda_launch *l, const struct norm_shape *s,
                                      int slabs);
// For cuda_kernels_check: whether both variants of a kernel exist for this GPU, and have no static
// shared memory.
cudaError_t norm_resident_check(const void *f32, const void *bf16);
cudaError_t norm_forward_check(void);
cudaError_t norm_backward_check(void);
// The arguments of a shape. affine NULL: weight 1, bias 0. stats is not used without a norm.
struct norm_layer norm_layer_of(const struct norm_shape *s, const struct norm_affine *affine,
                                const float *stats, const struct cuda_dropout *dropout);

// The tiled kernels' workspace begins with partial sums [n,tiles,2,C]; sums [n,2,C] follow.
static inline size_t norm_partial_floats(const struct norm_shape *s) {
    struct norm_tiles t = norm_tiles_of(s);

    return (size_t)s->n * (size_t)t.count * 2 * (size_t)cuda_channels(s->c);
}

#endif
