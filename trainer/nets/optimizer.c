// One call of Adam updates all nets of an optimizer, because their parameters are one array.
#include "nets/optimizer.h"

#include <stdlib.h>

#include "base/err.h"
#include "base/util.h"

static int new_buffer(const struct optimizer *o, float **ret_buffer) {
    void *memory;
    int err = o->device->backend->memory_new(o->device, o->count * sizeof(float), &memory);

    if (!err)
        *ret_buffer = memory;
    return err;
}

// The host's copy of a buffer: the buffer itself where the host can address it.
static float *new_host_copy(const struct optimizer *o, float *buffer) {
    return o->device->asynchronous ? xaligned(o->count * sizeof(float)) : buffer;
}

int optimizer_init_weights(struct optimizer *o, struct device *device, size_t count) {
    *o = (struct optimizer){.device = device, .count = count};
    int err = new_buffer(o, &o->w);
    if (err)
        return err;
    // Nothing reads these without training. Equal pointers also mark that no moments exist.
    o->g = o->m = o->v = o->w;
    o->host.w = o->host.m = o->host.v = new_host_copy(o, o->w);
    return ERR_OK;
}

int optimizer_init(struct optimizer *o, struct device *device, size_t count, double beta1,
                   double beta2) {
    void *flags;
    int err = optimizer_init_weights(o, device, count);

    if (err)
        return err;
    // NULL until each is allocated: a failure in between must not free the weights several times.
    o->g = o->m = o->v = NULL;
    o->beta1 = beta1;
    o->beta2 = beta2;
    err = new_buffer(o, &o->g);
    if (!err)
        err = new_buffer(o, &o->m);
    if (!err)
        err = new_buffer(o, &o->v);
    if (!err)
        err = device->backend->shared_new(device, 2 * sizeof(int), &flags);
    if (err)
        return err;
    // One allocation holds both flags; optimizer_fini frees it by the first.
    o->bad_gradients = flags;
    o->bad_state = o->bad_gradients + 1;
    o->host.m = new_host_copy(o, o->m);
    o->host.v = new_host_copy(o, o->v);
    return ERR_OK;
}

// False where optimizer_init_weights has set gradients and moments to the weights.
static bool is_own(const float *weights, const float *buffer) {
    return buffer != weights;
}

void optimizer_fini(struct optimizer *o) {
    float *buffers[] = {o->g, o->m, o->v}, *copies[] = {o->host.m, o->host.v};

    // Never initialized, or zeroed by an earlier fini.
    if (!o->device)
        return;
    const struct backend *b = o->device->backend;
    for (unsigned i = 0; i < COUNT(buffers); i++)
        if (is_own(o->w, buffers[i]))
            b->memory_free(o->device, buffers[i]);
    for (unsigned i = 0; i < COUNT(copies) && o->device->asynchronous; i++)
        if (is_own(o->host.w, copies[i]))
            free(copies[i]);
    if (o->device->asynchronous)
        free(o->host.w);
    b->memory_free(o->device, o->w);
    b->shared_free(o->device, o->bad_gradients);
    free(o->derived);
    *o = (struct optimizer){0};
}

size_t optimizer_reserve(size_t *size, size_t count) {
    size_t start = *size;

    *size = start + (count + 15) / 16 * 16; // 16 floats: 64 bytes
    return start;
}

void optimizer_add_derived(struct optimizer *o, struct device_weights *derived) {
    o->derived = xrealloc(o->derived, (size_t)(o->n_derived + 1) * sizeof(struct device_weights *));
    o->derived[o->n_derived++] = derived;
}

int optimizer_refresh(const struct optimizer *o) {
    return o->device->backend->weights_refresh(o->device, o->derived, o->n_derived);
}

// Adam raises the flag only. It stays up, so a later check sees a bad gradient of any step.
int optimizer_update(const struct optimizer *o) {
    struct adam_args args = {
        .count = o->count, .beta1 = o->beta1, .beta2 = o->beta2, .ret_bad = o->bad_gradients};
    int err = o->device->backend->adam(o->device, &args, o->g, o->w, o->m, o->v);

    // The packed copies are stale as soon as Adam has run.
    return err ? err : optimizer_refresh(o);
}

struct pair {
    float *host, *device;
};

// The number of pairs among weights, m and v: one without moments.
static unsigned n_pairs(const struct optimizer *o) {
    if (!o->device->asynchronous)
        return 0;
    return is_own(o->w, o->m) ? 3 : 1;
}

int optimizer_pull(struct optimizer *o) {
    struct pair pairs[] = {{o->host.w, o->w}, {o->host.m, o->m}, {o->host.v, o->v}};
    int err = ERR_OK;

    for (unsigned i = 0; i < n_pairs(o) && !err; i++)
        err = o->device->backend->copy_out(o->device, pairs[i].host, pairs[i].device,
                                           o->count * sizeof(float));
    return err;
}

int optimizer_push(struct optimizer *o) {
    struct pair pairs[] = {{o->host.w, o->w}, {o->host.m, o->m}, {o->host.v, o->v}};
    int err = ERR_OK;

    for (unsigned i = 0; i < n_pairs(o) && !err; i++)
        err = o->device->backend->copy_in(o->device, pairs[i].device, pairs[i].host,
                                          o->count * sizeof(float));
    return err ? err : optimizer_refresh(o);
}

bool optimizer_finite(const struct optimizer *o) {
    return !*o->bad_gradients;
}

int optimizer_state_finite(struct optimizer *o, bool *ret_finite) {
    const float *parts[] = {o->w, o->m, o->v};
    const struct backend *b = o->device->backend;
    int err = ERR_OK;

    // The host may write the flag: no op that is still running touches this one.
    *o->bad_state = 0;
    for (unsigned i = 0; i < COUNT(parts) && !err; i++)
        err = b->finite(o->device, o->count, parts[i], o->bad_state);
    if (!err)
        err = device_wait(o->device);
    if (!err)
        *ret_finite = !*o->bad_state;
    return err;
}

// Weights, gradients and two moments, or the weights alone. The host's copies are not counted.
size_t optimizer_bytes(const struct optimizer *o) {
    return (is_own(o->w, o->m) ? 4 : 1) * o->count * sizeof(float);
}
