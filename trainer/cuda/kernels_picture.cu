// Pictures between the host's format and tensors, and mirrored ones.
#include "kernel.h"

enum { THREADS = 256 };

struct picture_args {
    size_t pixels;
    int c;
    unsigned groups;
    const void *from;
    void *to;
};

// One thread writes 8 channels of a pixel of the tensor.
INLINE void picture_in(const struct picture_args &a, const bool bytes, const bool bf16) {
    size_t i = (size_t)blockIdx.x * THREADS + threadIdx.x, pixel = i;
    int first = 0;
    float v[8];

    if (a.groups > 1) {
        pixel = i / a.groups;
        first = (int)(i % a.groups) * 8;
    }
    if (pixel >= a.pixels)
        return;
#pragma unroll
    for (int k = 0; k < 8; k++) {
        size_t at = pixel * a.c + first + k;
        v[k] = 0;
        if (first + k < a.c)
            v[k] = bytes ? ((float)((const uint8_t *)a.from)[at] / 255.0f - 0.5f) / 0.5f
                         : ((const float *)a.from)[at];
    }
    write8(a.to, i, bf16, v);
}
INLINE void picture_floats(const struct picture_args &a, const bool bf16) {
    picture_in(a, false, bf16);
}
KERNEL(picture_floats, THREADS, picture_args)
INLINE void picture_bytes(const struct picture_args &a, const bool bf16) {
    picture_in(a, true, bf16);
}
KERNEL(picture_bytes, THREADS, picture_args)

// One thread writes 8 channels of a pixel of the picture.
INLINE void picture_out(const struct picture_args &a, const bool bf16) {
    size_t i = (size_t)blockIdx.x * THREADS + threadIdx.x, pixel = i;
    int first = 0;
    float v[8];

    if (a.groups > 1) {
        pixel = i / a.groups;
        first = (int)(i % a.groups) * 8;
    }
    if (pixel >= a.pixels)
        return;
    fetch8(a.from, i, bf16, v);
#pragma unroll
    for (int k = 0; k < 8; k++)
        if (first + k < a.c)
            ((float *)a.to)[pixel * a.c + first + k] = v[k];
}
KERNEL(picture_out, THREADS, picture_args)

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

cudaError_t cuda_picture_in(const struct cuda_launch *l, size_t pixels, int c, const float *picture,
                            void *ret_tensor) {
    struct picture_args a = args_of(pixels, c, picture, ret_tensor);

    return LAUNCH(l, picture_floats, blocks_for(pixels * a.groups, THREADS), THREADS, 0, a);
}

cudaError_t cuda_picture_in_u8(const struct cuda_launch *l, size_t pixels, int c,
                               const uint8_t *picture, void *ret_tensor) {
    struct picture_args a = args_of(pixels, c, picture, ret_tensor);

    return LAUNCH(l, picture_bytes, blocks_for(pixels * a.groups, THREADS), THREADS, 0, a);
}

cudaError_t cuda_picture_out(const struct cuda_launch *l, size_t pixels, int c, const void *tensor,
                             float *ret_picture) {
    struct picture_args a = args_of(pixels, c, tensor, ret_picture);

    return LAUNCH(l, picture_out, blocks_for(pixels * a.groups, THREADS), THREADS, 0, a);
}

struct mirror_args {
    int lines, w;
    unsigned groups;
    const int *flip;
    const void *x;
    void *y;
};

// One thread copies 8 channels of a pixel; the grid's y goes over lines.
INLINE void mirror(const struct mirror_args &a, const bool bf16) {
    unsigned i = blockIdx.x * THREADS + threadIdx.x;
    int column = (int)(i / a.groups), from = *a.flip ? a.w - 1 - column : column;

    if (column >= a.w)
        return;
    for (int line = (int)blockIdx.y; line < a.lines; line += (int)gridDim.y) {
        size_t at = (size_t)line * a.w * a.groups;
        write_raw(a.y, at + i, bf16, fetch_raw(a.x, at + from * a.groups + i % a.groups, bf16));
    }
}
KERNEL(mirror, THREADS, mirror_args)

cudaError_t cuda_mirror(const struct cuda_launch *l, const struct tensor_shape *s, const int *flip,
                        const void *x, void *ret_y) {
    struct mirror_args a;

    memset(&a, 0, sizeof a);
    a.lines = s->n * s->h;
    a.w = s->w;
    a.groups = cuda_channels(s->c) / 8;
    a.flip = flip;
    a.x = x;
    a.y = ret_y;
    return LAUNCH(l, mirror,
                  dim3(blocks_for((size_t)s->w * a.groups, THREADS), HOST_MIN(a.lines, 65535)),
                  THREADS, 0, a);
}
