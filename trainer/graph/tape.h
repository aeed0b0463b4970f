// tape - the tape itself, for the files of graph/ alone.
//
// Each family of ops has a file: conv.c, norm.c, resample.c, patches.c, tangent.c, loss.c. For each
// op it holds the constructor that graph.h declares, the function that appends its gradients, the
// function that runs it, and one row, a struct op_kind. Nothing else in the graph knows an op: a
// new one is a row with its functions, a constructor in graph.h and, if it has arguments, a member
// of struct op's union.
#ifndef GRAPH_TAPE_H
#define GRAPH_TAPE_H

#include "graph/graph.h"

// Memory that tensors look into. begin, end: the first and last op that touch it.
struct buffer {
    size_t bytes, offset;
    int begin, end;
    unsigned streams; // 1 << those of the ops that touch it; the side streams are left out
    // Its place is not shared, because the caller reads or writes it between runs.
    bool keep;
};

// A part of a tensor's gradient: tensor `data`, for images [first, first + n).
struct part {
    int data, pad, first, n;
};

// A tensor, or a view of one. Functions that read the fields of roots go through graph_root.
struct tensor {
    struct graph_size size;
    int buffer;
    int root, first; // of a view: the whole tensor, and where it starts there; else itself, 0
    // Of roots only:
    int maker; // op; -1: an input or a graph_buffer
    bool needs_gradient;
    int gradient; // of a tensor with one reader (graph_has_one_reader): one tensor; -1: none yet
    int n_parts;  // of all others
    struct part part[GRAD_PARTS];
};

struct op;

// Where an op finds its operands when it runs.
struct op_run {
    const struct graph *graph;
    struct device *device;
    const struct backend *backend;
    void *arena;
};

// One row for each op.
struct op_kind {
    const char *name; // for messages
    // Issues the op. ERR_DEVICE_LOST.
    int (*run)(const struct op_run *r, const struct op *op);
    // Appends the gradients of a forward op, which is passed by value since appending moves ops.
    // NULL: there is nothing to append; a loss has written its gradient when it ran.
    void (*backward)(struct graph *g, struct op forward);
    void (*fini)(const struct graph *g, struct op *op); // NULL: the op owns nothing
    bool one_reader; // the tensor that it makes is read as a whole by one op only
};

// Memory outside of the arena: a parameter's gradient, a running statistic, a loss.
struct op_address {
    const void *address;
    bool write;
};

#define OP_INPUTS 4
#define OP_OUTPUTS 2
#define OP_ADDRESSES 3

struct op {
    const struct op_kind *kind;
    int stream, section;
    int event; // recorded behind the op; -1: no op waits for it
    // At most one for each other stream: a stream runs in order, so its last op implies the rest.
    int n_waits; // ops of other streams that have to end first
    int waits[DEVICE_STREAMS - 1];
    bool differentiated; // its gradients are in the tape

    // All tensors that it touches; -1: an operand that is absent. The op's file names the places.
    int in[OP_INPUTS], out[OP_OUTPUTS]; // read; written, and read where the op accumulates
    int n_parts;                        // the parts of a gradient that it sums; read
    struct part part[GRAD_PARTS];
    int n_addresses;
    struct op_address addresses[OP_ADDRESSES];

    union {
        // Backward ops share `conv` with the forward op.
        struct conv_op {
            struct device_conv *conv; // owned by the forward op
            const struct graph_weights *weights;
            bool train, accumulate;
        } conv;
        struct norm_op { // norm, tanh and tangent
            struct norm_shape shape;
            const struct graph_affine *affine;
            int draw; // of dropout: the number of the forward op; -1: none
            bool train, accumulate;
        } norm;
        struct concat_shape concat;
        struct resample_shape resample;
        const int *flip;
        struct sample_op {
            struct sample_shape shape; // its ids are those of image 0
            bool accumulate;
        } sample;
        // The losses keep the address for the value beside their arguments.
        struct nce_op {
            struct nce_args args;
            double *loss;
        } nce;
        struct gan_op {
            struct gan_args args;
            double *loss;
        } gan;
        struct scale_op { // L1 and penalty
            double scale;
            double *loss;
        } scaled;
        const float *alpha; // mix
    };
};

// Arrays grow by one element: building happens once for each shape, and running needs no growth.
struct graph {
    struct device *device;
    int n_buffers, n_tensors, n_ops, n_trained;
    int stream, section; // of the ops that are appended
    int n_early;         // ops of graph_backward_early
    struct buffer *buffers;
    struct tensor *tensors;
    struct op *ops;
    const void **trained; // parameters that an earlier op of the tape contributes to
    size_t workspace_bytes, workspace_offset, arena_bytes;
};

// ---- building (graph.c) ----

// Appends an op whose operands are all absent; the pointer is good until the next append.
struct op *graph_append(struct graph *g, const struct op_kind *kind);
// Declares memory outside of the arena that the op touches. NULL is ignored.
void graph_touch(struct op *op, const void *address, bool write);
// Makes the last op the maker of y.
void graph_made(struct graph *g, int y, bool needs_gradient);
// Raises the size of the scratch to `bytes`, if it is smaller.
void graph_need_workspace(struct graph *g, size_t bytes);

// A new tensor with memory of its own, `bytes` of it or what its size takes.
int graph_tensor(struct graph *g, struct graph_size size);
int graph_tensor_of(struct graph *g, struct graph_size size, size_t bytes);
struct tensor *graph_root(const struct graph *g, int tensor);
struct tensor_shape graph_shape(const struct graph *g, int tensor); // without the border
size_t graph_bytes(const struct graph *g, int tensor);              // border included

// ---- gradients (backward.c) ----

bool graph_needs_gradient(const struct graph *g, int tensor); // false for -1
// Whether the tensor was made by an op whose output is read as a whole only once.
bool graph_has_one_reader(const struct graph *g, const struct tensor *root);
// Where an op that reads x has to write d loss / d x; `pad` is the border it writes.
int graph_gradient_slot(struct graph *g, int x, int pad);
// Gives the op the parts of y's gradient.
void graph_take_parts(const struct graph *g, int y, struct op *op);
// Whether an earlier op of the tape contributes to the gradient of these parameters (a layer's dw
// or dweight); from now on one does.
bool graph_was_trained(struct graph *g, const void *parameters);

// ---- running (run.c) ----

// Where a tensor is; NULL for -1.
void *op_data(const struct op_run *r, int tensor);
// The scratch of the op's stream.
void *op_workspace(const struct op_run *r, const struct op *op);
// The parts of the gradient that the op sums, as the backend takes them.
struct grad_sum op_gradient(const struct op_run *r, const struct op *op);
// Issues one op, whatever it has to wait for.
int graph_run_op(const struct graph *g, void *arena, const struct op *op);

// ---- order and place ----

// Fills waits and events.
void graph_order(struct graph *g);
// Where a stream's scratch is.
void *graph_workspace(const struct graph *g, void *arena, const struct op *op);
// Memory that an op touches: [begin, end) of the arena, or one address outside of it, which
// represents all memory that belongs to it.
struct graph_span {
    bool in_arena, write;
    uintptr_t begin, end;
};
// The most spans of one op: every operand, every part and every address.
#define GRAPH_SPANS (OP_INPUTS + OP_OUTPUTS + GRAD_PARTS + OP_ADDRESSES)
// Lists the memory of an op. Returns the number of spans. Valid after graph_place.
int graph_spans(const struct graph *g, const struct op *op, struct graph_span ret[GRAPH_SPANS]);
// Whether two spans overlap and at least one of them is written.
bool graph_spans_conflict(const struct graph_span *a, const struct graph_span *b);

#endif
