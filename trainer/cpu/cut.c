// What CUT asks of the CPU backend: resampling, patches and their loss.
#include <string.h>

#include "base/err.h"
#include "cpu/cpu.h"
#include "cpu/nce.h"
#include "cpu/resample.h"

int cpu_entry_resample(struct device *d, const struct resample_shape *s, const void *x,
                       void *ret_y) {
    static const enum cpu_resample_kind kinds[] = {
        [RESAMPLE_BLUR] = CPU_BLUR,
        [RESAMPLE_BLUR_ADJOINT] = CPU_BLUR_ADJOINT,
        [RESAMPLE_UP] = CPU_UP,
        [RESAMPLE_UP_ADJOINT] = CPU_UP_ADJOINT,
    };
    struct cpu_resample shape = {kinds[s->kind], s->n, s->h, s->w, s->to_h, s->to_w, s->c};

    cpu_resample(&shape, x, ret_y);
    return ERR_OK;
}

int cpu_entry_flip(struct device *d, const struct tensor_shape *s, const int *flip, const void *x,
                   void *ret_y) {
    const float *from = x;
    float *to = ret_y;

    for (int row = 0; row < s->n * s->h; row++)
        for (int i = 0; i < s->w; i++)
            memcpy(to + (size_t)(row * s->w + i) * (size_t)s->c,
                   from + (size_t)(row * s->w + (*flip ? s->w - 1 - i : i)) * (size_t)s->c,
                   (size_t)s->c * sizeof *to);
    return ERR_OK;
}

static struct cpu_sample cpu_shape(const struct sample_shape *s) {
    return (struct cpu_sample){s->n, s->h, s->w, s->c, s->pad, s->count, s->border, s->ids};
}

int cpu_entry_sample_forward(struct device *d, const struct sample_shape *s, const void *x,
                             void *ret_y) {
    struct cpu_sample shape = cpu_shape(s);

    cpu_sample(&shape, x, ret_y);
    return ERR_OK;
}

int cpu_entry_sample_backward(struct device *d, const struct sample_shape *s, const void *dy,
                              bool accumulate, void *ret_dx) {
    struct cpu_sample shape = cpu_shape(s);

    cpu_sample_backward(&shape, dy, accumulate, ret_dx);
    return ERR_OK;
}

static struct cpu_nce cpu_args(const struct nce_args *a) {
    return (struct cpu_nce){a->n, a->patches, a->dim, a->temperature, a->scale, a->all};
}

size_t cpu_entry_nce_workspace_bytes(struct device *d, const struct nce_args *args) {
    struct cpu_nce a = cpu_args(args);

    return cpu_nce_work_floats(&a) * sizeof(float);
}

int cpu_entry_nce(struct device *d, const struct nce_args *args, const void *q, const void *k,
                  void *ret_dq, float *ret_each, double *ret_loss, void *workspace) {
    struct cpu_nce a = cpu_args(args);

    double loss = cpu_nce(&a, q, k, workspace, ret_dq, ret_each);
    if (ret_loss)
        *ret_loss = args->accumulate ? *ret_loss + loss : loss;
    return ERR_OK;
}
