// host_runtime - what the parts of the emulated runtime share; see cuda_runtime_api.h.
//
//   host_machine.c  the devices, and what is to go wrong
//   host_error.c    errors: their names, the last one, one that stays
//   host_memory.c   allocations
//   host_stream.c   work, and the streams that it waits in
//   host_event.c    events
//   host_graph.c    captures and graphs
//   host_trace.c    what was asked, in order
#ifndef HOST_RUNTIME_H
#define HOST_RUNTIME_H

#include "trainer/cuda/emulation/host_threads.h"

// A kernel, a call of the host's, a copy, a memset, an event recorded or waited for, a graph.
enum cuda_host_kind {
    WORK_KERNEL,
    WORK_CALL,
    WORK_COPY,
    WORK_SET,
    WORK_RECORD,
    WORK_WAIT,
    WORK_GRAPH
};

// One piece of work of a stream or a graph. Its arguments are a copy.
struct cuda_host_node {
    enum cuda_host_kind kind;
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

// A stream: a queue of pieces of work, or in a capture the ends of its part of the graph.
struct cuda_host_stream {
    bool legacy; // the default stream: it runs at once, after everything
    struct cuda_host_node *first, **end;
    struct cuda_host_graph *capture;
    int n_tails, *tails; // in a capture: what the next node comes after
    struct cuda_host_stream *next;
};

// An event counts its records: a wait is for one of them.
struct cuda_host_event {
    uint64_t issued, reached; // turns
    double time_ms;
    uint64_t capture; // number of the capture that recorded it last, 0 if none
    int n_tails, *tails;
};

// A captured graph; also one that is instantiated.
struct cuda_host_graph {
    uint64_t number; // of its capture
    bool invalid;    // something failed in the capture
    int n;
    struct cuda_host_node **nodes;
    struct cuda_host_stream *origin;
    int references;
};

// The one context.
struct cuda_host_state {
    cudaError_t last, broken; // broken: it stays, and nothing runs any more
    uint64_t seed, random, launches, captures;
    int objects; // allocations, streams, events and graphs that were not given back
    struct cuda_host_stream *streams;
};
extern struct cuda_host_state cuda_host;

// Begins every function of the runtime that can fail. Returns an error that stays, or one that is
// to happen now. A function that frees something does so all the same.
cudaError_t cuda_host_enter(const char *function);
// Returns the error from the calling function.
#define ENTER()                                                                                    \
    do {                                                                                           \
        cudaError_t error_ = cuda_host_enter(__func__);                                            \
        if (error_ != cudaSuccess)                                                                 \
            return error_;                                                                         \
    } while (0)
// Keeps a function's error for cudaGetLastError, and returns it.
cudaError_t cuda_host_failed(cudaError_t error);
// Loses the context: from now on everything fails.
void cuda_host_break(cudaError_t error);

// Whether this call is the one that is to fail. "kernel" as its name: the kernel that runs.
bool cuda_host_is_due(const char *function, cudaError_t *ret_error, bool *ret_stays);
// Whether kernels are only counted.
bool cuda_host_is_idle(void);
// Bytes of the device's memory, and what others hold of it.
void cuda_host_budget(size_t *ret_total, size_t *ret_others);

void *cuda_host_take(size_t bytes); // zeroed; ends the process if there is none
uint64_t cuda_host_draw(void);

// The allocation that [at, at + bytes) is in. A range that leaves it is fatal.
enum cuda_host_place { PLACE_UNKNOWN, PLACE_DEVICE, PLACE_PINNED };
enum cuda_host_place cuda_host_place(const void *at, size_t bytes);

struct cuda_host_node *cuda_host_node_new(enum cuda_host_kind kind, const char *name,
                                          const void *args, size_t bytes);
void cuda_host_node_free(struct cuda_host_node *n);
void cuda_host_node_run(struct cuda_host_node *n);
bool cuda_host_is_ready(const struct cuda_host_node *n);
// NULL is the default stream.
void cuda_host_issue(struct cuda_host_stream *s, struct cuda_host_node *n);
// Runs one piece of work of a stream that is chosen at random; false if none may run.
bool cuda_host_advance_any(void);
void cuda_host_finish_all(void);

// Writes lines of the trace, if one is wanted: work when it is issued, and waits of the host.
void cuda_host_trace_issue(const struct cuda_host_stream *s, const struct cuda_host_node *n);
void cuda_host_trace_wait(const struct cuda_host_event *e);

// Runs a graph in an order that its dependencies allow: as captured, backwards or at random.
void cuda_host_graph_run(struct cuda_host_graph *g);
void cuda_host_graph_release(struct cuda_host_graph *g);
void cuda_host_capture(struct cuda_host_stream *s, struct cuda_host_node *n);
bool cuda_host_is_capturing(void); // any stream
void cuda_host_spoil_captures(void);
// Adds a number to a list unless it is there.
void cuda_host_add_tail(int *n, int **tails, int tail);

#endif
