// Memory, streams, events and graphs of the emulation; see cuda_runtime_api.h.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "host_threads.h"

#define DEVICE_BYTES ((size_t)16 << 30)

enum kind { WORK_KERNEL, WORK_CALL, WORK_COPY, WORK_SET, WORK_RECORD, WORK_WAIT, WORK_GRAPH };

// Something that a stream does. Its arguments are a copy.
struct cuda_host_node {
    enum kind kind;
    char name[64];
    void (*run)(void *args);
    void *args;
    struct dim3 grid, block;
    size_t shared_bytes;
    void *to;
    const void *from;
    size_t bytes;
    int value;
    struct cuda_host_event *event;
    uint64_t turn; // of the event, recorded or waited for; 0 in a graph: the next
    struct cuda_host_graph *graph;
    int n_after, *after; // in a graph: the nodes that have to be done
    bool done;
    struct cuda_host_node *next;
};

struct cuda_host_stream {
    bool legacy; // the default stream: it runs at once, after everything
    struct cuda_host_node *first, **end;
    struct cuda_host_graph *capture;
    int n_tails, *tails; // in a capture: what the next node comes after
    struct cuda_host_stream *next;
};

struct cuda_host_event {
    uint64_t issued, reached; // turns
    double time_ms;
    struct cuda_host_graph *capture; // that recorded it last, NULL if none
    int n_tails, *tails;
};

struct cuda_host_graph {
    int n;
    struct cuda_host_node **nodes;
    struct cuda_host_stream *origin;
    int references;
};

struct area {
    char *start;
    size_t bytes;
    void *map;
    size_t map_bytes;
    bool pinned;
    struct area *next;
};

static struct {
    cudaError_t last;
    uint64_t seed, random, launches;
    int major, minor;
    size_t used;
    struct cuda_host_stream legacy, *streams;
    struct area *areas;
} host = {.legacy = {.legacy = true}};

static cudaError_t failed(cudaError_t error) {
    if (error)
        host.last = error;
    return error;
}

static void *take(size_t bytes) {
    void *p = calloc(1, bytes ? bytes : 1);

    if (!p)
        cuda_host_die("no memory");
    return p;
}

void cuda_host_order(uint64_t seed) {
    (void)cudaDeviceSynchronize(); // never fails here
    host.seed = host.random = seed;
}

void cuda_host_device(int major, int minor) {
    host.major = major;
    host.minor = minor;
}

uint64_t cuda_host_launches(void) {
    return host.launches;
}

// Errors

static const struct {
    cudaError_t error;
    const char *name, *text;
} errors[] = {
    {cudaSuccess, "cudaSuccess", "no error"},
    {cudaErrorInvalidValue, "cudaErrorInvalidValue", "invalid argument"},
    {cudaErrorMemoryAllocation, "cudaErrorMemoryAllocation", "out of memory"},
    {cudaErrorInvalidConfiguration, "cudaErrorInvalidConfiguration",
     "invalid configuration argument"},
    {cudaErrorInvalidDevice, "cudaErrorInvalidDevice", "invalid device ordinal"},
    {cudaErrorInvalidResourceHandle, "cudaErrorInvalidResourceHandle", "invalid resource handle"},
    {cudaErrorNotReady, "cudaErrorNotReady", "device not ready"},
    {cudaErrorStreamCaptureUnsupported, "cudaErrorStreamCaptureUnsupported",
     "operation not permitted when stream is capturing"},
    {cudaErrorStreamCaptureUnjoined, "cudaErrorStreamCaptureUnjoined", "capture has unjoined work"},
};

static int find_error(cudaError_t error) {
    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++)
        if (errors[i].error == error)
            return (int)i;
    return -1;
}

const char *cudaGetErrorString(cudaError_t error) {
    int i = find_error(error);

    return i < 0 ? "unknown error" : errors[i].text;
}

const char *cudaGetErrorName(cudaError_t error) {
    int i = find_error(error);

    return i < 0 ? "cudaErrorUnknown" : errors[i].name;
}

cudaError_t cudaGetLastError(void) {
    cudaError_t last = host.last;

    host.last = cudaSuccess;
    return last;
}

cudaError_t cudaPeekAtLastError(void) {
    return host.last;
}

// The device

cudaError_t cudaGetDeviceCount(int *ret_count) {
    *ret_count = 1;
    return cudaSuccess;
}

cudaError_t cudaSetDevice(int device) {
    return failed(device ? cudaErrorInvalidDevice : cudaSuccess);
}

cudaError_t cudaGetDevice(int *ret_device) {
    *ret_device = 0;
    return cudaSuccess;
}

cudaError_t cudaSetDeviceFlags(unsigned flags) {
    return cudaSuccess;
}

size_t cuda_host_shared_limit(void) {
    if (host.major == 8)
        return host.minor == 0 ? 166912 : 101376;
    return 232448;
}

cudaError_t cudaGetDeviceProperties(struct cudaDeviceProp *ret, int device) {
    if (device)
        return failed(cudaErrorInvalidDevice);
    *ret = (struct cudaDeviceProp){.name = "emulation on the host",
                                   .totalGlobalMem = DEVICE_BYTES,
                                   .sharedMemPerBlock = 49152,
                                   .sharedMemPerBlockOptin = cuda_host_shared_limit(),
                                   .sharedMemPerMultiprocessor = cuda_host_shared_limit() + 1024,
                                   .regsPerBlock = 65536,
                                   .warpSize = 32,
                                   .maxThreadsPerBlock = 1024,
                                   .major = host.major ? host.major : 9,
                                   .minor = host.minor,
                                   .multiProcessorCount = 132,
                                   .l2CacheSize = 50 << 20,
                                   .maxThreadsPerMultiProcessor = 2048,
                                   .canMapHostMemory = 1,
                                   .memoryBusWidth = 5120};
    return cudaSuccess;
}

cudaError_t cudaDeviceGetAttribute(int *ret, enum cudaDeviceAttr attribute, int device) {
    struct cudaDeviceProp p;
    cudaError_t error = cudaGetDeviceProperties(&p, device);

    if (error)
        return error;
    switch (attribute) {
    case cudaDevAttrMaxSharedMemoryPerBlockOptin:
        *ret = (int)p.sharedMemPerBlockOptin;
        return cudaSuccess;
    case cudaDevAttrMultiProcessorCount:
        *ret = p.multiProcessorCount;
        return cudaSuccess;
    case cudaDevAttrComputeCapabilityMajor:
        *ret = p.major;
        return cudaSuccess;
    case cudaDevAttrComputeCapabilityMinor:
        *ret = p.minor;
        return cudaSuccess;
    }
    return failed(cudaErrorInvalidValue);
}

cudaError_t cudaDeviceGetStreamPriorityRange(int *ret_least, int *ret_greatest) {
    *ret_least = 0;
    *ret_greatest = -5;
    return cudaSuccess;
}

cudaError_t cudaDriverGetVersion(int *ret) {
    *ret = CUDART_VERSION;
    return cudaSuccess;
}

cudaError_t cudaRuntimeGetVersion(int *ret) {
    *ret = CUDART_VERSION;
    return cudaSuccess;
}

// Memory: each allocation ends at a page that nobody may touch. Of large ones only the ends are
// poison, the rest zeros that the system has not made yet.
enum { POISON_WHOLE = 64 << 20, POISON_EDGE = 1 << 20 };

static cudaError_t area_new(void **ret, size_t bytes, bool pinned) {
    size_t page = 4096, size = (bytes + 15) & ~(size_t)15, whole = (size + page - 1) / page * page;
    struct area *a;

    if (!ret)
        return failed(cudaErrorInvalidValue);
    *ret = NULL;
    if (bytes == 0)
        return cudaSuccess;
    if (!pinned && host.used + bytes > DEVICE_BYTES)
        return failed(cudaErrorMemoryAllocation);
    a = take(sizeof *a);
    a->map_bytes = whole + 2 * page;
    a->map = mmap(NULL, a->map_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (a->map == MAP_FAILED || mprotect((char *)a->map + page, whole, PROT_READ | PROT_WRITE) != 0)
        cuda_host_die("no memory for %zu bytes", bytes);
    a->start = (char *)a->map + page + whole - size;
    a->bytes = bytes;
    a->pinned = pinned;
    a->next = host.areas;
    host.areas = a;
    host.used += pinned ? 0 : bytes;
    if (size > POISON_WHOLE) {
        memset(a->start, 0xff, POISON_EDGE);
        memset(a->start + size - POISON_EDGE, 0xff, POISON_EDGE);
    } else {
        memset(a->start, 0xff, size);
    }
    *ret = a->start;
    return cudaSuccess;
}

static cudaError_t area_free(void *memory, bool pinned) {
    if (!memory)
        return cudaSuccess;
    (void)cudaDeviceSynchronize(); // never fails here
    for (struct area **at = &host.areas; *at; at = &(*at)->next) {
        struct area *a = *at;
        if (a->start != memory || a->pinned != pinned)
            continue;
        *at = a->next;
        host.used -= pinned ? 0 : a->bytes;
        (void)munmap(a->map, a->map_bytes); // cannot fail: it is ours
        free(a);
        return cudaSuccess;
    }
    return failed(cudaErrorInvalidValue);
}

cudaError_t cudaMalloc(void **ret, size_t bytes) {
    return area_new(ret, bytes, false);
}

cudaError_t cudaFree(void *memory) {
    return area_free(memory, false);
}

cudaError_t cudaHostAlloc(void **ret, size_t bytes, unsigned flags) {
    return area_new(ret, bytes, true);
}

cudaError_t cudaMallocHost(void **ret, size_t bytes) {
    return area_new(ret, bytes, true);
}

cudaError_t cudaFreeHost(void *memory) {
    return area_free(memory, true);
}

cudaError_t cudaHostGetDevicePointer(void **ret, void *memory, unsigned flags) {
    *ret = memory;
    return cudaSuccess;
}

cudaError_t cudaMemGetInfo(size_t *ret_free, size_t *ret_total) {
    *ret_total = DEVICE_BYTES;
    *ret_free = *ret_total - host.used;
    return cudaSuccess;
}

// The area that holds [at, at + bytes); NULL if it is not ours. A range that leaves one is fatal.
static const struct area *area_of(const void *at, size_t bytes) {
    const char *p = at;

    for (const struct area *a = host.areas; a; a = a->next) {
        if (p < a->start || p >= a->start + a->bytes)
            continue;
        if (p + bytes > a->start + a->bytes)
            cuda_host_die("%zu bytes at %zu of an allocation of %zu", bytes, (size_t)(p - a->start),
                          a->bytes);
        return a;
    }
    return NULL;
}

static bool is_device(const void *at, size_t bytes) {
    const struct area *a = area_of(at, bytes);

    return a && !a->pinned;
}

static cudaError_t check_copy(const void *to, const void *from, size_t bytes,
                              enum cudaMemcpyKind kind) {
    bool to_device = is_device(to, bytes), from_device = is_device(from, bytes);

    if (kind == cudaMemcpyDefault)
        return cudaSuccess;
    if (to_device !=
            (kind == cudaMemcpyHostToDevice || (kind == cudaMemcpyDeviceToDevice && to_device)) ||
        from_device !=
            (kind == cudaMemcpyDeviceToHost || (kind == cudaMemcpyDeviceToDevice && from_device)))
        return failed(cudaErrorInvalidValue);
    return cudaSuccess;
}

// Work

static double now_ms(void) {
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return 1e3 * (double)t.tv_sec + 1e-6 * (double)t.tv_nsec;
}

static uint64_t draw(void) {
    host.random = host.random * 6364136223846793005u + 1442695040888963407u;
    return host.random >> 33;
}

static void run_graph(struct cuda_host_graph *g);

static void run_node(struct cuda_host_node *n) {
    struct cuda_host_grid grid = {.name = n->name,
                                  .run = (void (*)(const void *))n->run,
                                  .args = n->args,
                                  .grid = n->grid,
                                  .block = n->block,
                                  .shared_bytes = n->shared_bytes};

    switch (n->kind) {
    case WORK_KERNEL:
        host.launches++;
        cuda_host_run(&grid, host.seed > 1 ? draw() | 2 : host.seed);
        break;
    case WORK_CALL:
        n->run(n->args);
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
        run_graph(n->graph);
        break;
    }
}

static void node_free(struct cuda_host_node *n) {
    if (n->kind == WORK_GRAPH)
        (void)cudaGraphDestroy(n->graph); // our reference
    free(n->args);
    free(n->after);
    free(n);
}

static bool is_ready(const struct cuda_host_node *n) {
    return n->kind != WORK_WAIT || n->event->reached >= n->turn;
}

// Runs the first piece of work of a stream.
static void advance(struct cuda_host_stream *s) {
    struct cuda_host_node *n = s->first;

    s->first = n->next;
    if (!s->first)
        s->end = &s->first;
    run_node(n);
    node_free(n);
}

// Runs one piece of any stream, chosen at random; false if there is none that may run.
static bool advance_any(void) {
    unsigned ready = 0, k = 0;

    for (struct cuda_host_stream *s = host.streams; s; s = s->next)
        ready += s->first && is_ready(s->first);
    if (ready == 0)
        return false;
    unsigned pick = (unsigned)(draw() % ready);
    for (struct cuda_host_stream *s = host.streams; s; s = s->next)
        if (s->first && is_ready(s->first) && k++ == pick) {
            advance(s);
            return true;
        }
    return false;
}

static void finish_stream(struct cuda_host_stream *s) {
    while (s->first)
        if (is_ready(s->first))
            advance(s);
        else if (!advance_any())
            cuda_host_die("a stream waits for an event that nothing records");
}

static void finish_all(void) {
    while (advance_any())
        ;
    for (struct cuda_host_stream *s = host.streams; s; s = s->next)
        if (s->first)
            cuda_host_die("a stream waits for an event that nothing records");
}

// Graphs

// In an order that the dependencies allow: as captured, backwards or at random.
static void run_graph(struct cuda_host_graph *g) {
    int left = g->n;

    for (int i = 0; i < g->n; i++)
        g->nodes[i]->done = false;
    while (left > 0) {
        int pick = -1, ready = 0;
        for (int i = 0; i < g->n; i++) {
            struct cuda_host_node *n = g->nodes[i];
            bool waits = n->done || !is_ready(n);
            for (int k = 0; !waits && k < n->n_after; k++)
                waits = !g->nodes[n->after[k]]->done;
            if (waits)
                continue;
            ready++;
            if (pick < 0 || host.seed == 1 || (host.seed > 1 && draw() % (unsigned)ready == 0))
                pick = i;
            if (host.seed == 0)
                break;
        }
        if (pick < 0 && !advance_any())
            cuda_host_die("a graph waits for an event that nothing records");
        if (pick < 0)
            continue;
        run_node(g->nodes[pick]);
        g->nodes[pick]->done = true;
        left--;
    }
}

static void add_tail(int *n, int **tails, int tail) {
    for (int i = 0; i < *n; i++)
        if ((*tails)[i] == tail)
            return;
    *tails = realloc(*tails, sizeof(int) * (size_t)(*n + 1));
    (*tails)[(*n)++] = tail;
}

static void capture(struct cuda_host_stream *s, struct cuda_host_node *n) {
    struct cuda_host_graph *g = s->capture;

    n->after = s->tails;
    n->n_after = s->n_tails;
    g->nodes = realloc(g->nodes, sizeof(struct cuda_host_node *) * (size_t)(g->n + 1));
    g->nodes[g->n] = n;
    s->tails = NULL;
    s->n_tails = 0;
    add_tail(&s->n_tails, &s->tails, g->n++);
}

static void issue(struct cuda_host_stream *s, struct cuda_host_node *n) {
    s = s ? s : &host.legacy;
    if (s->capture) {
        capture(s, n);
        return;
    }
    if (s->legacy) {
        finish_all();
        run_node(n);
        node_free(n);
        return;
    }
    *s->end = n;
    s->end = &n->next;
    if (host.seed == 0)
        finish_stream(s);
    else if (host.seed > 1 && draw() % 4 == 0)
        (void)advance_any(); // there may be nothing that can run yet
}

static struct cuda_host_node *node_new(enum kind kind, const char *name, const void *args,
                                       size_t bytes) {
    struct cuda_host_node *n = take(sizeof *n);

    n->kind = kind;
    (void)snprintf(n->name, sizeof n->name, "%s", name);
    n->args = take(bytes);
    if (bytes)
        memcpy(n->args, args, bytes);
    return n;
}

cudaError_t cuda_host_launch(const char *name, void (*run)(const void *args), const void *args,
                             size_t bytes, struct dim3 grid, struct dim3 block, size_t shared_bytes,
                             cudaStream_t stream) {
    size_t threads = (size_t)block.x * block.y * block.z;

    if (threads == 0 || threads > 1024 || block.z > 64 || grid.x == 0 || grid.x > 0x7fffffff ||
        grid.y == 0 || grid.y > 65535 || grid.z == 0 || grid.z > 65535)
        return failed(cudaErrorInvalidConfiguration);
    if (threads % 32)
        cuda_host_die("%s: %zu threads, not whole warps", name, threads);
    if (shared_bytes > cuda_host_shared_limit() || bytes > 4096)
        return failed(cudaErrorInvalidValue);
    struct cuda_host_node *n = node_new(WORK_KERNEL, name, args, bytes);
    n->run = (void (*)(void *))run;
    n->grid = grid;
    n->block = block;
    n->shared_bytes = shared_bytes;
    issue(stream, n);
    return cudaSuccess;
}

cudaError_t cuda_host_call(cudaStream_t stream, const char *name, void (*run)(void *args),
                           const void *args, size_t bytes) {
    struct cuda_host_node *n = node_new(WORK_CALL, name, args, bytes);

    n->run = run;
    issue(stream, n);
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

cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, enum cudaMemcpyKind kind,
                            cudaStream_t stream) {
    cudaError_t error = check_copy(to, from, bytes, kind);
    struct cuda_host_node *n;

    if (error)
        return error;
    n = node_new(WORK_COPY, "copy", NULL, 0);
    n->to = to;
    n->from = from;
    n->bytes = bytes;
    issue(stream, n);
    return cudaSuccess;
}

cudaError_t cudaMemcpy(void *to, const void *from, size_t bytes, enum cudaMemcpyKind kind) {
    return cudaMemcpyAsync(to, from, bytes, kind, NULL);
}

cudaError_t cudaMemsetAsync(void *memory, int value, size_t bytes, cudaStream_t stream) {
    struct cuda_host_node *n;

    if (!area_of(memory, bytes))
        return failed(cudaErrorInvalidValue);
    n = node_new(WORK_SET, "set", NULL, 0);
    n->to = memory;
    n->value = value;
    n->bytes = bytes;
    issue(stream, n);
    return cudaSuccess;
}

cudaError_t cudaMemset(void *memory, int value, size_t bytes) {
    return cudaMemsetAsync(memory, value, bytes, NULL);
}

// Streams

cudaError_t cudaStreamCreateWithPriority(cudaStream_t *ret, unsigned flags, int priority) {
    struct cuda_host_stream *s = take(sizeof *s);

    s->end = &s->first;
    s->next = host.streams;
    host.streams = s;
    *ret = s;
    return cudaSuccess;
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *ret, unsigned flags) {
    return cudaStreamCreateWithPriority(ret, flags, 0);
}

cudaError_t cudaStreamCreate(cudaStream_t *ret) {
    return cudaStreamCreateWithPriority(ret, 0, 0);
}

cudaError_t cudaStreamDestroy(cudaStream_t stream) {
    if (!stream || stream->legacy)
        return failed(cudaErrorInvalidResourceHandle);
    finish_stream(stream);
    for (struct cuda_host_stream **at = &host.streams; *at; at = &(*at)->next)
        if (*at == stream) {
            *at = stream->next;
            free(stream->tails);
            free(stream);
            return cudaSuccess;
        }
    return failed(cudaErrorInvalidResourceHandle);
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
    if (stream && stream->capture)
        return failed(cudaErrorStreamCaptureUnsupported);
    if (stream)
        finish_stream(stream);
    else
        finish_all();
    return cudaSuccess;
}

cudaError_t cudaStreamQuery(cudaStream_t stream) {
    if (!stream || !stream->first)
        return cudaSuccess;
    (void)advance_any(); // so that polling ends
    return stream->first ? cudaErrorNotReady : cudaSuccess;
}

cudaError_t cudaDeviceSynchronize(void) {
    for (struct cuda_host_stream *s = host.streams; s; s = s->next)
        if (s->capture)
            return failed(cudaErrorStreamCaptureUnsupported);
    finish_all();
    return cudaSuccess;
}

cudaError_t cudaDeviceReset(void) {
    return cudaDeviceSynchronize();
}

// Events

cudaError_t cudaEventCreateWithFlags(cudaEvent_t *ret, unsigned flags) {
    *ret = take(sizeof **ret);
    return cudaSuccess;
}

cudaError_t cudaEventCreate(cudaEvent_t *ret) {
    return cudaEventCreateWithFlags(ret, 0);
}

cudaError_t cudaEventDestroy(cudaEvent_t event) {
    if (!event)
        return failed(cudaErrorInvalidResourceHandle);
    finish_all(); // work may refer to it
    free(event->tails);
    free(event);
    return cudaSuccess;
}

cudaError_t cudaEventRecordWithFlags(cudaEvent_t event, cudaStream_t stream, unsigned flags) {
    struct cuda_host_node *n;

    if (!event)
        return failed(cudaErrorInvalidResourceHandle);
    if (stream && stream->capture && flags != cudaEventRecordExternal) {
        event->capture = stream->capture;
        free(event->tails);
        event->tails = NULL;
        event->n_tails = 0;
        for (int i = 0; i < stream->n_tails; i++)
            add_tail(&event->n_tails, &event->tails, stream->tails[i]);
        return cudaSuccess;
    }
    n = node_new(WORK_RECORD, "record", NULL, 0);
    n->event = event;
    // In a graph the turn is that of the launch; see cudaGraphLaunch.
    n->turn = stream && stream->capture ? 0 : ++event->issued;
    if (!(stream && stream->capture))
        event->capture = NULL;
    issue(stream, n);
    return cudaSuccess;
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
    return cudaEventRecordWithFlags(event, stream, 0);
}

cudaError_t cudaEventQuery(cudaEvent_t event) {
    if (event->reached < event->issued)
        (void)advance_any(); // so that polling ends
    return event->reached < event->issued ? cudaErrorNotReady : cudaSuccess;
}

cudaError_t cudaEventSynchronize(cudaEvent_t event) {
    while (event->reached < event->issued)
        if (!advance_any())
            cuda_host_die("the host waits for an event that nothing records");
    return cudaSuccess;
}

cudaError_t cudaEventElapsedTime(float *ret_ms, cudaEvent_t start, cudaEvent_t end) {
    if (start->reached < start->issued || end->reached < end->issued)
        return failed(cudaErrorNotReady);
    *ret_ms = (float)(end->time_ms - start->time_ms);
    return cudaSuccess;
}

cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned flags) {
    struct cuda_host_node *n;

    if (!event)
        return failed(cudaErrorInvalidResourceHandle);
    if (event->capture && flags != cudaEventWaitExternal && stream) {
        if (stream->capture && stream->capture != event->capture)
            return failed(cudaErrorStreamCaptureInvalidated);
        stream->capture = event->capture; // it joins
        for (int i = 0; i < event->n_tails; i++)
            add_tail(&stream->n_tails, &stream->tails, event->tails[i]);
        return cudaSuccess;
    }
    if (stream && stream->capture && flags != cudaEventWaitExternal)
        return failed(cudaErrorStreamCaptureInvalidated); // an event from outside
    n = node_new(WORK_WAIT, "wait", NULL, 0);
    n->event = event;
    n->turn = stream && stream->capture ? 0 : event->issued;
    issue(stream, n);
    return cudaSuccess;
}

// Capture

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, enum cudaStreamCaptureMode mode) {
    if (!stream || stream->capture)
        return failed(cudaErrorStreamCaptureUnsupported);
    stream->capture = take(sizeof *stream->capture);
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

cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t *ret_graph) {
    struct cuda_host_graph *g = stream ? stream->capture : NULL;
    bool joined = true;

    if (!g || g->origin != stream)
        return failed(cudaErrorInvalidValue);
    for (struct cuda_host_stream *s = host.streams; s; s = s->next)
        if (s->capture == g && s != stream)
            joined = joined && is_joined(g, s);
    for (struct cuda_host_stream *s = host.streams; s; s = s->next)
        if (s->capture == g) {
            s->capture = NULL;
            free(s->tails);
            s->tails = NULL;
            s->n_tails = 0;
        }
    if (!joined) {
        (void)cudaGraphDestroy(g);
        return failed(cudaErrorStreamCaptureUnjoined);
    }
    *ret_graph = g;
    return cudaSuccess;
}

cudaError_t cudaStreamIsCapturing(cudaStream_t stream, enum cudaStreamCaptureStatus *ret) {
    *ret = stream && stream->capture ? cudaStreamCaptureStatusActive : cudaStreamCaptureStatusNone;
    return cudaSuccess;
}

// An executable graph is the graph.
cudaError_t cudaGraphInstantiate(cudaGraphExec_t *ret, cudaGraph_t graph,
                                 unsigned long long flags) {
    graph->references++;
    *ret = graph;
    return cudaSuccess;
}

cudaError_t cudaGraphGetNodes(cudaGraph_t graph, cudaGraphNode_t *ret_nodes, size_t *count) {
    for (size_t i = 0; ret_nodes && i < *count && i < (size_t)graph->n; i++)
        ret_nodes[i] = graph->nodes[i];
    *count = (size_t)graph->n;
    return cudaSuccess;
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t graph, cudaStream_t stream) {
    struct cuda_host_node *n = node_new(WORK_GRAPH, "graph", NULL, 0);

    if (!stream || stream->capture)
        cuda_host_die("a graph is launched into the default stream or into a capture");
    n->graph = graph;
    graph->references++;
    for (int i = 0; i < graph->n; i++) {
        struct cuda_host_node *inner = graph->nodes[i];
        if (inner->kind == WORK_RECORD)
            inner->event->issued++;
        if (inner->kind == WORK_WAIT)
            inner->turn = inner->event->issued;
    }
    issue(stream, n);
    return cudaSuccess;
}

cudaError_t cudaGraphUpload(cudaGraphExec_t graph, cudaStream_t stream) {
    return cudaSuccess;
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
    if (!graph)
        return failed(cudaErrorInvalidValue);
    if (--graph->references > 0)
        return cudaSuccess;
    for (int i = 0; i < graph->n; i++)
        node_free(graph->nodes[i]);
    free(graph->nodes);
    free(graph);
    return cudaSuccess;
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t graph) {
    return cudaGraphDestroy(graph);
}
