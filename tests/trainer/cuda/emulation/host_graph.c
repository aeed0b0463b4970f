// Captures and graphs of the emulation.
#include <stdlib.h>

#include "trainer/cuda/emulation/host_runtime.h"

void cuda_host_graph_run(struct cuda_host_graph *g) {
    int left = g->n;

    for (int i = 0; i < g->n; i++)
        g->nodes[i]->done = false;
    while (left > 0) {
        int pick = -1, ready = 0;
        for (int i = 0; i < g->n; i++) {
            struct cuda_host_node *n = g->nodes[i];
            bool waits = n->done || !cuda_host_is_ready(n);
            for (int k = 0; !waits && k < n->n_after; k++)
                waits = !g->nodes[n->after[k]]->done;
            if (waits)
                continue;
            ready++;
            if (pick < 0 || cuda_host.seed == 1 ||
                (cuda_host.seed > 1 && cuda_host_draw() % (unsigned)ready == 0))
                pick = i;
            if (cuda_host.seed == 0)
                break;
        }
        if (pick < 0 && !cuda_host_advance_any())
            cuda_host_die("a graph waits for an event that nothing records");
        if (pick < 0)
            continue;
        cuda_host_node_run(g->nodes[pick]);
        g->nodes[pick]->done = true;
        left--;
    }
}

void cuda_host_add_tail(int *n, int **tails, int tail) {
    for (int i = 0; i < *n; i++)
        if ((*tails)[i] == tail)
            return;
    *tails = realloc(*tails, sizeof(int) * (size_t)(*n + 1));
    (*tails)[(*n)++] = tail;
}

void cuda_host_capture(struct cuda_host_stream *s, struct cuda_host_node *n) {
    struct cuda_host_graph *g = s->capture;

    n->after = s->tails;
    n->n_after = s->n_tails;
    g->nodes = realloc(g->nodes, sizeof(struct cuda_host_node *) * (size_t)(g->n + 1));
    g->nodes[g->n] = n;
    s->tails = NULL;
    s->n_tails = 0;
    cuda_host_add_tail(&s->n_tails, &s->tails, g->n++);
}

bool cuda_host_is_capturing(void) {
    for (const struct cuda_host_stream *s = cuda_host.streams; s; s = s->next)
        if (s->capture)
            return true;
    return false;
}

void cuda_host_spoil_captures(void) {
    for (const struct cuda_host_stream *s = cuda_host.streams; s; s = s->next)
        if (s->capture)
            s->capture->invalid = true;
}

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, enum cudaStreamCaptureMode mode) {
    ENTER();
    if (!stream || stream->capture)
        return cuda_host_failed(cudaErrorStreamCaptureUnsupported);
    stream->capture = cuda_host_take(sizeof *stream->capture);
    stream->capture->number = ++cuda_host.captures;
    stream->capture->origin = stream;
    stream->capture->references = 1;
    stream->n_tails = 0;
    return cudaSuccess;
}

static bool is_behind(const struct cuda_host_graph *g, int from, int node) {
    if (from == node)
        return true;
    for (int i = 0; i < g->nodes[from]->n_after; i++)
        if (is_behind(g, g->nodes[from]->after[i], node))
            return true;
    return false;
}

// Whether all work of the streams that joined comes before a tail of `origin`.
static bool is_joined(const struct cuda_host_graph *g, const struct cuda_host_stream *s) {
    for (int i = 0; i < s->n_tails; i++) {
        bool found = false;
        for (int k = 0; !found && k < g->origin->n_tails; k++)
            found = is_behind(g, g->origin->tails[k], s->tails[i]);
        if (!found)
            return false;
    }
    return true;
}

// Ends the capture in all its streams.
static bool leave(struct cuda_host_graph *g) {
    bool joined = true;

    for (struct cuda_host_stream *s = cuda_host.streams; s; s = s->next)
        if (s->capture == g && s != g->origin)
            joined = joined && is_joined(g, s);
    for (struct cuda_host_stream *s = cuda_host.streams; s; s = s->next)
        if (s->capture == g) {
            s->capture = NULL;
            free(s->tails);
            s->tails = NULL;
            s->n_tails = 0;
        }
    return joined;
}

// Whatever it returns, the capture has ended.
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t *ret_graph) {
    cudaError_t error = cuda_host_enter(__func__);
    struct cuda_host_graph *g = stream ? stream->capture : NULL;

    if (!g || g->origin != stream)
        return cuda_host_failed(cudaErrorInvalidValue);
    bool joined = leave(g);
    if (!error && g->invalid)
        error = cudaErrorStreamCaptureInvalidated;
    if (!error && !joined)
        error = cudaErrorStreamCaptureUnjoined;
    if (error) {
        cuda_host_graph_release(g);
        return cuda_host_failed(error);
    }
    cuda_host.objects++;
    *ret_graph = g;
    return cudaSuccess;
}

cudaError_t cudaStreamIsCapturing(cudaStream_t stream, enum cudaStreamCaptureStatus *ret) {
    ENTER();
    *ret = stream && stream->capture ? cudaStreamCaptureStatusActive : cudaStreamCaptureStatusNone;
    return cudaSuccess;
}

// What was instantiated: nodes, and those of the longest chain.
static struct { int nodes, chain; } recorded[256];
static size_t n_recorded;

static int chain_of(const struct cuda_host_graph *g) {
    int *length = cuda_host_take(sizeof(int) * (size_t)(g->n + 1)), longest = 0;

    for (int i = 0; i < g->n; i++) {
        for (int k = 0; k < g->nodes[i]->n_after; k++)
            if (length[i] < length[g->nodes[i]->after[k]])
                length[i] = length[g->nodes[i]->after[k]];
        if (++length[i] > longest)
            longest = length[i];
    }
    free(length);
    return longest;
}

bool cuda_host_recorded(size_t i, int *ret_nodes, int *ret_chain) {
    if (i >= n_recorded)
        return false;
    *ret_nodes = recorded[i].nodes;
    *ret_chain = recorded[i].chain;
    return true;
}

// An executable graph is the graph.
cudaError_t cudaGraphInstantiate(cudaGraphExec_t *ret, cudaGraph_t graph,
                                 unsigned long long flags) {
    ENTER();
    graph->references++;
    cuda_host.objects++;
    if (n_recorded < sizeof recorded / sizeof *recorded) {
        recorded[n_recorded].nodes = graph->n;
        recorded[n_recorded++].chain = chain_of(graph);
    }
    *ret = graph;
    return cudaSuccess;
}

cudaError_t cudaGraphGetNodes(cudaGraph_t graph, cudaGraphNode_t *ret_nodes, size_t *count) {
    ENTER();
    for (size_t i = 0; ret_nodes && i < *count && i < (size_t)graph->n; i++)
        ret_nodes[i] = graph->nodes[i];
    *count = (size_t)graph->n;
    return cudaSuccess;
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t graph, cudaStream_t stream) {
    struct cuda_host_node *n;

    ENTER();
    if (!stream || stream->capture)
        cuda_host_die("a graph is launched into the default stream or into a capture");
    n = cuda_host_node_new(WORK_GRAPH, "graph", NULL, 0);
    n->graph = graph;
    graph->references++;
    for (int i = 0; i < graph->n; i++) {
        struct cuda_host_node *inner = graph->nodes[i];
        if (inner->kind == WORK_RECORD)
            inner->event->issued++;
        if (inner->kind == WORK_WAIT)
            inner->turn = inner->event->issued;
    }
    cuda_host_issue(stream, n);
    return cudaSuccess;
}

cudaError_t cudaGraphUpload(cudaGraphExec_t graph, cudaStream_t stream) {
    ENTER();
    return cudaSuccess;
}

void cuda_host_graph_release(struct cuda_host_graph *g) {
    if (--g->references > 0)
        return;
    for (int i = 0; i < g->n; i++)
        cuda_host_node_free(g->nodes[i]);
    free(g->nodes);
    free(g);
}

static cudaError_t destroy(cudaGraph_t graph, cudaError_t earlier) {
    if (!graph)
        return cuda_host_failed(cudaErrorInvalidValue);
    cuda_host.objects--;
    cuda_host_graph_release(graph);
    return earlier;
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
    return destroy(graph, cuda_host_enter(__func__));
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t graph) {
    return destroy(graph, cuda_host_enter(__func__));
}
