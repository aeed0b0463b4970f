// Order on the CUDA backend: streams, events, fences, and sections that become CUDA graphs.
//
// A section is issued once as plain launches, which load code and build plans. Its second pass is
// captured into a graph. That pass and all later ones are one launch of the graph.
#include <stdlib.h>

#include "base/err.h"
#include "base/util.h"
#include "cuda/cuda.h"

struct device_section {
    struct cuda_device *device;
    enum { SECTION_NEW, SECTION_WARM, SECTION_RECORDED } state;
    cudaGraphExec_t graph; // SECTION_RECORDED
    bool issues;           // between begin and end
};

// Without timing an event costs less, and nobody reads times here.
static cudaError_t event_new(cudaEvent_t *ret) {
    return cudaEventCreateWithFlags(ret, cudaEventDisableTiming);
}

static int open_events(struct cuda_device *d) {
    CUDA(ERR_DEVICE, event_new(&d->fork));
    CUDA(ERR_DEVICE, event_new(&d->leave));
    for (int i = 0; i < DEVICE_STREAMS; i++)
        CUDA(ERR_DEVICE, event_new(&d->join[i]));
    for (int i = 0; i < DEVICE_EVENTS; i++)
        CUDA(ERR_DEVICE, event_new(&d->events[i]));
    for (int i = 0; i < DEVICE_FENCES; i++)
        // One event on stream 0, one on the stream of images to the host.
        for (int k = 0; k < 2; k++)
            CUDA(ERR_DEVICE, event_new(&d->fences[i][k]));
    return ERR_OK;
}

static int open_values(struct cuda_device *d) {
    void *memory;
    int err = cuda_entry_memory_new(&d->base, sizeof *d->values, &memory);

    if (err)
        return err;
    // Kernels hold this address, also recorded ones; each section's begin writes new values there.
    d->values = memory;
    return cuda_uploads_open(d);
}

// Side streams have the lowest priority, since their results are needed late. All others have the
// highest: their blocks start between those of a side stream that fills the device. Non-blocking
// streams have no implicit order with CUDA's default stream.
static int open_stream(bool awaited, cudaStream_t *ret) {
    int least, greatest;

    CUDA(ERR_DEVICE, cudaDeviceGetStreamPriorityRange(&least, &greatest));
    CUDA(ERR_DEVICE,
         cudaStreamCreateWithPriority(ret, cudaStreamNonBlocking, awaited ? greatest : least));
    return ERR_OK;
}

int cuda_streams_open(struct cuda_device *d) {
    enum cuda_element element = d->math == MATH_BF16 ? CUDA_BF16 : CUDA_F32;

    for (int i = 0; i < DEVICE_STREAMS; i++) {
        struct cuda_launch *l = &d->launches[i];
        *l = (struct cuda_launch){.element = element, .limits = &d->limits};
        int err = open_stream(i < DEVICE_SIDE_STREAMS, &l->stream);
        // Kernels keep partial losses and counters of blocks in it, so each stream has its own.
        if (!err)
            err = cuda_entry_memory_new(&d->base, CUDA_SCRATCH_BYTES, &l->scratch);
        if (err)
            return err;
    }
    int err = open_stream(true, &d->in);
    if (!err)
        err = open_stream(true, &d->out);
    if (!err)
        err = open_events(d);
    return err ? err : open_values(d);
}

static void event_free(cudaEvent_t event) {
    if (event)
        (void)cudaEventDestroy(event); // while closing, failures are ignored
}

static void stream_free(cudaStream_t stream) {
    if (stream)
        (void)cudaStreamDestroy(stream); // likewise
}

// Accepts a device that is half open.
void cuda_streams_close(struct cuda_device *d) {
    cuda_uploads_close(d);
    cuda_entry_memory_free(&d->base, d->values);
    event_free(d->fork);
    event_free(d->leave);
    for (int i = 0; i < DEVICE_STREAMS; i++)
        event_free(d->join[i]);
    for (int i = 0; i < DEVICE_EVENTS; i++)
        event_free(d->events[i]);
    for (int i = 0; i < DEVICE_FENCES; i++)
        for (int k = 0; k < 2; k++)
            event_free(d->fences[i][k]);
    for (int i = 0; i < DEVICE_STREAMS; i++) {
        cuda_entry_memory_free(&d->base, d->launches[i].scratch);
        stream_free(d->launches[i].stream);
    }
    stream_free(d->in);
    stream_free(d->out);
}

int cuda_entry_fence_set(struct device *device, enum device_fence fence) {
    struct cuda_device *d = cuda_of(device);

    // Outside of a section stream 0 comes after all others. Only prefetches are not covered.
    CUDA(ERR_DEVICE_LOST, cudaEventRecord(d->fences[fence][0], d->launches[0].stream));
    CUDA(ERR_DEVICE_LOST, cudaEventRecord(d->fences[fence][1], d->out));
    return ERR_OK;
}

int cuda_entry_fence_wait(struct device *device, enum device_fence fence) {
    struct cuda_device *d = cuda_of(device);

    CUDA(ERR_DEVICE_LOST, cudaEventSynchronize(d->fences[fence][0]));
    CUDA(ERR_DEVICE_LOST, cudaEventSynchronize(d->fences[fence][1]));
    return ERR_OK;
}

int cuda_entry_section_new(struct device *device, struct device_section **ret_section) {
    *ret_section = xcalloc(1, sizeof **ret_section);
    (*ret_section)->device = cuda_of(device);
    return ERR_OK;
}

void cuda_entry_section_free(struct device_section *s) {
    if (!s)
        return;
    // The graph may run. Errors are ignored: a lost device has nothing to wait for.
    (void)cudaDeviceSynchronize();
    if (s->graph)
        (void)cudaGraphExecDestroy(s->graph); // it does not run
    free(s);
}

// The other streams begin after the work of stream 0. In a capture this makes them part of it.
static int fork_streams(struct cuda_device *d) {
    CUDA(ERR_DEVICE_LOST, cudaEventRecord(d->fork, d->launches[0].stream));
    for (int i = 1; i < DEVICE_STREAMS; i++)
        CUDA(ERR_DEVICE_LOST, cudaStreamWaitEvent(d->launches[i].stream, d->fork, 0));
    return ERR_OK;
}

// Stream 0 goes on after the work of all others. A capture with a stream that did not join is
// invalid.
static int join_streams(struct cuda_device *d) {
    for (int i = 1; i < DEVICE_STREAMS; i++) {
        CUDA(ERR_DEVICE_LOST, cudaEventRecord(d->join[i], d->launches[i].stream));
        CUDA(ERR_DEVICE_LOST, cudaStreamWaitEvent(d->launches[0].stream, d->join[i], 0));
    }
    return ERR_OK;
}

// ThreadLocal: calls of other threads, such as allocations, do not invalidate the capture.
static int begin_capture(struct cuda_device *d) {
    CUDA(ERR_DEVICE_LOST,
         cudaStreamBeginCapture(d->launches[0].stream, cudaStreamCaptureModeThreadLocal));
    d->is_capturing = true;
    return ERR_OK;
}

// Ends the capture whatever happened in it, also if a stream has not joined.
static cudaError_t end_capture(struct cuda_device *d, cudaGraph_t *ret_graph) {
    *ret_graph = NULL;
    d->is_capturing = false;
    return cudaStreamEndCapture(d->launches[0].stream, ret_graph);
}

int cuda_entry_section_begin(struct device_section *s, const struct device_values *values,
                             bool *ret_issue) {
    struct cuda_device *d = s->device;

    if (d->in_section)
        BUG("a section inside of another");
    s->issues = s->state != SECTION_RECORDED;
    d->stream = 0;
    // Before the capture begins: the copy must not be recorded, or each repeat would send these
    // values.
    int err = cuda_upload_send(d, d->values, values, sizeof *values);
    if (!err && s->state == SECTION_WARM && !d->eager)
        err = begin_capture(d);
    // After this point only section_drop may end the section.
    if (err)
        return err;
    d->in_section = true;
    if (s->issues)
        err = fork_streams(d);
    if (err)
        cuda_entry_section_drop(s);
    else
        *ret_issue = s->issues;
    return err;
}

static void drop_graph(cudaGraph_t graph) {
    if (graph)
        (void)cudaGraphDestroy(graph); // what is launched is a copy
}

// The graph's nodes keep the priorities of the streams that they were captured from.
static int instantiate(struct device_section *s, cudaGraph_t graph) {
    cudaError_t code =
        cudaGraphInstantiate(&s->graph, graph, cudaGraphInstantiateFlagUseNodePriority);

    if (code != cudaSuccess)
        return cuda_memory_error(s->device, "a step's graph", 0, code);
    s->state = SECTION_RECORDED;
    return ERR_OK;
}

static int record(struct device_section *s) {
    cudaGraph_t graph;
    int err = join_streams(s->device);
    cudaError_t code = end_capture(s->device, &graph);

    if (!err && code != cudaSuccess)
        err = cuda_error(ERR_DEVICE_LOST, "recording a step as a graph", code);
    if (!err)
        err = instantiate(s, graph);
    drop_graph(graph);
    return err;
}

// The caller reports the error; nothing here can add to it.
void cuda_entry_section_drop(struct device_section *s) {
    struct cuda_device *d = s->device;
    cudaGraph_t graph;

    d->in_section = false;
    d->stream = 0;
    if (d->is_capturing) {
        (void)end_capture(d, &graph);
        drop_graph(graph);
    }
    (void)cudaDeviceSynchronize(); // what was issued in other streams
    (void)cudaGetLastError();
    // The next pass is issued again: what failed may have loaded or built nothing.
    if (s->state == SECTION_WARM)
        s->state = SECTION_NEW;
}

// A first launch may still allocate memory for the graph.
static int launch(struct device_section *s) {
    cudaError_t code = cudaGraphLaunch(s->graph, s->device->launches[0].stream);

    if (code != cudaSuccess)
        return cuda_memory_error(s->device, "a step's graph", 0, code);
    return ERR_OK;
}

int cuda_entry_section_end(struct device_section *s) {
    struct cuda_device *d = s->device;
    int err = ERR_OK;

    d->in_section = false;
    d->stream = 0;
    if (d->is_capturing)
        err = record(s);
    else if (s->issues)
        err = join_streams(d);
    if (err)
        return err;
    if (s->state == SECTION_NEW)
        s->state = SECTION_WARM;
    // A capture executes nothing, so a graph that was just made is launched too.
    return s->state == SECTION_RECORDED ? launch(s) : ERR_OK;
}

void cuda_entry_stream_choose(struct device *device, int stream) {
    cuda_of(device)->stream = stream;
}

int cuda_entry_event_record(struct device *device, int event) {
    struct cuda_device *d = cuda_of(device);

    CUDA(ERR_DEVICE_LOST, cudaEventRecord(d->events[event], cuda_stream_of(d)));
    return ERR_OK;
}

int cuda_entry_event_wait(struct device *device, int event) {
    struct cuda_device *d = cuda_of(device);

    CUDA(ERR_DEVICE_LOST, cudaStreamWaitEvent(cuda_stream_of(d), d->events[event], 0));
    return ERR_OK;
}
