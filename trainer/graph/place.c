// Places: tensors that live at different times share memory.
#include <stdlib.h>

#include "base/err.h"
#include "base/util.h"
#include "graph/tape.h"

// ---- when a buffer lives ----

static int section_end(const struct graph *g, int op) {
    int end = op;

    while (end + 1 < g->n_ops && g->ops[end + 1].section == g->ops[op].section)
        end++;
    return end;
}

// Op i touches the tensor. A buffer that a side stream touches lives to the end of the section: the
// side stream may be far behind, and no other stream is to wait for it. The price is 9 % more
// memory for 9 blocks at 128x128.
static void extend_life(struct graph *g, int tensor, int i) {
    if (tensor < 0)
        return;
    struct buffer *b = &g->buffers[g->tensors[tensor].buffer];
    int end = i;

    if (g->device->streams > 1 && g->ops[i].stream >= DEVICE_SIDE_STREAMS)
        end = section_end(g, i);
    else
        b->streams |= 1u << g->ops[i].stream;
    b->begin = MIN(b->begin, i);
    b->end = MAX(b->end, end);
}

static void find_lives(struct graph *g, bool separate) {
    for (int b = 0; b < g->n_buffers; b++) {
        // Until an op touches it, begin is behind end: such a buffer overlaps no other.
        bool always = separate || g->buffers[b].keep;
        g->buffers[b].begin = always ? 0 : g->n_ops;
        g->buffers[b].end = always ? g->n_ops : -1;
    }
    for (int i = 0; i < g->n_ops; i++) {
        const struct op *op = &g->ops[i];
        for (int k = 0; k < OP_INPUTS; k++)
            extend_life(g, op->in[k], i);
        for (int k = 0; k < OP_OUTPUTS; k++)
            extend_life(g, op->out[k], i);
        for (int k = 0; k < op->n_parts; k++)
            extend_life(g, op->part[k].data, i);
    }
}

static int section_of(const struct graph *g, int op) {
    return g->n_ops ? g->ops[MIN(MAX(op, 0), g->n_ops - 1)].section : 0;
}

// Within a section the ops of two streams have no order but the one that data gives them. If
// buffers of different streams shared memory, one stream would have to wait for the other.
static bool share_section(const struct graph *g, const struct buffer *a, const struct buffer *b) {
    return g->device->streams > 1 && a->streams != b->streams &&
           section_of(g, a->begin) <= section_of(g, b->end) &&
           section_of(g, b->begin) <= section_of(g, a->end);
}

static bool lives_overlap(const struct graph *g, const struct buffer *a, const struct buffer *b) {
    return (a->begin <= b->end && b->begin <= a->end) || share_section(g, a, b);
}

// ---- offsets ----

// Large buffers are placed first: small ones fit into the gaps that they leave. Equal ones keep
// their order, so that places are a function of the tape.
static int compare_sizes(const void *a, const void *b) {
    const struct buffer *x = *(struct buffer *const *)a, *y = *(struct buffer *const *)b;

    if (x->bytes != y->bytes)
        return x->bytes < y->bytes ? 1 : -1;
    // Both point into one array, so their order is that of creation.
    return x < y ? -1 : x > y;
}

// Gives b the lowest offset that no buffer of placed[0..count) with an overlapping life uses,
// and inserts it into that list, which is sorted by offset.
static void place_buffer(const struct graph *g, struct buffer **placed, int count,
                         struct buffer *b) {
    size_t offset = 0;
    int at = count;

    for (int i = 0; i < count; i++) {
        if (!lives_overlap(g, placed[i], b))
            continue;
        // The gap in front of this one is large enough. Later ones begin behind it.
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

// No two tensors share a cache line. Libraries may ask for this alignment of their scratch.
static size_t align_bytes(size_t bytes) {
    enum { ALIGNMENT = 256 };

    return (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

void graph_place(struct graph *g, bool separate) {
    // One element more than needed, since an empty tape would ask for 0 bytes.
    struct buffer **order = xcalloc((size_t)g->n_buffers + 1, sizeof(struct buffer *));
    struct buffer **placed = xcalloc((size_t)g->n_buffers + 1, sizeof(struct buffer *));

    find_lives(g, separate);
    for (int i = 0; i < g->n_buffers; i++) {
        g->buffers[i].bytes = align_bytes(g->buffers[i].bytes);
        order[i] = &g->buffers[i];
    }
    qsort(order, (size_t)g->n_buffers, sizeof(struct buffer *), compare_sizes);

    g->workspace_offset = 0;
    for (int i = 0; i < g->n_buffers; i++) {
        place_buffer(g, placed, i, order[i]);
        g->workspace_offset = MAX(g->workspace_offset, order[i]->offset + order[i]->bytes);
    }
    // Behind the tensors, one scratch for each stream.
    g->workspace_bytes = align_bytes(g->workspace_bytes);
    g->arena_bytes = g->workspace_offset + (size_t)g->device->streams * g->workspace_bytes;
    free(placed);
    free(order);
    // Only now: two ops may conflict because their tensors share memory.
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
