// graph - a static tape: tensors, ops and their gradients, placed in memory once, run many times.
//
// Build:  graph_new; graph_input, graph_conv, graph_norm, ... append ops in the order in which they
//         will run; graph_backward appends the gradients of what has none yet; graph_place gives
//         every tensor its offset.
// Run:    graph_run(g, arena, from, to) runs ops [from, to); nothing is allocated.
//
// Tensors are numbers. A view of some pictures of a tensor is a tensor too and shares its memory.
// A tensor may carry a reflection border (backend.h), written by the op that makes it.
//
// Gradients. A tensor that a norm or a tanh made may be read by several ops; each adds a part, and
// the maker's backward sums the parts while loading them. A tensor that a convolution made must be
// read by one op (or by ops on disjoint views); its gradient is one tensor.
//
// Gradients of parameters: the first op that contributes to a parameter overwrites, later ones add,
// in the order of the tape.
//
// Streams. On a device with streams (backend.h) each op has one: that of graph_stream, the gradient
// of an op that of the op, the gradient of a filter the stream beside that. graph_place works out
// which op has to wait for which of other streams: any two of a section that touch the same memory,
// one of them to write, run in the order of the tape. So streams decide how fast a tape runs, not
// what it computes.
#ifndef GRAPH_H
#define GRAPH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "backend/backend.h"

struct graph;

// What a convolution needs of a layer's parameters. Lent for the graph's life.
struct graph_weights {
    struct device_weights *derived;
    float *dw;         // in the master's layout
    const float *bias; // [k]; NULL: none, or of no effect
    float *dbias;      // [k]; NULL exactly if bias is
};

// What a batch norm needs of a layer's parameters. Lent for the graph's life.
struct graph_affine {
    struct norm_affine values;
    float *dweight, *dbias; // [c]
    int64_t *batches;       // counts the batches that moved the running statistics; NULL exactly
                            // if there are none to move
};

struct graph_conv_args {
    int k, r, stride, pad, out_pad;
    bool transposed;
    bool train; // wants dw and dbias
};

struct graph_norm_args {
    enum norm_kind norm;
    enum activation act;
    int pad;                           // border that the output gets
    int skip;                          // tensor whose inside is added; -1: none
    const struct graph_affine *affine; // NORM_BATCH, NORM_RUNNING
    bool train;                        // wants dweight and dbias
    bool dropout;
};

// The device is lent for the graph's life.
struct graph *graph_new(struct device *device);
void graph_free(struct graph *g);

// A tensor that is written from outside. It keeps its place for the whole tape.
int graph_input(struct graph *g, int n, int h, int w, int c);
// Marks a tensor as read from outside: it keeps its place for the whole tape. Returns it.
int graph_keep(struct graph *g, int tensor);
// A tensor for several ops to write views of; with a border of `pad`.
int graph_buffer(struct graph *g, int n, int h, int w, int c, int pad);
// Pictures [first, first + n) of a tensor.
int graph_view(struct graph *g, int tensor, int first, int n);
// The gradient of an input is wanted: graph_gradient after graph_backward.
void graph_require_gradient(struct graph *g, int input);

struct graph_size {
    int n, h, w, c; // without the border
    int pad;
};
struct graph_size graph_size(const struct graph *g, int tensor);

// Each returns (ret_y) a new tensor. They fail with ERR_SHAPE (names what is too small) and
// ERR_DEVICE; after a failure the graph can only be freed.
//
// graph_conv reads x with its border. graph_norm also pads pictures: NORM_NONE, ACT_NONE.
int graph_conv(struct graph *g, int x, const struct graph_weights *weights,
               const struct graph_conv_args *args, int *ret_y);
int graph_norm(struct graph *g, int x, const struct graph_norm_args *args, int *ret_y);
// The same, but the output is `y`, a view of a graph_buffer whose border is args->pad.
int graph_norm_into(struct graph *g, int x, const struct graph_norm_args *args, int y);
int graph_tanh(struct graph *g, int x, int *ret_y);
// act([a; b]) on the channels, for one reader, with ACT_NONE or ACT_RELU. Neither has a border.
// What wants a gradient of the two is made by a norm or a tanh.
int graph_concat(struct graph *g, int a, int b, enum activation act);

// y = act(norm(x)) and dy = its derivative along dx, for one reader each; y may have none. Both x
// and dx are made by convolutions. args: norm (NONE or INSTANCE) and act.
void graph_tangent(struct graph *g, int x, int dx, const struct graph_norm_args *args, int *ret_y,
                   int *ret_dy);
// A gradient's penalty; returns its own gradient by `gradient`, a constant (backend.h).
int graph_penalty(struct graph *g, int gradient, double scale, double *ret_loss);
// The gradient of an input that was wanted is wanted no more, by ops that are appended from now on.
void graph_forget_gradient(struct graph *g, int input);

// The pictures of `real` and `fake`, mixed by `alpha` [n] (memory_new's, lent), behind those of
// `front` on the channels (-1: none); constants all, into the input y (backend.h).
void graph_mix(struct graph *g, int front, int real, int fake, const float *alpha, int y);
// Input y is input x, mirrored if *flip (memory_new's, lent) is not 0 when the tape runs.
void graph_flip(struct graph *g, int x, const int *flip, int y);

// Halves a map that carries a border of 1, doubles one without a border (backend.h); for one
// reader, as a convolution's output.
int graph_blur(struct graph *g, int x);
int graph_up(struct graph *g, int x);

// The pixels of x that are in ids: [n,count] numbers (memory_new's), lent for the graph's life and
// read when it runs. Returns [n,count,1,c], for one reader. A sample of a convolution's output
// comes before the op that reads all of it. `constant`: no gradient goes back.
struct graph_sample_args {
    const int *ids;
    int count;
    bool border; // ids count the border too
    bool constant;
};
int graph_sample(struct graph *g, int x, const struct graph_sample_args *args);

// Losses: the value goes to *ret_loss (shared_new's, lent for the graph's life; NULL: nowhere)
// whenever the tape runs.
// graph_l1: x against a constant target. graph_gan: a map (a convolution's output, or views).
void graph_l1(struct graph *g, int x, int target, double scale, double *ret_loss);
void graph_gan(struct graph *g, int x, enum gan_mode mode, bool target_real, double scale,
               double *ret_loss);
// graph_nce: PatchNCE of q [n,patches,1,dim], a convolution's output, and constant k. With `add`
// the loss is added to *ret_loss.
struct graph_nce_args {
    double temperature, scale;
    bool all, add;
};
void graph_nce(struct graph *g, int q, int k, const struct graph_nce_args *args, double *ret_loss);
// loss = sum of x, which nobody reads.
void graph_sum(struct graph *g, int x);
// loss = sum of x times a constant r: its gradient is the content of `r`, an input.
void graph_dot(struct graph *g, int x, int r);

void graph_backward(struct graph *g);
// The gradients of ops `first` and later only: what comes before counts as constant here, and may
// get its gradients from a later call.
void graph_backward_since(struct graph *g, int first);
// The gradients of ops [first, end), before forward ops that could come first as well: those draw
// the dropout that they would draw then.
void graph_backward_early(struct graph *g, int first, int end);
// The gradient of a graph_require_gradient input: a tensor without border. -1 if nothing needs it.
int graph_gradient(const struct graph *g, int input);

// The stream of the ops that are appended from now on, below DEVICE_STREAMS; 0 at first.
void graph_stream(struct graph *g, int stream);
// The stream beside 0 or 1: for what can run at the same time and is not waited for soon.
#define GRAPH_SIDE_STREAM(stream) (DEVICE_SIDE_STREAMS + (stream) % DEVICE_SIDE_STREAMS)

int graph_n_ops(const struct graph *g);
// What is appended from now on belongs to another section (backend.h): graph_run's [from, to) is
// one of those. Returns the number of its first op.
int graph_section(struct graph *g);

// Gives each tensor its place: tensors that live at different times share memory. With `apart` no
// two do (to test the sharing against). Orders the streams.
void graph_place(struct graph *g, bool apart);
// Bytes of the arena (workspace included). After graph_place.
size_t graph_arena_bytes(const struct graph *g);
size_t graph_workspace_bytes(const struct graph *g); // of these, scratch

// Where a tensor is: in memory of the device, and as the device stores it (backend.h).
void *graph_data(const struct graph *g, void *arena, int tensor);

// Pictures of the host to a tensor without border; see struct backend's image_in.
// ERR_DEVICE_LOST.
int graph_write(const struct graph *g, void *arena, int tensor, enum pixel_type type,
                const void *pictures);
// Likewise n pictures that lie apart.
int graph_write_each(const struct graph *g, void *arena, int tensor, enum pixel_type type,
                     const void *const *pictures);
// Likewise those of image_prefetch.
int graph_write_prefetched(const struct graph *g, void *arena, int tensor, enum pixel_type type,
                           int ahead);
// The other way, into shared memory; they are there after the next fence.
int graph_read(const struct graph *g, void *arena, int tensor, enum pixel_type type,
               void *ret_shared);
size_t graph_image_bytes(const struct graph *g, int tensor, enum pixel_type type);
// Numbers of a tensor without its border: what graph_read writes.
size_t graph_count(const struct graph *g, int tensor);

struct graph_hook {
    void (*between_ops)(void *context); // may be NULL
    void *context;
};

// Runs ops [from, to) on an arena of graph_arena_bytes, aligned to 64 bytes. Fails with
// ERR_DEVICE_LOST. With dropout only inside of a section.
int graph_run(struct graph *g, void *arena, int from, int to, const struct graph_hook *hook);

// Counts the batches that running statistics see when ops [from, to) run: to be called once for
// each time that they do, by graph_run or by a section's repetition.
void graph_count_batches(const struct graph *g, int from, int to);

// One line per distinct convolution and its kernels, appended to *text (a heap string or NULL).
void graph_describe(const struct graph *g, char **text);

#endif
