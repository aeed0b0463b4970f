// Images and numbers between the host and tensors of the tape.
#include "base/err.h"
#include "graph/tape.h"

void *graph_data(const struct graph *g, void *arena, int tensor) {
    const struct tensor *t = &g->tensors[tensor];
    struct tensor_shape image = {1, t->size.h, t->size.w, t->size.c};

    // Images are the outermost dimension, so a view begins a whole number of images further.
    return (char *)arena + g->buffers[t->buffer].offset +
           (size_t)t->first * device_tensor_bytes(g->device, &image, t->size.pad);
}

// The shape of a tensor that the host may read and write: one without border, which the backends
// neither fill nor leave out.
static struct tensor_shape plain_shape(const struct graph *g, int tensor) {
    if (g->tensors[tensor].size.pad)
        BUG("tensor %d has a border", tensor);
    return graph_shape(g, tensor);
}

int graph_write(const struct graph *g, void *arena, int tensor, enum pixel_type type,
                const void *images) {
    struct tensor_shape s = plain_shape(g, tensor);

    return g->device->backend->image_in(g->device, &s, type, images, graph_data(g, arena, tensor));
}

int graph_write_each(const struct graph *g, void *arena, int tensor, enum pixel_type type,
                     const void *const *images) {
    struct tensor_shape s = plain_shape(g, tensor);

    return g->device->backend->images_in(g->device, &s, type, images, graph_data(g, arena, tensor));
}

int graph_write_prefetched(const struct graph *g, void *arena, int tensor, enum pixel_type type,
                           int slot) {
    struct tensor_shape s = plain_shape(g, tensor);

    return g->device->backend->image_arrive(g->device, &s, type, slot,
                                            graph_data(g, arena, tensor));
}

int graph_read(const struct graph *g, void *arena, int tensor, enum pixel_type type,
               void *ret_shared) {
    struct tensor_shape s = plain_shape(g, tensor);

    return g->device->backend->image_out(g->device, &s, type, graph_data(g, arena, tensor),
                                         ret_shared);
}

size_t graph_image_bytes(const struct graph *g, int tensor, enum pixel_type type) {
    struct tensor_shape s = graph_shape(g, tensor);

    return device_image_bytes(g->device, &s, type);
}
