// Work of the emulation, and the streams that it waits in.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "trainer/cuda/emulation/host_runtime.h"

struct cuda_host_state cuda_host;

static struct cuda_host_stream legacy = {.legacy = true};

static double now_ms(void) {
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return 1e3 * (double)t.tv_sec + 1e-6 * (double)t.tv_nsec;
}

uint64_t cuda_host_draw(void) {
    cuda_host.random = cuda_host.random * 6364136223846793005u + 1442695040888963407u;
    return cuda_host.random >> 33;
}

void cuda_host_order(uint64_t seed) {
    cuda_host_finish_all();
    cuda_host.seed = cuda_host.random = seed;
}

uint64_t cuda_host_launches(void) {
    return cuda_host.launches;
}

// ---- work ----

// Like CUDA, a kernel that fails is heard of at a later call.
static bool kernel_fails(const char *name) {
    cudaError_t error;
    bool stays; // a kernel's error always does
    char own[80];

    (void)snprintf(own, sizeof own, "kernel:%s", name); // fits
    if (!cuda_host_is_due("kernel", &error, &stays) && !cuda_host_is_due(own, &error, &stays))
        return false;
    cuda_host_break(error);
    return true;
}

static void compute(const struct cuda_host_node *n) {
    struct cuda_host_grid grid = {.name = n->name,
                                  .run = (void (*)(const void *))n->run,
                                  .args = n->args,
                                  .grid = n->grid,
                                  .block = n->block,
                                  .shared_bytes = n->shared_bytes};

    if (kernel_fails(n->name) || cuda_host_is_idle())
        return;
    if (n->kind == WORK_CALL) {
        n->run(n->args);
        return;
    }
    cuda_host.launches++;
    cuda_host_run(&grid, cuda_host.seed > 1 ? cuda_host_draw() | 2 : cuda_host.seed);
}

// On a context that is lost nothing happens, but nobody waits for ever.
void cuda_host_node_run(struct cuda_host_node *n) {
    if (cuda_host.broken && n->kind != WORK_RECORD && n->kind != WORK_GRAPH)
        return;
    switch (n->kind) {
    case WORK_KERNEL:
    case WORK_CALL:
        compute(n);
        break;
    case WORK_COPY:
        memmove(n->to, n->from, n->bytes);
        break;
    case WORK_SET:
        memset(n->to, n->value, n->bytes);
        break;
    case WORK_RECORD:
        n->event->reached = n->turn ? n->turn : n->event->reached + 1;
        n->event->time_ms = now_ms();
        break;
    case WORK_WAIT:
        break;
    case WORK_GRAPH:
        cuda_host_graph_run(n->graph);
        break;
    }
}

void cuda_host_node_free(struct cuda_host_node *n) {
    if (n->kind == WORK_GRAPH)
        cuda_host_graph_release(n->graph);
    free(n->args);
    free(n->after);
    free(n);
}

struct cuda_host_node *cuda_host_node_new(enum cuda_host_kind kind, const char *name,
                                          const void *args, size_t bytes) {
    struct cuda_host_node *n = cuda_host_take(sizeof *n);

    n->kind = kind;
    (void)snprintf(n->name, sizeof n->name, "%s", name);
    n->args = cuda_host_take(bytes);
    if (bytes)
        memcpy(n->args, args, bytes);
    return n;
}

// ---- turns ----

bool cuda_host_is_ready(const struct cuda_host_node *n) {
    return n->kind != WORK_WAIT || n->event->reached >= n->turn;
}

// Runs the first piece of work of a stream.
static void advance(struct cuda_host_stream *s) {
    struct cuda_host_node *n = s->first;

    s->first = n->next;
    if (!s->first)
        s->end = &s->first;
    cuda_host_node_run(n);
    cuda_host_node_free(n);
}

bool cuda_host_advance_any(void) {
    unsigned ready = 0, k = 0;

    for (struct cuda_host_stream *s = cuda_host.streams; s; s = s->next)
        ready += s->first && cuda_host_is_ready(s->first);
    if (ready == 0)
        return false;
    unsigned pick = (unsigned)(cuda_host_draw() % ready);
    for (struct cuda_host_stream *s = cuda_host.streams; s; s = s->next)
        if (s->first && cuda_host_is_ready(s->first) && k++ == pick) {
            advance(s);
            return true;
        }
    return false;
}

static void finish_stream(struct cuda_host_stream *s) {
    while (s->first)
        if (cuda_host_is_ready(s->first))
            advance(s);
        else if (!cuda_host_advance_any())
            cuda_host_die("a stream waits for an event that nothing records");
}

void cuda_host_finish_all(void) {
    while (cuda_host_advance_any())
        ;
    for (struct cuda_host_stream *s = cuda_host.streams; s; s = s->next)
        if (s->first)
            cuda_host_die("a stream waits for an event that nothing records");
}

void cuda_host_issue(struct cuda_host_stream *s, struct cuda_host_node *n) {
    s = s ? s : &legacy;
    if (s->capture) {
        cuda_host_capture(s, n);
        return;
    }
    cuda_host_trace_issue(s, n);
    if (s->legacy) {
        cuda_host_finish_all();
        cuda_host_node_run(n);
        cuda_host_node_free(n);
        return;
    }
    *s->end = n;
    s->end = &n->next;
    if (cuda_host.seed == 0)
        finish_stream(s);
    else if (cuda_host.seed > 1 && cuda_host_draw() % 4 == 0)
        (void)cuda_host_advance_any(); // there may be nothing that can run yet
}

// ---- kernels, copies ----

cudaError_t cuda_host_launch(const char *name, void (*run)(const void *args), const void *args,
                             size_t bytes, struct dim3 grid, struct dim3 block, size_t shared_bytes,
                             cudaStream_t stream) {
    size_t threads = (size_t)block.x * block.y * block.z;
    cudaError_t error = cuda_host_enter("cudaLaunchKernel");

    if (error)
        return error;
    if (threads == 0 || threads > 1024 || block.z > 64 || grid.x == 0 || grid.x > 0x7fffffff ||
        grid.y == 0 || grid.y > 65535 || grid.z == 0 || grid.z > 65535)
        return cuda_host_failed(cudaErrorInvalidConfiguration);
    if (threads % 32)
        cuda_host_die("%s: %zu threads, not whole warps", name, threads);
    if (shared_bytes > cuda_host_shared_limit() || bytes > 4096)
        return cuda_host_failed(cudaErrorInvalidValue);
    struct cuda_host_node *n = cuda_host_node_new(WORK_KERNEL, name, args, bytes);
    n->run = (void (*)(void *))run;
    n->grid = grid;
    n->block = block;
    n->shared_bytes = shared_bytes;
    cuda_host_issue(stream, n);
    return cudaSuccess;
}

cudaError_t cuda_host_call(cudaStream_t stream, const char *name, void (*run)(void *args),
                           const void *args, size_t bytes) {
    struct cuda_host_node *n;

    ENTER();
    n = cuda_host_node_new(WORK_CALL, name, args, bytes);
    n->run = run;
    cuda_host_issue(stream, n);
    return cudaSuccess;
}

struct host_function {
    cudaHostFn_t run;
    void *data;
};

static void run_function(void *args) {
    struct host_function *f = args;

    f->run(f->data);
}

cudaError_t cudaLaunchHostFunc(cudaStream_t stream, cudaHostFn_t run, void *data) {
    struct host_function f = {run, data};

    return cuda_host_call(stream, "host function", run_function, &f, sizeof f);
}

static cudaError_t check_copy(const void *to, const void *from, size_t bytes,
                              enum cudaMemcpyKind kind) {
    bool to_device = cuda_host_place(to, bytes) == PLACE_DEVICE;
    bool from_device = cuda_host_place(from, bytes) == PLACE_DEVICE;

    if (kind == cudaMemcpyDefault)
        return cudaSuccess;
    if (to_device !=
            (kind == cudaMemcpyHostToDevice || (kind == cudaMemcpyDeviceToDevice && to_device)) ||
        from_device !=
            (kind == cudaMemcpyDeviceToHost || (kind == cudaMemcpyDeviceToDevice && from_device)))
        return cuda_host_failed(cudaErrorInvalidValue);
    return cudaSuccess;
}

static cudaError_t copy(void *to, const void *from, size_t bytes, enum cudaMemcpyKind kind,
                        cudaStream_t stream) {
    cudaError_t error = check_copy(to, from, bytes, kind);
    struct cuda_host_node *n;

    if (error)
        return error;
    n = cuda_host_node_new(WORK_COPY, "copy", NULL, 0);
    n->to = to;
    n->from = from;
    n->bytes = bytes;
    cuda_host_issue(stream, n);
    return cudaSuccess;
}

cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, enum cudaMemcpyKind kind,
                            cudaStream_t stream) {
    ENTER();
    return copy(to, from, bytes, kind, stream);
}

cudaError_t cudaMemcpy(void *to, const void *from, size_t bytes, enum cudaMemcpyKind kind) {
    ENTER();
    return copy(to, from, bytes, kind, NULL);
}

static cudaError_t set(void *memory, int value, size_t bytes, cudaStream_t stream) {
    struct cuda_host_node *n;

    if (cuda_host_place(memory, bytes) == PLACE_UNKNOWN)
        return cuda_host_failed(cudaErrorInvalidValue);
    n = cuda_host_node_new(WORK_SET, "set", NULL, 0);
    n->to = memory;
    n->value = value;
    n->bytes = bytes;
    cuda_host_issue(stream, n);
    return cudaSuccess;
}

cudaError_t cudaMemsetAsync(void *memory, int value, size_t bytes, cudaStream_t stream) {
    ENTER();
    return set(memory, value, bytes, stream);
}

cudaError_t cudaMemset(void *memory, int value, size_t bytes) {
    ENTER();
    return set(memory, value, bytes, NULL);
}

// ---- streams ----

static cudaError_t stream_new(cudaStream_t *ret) {
    struct cuda_host_stream *s = cuda_host_take(sizeof *s);

    s->end = &s->first;
    s->next = cuda_host.streams;
    cuda_host.streams = s;
    cuda_host.objects++;
    *ret = s;
    return cudaSuccess;
}

cudaError_t cudaStreamCreateWithPriority(cudaStream_t *ret, unsigned flags, int priority) {
    ENTER();
    return stream_new(ret);
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *ret, unsigned flags) {
    ENTER();
    return stream_new(ret);
}

cudaError_t cudaStreamCreate(cudaStream_t *ret) {
    ENTER();
    return stream_new(ret);
}

cudaError_t cudaStreamDestroy(cudaStream_t stream) {
    cudaError_t earlier = cuda_host_enter(__func__);

    if (!stream || stream->legacy)
        return cuda_host_failed(cudaErrorInvalidResourceHandle);
    if (stream->capture)
        cuda_host_die("a stream is destroyed while it is captured");
    finish_stream(stream);
    for (struct cuda_host_stream **at = &cuda_host.streams; *at; at = &(*at)->next)
        if (*at == stream) {
            *at = stream->next;
            cuda_host.objects--;
            free(stream->tails);
            free(stream);
            return earlier;
        }
    return cuda_host_failed(cudaErrorInvalidResourceHandle);
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
    ENTER();
    if (stream && stream->capture) {
        cuda_host_spoil_captures();
        return cuda_host_failed(cudaErrorStreamCaptureUnsupported);
    }
    if (stream)
        finish_stream(stream);
    else
        cuda_host_finish_all();
    return cuda_host.broken; // what has just run may have failed
}

cudaError_t cudaStreamQuery(cudaStream_t stream) {
    ENTER();
    if (!stream || !stream->first)
        return cudaSuccess;
    (void)cuda_host_advance_any(); // so that polling ends
    return stream->first ? cudaErrorNotReady : cuda_host.broken;
}

cudaError_t cudaDeviceSynchronize(void) {
    ENTER();
    if (cuda_host_is_capturing()) {
        cuda_host_spoil_captures();
        return cuda_host_failed(cudaErrorStreamCaptureUnsupported);
    }
    cuda_host_finish_all();
    return cuda_host.broken;
}

cudaError_t cudaDeviceReset(void) {
    return cudaDeviceSynchronize();
}
