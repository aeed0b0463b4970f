#include "trainer/oracle/net.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "trainer/oracle/heads.h"
#include "trainer/oracle/ops.h"

// What a layer makes: up(x), that with its border, the convolution, the map after the norm, and
// after blur or join; and their gradients.
enum { UP, BORDERED, BEFORE, AFTER, BLURRED, Y, MAPS };

struct layer {
    struct net_layer is;
    struct conv_shape conv;
    struct norm_shape norm;
    struct ref_layer affine;
    int other; // layer whose output is added or joined; -1: none, -2: the call's input
    struct ref_map map[MAPS];
    double *g[MAPS];
};

struct ref_call {
    struct ref_net *r;
    struct ref_map x;
    double *gx;
    int first, end;
    struct layer *layers; // [end - first]
};

struct ref_map ref_map_new(int n, int h, int w, int c) {
    struct ref_map m = {n, h, w, c, NULL};

    m.v = xcalloc(ref_map_count(&m), sizeof *m.v);
    return m;
}

size_t ref_map_count(const struct ref_map *m) {
    return (size_t)m->n * (size_t)m->h * (size_t)m->w * (size_t)m->c;
}

static void add(size_t count, const double *x, double *y) {
    for (size_t i = 0; i < count; i++)
        y[i] += x[i];
}

// ---- rounding ----

// To nearest, to so many bits; Veltkamp 1968.
static void round_to(int bits, size_t count, double *x) {
    double factor = ldexp(1, 53 - bits) + 1;

    for (size_t i = 0; i < count; i++) {
        double scaled = factor * x[i];
        x[i] = scaled - (scaled - x[i]);
    }
}

void ref_store(enum ref_rounding r, size_t count, double *x) {
    if (r == REF_BF16)
        round_to(8, count, x);
}

static void store_map(const struct ref_net *r, const struct ref_map *m) {
    ref_store(r->rounding, ref_map_count(m), m->v);
}

// What a convolution multiplies; freed by the caller.
static double *factor_of(const struct ref_net *r, size_t count, const double *x) {
    double *y = xcalloc(count, sizeof *y);

    memcpy(y, x, count * sizeof *y);
    if (r->rounding == REF_FP32 || r->rounding == REF_TF32)
        round_to(r->rounding == REF_FP32 ? 20 : 11, count, y);
    return y;
}

// ---- parameters ----

struct ref_net *ref_net_new(struct net *net, const struct model_param *params,
                            enum ref_rounding rounding) {
    struct ref_net *r = xcalloc(1, sizeof *r);

    r->net = net;
    r->rounding = rounding;
    r->n_params = net_n_params(net);
    r->w = xcalloc((size_t)r->n_params, sizeof *r->w);
    r->g = xcalloc((size_t)r->n_params, sizeof *r->g);
    for (int i = 0; i < r->n_params; i++) {
        if (!params[i].w)
            continue;
        r->w[i] = xcalloc(params[i].count, sizeof *r->w[i]);
        r->g[i] = xcalloc(params[i].count, sizeof *r->g[i]);
        for (size_t k = 0; k < params[i].count; k++)
            r->w[i][k] = params[i].w[k];
        if (params[i].kind == PARAM_FILTER)
            ref_store(rounding, params[i].count, r->w[i]);
    }
    return r;
}

void ref_net_free(struct ref_net *r) {
    for (int i = 0; i < r->n_params; i++) {
        free(r->w[i]);
        free(r->g[i]);
    }
    free(r->w);
    free(r->g);
    free(r);
}

// Of a layer's parameter; NULL: it has none.
static double *value_of(const struct ref_net *r, const struct model_param *p) {
    return p ? r->w[p - net_params(r->net)] : NULL;
}

static double *gradient_of(const struct ref_net *r, const struct model_param *p) {
    return p ? r->g[p - net_params(r->net)] : NULL;
}

// ---- forward ----

static struct norm_shape border_of(const struct ref_map *m, int pad) {
    return (struct norm_shape){.n = m->n, .h = m->h, .w = m->w, .c = m->c, .pad = pad};
}

static void put_border(const struct ref_map *x, int pad, struct ref_map *ret) {
    struct norm_shape s = border_of(x, pad);

    *ret = ref_map_new(x->n, x->h + 2 * pad, x->w + 2 * pad, x->c);
    ref_norm(&s, NULL, x->v, NULL, ret->v);
}

static struct resample_shape resampling(enum resample_kind kind, const struct ref_map *from,
                                        const struct ref_map *to) {
    return (struct resample_shape){kind, from->n, from->h, from->w, to->h, to->w, from->c};
}

static void double_map(const struct ref_map *x, struct ref_map *ret) {
    *ret = ref_map_new(x->n, 2 * x->h, 2 * x->w, x->c);
    struct resample_shape s = resampling(RESAMPLE_UP, x, ret);
    ref_resample(&s, x->v, ret->v);
}

static void blur_map(const struct ref_map *x, struct ref_map *ret) {
    struct ref_map bordered;

    put_border(x, 1, &bordered);
    *ret = ref_map_new(x->n, (x->h + 1) / 2, (x->w + 1) / 2, x->c);
    struct resample_shape s = resampling(RESAMPLE_BLUR, &bordered, ret);
    ref_resample(&s, bordered.v, ret->v);
    free(bordered.v);
}

static struct ref_map copy_of(const struct ref_map *x) {
    struct ref_map y = ref_map_new(x->n, x->h, x->w, x->c);

    memcpy(y.v, x->v, ref_map_count(x) * sizeof *y.v);
    return y;
}

static void convolve(const struct ref_net *r, struct layer *l) {
    const struct ref_map *x = &l->map[BORDERED];
    int h, w;

    l->conv = (struct conv_shape){.n = x->n,
                                  .c = x->c,
                                  .h = x->h,
                                  .w = x->w,
                                  .k = l->is.conv.k,
                                  .r = l->is.conv.r,
                                  .stride = l->is.conv.stride,
                                  .pad = l->is.conv.pad,
                                  .out_pad = l->is.conv.out_pad,
                                  .transposed = l->is.conv.transposed,
                                  .bias = l->is.bias != NULL};
    ref_conv_size(&l->conv, &h, &w);
    l->map[BEFORE] = ref_map_new(x->n, h, w, l->is.conv.k);
    double *a = factor_of(r, ref_map_count(x), x->v);
    double *b = factor_of(r, l->is.weight->count, value_of(r, l->is.weight));
    ref_conv(&l->conv, a, b, value_of(r, l->is.bias), l->map[BEFORE].v);
    store_map(r, &l->map[BEFORE]);
    free(a);
    free(b);
}

static void normalize(const struct ref_net *r, struct layer *l, const double *skip) {
    const struct ref_map *z = &l->map[BEFORE];

    l->map[AFTER] = ref_map_new(z->n, z->h, z->w, z->c);
    l->norm = border_of(z, 0);
    l->norm.norm = l->is.norm;
    l->norm.act = l->is.act;
    l->affine.weight = value_of(r, l->is.norm_weight);
    l->affine.bias = value_of(r, l->is.norm_bias);
    if (!l->is.tanh)
        ref_norm(&l->norm, &l->affine, z->v, skip, l->map[AFTER].v);
    for (size_t i = 0; i < ref_map_count(z) && l->is.tanh; i++)
        l->map[AFTER].v[i] = tanh(z->v[i]);
    store_map(r, &l->map[AFTER]);
}

static struct concat_shape concat_of(const struct ref_map *a, const struct ref_map *b) {
    return (struct concat_shape){(size_t)a->n * (size_t)a->h * (size_t)a->w, a->c, b->c, ACT_RELU};
}

static void finish(const struct ref_net *r, struct layer *l, const struct ref_map *other) {
    const struct ref_map *a = &l->map[AFTER];

    if (l->is.blur)
        blur_map(a, &l->map[BLURRED]);
    else
        l->map[BLURRED] = copy_of(a);
    store_map(r, &l->map[BLURRED]);
    a = &l->map[BLURRED];
    if (l->is.skip != NET_SKIP_CONCAT) {
        l->map[Y] = copy_of(a);
        return;
    }
    struct concat_shape s = concat_of(other, a);
    l->map[Y] = ref_map_new(a->n, a->h, a->w, other->c + a->c);
    ref_concat(&s, other->v, a->v, l->map[Y].v);
}

// The output of layer i of the call, or its input.
static const struct ref_map *output(const struct ref_call *c, int i) {
    return i < 0 ? &c->x : &c->layers[i].map[Y];
}

static void run_layer(struct ref_call *c, int i) {
    struct layer *l = &c->layers[i];
    const struct ref_map *x = output(c, i - 1);
    const struct ref_map *other = l->other == -1 ? NULL : output(c, l->other);

    if (l->is.up)
        double_map(x, &l->map[UP]);
    else
        l->map[UP] = copy_of(x);
    store_map(c->r, &l->map[UP]);
    put_border(&l->map[UP], l->is.border, &l->map[BORDERED]);
    convolve(c->r, l);
    normalize(c->r, l, l->is.skip == NET_SKIP_ADD ? other->v : NULL);
    finish(c->r, l, other);
    for (int k = 0; k < MAPS; k++)
        l->g[k] = xcalloc(ref_map_count(&l->map[k]), sizeof *l->g[k]);
}

struct ref_call *ref_call_new(struct ref_net *r, const struct ref_map *x, int first, int end) {
    struct ref_call *c = xcalloc(1, sizeof *c);
    int stack[16], depth = 0, remembered = -2;

    *c = (struct ref_call){.r = r, .x = copy_of(x), .first = first, .end = end};
    c->layers = xcalloc((size_t)(end - first), sizeof *c->layers);
    c->gx = xcalloc(ref_map_count(x), sizeof *c->gx);
    for (int i = 0; i < end - first; i++) {
        struct layer *l = &c->layers[i];
        l->is = net_layer(r->net, first + i);
        l->other = -1;
        if (l->is.skip == NET_SKIP_REMEMBER)
            remembered = i ? i - 1 : -2;
        if (l->is.skip == NET_SKIP_ADD)
            l->other = remembered;
        if (l->is.skip == NET_SKIP_CONCAT)
            l->other = stack[--depth];
        if (l->is.skip == NET_SKIP_PUSH)
            stack[depth++] = i;
        run_layer(c, i);
    }
    return c;
}

void ref_call_free(struct ref_call *c) {
    for (int i = 0; i < c->end - c->first; i++)
        for (int k = 0; k < MAPS; k++) {
            free(c->layers[i].map[k].v);
            free(c->layers[i].g[k]);
        }
    free(c->layers);
    free(c->x.v);
    free(c->gx);
    free(c);
}

const struct ref_map *ref_call_y(const struct ref_call *c) {
    return output(c, c->end - c->first - 1);
}

static const int places[] = {
    [REF_INPUT] = BORDERED, [REF_BEFORE_NORM] = BEFORE, [REF_AFTER] = AFTER};

const struct ref_map *ref_call_map(const struct ref_call *c, int layer, enum ref_place place) {
    return &c->layers[layer - c->first].map[places[place]];
}

double *ref_call_gradient(struct ref_call *c, int layer, enum ref_place place) {
    return c->layers[layer - c->first].g[places[place]];
}

// ---- backward ----

static double *output_gradient(struct ref_call *c, int i) {
    return i < 0 ? c->gx : c->layers[i].g[Y];
}

// From Y to AFTER, which may hold a gradient already.
static void unfinish(struct ref_call *c, struct layer *l) {
    const struct ref_map *a = &l->map[BLURRED];
    size_t count = ref_map_count(a);

    if (l->is.skip == NET_SKIP_CONCAT) {
        const struct ref_map *other = output(c, l->other);
        struct concat_shape s = concat_of(other, a);
        double *g = xcalloc(ref_map_count(other), sizeof *g);
        ref_concat_backward(&s, l->map[Y].v, l->g[Y], g, l->g[BLURRED]);
        add(ref_map_count(other), g, output_gradient(c, l->other));
        free(g);
    } else {
        memcpy(l->g[BLURRED], l->g[Y], count * sizeof(double));
    }
    if (!l->is.blur) {
        add(count, l->g[BLURRED], l->g[AFTER]);
        return;
    }
    const struct ref_map *x = &l->map[AFTER];
    struct norm_shape border = border_of(x, 1);
    struct ref_map bordered = ref_map_new(x->n, x->h + 2, x->w + 2, x->c);
    struct resample_shape s = resampling(RESAMPLE_BLUR_ADJOINT, a, &bordered);
    ref_resample(&s, l->g[BLURRED], bordered.v);
    ref_fold(&border, bordered.v, 1, 0, x->n, l->g[AFTER]);
    free(bordered.v);
}

// From AFTER to BEFORE, which may hold a gradient already.
static void unnormalize(struct ref_call *c, struct layer *l, bool train) {
    size_t count = ref_map_count(&l->map[AFTER]), channels = (size_t)l->is.conv.k;
    double *dx = xcalloc(count, sizeof *dx), *sums = xcalloc(2 * channels, sizeof *sums);
    struct ref_norm_gradients ret = {dx, sums, sums + channels};

    if (l->is.skip == NET_SKIP_ADD)
        add(count, l->g[AFTER], output_gradient(c, l->other));
    if (l->is.tanh)
        for (size_t i = 0; i < count; i++)
            dx[i] = l->g[AFTER][i] * (1 - l->map[AFTER].v[i] * l->map[AFTER].v[i]);
    else
        ref_norm_backward(&l->norm, &l->affine, l->map[BEFORE].v, l->g[AFTER], &ret);
    add(count, dx, l->g[BEFORE]);
    ref_store(c->r->rounding, count, l->g[BEFORE]);
    if (train && l->is.norm == NORM_BATCH) {
        add(channels, sums, gradient_of(c->r, l->is.norm_weight));
        add(channels, sums + channels, gradient_of(c->r, l->is.norm_bias));
    }
    free(dx);
    free(sums);
}

// From BEFORE to BORDERED, which may hold a gradient already, and to the parameters.
static void unconvolve(const struct ref_call *c, struct layer *l, bool train) {
    size_t weights = l->is.weight->count, count = ref_map_count(&l->map[BORDERED]);
    double *dw = train ? xcalloc(weights, sizeof *dw) : NULL, *dx = xcalloc(count, sizeof *dx);
    double *dbias = train && l->is.bias ? xcalloc((size_t)l->is.conv.k, sizeof *dbias) : NULL;

    double *x = factor_of(c->r, count, l->map[BORDERED].v);
    double *w = factor_of(c->r, weights, value_of(c->r, l->is.weight));
    double *dy = factor_of(c->r, ref_map_count(&l->map[BEFORE]), l->g[BEFORE]);

    ref_conv_backward(&l->conv, x, w, dy, dx, dw, NULL);
    for (size_t i = 0; dbias && i < ref_map_count(&l->map[BEFORE]); i++)
        dbias[i % (size_t)l->is.conv.k] += l->g[BEFORE][i];
    ref_store(c->r->rounding, count, dx);
    if (dw)
        ref_store(c->r->rounding, weights, dw);
    add(count, dx, l->g[BORDERED]);
    if (dw)
        add(weights, dw, gradient_of(c->r, l->is.weight));
    if (dbias)
        add((size_t)l->is.conv.k, dbias, gradient_of(c->r, l->is.bias));
    free(x);
    free(w);
    free(dy);
    free(dw);
    free(dx);
    free(dbias);
}

// From BORDERED to what the layer reads.
static void unborder(struct layer *l, const struct ref_map *x, double *gx) {
    struct norm_shape border = border_of(&l->map[UP], l->is.border);
    double *g = xcalloc(ref_map_count(x), sizeof *g);

    ref_fold(&border, l->g[BORDERED], l->is.border, 0, x->n, l->g[UP]);
    if (l->is.up) {
        struct resample_shape s = resampling(RESAMPLE_UP_ADJOINT, &l->map[UP], x);
        ref_resample(&s, l->g[UP], g);
    } else {
        memcpy(g, l->g[UP], ref_map_count(x) * sizeof *g);
    }
    add(ref_map_count(x), g, gx);
    free(g);
}

void ref_call_backward(struct ref_call *c, const double *dy, bool train, double *dx) {
    int last = c->end - c->first - 1;

    if (dy)
        add(ref_map_count(ref_call_y(c)), dy, c->layers[last].g[Y]);
    for (int i = last; i >= 0; i--) {
        struct layer *l = &c->layers[i];
        unfinish(c, l);
        unnormalize(c, l, train);
        unconvolve(c, l, train);
        unborder(l, output(c, i - 1), output_gradient(c, i - 1));
    }
    if (dx)
        add(ref_map_count(&c->x), c->gx, dx);
}
