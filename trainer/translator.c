#include "translator.h"

#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "graph.h"
#include "optimizer.h"
#include "util.h"

#define TAPES 4
#define SIDE_MIN 16 // a norm over fewer pixels shows little of the picture

struct tape {
    int n, h, w;
    uint64_t used;
    struct graph *graph; // NULL: free
    int x, y;
};

struct translator {
    struct net_options options;
    struct device *device;
    struct net *net;
    struct optimizer weights; // the buffer of the weights alone
    struct model_net params;
    int64_t no_steps;
    struct tape tapes[TAPES], *tape;
    uint64_t clock;
    void *arena;
    size_t arena_bytes;
};

// The nets lay out four buffers (optimizer.h). Only the weights are ever read here, so the others
// are the same.
static void weights_init(struct translator *t) {
    size_t size = 0;

    net_reserve(t->net, &size);
    float *w = t->device->backend->memory_new(t->device, size * sizeof *w);
    t->weights =
        (struct optimizer){.device = t->device, .count = size, .w = w, .g = w, .m = w, .v = w};
    net_bind(t->net, &t->weights);
}

int translator_new(const struct translator_options *options, struct translator **ret) {
    struct device_options device = {
        .name = options->device, .threads = options->threads, .winograd = options->winograd};
    struct translator *t = xcalloc(1, sizeof *t);
    int err = generator_new(&options->net, &t->net);

    if (!err)
        err = device_open(&device, &t->device);
    if (err) {
        translator_free(t);
        return err;
    }
    t->options = options->net;
    weights_init(t);
    t->params = (struct model_net){.name = "G",
                                   .n_params = net_n_params(t->net),
                                   .params = net_params(t->net),
                                   .adam_steps = &t->no_steps};
    *ret = t;
    return ERR_OK;
}

void translator_free(struct translator *t) {
    if (!t)
        return;
    for (int i = 0; i < TAPES; i++)
        graph_free(t->tapes[i].graph);
    net_free(t->net);
    if (t->device) {
        t->device->backend->memory_free(t->device, t->weights.w);
        t->device->backend->memory_free(t->device, t->arena);
    }
    device_close(t->device);
    free(t);
}

struct model_net *translator_params(struct translator *t) {
    return &t->params;
}

int translator_ready(struct translator *t) {
    return net_refresh(t->net);
}

const struct net *translator_net(const struct translator *t) {
    return t->net;
}

struct device *translator_device(const struct translator *t) {
    return t->device;
}

int translator_channels_in(const struct translator *t) {
    return t->options.in_nc;
}

int translator_channels_out(const struct translator *t) {
    return t->options.out_nc;
}

int translator_padded(const struct translator *t, int side) {
    int divisor = net_divisor(t->net), least = divisor;

    while (net_check_size(t->net, least, least))
        least += divisor;
    side = MAX(side, SIDE_MIN);
    return MAX((side + divisor - 1) / divisor * divisor, least);
}

static struct tape *find(struct translator *t, int n, int h, int w) {
    for (int i = 0; i < TAPES; i++) {
        struct tape *tape = &t->tapes[i];
        if (tape->graph && tape->n == n && tape->h == h && tape->w == w)
            return tape;
    }
    return NULL;
}

static void drop(struct translator *t, struct tape *tape) {
    graph_free(tape->graph);
    *tape = (struct tape){0};
    if (t->tape == tape)
        t->tape = NULL;
}

// A free place, or that of the tape that was not used for longest.
static struct tape *claim(struct translator *t) {
    struct tape *oldest = &t->tapes[0];

    for (int i = 1; i < TAPES; i++)
        if (t->tapes[i].used < oldest->used)
            oldest = &t->tapes[i];
    drop(t, oldest);
    return oldest;
}

static int build(struct translator *t, struct tape *tape) {
    int err = net_check_size(t->net, tape->h, tape->w);

    if (err)
        return err;
    tape->x = graph_input(tape->graph, tape->n, tape->h, tape->w, t->options.in_nc);
    err = net_forward(t->net, tape->graph, tape->x, NET_ALONE, &tape->y);
    if (err)
        return err;
    graph_keep(tape->graph, tape->y);
    graph_place(tape->graph, false);
    return net_refresh(t->net); // packings that this shape has added
}

static int tape_of(struct translator *t, int n, int h, int w, struct tape **ret) {
    struct tape *tape = find(t, n, h, w);

    if (!tape) {
        tape = claim(t);
        *tape = (struct tape){.n = n, .h = h, .w = w, .graph = graph_new(t->device)};
        int err = build(t, tape);
        if (err) {
            drop(t, tape);
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

int translator_shape(struct translator *t, int n, int h, int w) {
    struct tape *tape;
    int err = tape_of(t, n, h, w, &tape);

    if (err)
        return err;
    size_t need = graph_arena_bytes(tape->graph);
    if (need > t->arena_bytes) {
        translator_trim(t);
        t->arena = t->device->backend->memory_new(t->device, need);
        t->arena_bytes = need;
    }
    t->tape = tape;
    return ERR_OK;
}

static struct tape *selected(const struct translator *t) {
    if (!t->tape)
        BUG("no shape");
    return t->tape;
}

float *translator_input(struct translator *t) {
    return graph_data(selected(t)->graph, t->arena, t->tape->x);
}

const float *translator_output(const struct translator *t) {
    return graph_data(selected(t)->graph, t->arena, t->tape->y);
}

int translator_run(struct translator *t) {
    struct graph *g = selected(t)->graph;

    return graph_run(g, t->arena, 0, graph_n_ops(g), NULL);
}

void translator_trim(struct translator *t) {
    t->device->backend->memory_free(t->device, t->arena);
    t->arena = NULL;
    t->arena_bytes = 0;
    t->tape = NULL;
}

char *translator_kernels(const struct translator *t) {
    char *text = NULL;

    for (int i = 0; i < TAPES; i++)
        if (t->tapes[i].graph)
            graph_describe(t->tapes[i].graph, &text);
    return text;
}
