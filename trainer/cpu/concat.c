// Loops over pixels in which every number is read once and written once.
#include "cpu/concat.h"

#include <string.h>

#include "base/err.h"

int cpu_concat_forward(struct device *d, const struct concat_shape *s, const void *a, const void *b,
                       void *ret_y) {
    const float *from_a = a, *from_b = b;
    float *y = ret_y;
    int c = s->c_a + s->c_b;

#pragma omp parallel for schedule(static)
    for (size_t p = 0; p < s->pixels; p++)
        for (int k = 0; k < c; k++) {
            // One pass writes y in order. The activation costs nothing beside the copy.
            float x = k < s->c_a ? from_a[p * (size_t)s->c_a + (size_t)k]
                                 : from_b[p * (size_t)s->c_b + (size_t)(k - s->c_a)];
            y[p * (size_t)c + (size_t)k] = x > 0 || s->act == ACT_NONE ? x : 0;
        }
    return ERR_OK;
}

int cpu_concat_backward(struct device *d, const struct concat_shape *s,
                        const struct concat_gradients *t) {
    const float *y = t->y, *dy = t->dy;
    float *da = t->ret_da, *db = t->ret_db;
    int c = s->c_a + s->c_b;

#pragma omp parallel for schedule(static)
    for (size_t p = 0; p < s->pixels; p++)
        for (int k = 0; k < c; k++) {
            size_t i = p * (size_t)c + (size_t)k;
            // y is 0 where the ReLU has cut, so the input is not needed here.
            float g = y[i] > 0 || s->act == ACT_NONE ? dy[i] : 0;
            if (k < s->c_a && da)
                da[p * (size_t)s->c_a + (size_t)k] = g;
            else if (k >= s->c_a && db)
                db[p * (size_t)s->c_b + (size_t)(k - s->c_a)] = g;
        }
    return ERR_OK;
}

// Gulrajani et al. 2017, algorithm 1, line 6: x_hat = e x + (1 - e) x_tilde.
int cpu_mix(struct device *d, const struct mix_shape *s, const struct mix_tensors *t) {
    size_t c = (size_t)s->c, front = (size_t)s->c_front, pixels = (size_t)s->h * (size_t)s->w;
    const float *a = t->front, *real = t->real, *fake = t->fake;
    float *to = t->ret_y;

    for (size_t p = 0; p < (size_t)s->n * pixels; p++) {
        // All pixels of an image share one alpha.
        float alpha = t->alpha[p / pixels];
        // Without a condition `front` is NULL, and memcpy must not get it.
        if (front)
            memcpy(to + p * (front + c), a + p * front, front * sizeof *to);
        for (size_t i = 0; i < c; i++)
            to[p * (front + c) + front + i] =
                alpha * real[p * c + i] + (1 - alpha) * fake[p * c + i];
    }
    return ERR_OK;
}
