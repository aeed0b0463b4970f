// Copies of the weights as oneDNN's and our own kernels want them.
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/util.h"
#include "cpu/cpu.h"

int cpu_master_desc(const struct conv_shape *s, dnnl_memory_desc_t *ret_desc) {
    // One logical order for both kinds. The tag tells oneDNN which axis is stored first.
    dnnl_dims_t dims = {s->k, s->c, s->r, s->r};

    DNN(ERR_DEVICE, dnnl_memory_desc_init_by_tag(ret_desc, 4, dims, dnnl_f32,
                                                 s->transposed ? dnnl_bacd : dnnl_abcd));
    return ERR_OK;
}

struct device_weights *cpu_weights_new(struct device *d, const float *master,
                                       const int64_t dims[4]) {
    struct device_weights *w = xcalloc(1, sizeof *w);

    w->device = (struct cpu_device *)d;
    w->master = master;
    memcpy(w->dims, dims, sizeof w->dims);
    return w;
}

static void packed_fini(struct packed *p) {
    dnnl_primitive_destroy(p->reorder);
    dnnl_memory_destroy(p->memory);
    free(p->data);
}

void cpu_weights_free(struct device_weights *w) {
    if (!w)
        return;
    for (int i = 0; i < w->n_packed; i++)
        packed_fini(&w->packed[i]);
    dnnl_memory_destroy(w->memory);
    free(w->packed);
    free(w);
}

int cpu_reorder_new(dnnl_engine_t engine, const dnnl_memory_desc_t *from,
                    const dnnl_memory_desc_t *to, dnnl_primitive_t *ret_reorder) {
    dnnl_primitive_desc_t desc = NULL;

    DNN(ERR_DEVICE, dnnl_reorder_primitive_desc_create(&desc, from, engine, to, engine, NULL));
    // The primitive keeps what it needs, so the descriptor goes before the check.
    dnnl_status_t status = dnnl_primitive_create(ret_reorder, desc);
    dnnl_primitive_desc_destroy(desc);
    DNN(ERR_DEVICE, status);
    return ERR_OK;
}

int cpu_reorder_run(const struct cpu_device *d, dnnl_primitive_t reorder, dnnl_memory_t from,
                    dnnl_memory_t to) {
    dnnl_exec_arg_t args[] = {{DNNL_ARG_FROM, from}, {DNNL_ARG_TO, to}};

    DNN(ERR_DEVICE_LOST, dnnl_primitive_execute(reorder, d->stream, COUNT(args), args));
    return ERR_OK;
}

static int packed_fill(const struct device_weights *w, const struct packed *p, void *data) {
    switch (p->packing) {
    case PACKED_DNNL:
        // The convolution reads this memory object, so it sees the new data without another call.
        DNN(ERR_DEVICE_LOST, dnnl_memory_set_data_handle(p->memory, data));
        return cpu_reorder_run(w->device, p->reorder, w->memory, p->memory);
    case PACKED_WINO_FORWARD:
        cpu_wino_filters_forward(&p->wino, w->master, data);
        return ERR_OK;
    case PACKED_WINO_BACKWARD:
        cpu_wino_filters_backward(&p->wino, w->master, data);
        return ERR_OK;
    case PACKED_NARROW_OUTPUT:
        cpu_narrow_filters_output(&p->narrow, w->master, data);
        return ERR_OK;
    case PACKED_NARROW_INPUT:
        cpu_narrow_filters_input(&p->narrow, w->master, data);
        return ERR_OK;
    }
    BUG("packing %d", p->packing);
}

int cpu_weights_refresh(struct device *d, struct device_weights *const *weights, int count) {
    // Copies are made at each use instead.
    if (!((struct cpu_device *)d)->keeps_packed)
        return ERR_OK;
    for (int k = 0; k < count; k++)
        for (int i = 0; i < weights[k]->n_packed; i++) {
            const struct packed *p = &weights[k]->packed[i];
            int err = packed_fill(weights[k], p, p->data);
            if (err)
                return err;
        }
    return ERR_OK;
}

size_t cpu_weights_bytes(const struct device_weights *w) {
    size_t bytes = 0;

    // Copies that are not kept count as workspace.
    for (int i = 0; i < w->n_packed && w->device->keeps_packed; i++)
        bytes += w->packed[i].bytes;
    return bytes;
}

size_t cpu_packed_scratch(const struct device_weights *w, int index) {
    return w->device->keeps_packed || index < 0 ? 0 : w->packed[index].bytes;
}

int cpu_packed_use(const struct device_weights *w, int index, void *scratch,
                   const float **ret_data) {
    const struct packed *p = &w->packed[index];

    *ret_data = w->device->keeps_packed ? p->data : scratch;
    return w->device->keeps_packed ? ERR_OK : packed_fill(w, p, scratch);
}

static void *packed_memory(const struct device_weights *w, size_t bytes) {
    return w->device->keeps_packed ? xaligned(bytes) : NULL;
}

static int keep(struct device_weights *w, const struct packed *p) {
    w->packed = xrealloc(w->packed, (size_t)(w->n_packed + 1) * sizeof *w->packed);
    w->packed[w->n_packed] = *p;
    return w->n_packed++;
}

static int packed_init(struct packed *p, struct device_weights *w, const struct conv_shape *s) {
    dnnl_memory_desc_t master;
    int err = cpu_master_desc(s, &master);

    if (err)
        return err;
    // All packings of these weights read one view of the master.
    if (!w->memory)
        DNN(ERR_DEVICE, dnnl_memory_create(&w->memory, &master, w->device->engine,
                                           (void *)w->master)); // only read
    err = cpu_reorder_new(w->device->engine, &master, &p->desc, &p->reorder);
    if (err)
        return err;
    DNN(ERR_DEVICE, dnnl_memory_create(&p->memory, &p->desc, w->device->engine,
                                       p->data ? p->data : DNNL_MEMORY_NONE));
    return ERR_OK;
}

int cpu_packed_dnnl(struct device_weights *w, const struct conv_shape *s,
                    const dnnl_memory_desc_t *desc, int *ret_index) {
    struct packed p = {
        .packing = PACKED_DNNL, .desc = *desc, .bytes = dnnl_memory_desc_get_size(desc)};

    for (int i = 0; i < w->n_packed; i++)
        // Two shapes of the same weights share a copy if oneDNN wants the same layout.
        if (w->packed[i].packing == PACKED_DNNL &&
            dnnl_memory_desc_equal(&w->packed[i].desc, desc)) {
            *ret_index = i;
            return ERR_OK;
        }
    p.data = packed_memory(w, p.bytes);
    int err = packed_init(&p, w, s);
    if (err) {
        packed_fini(&p);
        return err;
    }
    *ret_index = keep(w, &p);
    return ERR_OK;
}

int cpu_packed_wino(struct device_weights *w, const struct cpu_wino *s, enum packing packing) {
    struct packed p = {
        .packing = packing, .wino = *s, .bytes = cpu_wino_filter_floats(s) * sizeof(float)};

    for (int i = 0; i < w->n_packed; i++)
        // Channels follow from the weights, so tile and direction identify a copy.
        if (w->packed[i].packing == packing && w->packed[i].wino.m == s->m)
            return i;
    p.data = packed_memory(w, p.bytes);
    return keep(w, &p);
}

int cpu_packed_narrow(struct device_weights *w, const struct cpu_narrow *s, enum packing packing) {
    struct packed p = {
        .packing = packing, .narrow = *s, .bytes = cpu_narrow_filter_floats(s) * sizeof(float)};

    for (int i = 0; i < w->n_packed; i++)
        // The layout depends on filter and channels alone, which the weights fix.
        if (w->packed[i].packing == packing)
            return i;
    p.data = packed_memory(w, p.bytes);
    return keep(w, &p);
}
