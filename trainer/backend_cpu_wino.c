// Which convolutions run by Winograd's algorithm, and how.
#include "backend_cpu.h"
#include "util.h"

bool cpu_wino_choose(const struct cpu_device *d, const struct conv_shape *s,
                     struct cpu_wino *ret_wino) {
    int h = s->h - 2, w = s->w - 2;
    bool possible = s->r == 3 && s->stride == 1 && s->pad == 0 && !s->transposed && !s->bias;
    bool pays = s->c >= 32 && s->k >= 32 && s->c % 16 == 0 && s->k % 16 == 0;

    if (!d->winograd || !possible || (d->tile == 0 && !pays))
        return false;
    *ret_wino = (struct cpu_wino){.n = s->n,
                                  .c = s->c,
                                  .k = s->k,
                                  .h = h,
                                  .w = w,
                                  .m = d->tile          ? d->tile
                                       : h % 4 || w % 4 ? 2
                                                        : 4};
    return true;
}

void cpu_wino_conv_init(struct wino_conv *c, struct device_weights *w, const struct cpu_wino *s,
                        bool backward) {
    c->weights = w;
    c->wino = *s;
    c->packed_forward = cpu_packed_wino(w, s, PACKED_WINO_FORWARD);
    if (backward)
        c->packed_backward = cpu_packed_wino(w, s, PACKED_WINO_BACKWARD);
}

size_t cpu_wino_conv_bytes(const struct wino_conv *c) {
    return cpu_wino_work_floats(&c->wino, c->weights->device->threads) * sizeof(float);
}

void cpu_wino_conv_forward(const struct wino_conv *c, const float *x, float *ret_y,
                           void *workspace) {
    cpu_wino_forward(&c->wino, x, c->weights->packed[c->packed_forward].data, workspace, ret_y);
}

void cpu_wino_conv_backward(const struct wino_conv *c, const struct conv_gradients *t,
                            void *workspace) {
    struct cpu_wino_backward b = {
        .x = t->x,
        .dy = t->dy,
        .u = c->weights->packed[c->packed_backward].data,
        .dx = t->ret_dx,
        .dw = t->ret_dw,
        .add_dw = t->accumulate,
    };

    cpu_wino_backward(&c->wino, &b, workspace);
}
