// Sizes that all backends compute alike: outputs of convolutions, tensors, images of the host.
#include "backend/backend.h"

static int output_size(const struct conv_shape *s, int size) {
    if (s->transposed)
        return (size - 1) * s->stride - 2 * s->pad + s->r + s->out_pad;
    // The quotient of a negative number would round to 0, and the size would be 1.
    if (size + 2 * s->pad < s->r)
        return 0;
    return (size + 2 * s->pad - s->r) / s->stride + 1;
}

void conv_output_size(const struct conv_shape *s, int *ret_h, int *ret_w) {
    *ret_h = output_size(s, s->h);
    *ret_w = output_size(s, s->w);
}

// Rounds up: tensor cores take channels in groups, and the surplus ones are stored as zeros.
int device_channels(const struct device *d, int c) {
    return (c + d->channel_step - 1) / d->channel_step * d->channel_step;
}

size_t tensor_count(const struct tensor_shape *s) {
    return (size_t)s->n * (size_t)s->h * (size_t)s->w * (size_t)s->c;
}

size_t device_tensor_bytes(const struct device *d, const struct tensor_shape *s, int pad) {
    return (size_t)s->n * (size_t)(s->h + 2 * pad) * (size_t)(s->w + 2 * pad) *
           (size_t)device_channels(d, s->c) * d->element_bytes;
}

// The host never sees surplus channels, so this counts c and not device_channels(c).
size_t device_image_bytes(const struct device *d, const struct tensor_shape *s,
                          enum pixel_type type) {
    size_t number = type == PIXELS_FLOAT  ? sizeof(float)
                    : type == PIXELS_BYTE ? 1
                                          : d->element_bytes;

    return tensor_count(s) * number;
}

// FENCE_NOW is set here alone, so no mark that another caller still needs is lost.
int device_wait(struct device *d) {
    int err = d->backend->fence_set(d, FENCE_NOW);

    return err ? err : d->backend->fence_wait(d, FENCE_NOW);
}

int device_section_end(struct device *d, struct device_section *section, int err) {
    // The error of the ops is the one to report. Dropping a recording cannot fail.
    if (!err)
        return d->backend->section_end(section);
    d->backend->section_drop(section);
    return err;
}
