// graph - a static tape: tensors, ops and their gradients, placed in memory once, run many times.
//
// Build:  graph_new; graph_input, graph_conv, graph_norm, ... append ops in the order in which they
//         will run; graph_backward appends the gradients of the ops that have none yet; graph_place
//         gives every tensor its offset.
// Run:    graph_run(g, arena, from, to) runs ops [from, to). It allocates nothing.
//
// Tensors are numbers. A view of some images of a tensor is a tensor too and shares its memory. A
// tensor may carry a reflection border (backend.h), which the op that makes it writes.
//
// Gradients. Several ops may read the output of a norm, a tanh or a concatenation: each adds a
// part, and the maker's backward sums the parts while it loads them. The output of any other op (a
// convolution, a resampling, a sample, a tangent) has one reader, or readers of disjoint views: its
// gradient is one tensor.
//
// Gradients of parameters: the first op that contributes to a parameter overwrites, later ones add,
// in the order of the tape.
//
// Streams. On a device with streams (backend.h) each op has one: the stream of graph_stream. The
// gradient of an op runs in the stream of the op, the gradient of a filter in the side stream of
// that. graph_place finds which op waits for which ops of other streams: any two ops of a section
// that touch the same memory, one of them to write, run in the order of the tape. So streams change
// how fast a tape runs, not what it computes.
#ifndef GRAPH_H
#define GRAPH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "backend/backend.h"

// One tape for one shape. It owns its ops and convolutions. Arena, weights and device are lent.
struct graph;

// A layer's parameters for a convolution. Lent for the graph's life.
struct graph_weights {
    struct device_weights *derived;
    float *dw;         // in the master's layout
    const float *bias; // [k]; NULL: none, or of no effect
    float *dbias;      // [k]; NULL exactly if bias is
};

// A layer's parameters for a batch norm. Lent for the graph's life.
struct graph_affine {
    struct norm_affine values;
    float *dweight, *dbias; // [c]
    int64_t *batches;       // counts the batches that moved the running statistics; NULL exactly
                            // if there are none to move
};

// The input's size is that of x with its border, so only the filter is described here.
struct graph_conv_args {
    int k, r, stride, pad, out_pad; // as in struct conv_shape
    bool transposed;
    bool train; // wants dw and dbias
};

// Norm, activation, dropout, skip and border are one op, in this order.
struct graph_norm_args {
    enum norm_kind norm;
    enum activation act;
    int pad;                           // border of the output
    int skip;                          // tensor whose inside is added; -1: none
    const struct graph_affine *affine; // NORM_BATCH, NORM_RUNNING
    bool train;                        // wants dweight and dbias
    bool dropout;
};

// The device is lent for the graph's life.
struct graph *graph_new(struct device *device);
// Frees convolutions too: before the weights that they use.
void graph_free(struct graph *g); // accepts NULL

// ---- tensors ----

// A tensor [n,h,w,c] that the caller writes. It keeps its place for the whole tape.
int graph_input(struct graph *g, int n, int h, int w, int c);
// Lets the caller read a tensor: it keeps its place for the whole tape. Returns the tensor.
int graph_keep(struct graph *g, int tensor);
// A tensor with a border of `pad` whose views several ops write.
int graph_buffer(struct graph *g, int n, int h, int w, int c, int pad);
// Images [first, first + n) of a tensor.
int graph_view(struct graph *g, int tensor, int first, int n);

// The size of a tensor as the graph's callers see it.
struct graph_size {
    int n, h, w, c; // without the border
    int pad;
};
struct graph_size graph_size(const struct graph *g, int tensor);
// Numbers of a tensor without its border: what graph_read writes.
size_t graph_count(const struct graph *g, int tensor);

// ---- ops ----
//
// Each returns (ret_y) a new tensor, or writes the tensor y that it is given. Formulas are those of
// struct backend. Functions that return an error fail with ERR_SHAPE (the text names the size that
// is too small) and ERR_DEVICE; after a failure the graph can only be freed.

// y = conv(x) + bias, where x includes its border.
int graph_conv(struct graph *g, int x, const struct graph_weights *weights,
               const struct graph_conv_args *args, int *ret_y);
// y = border(drop(act(norm(x))) + skip). With NORM_NONE and ACT_NONE it only adds a border.
int graph_norm(struct graph *g, int x, const struct graph_norm_args *args, int *ret_y);
// The same into y, a view of a graph_buffer whose border is args->pad. No gradient passes.
int graph_norm_into(struct graph *g, int x, const struct graph_norm_args *args, int y);
// y = tanh(x), for the last layer of a generator. Several ops may read y.
int graph_tanh(struct graph *g, int x, int *ret_y);
// act([a; b]) on the channels, for one reader, with ACT_NONE or ACT_RELU; no borders. An operand
// that wants a gradient is the output of a norm or a tanh.
int graph_concat(struct graph *g, int a, int b, enum activation act);

// Halves a map that carries a border of 1; doubles one without a border. For one reader.
int graph_blur(struct graph *g, int x);
int graph_up(struct graph *g, int x);
// Writes input x to input y, flipped left to right if *flip (memory_new's, lent) is not 0 when the
// tape runs.
void graph_flip(struct graph *g, int x, const int *flip, int y);

// The places are memory of the device, so that a repeated section reads new ones.
struct graph_sample_args {
    const int *ids; // [n,count] (memory_new's), lent for the graph's life, read when it runs
    int count;
    bool border;   // ids count the border too
    bool constant; // no gradient goes back
};
// The pixels of x at the ids: [n,count,1,c], for one reader. A sample of an output with one reader
// comes before the op that reads all of it.
int graph_sample(struct graph *g, int x, const struct graph_sample_args *args);

// y = act(norm(x)) and dy, its derivative along dx, for one reader each; y may have none. x and dx
// are outputs of convolutions. Of args, norm (NORM_NONE, _INSTANCE, _BATCH), act, affine and train
// are read.
void graph_tangent(struct graph *g, int x, int dx, const struct graph_norm_args *args, int *ret_y,
                   int *ret_dy);

// Losses. When the tape runs, the value goes to *ret_loss (shared_new's, lent for the graph's life;
// NULL: it is not kept).
//
// graph_l1: x against a constant target. graph_gan: a map, the output of a convolution or its
// views.
void graph_l1(struct graph *g, int x, int target, double scale, double *ret_loss);
void graph_gan(struct graph *g, int x, enum gan_mode mode, bool target_real, double scale,
               double *ret_loss);
// PatchNCE's formula is that of struct backend's nce.
struct graph_nce_args {
    double temperature, scale;
    bool all, add; // all: see struct nce_args; add: the loss is added to *ret_loss
};
// PatchNCE of q [n,patches,1,dim], a convolution's output, and of a constant k.
void graph_nce(struct graph *g, int q, int k, const struct graph_nce_args *args, double *ret_loss);
// loss = sum of x, which is not kept.
void graph_sum(struct graph *g, int x);
// loss = sum of x times r, an input: the gradient of x is what r holds. For tests.
void graph_dot(struct graph *g, int x, int r);

// The penalty on a gradient. Returns u, the penalty's own gradient by `gradient`, a constant.
// The formula is that of struct backend's penalty. u has the size of `gradient`.
int graph_penalty(struct graph *g, int gradient, double scale, double *ret_loss);
// Writes images between `fake` and `real` to input y, by alpha [n] (memory_new's, lent), behind the
// channels of `front` (-1: none). All operands are constants.
void graph_mix(struct graph *g, int front, int real, int fake, const float *alpha, int y);

// ---- gradients ----

// Lets ops compute the gradient of an input; graph_gradient has it after graph_backward.
void graph_require_gradient(struct graph *g, int input);
// Ops that are appended from now on do not compute it.
void graph_forget_gradient(struct graph *g, int input);
// The gradient of such an input: a tensor without border. -1 if no op computes it.
// Its memory is shared like any tensor's: graph_keep lets the caller read it.
int graph_gradient(const struct graph *g, int input);

// Appends the gradients of all ops that have none yet.
// The usual call, once all losses are on the tape.
void graph_backward(struct graph *g);
// Of ops `first` and later only. Earlier ops count as constant; a later call may differentiate
// them.
void graph_backward_since(struct graph *g, int first);
// Of ops [first, end), before forward ops that could come first as well. Those later ops draw the
// dropout that they would draw if these gradients came last.
void graph_backward_early(struct graph *g, int first, int end);

// ---- order and place ----

// The stream of the ops that are appended from now on, below DEVICE_STREAMS; 0 at first.
void graph_stream(struct graph *g, int stream);
// The side stream of stream 0 or 1: for ops that can run at the same time and whose results are
// needed late.
#define GRAPH_SIDE_STREAM(stream) (DEVICE_SIDE_STREAMS + (stream) % DEVICE_SIDE_STREAMS)

// The number of ops so far, which is the number of the next one.
int graph_n_ops(const struct graph *g);
// Begins another section (backend.h) with the next op, and returns its number. The [from, to) of a
// graph_run is within one section.
int graph_section(struct graph *g);

// Gives each tensor its place: tensors that live at different times share memory. With `separate`
// no two tensors do (tests compare the two). Orders the streams.
void graph_place(struct graph *g, bool separate);
// Bytes of the arena, workspace included; of these, the workspace. After graph_place.
// Tapes that run in turns may share one arena of the largest size.
size_t graph_arena_bytes(const struct graph *g);
size_t graph_workspace_bytes(const struct graph *g);

// ---- in and out ----

// Where a tensor is: in memory of the device, and as the device stores it (backend.h).
void *graph_data(const struct graph *g, void *arena, int tensor);

// The images of a tensor without border, from and to the host: image_in, images_in, image_arrive
// and image_out of struct backend. What graph_read writes is there after the next fence.
// ERR_DEVICE_LOST.
int graph_write(const struct graph *g, void *arena, int tensor, enum pixel_type type,
                const void *images);
int graph_write_each(const struct graph *g, void *arena, int tensor, enum pixel_type type,
                     const void *const *images);
int graph_write_prefetched(const struct graph *g, void *arena, int tensor, enum pixel_type type,
                           int slot);
int graph_read(const struct graph *g, void *arena, int tensor, enum pixel_type type,
               void *ret_shared);
// Bytes of such images: the size of ret_shared.
size_t graph_image_bytes(const struct graph *g, int tensor, enum pixel_type type);

// ---- running ----

// Called on the thread that runs the tape, so it delays the next op.
struct graph_hook {
    void (*between_ops)(void *context); // may be NULL
    void *context;
};

// Runs ops [from, to) on an arena of graph_arena_bytes, aligned to 64 bytes. Dropout needs an open
// section of the device. Fails with ERR_DEVICE_LOST; the text names the op.
int graph_run(struct graph *g, void *arena, int from, int to, const struct graph_hook *hook);

// Counts the batches that running statistics see when ops [from, to) run. The caller calls it once
// for each run, be it by graph_run or by the repetition of a section.
void graph_count_batches(const struct graph *g, int from, int to);

// Appends one line per distinct convolution and its kernels to *text (a heap string or NULL).
void graph_describe(const struct graph *g, char **text);

#endif
