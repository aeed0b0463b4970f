// tape - what graph/ shares: the tape itself. Private to them.
#ifndef GRAPH_TAPE_H
#define GRAPH_TAPE_H

#include "graph/graph.h"

enum op_kind {
    OP_CONV,
    OP_CONV_BACKWARD,
    OP_NORM,
    OP_NORM_BACKWARD,
    OP_TANH,
    OP_TANH_BACKWARD,
    OP_CONCAT,
    OP_CONCAT_BACKWARD,
    OP_RESAMPLE, // backward: the same with the adjoint's kind
    OP_SAMPLE,
    OP_SAMPLE_BACKWARD,
    OP_FLIP,
    OP_NCE,
    OP_TANGENT,
    OP_TANGENT_BACKWARD,
    OP_MIX,
    OP_PENALTY,
    OP_L1,
    OP_GAN,
};

// Memory that tensors look into. begin, end: the first and last op that touch it.
struct buffer {
    size_t bytes, offset;
    int begin, end;
    unsigned streams; // 1 << those of the ops that touch it, but for the side streams
    bool keep;
};

// A part of a tensor's gradient: tensor `data`, for pictures [first, first + n).
struct part {
    int data, pad, first, n;
};

struct tensor {
    struct graph_size size;
    int buffer;
    int root, first; // of a view: the whole tensor, and where it starts there; else itself, 0
    // Of roots only:
    int maker; // op; -1: an input or a graph_buffer
    bool needs_gradient;
    int gradient; // of what has one reader (graph_has_one_reader): one tensor; -1: none yet
    int n_parts;  // of all others
    struct part part[GRAD_PARTS];
};

// Operands are tensors, -1 where an op has none.
struct op {
    enum op_kind kind;
    int stream, section;
    int event;   // what other ops wait for it by; -1: none does
    int n_waits; // ops of other streams that it waits for
    int waits[DEVICE_STREAMS - 1];
    int x, skip, y, stats; // inputs and outputs of the forward op
    int y_tangent;         // OP_TANGENT: of skip, what y is of x; OP_TANGENT_BACKWARD: its gradient
    int dy, dx, dskip;     // OP_CONV_BACKWARD: dy is one tensor; others sum `part`
    int n_parts;
    struct part part[GRAD_PARTS];
    bool train, accumulate;
    bool differentiated;      // its gradients are in the tape
    enum activation act;      // OP_CONCAT
    struct device_conv *conv; // owned by the OP_CONV
    const struct graph_weights *weights;
    struct norm_shape norm;
    const struct graph_affine *affine;
    int draw; // of dropout: the number of the forward op; -1: none
    struct gan_args gan;
    struct resample_shape resample;
    struct sample_shape sample; // its ids are those of picture 0
    struct nce_args nce;
    const float *alpha; // OP_MIX
    const int *flip;    // OP_FLIP
    double scale;
    double *loss;
};

struct graph {
    struct device *device;
    int n_buffers, n_tensors, n_ops, n_trained;
    int stream, section; // of what is appended
    int n_early;         // ops of graph_backward_early
    struct buffer *buffers;
    struct tensor *tensors;
    struct op *ops;
    const void **trained; // parameters that an earlier op of the tape contributes to
    size_t workspace_bytes, workspace_offset, arena_bytes;
};

// Appends an op whose operands are all -1; the pointer is good until the next append.
struct op *graph_append(struct graph *g, enum op_kind kind);

// A new tensor with memory of its own.
int graph_tensor(struct graph *g, struct graph_size size);

// Bytes of a tensor, its border included.
size_t graph_bytes(const struct graph *g, int tensor);

struct tensor_shape graph_shape(const struct graph *g, int tensor); // without the border

// Whether the tensor was made by an op whose output is read as a whole only once.
bool graph_has_one_reader(const struct graph *g, const struct tensor *root);

// Where an op that reads x has to write d loss / d x; `pad` is the border it writes.
int graph_gradient_slot(struct graph *g, int x, int pad);

void graph_need_workspace(struct graph *g, size_t bytes);

// Appends the gradients of an op of graph/cut.c; runs one.
void graph_cut_backward(struct graph *g, struct op forward);
int graph_cut_run(const struct graph *g, void *arena, const struct op *op);

// The same for graph/penalty.c.
// Whether an earlier op of the tape contributes to the gradient of these parameters (a layer's
// graph_weights or graph_affine); from now on one does.
bool graph_was_trained(struct graph *g, const void *parameters);
void graph_tangent_backward(struct graph *g, struct op forward);
int graph_penalty_run(const struct graph *g, void *arena, const struct op *op);

// Fills waits and events.
void graph_order(struct graph *g);
// Where a stream's scratch is.
void *graph_workspace(const struct graph *g, void *arena, const struct op *op);
// Issues one op, whatever it has to wait for.
int graph_run_op(const struct graph *g, void *arena, const struct op *op);
// Memory that an op touches: [begin, end) of the arena, or one address that stands for a parameter,
// a statistic or a loss.
struct graph_span {
    bool in_arena, write;
    uintptr_t begin, end;
};
#define GRAPH_SPANS 24
int graph_spans(const struct graph *g, const struct op *op, struct graph_span ret[GRAPH_SPANS]);
bool graph_spans_conflict(const struct graph_span *a, const struct graph_span *b);

struct tensor *graph_root(const struct graph *g, int tensor);

// The operands of an op, -1 left out; returns how many.
#define OP_OPERANDS (8 + GRAD_PARTS)
int graph_operands(const struct op *op, int ret_tensors[OP_OPERANDS]);

#endif
