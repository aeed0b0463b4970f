// Places: tensors whose lives do not meet share memory.
#include <stdlib.h>

#include "base/err.h"
#include "base/util.h"
#include "graph/tape.h"

int graph_operands(const struct op *op, int ret_tensors[OP_OPERANDS]) {
    int all[] = {op->x, op->skip, op->y, op->stats, op->dy, op->dx, op->dskip, op->y_tangent};
    int count = 0;

    for (unsigned i = 0; i < COUNT(all); i++)
        if (all[i] >= 0)
            ret_tensors[count++] = all[i];
    for (int i = 0; i < op->n_parts; i++)
        ret_tensors[count++] = op->part[i].data;
    return count;
}

static int section_end(const struct graph *g, int op) {
    int end = op;

    while (end + 1 < g->n_ops && g->ops[end + 1].section == g->ops[op].section)
        end++;
    return end;
}

// Op i touches the buffer. What a side stream touches stays to the end of the section: it may be
// far behind, and no other stream is to wait for it (9 % more memory for 9 blocks at 128x128).
static void extend(const struct graph *g, struct buffer *b, int i) {
    int end = i;

    if (g->device->streams > 1 && g->ops[i].stream >= DEVICE_SIDE_STREAMS)
        end = section_end(g, i);
    else
        b->streams |= 1u << g->ops[i].stream;
    b->begin = MIN(b->begin, i);
    b->end = MAX(b->end, end);
}

static void find_lives(struct graph *g, bool apart) {
    for (int b = 0; b < g->n_buffers; b++) {
        bool always = apart || g->buffers[b].keep;
        g->buffers[b].begin = always ? 0 : g->n_ops;
        g->buffers[b].end = always ? g->n_ops : -1;
    }
    for (int i = 0; i < g->n_ops; i++) {
        int tensors[OP_OPERANDS];
        int count = graph_operands(&g->ops[i], tensors);
        for (int k = 0; k < count; k++)
            extend(g, &g->buffers[g->tensors[tensors[k]].buffer], i);
    }
}

static int by_size(const void *a, const void *b) {
    const struct buffer *x = *(struct buffer *const *)a, *y = *(struct buffer *const *)b;

    if (x->bytes != y->bytes)
        return x->bytes < y->bytes ? 1 : -1;
    return x < y ? -1 : x > y;
}

static int section_of(const struct graph *g, int op) {
    return g->n_ops ? g->ops[MIN(MAX(op, 0), g->n_ops - 1)].section : 0;
}

// In a section the streams of one do not wait for memory of the other's.
static bool streams_meet(const struct graph *g, const struct buffer *a, const struct buffer *b) {
    return g->device->streams > 1 && a->streams != b->streams &&
           section_of(g, a->begin) <= section_of(g, b->end) &&
           section_of(g, b->begin) <= section_of(g, a->end);
}

static bool lives_meet(const struct graph *g, const struct buffer *a, const struct buffer *b) {
    return (a->begin <= b->end && b->begin <= a->end) || streams_meet(g, a, b);
}

// The lowest offset where `b` fits between those of placed[0..count), sorted by offset, that live
// when it does. Inserts it there.
static void place(const struct graph *g, struct buffer **placed, int count, struct buffer *b) {
    size_t offset = 0;
    int at = count;

    for (int i = 0; i < count; i++) {
        if (!lives_meet(g, placed[i], b))
            continue;
        if (placed[i]->offset >= offset + b->bytes)
            break;
        offset = MAX(offset, placed[i]->offset + placed[i]->bytes);
    }
    b->offset = offset;
    while (at > 0 && placed[at - 1]->offset > offset) {
        placed[at] = placed[at - 1];
        at--;
    }
    placed[at] = b;
}

// No two tensors share a line of a cache, and libraries may ask for as much of their scratch.
static size_t aligned(size_t bytes) {
    enum { ALIGNMENT = 256 };

    return (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

void graph_place(struct graph *g, bool apart) {
    struct buffer **order = xcalloc((size_t)g->n_buffers + 1, sizeof(struct buffer *));
    struct buffer **placed = xcalloc((size_t)g->n_buffers + 1, sizeof(struct buffer *));

    find_lives(g, apart);
    for (int i = 0; i < g->n_buffers; i++) {
        g->buffers[i].bytes = aligned(g->buffers[i].bytes);
        order[i] = &g->buffers[i];
    }
    qsort(order, (size_t)g->n_buffers, sizeof(struct buffer *), by_size);

    g->workspace_offset = 0;
    for (int i = 0; i < g->n_buffers; i++) {
        place(g, placed, i, order[i]);
        g->workspace_offset = MAX(g->workspace_offset, order[i]->offset + order[i]->bytes);
    }
    g->workspace_bytes = aligned(g->workspace_bytes);
    g->arena_bytes = g->workspace_offset + (size_t)g->device->streams * g->workspace_bytes;
    free(placed);
    free(order);
    graph_order(g);
}

void *graph_workspace(const struct graph *g, void *arena, const struct op *op) {
    return (char *)arena + g->workspace_offset + (size_t)op->stream * g->workspace_bytes;
}

size_t graph_arena_bytes(const struct graph *g) {
    return g->arena_bytes;
}

size_t graph_workspace_bytes(const struct graph *g) {
    return g->arena_bytes - g->workspace_offset;
}

size_t graph_bytes(const struct graph *g, int tensor) {
    const struct tensor *t = &g->tensors[tensor];
    struct tensor_shape s = graph_shape(g, tensor);

    return t->root == tensor ? g->buffers[t->buffer].bytes
                             : device_tensor_bytes(g->device, &s, t->size.pad);
}

void *graph_data(const struct graph *g, void *arena, int tensor) {
    const struct tensor *t = &g->tensors[tensor];
    struct tensor_shape picture = {1, t->size.h, t->size.w, t->size.c};

    return (char *)arena + g->buffers[t->buffer].offset +
           (size_t)t->first * device_tensor_bytes(g->device, &picture, t->size.pad);
}

// Tensors with a border are not what the host sees.
static void check_plain(const struct graph *g, int tensor) {
    if (g->tensors[tensor].size.pad)
        BUG("tensor %d has a border", tensor);
}

int graph_write(const struct graph *g, void *arena, int tensor, enum pixel_type type,
                const void *pictures) {
    struct tensor_shape s = graph_shape(g, tensor);

    check_plain(g, tensor);
    return g->device->backend->image_in(g->device, &s, type, pictures,
                                        graph_data(g, arena, tensor));
}

int graph_write_each(const struct graph *g, void *arena, int tensor, enum pixel_type type,
                     const void *const *pictures) {
    struct tensor_shape s = graph_shape(g, tensor);

    check_plain(g, tensor);
    return g->device->backend->images_in(g->device, &s, type, pictures,
                                         graph_data(g, arena, tensor));
}

int graph_write_prefetched(const struct graph *g, void *arena, int tensor, enum pixel_type type,
                           int ahead) {
    struct tensor_shape s = graph_shape(g, tensor);

    check_plain(g, tensor);
    return g->device->backend->image_arrive(g->device, &s, type, ahead,
                                            graph_data(g, arena, tensor));
}

int graph_read(const struct graph *g, void *arena, int tensor, enum pixel_type type,
               void *ret_shared) {
    struct tensor_shape s = graph_shape(g, tensor);

    check_plain(g, tensor);
    return g->device->backend->image_out(g->device, &s, type, graph_data(g, arena, tensor),
                                         ret_shared);
}

size_t graph_image_bytes(const struct graph *g, int tensor, enum pixel_type type) {
    struct tensor_shape s = graph_shape(g, tensor);

    return device_image_bytes(g->device, &s, type);
}
