// Events of the emulation.
#include <stdlib.h>

#include "trainer/cuda/emulation/host_runtime.h"

static cudaError_t event_new(cudaEvent_t *ret) {
    *ret = cuda_host_take(sizeof **ret);
    cuda_host.objects++;
    return cudaSuccess;
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t *ret, unsigned flags) {
    ENTER();
    return event_new(ret);
}

cudaError_t cudaEventCreate(cudaEvent_t *ret) {
    ENTER();
    return event_new(ret);
}

cudaError_t cudaEventDestroy(cudaEvent_t event) {
    cudaError_t earlier = cuda_host_enter(__func__);

    if (!event)
        return cuda_host_failed(cudaErrorInvalidResourceHandle);
    cuda_host_finish_all(); // work may refer to it
    cuda_host.objects--;
    free(event->tails);
    free(event);
    return earlier;
}

static cudaError_t record_in_capture(cudaEvent_t event, const struct cuda_host_stream *s) {
    event->capture = s->capture->number;
    free(event->tails);
    event->tails = NULL;
    event->n_tails = 0;
    for (int i = 0; i < s->n_tails; i++)
        cuda_host_add_tail(&event->n_tails, &event->tails, s->tails[i]);
    return cudaSuccess;
}

static cudaError_t record(cudaEvent_t event, cudaStream_t stream, unsigned flags) {
    bool captured = stream && stream->capture;
    struct cuda_host_node *n;

    if (!event)
        return cuda_host_failed(cudaErrorInvalidResourceHandle);
    if (captured && stream->capture->invalid)
        return cuda_host_failed(cudaErrorStreamCaptureInvalidated);
    if (captured && flags != cudaEventRecordExternal)
        return record_in_capture(event, stream);
    n = cuda_host_node_new(WORK_RECORD, "record", NULL, 0);
    n->event = event;
    // In a graph the turn is that of the launch; see cudaGraphLaunch.
    n->turn = captured ? 0 : ++event->issued;
    if (!captured)
        event->capture = 0;
    cuda_host_issue(stream, n);
    return cudaSuccess;
}

cudaError_t cudaEventRecordWithFlags(cudaEvent_t event, cudaStream_t stream, unsigned flags) {
    ENTER();
    return record(event, stream, flags);
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
    ENTER();
    return record(event, stream, 0);
}

cudaError_t cudaEventQuery(cudaEvent_t event) {
    ENTER();
    if (event->reached < event->issued)
        (void)cuda_host_advance_any(); // so that polling ends
    return event->reached < event->issued ? cudaErrorNotReady : cuda_host.broken;
}

cudaError_t cudaEventSynchronize(cudaEvent_t event) {
    ENTER();
    cuda_host_trace_wait(event);
    if (event->capture)
        return cuda_host_failed(cudaErrorCapturedEvent);
    while (event->reached < event->issued)
        if (!cuda_host_advance_any())
            cuda_host_die("the host waits for an event that nothing records");
    return cuda_host.broken; // what has just run may have failed
}

cudaError_t cudaEventElapsedTime(float *ret_ms, cudaEvent_t start, cudaEvent_t end) {
    ENTER();
    if (start->reached < start->issued || end->reached < end->issued)
        return cuda_host_failed(cudaErrorNotReady);
    *ret_ms = (float)(end->time_ms - start->time_ms);
    return cudaSuccess;
}

// The stream joins the capture that the event was recorded in, if it still goes on.
static cudaError_t wait_in_capture(cudaStream_t stream, cudaEvent_t event) {
    struct cuda_host_graph *g = NULL;

    for (struct cuda_host_stream *s = cuda_host.streams; s; s = s->next)
        if (s->capture && s->capture->number == event->capture)
            g = s->capture;
    if (!g)
        return cuda_host_failed(cudaErrorCapturedEvent);
    if (g->invalid || (stream->capture && stream->capture != g)) {
        cuda_host_spoil_captures();
        return cuda_host_failed(cudaErrorStreamCaptureInvalidated);
    }
    stream->capture = g;
    for (int i = 0; i < event->n_tails; i++)
        cuda_host_add_tail(&stream->n_tails, &stream->tails, event->tails[i]);
    return cudaSuccess;
}

cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned flags) {
    struct cuda_host_node *n;

    ENTER();
    if (!event)
        return cuda_host_failed(cudaErrorInvalidResourceHandle);
    if (event->capture && flags != cudaEventWaitExternal && stream)
        return wait_in_capture(stream, event);
    if (stream && stream->capture && flags != cudaEventWaitExternal) { // an event from outside
        cuda_host_spoil_captures();
        return cuda_host_failed(cudaErrorStreamCaptureInvalidated);
    }
    n = cuda_host_node_new(WORK_WAIT, "wait", NULL, 0);
    n->event = event;
    n->turn = stream && stream->capture ? 0 : event->issued;
    cuda_host_issue(stream, n);
    return cudaSuccess;
}
