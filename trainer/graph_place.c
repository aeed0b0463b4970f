// Places: tensors whose lives do not meet share memory.
#include <stdlib.h>

#include "err.h"
#include "graph_tape.h"
#include "util.h"

int graph_operands(const struct op *op, int ret_tensors[OP_OPERANDS]) {
    int all[] = {op->x, op->skip, op->y, op->stats, op->dy, op->dx, op->dskip, op->y_dual};
    int count = 0;

    for (unsigned i = 0; i < COUNT(all); i++)
        if (all[i] >= 0)
            ret_tensors[count++] = all[i];
    for (int i = 0; i < op->n_parts; i++)
        ret_tensors[count++] = op->part[i].data;
    return count;
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
        for (int k = 0; k < count; k++) {
            struct buffer *b = &g->buffers[g->tensors[tensors[k]].buffer];
            b->begin = MIN(b->begin, i);
            b->end = MAX(b->end, i);
        }
    }
}

static int by_size(const void *a, const void *b) {
    const struct buffer *x = *(struct buffer *const *)a, *y = *(struct buffer *const *)b;

    if (x->bytes != y->bytes)
        return x->bytes < y->bytes ? 1 : -1;
    return x < y ? -1 : x > y;
}

static bool lives_meet(const struct buffer *a, const struct buffer *b) {
    return a->begin <= b->end && b->begin <= a->end;
}

// The lowest offset where `b` fits between those of placed[0..count), sorted by offset, that live
// when it does. Inserts it there.
static void place(struct buffer **placed, int count, struct buffer *b) {
    size_t offset = 0;
    int at = count;

    for (int i = 0; i < count; i++) {
        if (!lives_meet(placed[i], b))
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

void graph_place(struct graph *g, bool apart) {
    struct buffer **order = xcalloc((size_t)g->n_buffers + 1, sizeof(struct buffer *));
    struct buffer **placed = xcalloc((size_t)g->n_buffers + 1, sizeof(struct buffer *));

    find_lives(g, apart);
    for (int i = 0; i < g->n_buffers; i++) {
        g->buffers[i].bytes = (g->buffers[i].bytes + 63) / 64 * 64;
        order[i] = &g->buffers[i];
    }
    qsort(order, (size_t)g->n_buffers, sizeof(struct buffer *), by_size);

    g->workspace_offset = 0;
    for (int i = 0; i < g->n_buffers; i++) {
        place(placed, i, order[i]);
        g->workspace_offset = MAX(g->workspace_offset, order[i]->offset + order[i]->bytes);
    }
    g->arena_bytes = g->workspace_offset + (g->workspace_bytes + 63) / 64 * 64;
    free(placed);
    free(order);
}

size_t graph_arena_bytes(const struct graph *g) {
    return g->arena_bytes;
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

int graph_write(const struct graph *g, void *arena, int tensor, enum picture_type type,
                const void *pictures) {
    struct tensor_shape s = graph_shape(g, tensor);

    check_plain(g, tensor);
    return g->device->backend->picture_in(g->device, &s, type, pictures,
                                          graph_data(g, arena, tensor));
}

int graph_read(const struct graph *g, void *arena, int tensor, float *ret_shared) {
    struct tensor_shape s = graph_shape(g, tensor);

    check_plain(g, tensor);
    return g->device->backend->picture_out(g->device, &s, graph_data(g, arena, tensor), ret_shared);
}
