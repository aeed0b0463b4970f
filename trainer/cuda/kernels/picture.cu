// Images between the host's format and tensors, and flips. The host's images have c channels
// without surplus ones; a tensor stores multiples of 8.
#include "cuda/kernels/kernel.h"

enum { THREADS = 256 };

struct picture_args {
    size_t pixels;
    int c;
    unsigned groups;
    const void *from;
    void *to;
};

// The work of a thread: group i of the tensor, and n numbers of the image from `at` on.
struct picture_place {
    size_t i, at;
    int n;
};

// False: this thread is behind the last pixel.
INLINE bool picture_place_of(const struct picture_args &a, picture_place *ret) {
    size_t i = (size_t)blockIdx.x * THREADS + threadIdx.x, pixel = i;
    int first = 0;

    // Images of at most 8 channels need no division.
    if (a.groups > 1) {
        pixel = i / a.groups;
        first = (int)(i % a.groups) * 8;
    }
    ret->i = i;
    ret->at = pixel * a.c + first;
    ret->n = a.c - first;
    return pixel < a.pixels;
}

// One thread writes 8 channels of a pixel of the tensor, surplus channels as 0. `bytes` is a
// constant where it is called, so two kernels come of it.
INLINE void image_in(const struct picture_args &a, const bool bytes, const bool bf16) {
    picture_place p;
    float v[8];

    if (!picture_place_of(a, &p))
        return;
#pragma unroll
    for (int k = 0; k < 8; k++) {
        v[k] = 0;
        if (k < p.n)
            v[k] = bytes ? ((float)((const uint8_t *)a.from)[p.at + k] / 255.0f - 0.5f) / 0.5f
                         : ((const float *)a.from)[p.at + k];
    }
    write8(a.to, p.i, bf16, v);
}
INLINE void picture_floats(const struct picture_args &a, const bool bf16) {
    image_in(a, false, bf16);
}
KERNEL(picture_floats, THREADS, picture_args)
INLINE void picture_bytes(const struct picture_args &a, const bool bf16) {
    image_in(a, true, bf16);
}
KERNEL(picture_bytes, THREADS, picture_args)

// One thread writes 8 channels of a pixel, of numbers that are the tensor's elements already. No
// arithmetic: it would give all NaN the same bits.
INLINE void picture_scatter(const struct picture_args &a, const bool bf16) {
    picture_place p;
    unsigned v[8];
    raw8 r;

    if (!picture_place_of(a, &p))
        return;
#pragma unroll
    for (int k = 0; k < 8; k++) {
        v[k] = 0;
        if (k < p.n)
            v[k] =
                bf16 ? ((const uint16_t *)a.from)[p.at + k] : ((const unsigned *)a.from)[p.at + k];
    }
    // Two elements in each word, the lower channel in the lower half.
    if (bf16) {
        r.a =
            make_uint4(v[0] | v[1] << 16, v[2] | v[3] << 16, v[4] | v[5] << 16, v[6] | v[7] << 16);
    } else {
        r.a = make_uint4(v[0], v[1], v[2], v[3]);
        r.b = make_uint4(v[4], v[5], v[6], v[7]);
    }
    write_raw(a.to, p.i, bf16, r);
}
KERNEL(picture_scatter, THREADS, picture_args)

// One thread writes 8 channels of a pixel of the image, as floats or as the tensor's elements. A
// bfloat16 is the upper half of a float.
INLINE void image_out(const struct picture_args &a, const bool elements, const bool bf16) {
    picture_place p;
    float v[8];

    if (!picture_place_of(a, &p))
        return;
    fetch8(a.from, p.i, bf16, v);
#pragma unroll
    for (int k = 0; k < 8; k++)
        if (k < p.n && elements && bf16)
            ((uint16_t *)a.to)[p.at + k] = (uint16_t)(__float_as_uint(v[k]) >> 16);
        else if (k < p.n)
            ((float *)a.to)[p.at + k] = v[k];
}
INLINE void picture_to_floats(const struct picture_args &a, const bool bf16) {
    image_out(a, false, bf16);
}
KERNEL(picture_to_floats, THREADS, picture_args)
INLINE void picture_gather(const struct picture_args &a, const bool bf16) {
    image_out(a, true, bf16);
}
KERNEL(picture_gather, THREADS, picture_args)

static struct picture_args args_of(size_t pixels, int c, const void *from, void *to) {
    struct picture_args a;

    memset(&a, 0, sizeof a);
    a.pixels = pixels;
    a.c = c;
    a.groups = cuda_channels(c) / 8;
    a.from = from;
    a.to = to;
    return a;
}

cudaError_t cuda_image_in(const struct cuda_launch *l, size_t pixels, int c, const float *picture,
                          void *ret_tensor) {
    struct picture_args a = args_of(pixels, c, picture, ret_tensor);

    if (!takes_pixels(pixels, c))
        return cudaErrorInvalidValue;
    return LAUNCH(l, picture_floats, blocks_for(pixels * a.groups, THREADS), THREADS, 0, a);
}

cudaError_t cuda_image_in_u8(const struct cuda_launch *l, size_t pixels, int c,
                             const uint8_t *picture, void *ret_tensor) {
    struct picture_args a = args_of(pixels, c, picture, ret_tensor);

    if (!takes_pixels(pixels, c))
        return cudaErrorInvalidValue;
    return LAUNCH(l, picture_bytes, blocks_for(pixels * a.groups, THREADS), THREADS, 0, a);
}

cudaError_t cuda_image_out(const struct cuda_launch *l, size_t pixels, int c, const void *tensor,
                           float *ret_picture) {
    struct picture_args a = args_of(pixels, c, tensor, ret_picture);

    if (!takes_pixels(pixels, c))
        return cudaErrorInvalidValue;
    return LAUNCH(l, picture_to_floats, blocks_for(pixels * a.groups, THREADS), THREADS, 0, a);
}

cudaError_t cuda_picture_scatter(const struct cuda_launch *l, size_t pixels, int c,
                                 const void *picture, void *ret_tensor) {
    struct picture_args a = args_of(pixels, c, picture, ret_tensor);

    if (!takes_pixels(pixels, c))
        return cudaErrorInvalidValue;
    return LAUNCH(l, picture_scatter, blocks_for(pixels * a.groups, THREADS), THREADS, 0, a);
}

cudaError_t cuda_picture_gather(const struct cuda_launch *l, size_t pixels, int c,
                                const void *tensor, void *ret_picture) {
    struct picture_args a = args_of(pixels, c, tensor, ret_picture);

    if (!takes_pixels(pixels, c))
        return cudaErrorInvalidValue;
    return LAUNCH(l, picture_gather, blocks_for(pixels * a.groups, THREADS), THREADS, 0, a);
}

struct flip_args {
    int lines, w;
    unsigned groups;
    const int *flip;
    const void *x;
    void *y;
};

// One thread copies 8 channels of a pixel. The grid's y goes over lines, in steps, as it has at
// most 65535 blocks. *flip is read here, so that a recorded section may change it.
INLINE void flip(const struct flip_args &a, const bool bf16) {
    unsigned i = blockIdx.x * THREADS + threadIdx.x;
    int column = (int)(i / a.groups), from = *a.flip ? a.w - 1 - column : column;

    if (column >= a.w)
        return;
    for (int line = (int)blockIdx.y; line < a.lines; line += (int)gridDim.y) {
        size_t at = (size_t)line * a.w * a.groups;
        write_raw(a.y, at + i, bf16, fetch_raw(a.x, at + from * a.groups + i % a.groups, bf16));
    }
}
KERNEL(flip, THREADS, flip_args)

cudaError_t cuda_flip(const struct cuda_launch *l, const struct tensor_shape *s, const int *flip,
                      const void *x, void *ret_y) {
    struct flip_args a;

    if (!takes(s->n, s->h, s->w, 0, s->c))
        return cudaErrorInvalidValue;
    memset(&a, 0, sizeof a);
    a.lines = s->n * s->h;
    a.w = s->w;
    a.groups = cuda_channels(s->c) / 8;
    a.flip = flip;
    a.x = x;
    a.y = ret_y;
    return LAUNCH(l, flip,
                  dim3(blocks_for((size_t)s->w * a.groups, THREADS), HOST_MIN(a.lines, 65535)),
                  THREADS, 0, a);
}
