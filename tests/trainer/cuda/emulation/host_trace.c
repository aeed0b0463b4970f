// The host's requests to the emulation, in order, as lines of a file: for tests of that order.
#include <stdio.h>
#include <stdlib.h>

#include "trainer/cuda/emulation/host_runtime.h"

static FILE *trace(void) {
    static FILE *file;
    static bool known;
    const char *path = getenv("CUDA_HOST_TRACE");

    if (!known && path)
        file = fopen(path, "ae");
    known = true;
    return file;
}

static const char *direction(const struct cuda_host_node *n) {
    bool to = cuda_host_place(n->to, n->bytes) == PLACE_DEVICE;
    bool from = cuda_host_place(n->from, n->bytes) == PLACE_DEVICE;

    return to == from ? "copy" : to ? "in" : "out";
}

void cuda_host_trace_issue(const struct cuda_host_stream *s, const struct cuda_host_node *n) {
    FILE *f = trace();

    if (!f)
        return;
    if (n->kind == WORK_COPY)
        fprintf(f, "%p %s %zu\n", (const void *)s, direction(n), n->bytes);
    else if (n->kind == WORK_RECORD || n->kind == WORK_WAIT)
        fprintf(f, "%p %s %p\n", (const void *)s, n->name, (const void *)n->event);
    else if (n->kind == WORK_GRAPH)
        fprintf(f, "%p graph %llu\n", (const void *)s, (unsigned long long)n->graph->number);
    else
        fprintf(f, "%p kernel %s\n", (const void *)s, n->name);
}

void cuda_host_trace_wait(const struct cuda_host_event *e) {
    FILE *f = trace();

    if (f)
        fprintf(f, "host waits %p\n", (const void *)e);
}
