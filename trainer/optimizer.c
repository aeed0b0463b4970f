#include "optimizer.h"

void optimizer_init(struct optimizer *o, struct device *device, size_t count, double beta1,
                    double beta2) {
    size_t bytes = count * sizeof(float);

    *o = (struct optimizer){.device = device, .count = count, .beta1 = beta1, .beta2 = beta2};
    o->w = device->backend->memory_new(device, bytes);
    o->g = device->backend->memory_new(device, bytes);
    o->m = device->backend->memory_new(device, bytes);
    o->v = device->backend->memory_new(device, bytes);
}

void optimizer_fini(struct optimizer *o) {
    if (!o->device)
        return;
    o->device->backend->memory_free(o->device, o->w);
    o->device->backend->memory_free(o->device, o->g);
    o->device->backend->memory_free(o->device, o->m);
    o->device->backend->memory_free(o->device, o->v);
    *o = (struct optimizer){0};
}

size_t optimizer_reserve(size_t *size, size_t count) {
    size_t start = *size;

    *size = start + (count + 15) / 16 * 16;
    return start;
}

int optimizer_step(struct optimizer *o, double lr) {
    struct adam_args args = {
        .count = o->count, .lr = lr, .beta1 = o->beta1, .beta2 = o->beta2, .t = ++o->t};

    return o->device->backend->adam(o->device, &args, o->g, o->w, o->m, o->v);
}

bool optimizer_finite(const struct optimizer *o) {
    return o->device->backend->finite(o->device, o->count, o->g);
}

bool optimizer_state_finite(const struct optimizer *o) {
    const float *parts[] = {o->w, o->m, o->v};
    bool finite = true;
    for (int i = 0; i < 3; i++)
        finite &= o->device->backend->finite(o->device, o->count, parts[i]);
    return finite;
}

size_t optimizer_bytes(const struct optimizer *o) {
    return 4 * o->count * sizeof(float);
}
