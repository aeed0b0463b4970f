// The CUDA backend's weights. Each master has a derived copy in cuDNN's layout and the element's
// type. One kernel makes all copies of an optimizer, driven by a table in device memory.
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/util.h"
#include "cuda/cuda.h"

struct device_weights *cuda_entry_weights_new(struct device *device, const float *master,
                                              const int64_t dims[4]) {
    struct device_weights *w = xcalloc(1, sizeof *w);
    int a = (int)dims[0], b = (int)dims[1], r = (int)dims[2];

    *w = (struct device_weights){
        .device = cuda_of(device), .master = master, .a = a, .b = b, .r = r};
    w->bytes = (size_t)cuda_channels(a) * (size_t)cuda_channels(b) * (size_t)r * (size_t)r *
               device->element_bytes;
    return w;
}

// Linear, and only when weights are freed.
static bool has(const struct cuda_refresh_table *t, const struct device_weights *w) {
    for (int i = 0; i < t->count; i++)
        if (t->all[i] == w)
            return true;
    return false;
}

// Forgets the tables that contain these weights. Other tables stay: recorded sections read them.
static void drop_tables(struct cuda_device *d, const struct device_weights *w) {
    struct cuda_refresh_table **at = &d->tables;

    while (*at) {
        struct cuda_refresh_table *t = *at;
        if (!has(t, w)) {
            at = &t->next;
            continue;
        }
        *at = t->next;
        cuda_entry_memory_free(&d->base, t->weights);
        free(t->all);
        free(t);
    }
}

void cuda_entry_weights_free(struct device_weights *w) {
    if (!w)
        return;
    drop_tables(w->device, w);
    cuda_entry_memory_free(&w->device->base, w->derived);
    free(w);
}

size_t cuda_entry_weights_bytes(const struct device_weights *w) {
    return w->bytes;
}

// An optimizer passes the same list in the same order each time, so its first weight and its length
// identify it.
static const struct cuda_refresh_table *find(const struct cuda_device *d,
                                             const struct device_weights *first, int count) {
    const struct cuda_refresh_table *t = d->tables;

    while (t && (t->all[0] != first || t->count != count))
        t = t->next;
    return t;
}

// The kernel finds a block's weight in the table, so one launch serves any number of weights.
static int make(struct cuda_device *d, struct device_weights *const *weights, int count,
                const struct cuda_refresh_table **ret) {
    size_t bytes = (size_t)count * sizeof(struct cuda_weight);
    struct cuda_weight *rows = xcalloc((size_t)count, sizeof *rows);
    struct cuda_refresh_table *t = xcalloc(1, sizeof *t);
    void *memory = NULL;
    int err = cuda_entry_memory_new(&d->base, bytes, &memory);

    for (int i = 0; i < count; i++)
        rows[i] = (struct cuda_weight){.master = weights[i]->master,
                                       .derived = weights[i]->derived,
                                       .a = weights[i]->a,
                                       .b = weights[i]->b,
                                       .r = weights[i]->r};
    *t = (struct cuda_refresh_table){.all = xmalloc((size_t)count * sizeof *t->all),
                                     .count = count,
                                     .blocks = cuda_refresh_plan(count, rows),
                                     .weights = memory,
                                     .next = d->tables};
    memcpy(t->all, weights, (size_t)count * sizeof *t->all);
    if (!err)
        err = cuda_entry_copy_in(&d->base, memory, rows, bytes);
    free(rows);
    if (err) {
        cuda_entry_memory_free(&d->base, memory);
        free(t->all);
        free(t);
        return err;
    }
    d->tables = t;
    *ret = t;
    return ERR_OK;
}

int cuda_entry_weights_refresh(struct device *device, struct device_weights *const *weights,
                               int count) {
    struct cuda_device *d = cuda_of(device);

    if (!count)
        return ERR_OK;
    const struct cuda_refresh_table *t = find(d, weights[0], count);
    // Allocation would end a capture.
    if (!t && d->in_section)
        BUG("weights that were never refreshed outside of a section");
    // The copies are made on the first refresh; no convolution runs before it.
    for (int i = 0; i < count && !t; i++) {
        int err = weights[i]->derived
                      ? ERR_OK
                      : cuda_entry_memory_new(device, weights[i]->bytes, &weights[i]->derived);
        if (err)
            return err;
    }
    if (!t) {
        int err = make(d, weights, count, &t);
        if (err)
            return err;
    }
    CUDA(ERR_DEVICE_LOST, cuda_refresh(cuda_launch_of(d), t->count, t->weights, t->blocks));
    return ERR_OK;
}
