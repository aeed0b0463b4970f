// Inference on a graph without backward pass. Tapes differ by shape and share weights and arena.
#include "translate/translator.h"

#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/util.h"
#include "device/device.h"
#include "graph/graph.h"
#include "nets/optimizer.h"

#define TAPES 4
#define SIDE_MIN 16 // fewer pixels give a norm no useful statistics

struct tape {
    int n, h, w;
    uint64_t used;
    struct graph *graph;            // NULL: free
    struct device_section *section; // NULL: not run since the arena's last move
    int x, y;
};

struct translator {
    struct net_options options;
    struct device *device,
        *host; // host: see translator_host; NULL: not opened, or the device itself
    int threads;
    struct net *net;
    struct optimizer weights; // the buffer of the weights alone
    struct model_net params;
    int64_t no_steps;
    struct tape tapes[TAPES], *tape;
    uint64_t clock;
    void *arena;
    size_t arena_bytes;
    // For an asynchronous device, of the largest shape so far: input, and output in shared memory.
    float *in, *out;
    size_t in_count, out_count;
};

static int weights_init(struct translator *t) {
    size_t size = 0;

    net_reserve(t->net, &size);
    int err = optimizer_init_weights(&t->weights, t->device, size);
    return err ? err : net_bind(t->net, &t->weights);
}

int translator_new(const struct translator_options *options, struct translator **ret) {
    struct device_options device = {.name = options->device,
                                    .threads = options->threads,
                                    .winograd = options->winograd,
                                    .dtype = options->dtype,
                                    .gpu = options->gpu};
    struct translator *t = xcalloc(1, sizeof *t);
    int err = generator_new(&options->net, &t->net);

    if (!err)
        err = device_open(&device, &t->device);
    if (!err)
        err = weights_init(t);
    if (err) {
        translator_free(t);
        return err;
    }
    t->options = options->net;
    t->threads = options->threads;
    t->params = (struct model_net){.name = "G",
                                   .n_params = net_n_params(t->net),
                                   .params = net_params(t->net),
                                   .adam_steps = &t->no_steps};
    *ret = t;
    return ERR_OK;
}

static void drop_tape(struct translator *t, struct tape *tape) {
    // An empty place.
    if (!tape->graph)
        return;
    // First the recorded commands, then the graph that they belong to.
    t->device->backend->section_free(tape->section);
    graph_free(tape->graph);
    *tape = (struct tape){0};
    if (t->tape == tape)
        t->tape = NULL;
}

void translator_free(struct translator *t) {
    if (!t)
        return;
    for (int i = 0; i < TAPES; i++)
        drop_tape(t, &t->tapes[i]);
    net_free(t->net);
    optimizer_fini(&t->weights);
    if (t->device) {
        t->device->backend->memory_free(t->device, t->arena);
        t->device->backend->shared_free(t->device, t->out);
    }
    free(t->in);
    // Last: everything above was allocated on it.
    device_close(t->device);
    device_close(t->host);
    free(t);
}

struct model_net *translator_params(struct translator *t) {
    return &t->params;
}

int translator_ready(struct translator *t) {
    int err = optimizer_push(&t->weights);

    return err ? err : net_push(t->net);
}

const struct net *translator_net(const struct translator *t) {
    return t->net;
}

struct device *translator_device(const struct translator *t) {
    return t->device;
}

int translator_host(struct translator *t, struct device **ret_device) {
    struct device_options cpu = {.name = "cpu", .threads = t->threads};
    int err = t->device->asynchronous && !t->host ? device_open(&cpu, &t->host) : ERR_OK;

    if (!err)
        *ret_device = t->device->asynchronous ? t->host : t->device;
    return err;
}

int translator_channels_in(const struct translator *t) {
    return t->options.in_nc;
}

int translator_channels_out(const struct translator *t) {
    return t->options.out_nc;
}

int translator_batch(const struct translator *t, int wanted) {
    // Batch norm over a batch would make a result depend on the other images.
    return net_couples_images(t->net) ? 1 : wanted;
}

int translator_padded(const struct translator *t, int side) {
    int divisor = net_divisor(t->net), least = divisor;

    // A U-Net needs more than its divisor; the smallest side that works is searched.
    while (net_check_size(t->net, least, least))
        least += divisor;
    side = MAX(side, SIDE_MIN);
    return MAX((side + divisor - 1) / divisor * divisor, least);
}

static struct tape *find_tape(struct translator *t, int n, int h, int w) {
    for (int i = 0; i < TAPES; i++) {
        struct tape *tape = &t->tapes[i];
        if (tape->graph && tape->n == n && tape->h == h && tape->w == w)
            return tape;
    }
    return NULL;
}

// A free place, or that of the least recently used tape.
static struct tape *claim_tape(struct translator *t) {
    struct tape *oldest = &t->tapes[0];

    for (int i = 1; i < TAPES; i++)
        if (t->tapes[i].used < oldest->used)
            oldest = &t->tapes[i];
    drop_tape(t, oldest);
    return oldest;
}

static int build_tape(struct translator *t, struct tape *tape) {
    int err = net_check_size(t->net, tape->h, tape->w);

    if (err)
        return err;
    tape->x = graph_input(tape->graph, tape->n, tape->h, tape->w, t->options.in_nc);
    err = net_forward(t->net, tape->graph, tape->x, NET_ALONE, &tape->y);
    if (err)
        return err;
    // The arena must not be reused for the output before it is read.
    graph_keep(tape->graph, tape->y);
    graph_place(tape->graph, false);
    return optimizer_refresh(&t->weights); // packs the weights for the new convolutions
}

static int tape_of(struct translator *t, int n, int h, int w, struct tape **ret) {
    if (n > translator_batch(t, n))
        BUG("%d images would share the statistics of batch norm", n);
    struct tape *tape = find_tape(t, n, h, w);

    if (!tape) {
        tape = claim_tape(t);
        *tape = (struct tape){.n = n, .h = h, .w = w, .graph = graph_new(t->device)};
        int err = build_tape(t, tape);
        if (err) {
            drop_tape(t, tape);
            return err;
        }
    }
    tape->used = ++t->clock;
    *ret = tape;
    return ERR_OK;
}

int translator_bytes(struct translator *t, int n, int h, int w, size_t *ret_bytes) {
    struct tape *tape;
    int err = tape_of(t, n, h, w, &tape);

    if (!err)
        *ret_bytes = graph_arena_bytes(tape->graph);
    return err;
}

// Grows the buffers between host and asynchronous device to the size of the tape.
static int make_room(struct translator *t, const struct tape *tape) {
    size_t in = graph_count(tape->graph, tape->x), out = graph_count(tape->graph, tape->y);
    void *memory;

    if (!t->device->asynchronous)
        return ERR_OK;
    if (in > t->in_count) {
        t->in = xrealloc(t->in, in * sizeof *t->in);
        t->in_count = in;
    }
    if (out <= t->out_count)
        return ERR_OK;
    t->device->backend->shared_free(t->device, t->out);
    t->out = NULL;
    t->out_count = 0;
    int err = t->device->backend->shared_new(t->device, out * sizeof *t->out, &memory);
    if (err)
        return err;
    t->out = memory;
    t->out_count = out;
    return ERR_OK;
}

// Input and output of a convolution or a norm exist at the same time.
size_t translator_least_bytes(const struct translator *t, int n, int h, int w) {
    size_t most = 0;

    for (int i = 0; i < net_n_layers(t->net); i++) {
        struct net_layer l = net_layer(t->net, i);
        int up = l.up ? 2 : 1;
        struct conv_shape s = {.h = up * h + 2 * l.border,
                               .w = up * w + 2 * l.border,
                               .r = l.conv.r,
                               .stride = l.conv.stride,
                               .pad = l.conv.pad,
                               .out_pad = l.conv.out_pad,
                               .transposed = l.conv.transposed};
        size_t in = (size_t)h * (size_t)w * (size_t)l.c;
        conv_output_size(&s, &h, &w);
        size_t out = (size_t)h * (size_t)w * (size_t)l.conv.k;
        most = MAX(most, out + MAX(in, l.norm == NORM_NONE ? 0 : out));
        h = l.blur ? (h + 1) / 2 : h;
        w = l.blur ? (w + 1) / 2 : w;
    }
    return most * (size_t)n * t->device->element_bytes;
}

// An image keeps its padded size.
size_t translator_staging_bytes(const struct translator *t, int n, int h, int w) {
    size_t pixels = (size_t)n * (size_t)h * (size_t)w;

    return t->device->asynchronous
               ? pixels * (size_t)(t->options.in_nc + t->options.out_nc) * sizeof(float)
               : 0;
}

int translator_shape(struct translator *t, int n, int h, int w) {
    struct tape *tape;
    int err = tape_of(t, n, h, w, &tape);

    if (err)
        return err;
    size_t need = graph_arena_bytes(tape->graph);
    if (need > t->arena_bytes) {
        // All sections refer to the old arena by address.
        translator_trim(t);
        err = t->device->backend->memory_new(t->device, need, &t->arena);
        if (err)
            return err;
        t->arena_bytes = need;
    }
    err = make_room(t, tape);
    if (!err)
        t->tape = tape;
    return err;
}

static struct tape *selected(const struct translator *t) {
    if (!t->tape)
        BUG("no shape");
    return t->tape;
}

float *translator_input(struct translator *t) {
    const struct tape *tape = selected(t);

    return t->device->asynchronous ? t->in : graph_data(tape->graph, t->arena, tape->x);
}

const float *translator_output(const struct translator *t) {
    const struct tape *tape = selected(t);

    return t->device->asynchronous ? t->out : graph_data(tape->graph, t->arena, tape->y);
}

static int run_tape(struct translator *t, struct tape *tape) {
    const struct backend *b = t->device->backend;
    bool issue = false;
    int err = tape->section ? ERR_OK : b->section_new(t->device, &tape->section);

    if (!err)
        err = b->section_begin(tape->section, &(struct device_values){0}, &issue);
    if (err)
        return err;
    // A section that was recorded is replayed and not issued again.
    if (issue)
        err = graph_run(tape->graph, t->arena, 0, graph_n_ops(tape->graph), NULL);
    return device_section_end(t->device, tape->section, err);
}

int translator_run(struct translator *t) {
    struct tape *tape = selected(t);
    bool apart = t->device->asynchronous;
    // A CPU writes and reads the arena directly.
    int err = apart ? graph_write(tape->graph, t->arena, tape->x, PIXELS_FLOAT, t->in) : ERR_OK;

    if (!err)
        err = run_tape(t, tape);
    if (!err && apart)
        err = graph_read(tape->graph, t->arena, tape->y, PIXELS_FLOAT, t->out);
    return err ? err : device_wait(t->device);
}

void translator_trim(struct translator *t) {
    for (int i = 0; i < TAPES; i++)
        if (t->tapes[i].section) {
            t->device->backend->section_free(t->tapes[i].section);
            t->tapes[i].section = NULL;
        }
    t->device->backend->memory_free(t->device, t->arena);
    t->arena = NULL;
    t->arena_bytes = 0;
    // Its input and output were in the arena.
    t->tape = NULL;
}

char *translator_kernels(const struct translator *t) {
    char *text = NULL;

    for (int i = 0; i < TAPES; i++)
        if (t->tapes[i].graph)
            graph_describe(t->tapes[i].graph, &text);
    return text;
}
