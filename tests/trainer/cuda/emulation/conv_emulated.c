// cuda/conv.h on the emulated device, without cuDNN: plain loops, with products and sums in double,
// issued on the stream like a kernel. There is one engine, number 0. A plan file names it for each
// problem, so that all that is done with plans can be tested.
#include "cuda/conv.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/fs.h"
#include "base/util.h"
#include "cuda/error.h"
#include "cuda/plans.h"
#include "cuda/trial.h"

#define VERSION 0
#define DEVICE_NAME "emulation"
#define PLAN_FILE_MAX ((size_t)1 << 20)
// So that its place in the workspace is tested too: each call leaves its mark there.
#define WORKSPACE ((size_t)192)

struct cuda_convs {
    int stream_count;
    cudaStream_t streams[DEVICE_STREAMS];
    struct cuda_plans *plans;
    size_t tried_bytes;
};

struct cuda_conv {
    struct cuda_convs *convs;
    struct cuda_problem problem;
};

int cuda_convs_open(const struct cuda_convs_options *o, struct cuda_convs **ret_convs) {
    struct cuda_convs *c = xcalloc(1, sizeof *c);
    uint8_t *text;
    size_t size;
    int err = ERR_OK;

    c->stream_count = o->stream_count;
    memcpy(c->streams, o->streams, (size_t)o->stream_count * sizeof *o->streams);
    if (o->plans) {
        err = fs_read(o->plans, PLAN_FILE_MAX, &text, &size);
        if (!err) {
            err = cuda_plans_read(o->plans, (char *)text, &c->plans);
            free(text);
        }
        if (!err)
            err = cuda_plans_check(c->plans, o->plans, VERSION, DEVICE_NAME);
    } else {
        c->plans = cuda_plans_new(VERSION, DEVICE_NAME);
    }
    if (err) {
        cuda_convs_close(c);
        return err;
    }
    *ret_convs = c;
    return ERR_OK;
}

void cuda_convs_close(struct cuda_convs *c) {
    if (!c)
        return;
    cuda_plans_free(c->plans);
    free(c);
}

int cuda_convs_save(const struct cuda_convs *c, const char *path) {
    char *text = cuda_plans_write(c->plans);
    int err = fs_write_atomic(path, text, strlen(text));

    free(text);
    return err;
}

void cuda_convs_version(const struct cuda_convs *c, char *ret_text, size_t size) {
    (void)snprintf(ret_text, size, "plain loops"); // what is cut is only shown
}

size_t cuda_convs_count(const struct cuda_convs *c) {
    return (size_t)cuda_plans_count(c->plans);
}

size_t cuda_convs_tried_bytes(const struct cuda_convs *c) {
    return c->tried_bytes;
}

// There is nothing to choose, but the memory for it is taken as where there is.
static int try_engines(struct cuda_convs *c, const struct cuda_problem *problem) {
    struct cuda_trial trial = {0};
    int err = cuda_trial_init(&trial, problem, WORKSPACE);

    c->tried_bytes = trial.bytes;
    cuda_trial_fini(&trial);
    return err;
}

int cuda_conv_new(struct cuda_convs *c, const struct cuda_problem *problem, bool tune,
                  struct cuda_conv **ret_conv) {
    struct cuda_plan plan = {.engine = 0};
    bool is_new = tune && !cuda_plans_find(c->plans, problem);

    c->tried_bytes = 0;
    int err = is_new ? try_engines(c, problem) : ERR_OK;
    if (err)
        return err;
    if (is_new)
        cuda_plans_add(c->plans, problem, &plan);
    *ret_conv = xcalloc(1, sizeof **ret_conv);
    **ret_conv = (struct cuda_conv){c, *problem};
    return ERR_OK;
}

void cuda_conv_free(struct cuda_conv *c) {
    free(c);
}

size_t cuda_conv_workspace_bytes(const struct cuda_conv *c) {
    return WORKSPACE;
}

bool cuda_conv_uses_tensor_cores(const struct cuda_conv *c) {
    return false;
}

const struct cuda_problem *cuda_conv_problem(const struct cuda_conv *c) {
    return &c->problem;
}

void cuda_conv_describe(const struct cuda_conv *c, char *ret_text, size_t size) {
    (void)snprintf(ret_text, size, "loops"); // what is cut is only shown
}

// What a call carries to where it runs.
struct call {
    struct cuda_problem problem;
    struct cuda_operands operands;
    void *workspace;
};

static double element(const struct call *c, const void *tensor, size_t i) {
    uint32_t bits;
    float x;

    if (c->problem.math != MATH_BF16)
        return ((const float *)tensor)[i];
    bits = (uint32_t)((const uint16_t *)tensor)[i] << 16;
    memcpy(&x, &bits, sizeof x);
    return x;
}

// Rounded to nearest, ties to even.
static void put(const struct call *c, void *tensor, size_t i, double value) {
    float x = (float)value;
    uint32_t bits;

    if (c->problem.math != MATH_BF16) {
        ((float *)tensor)[i] = x;
        return;
    }
    memcpy(&bits, &x, sizeof bits);
    if (!isnan(x))
        bits += 0x7fff + (bits >> 16 & 1);
    ((uint16_t *)tensor)[i] = (uint16_t)(bits >> 16);
}

// Tensors as doubles: a loop over bfloat16 would spend its time unpacking.
static double *unpack(const struct call *c, const void *tensor, size_t count) {
    double *x = xmalloc(count * sizeof *x);

    for (size_t i = 0; i < count; i++)
        x[i] = element(c, tensor, i);
    return x;
}

// Calls `term` for every product x[xi] w[wi] that is a part of y[yi].
struct sizes {
    int n, c, h, w, k, r, ho, wo;
};
struct arrays {
    double *x, *w, *y;
};

// One pixel of y and one tap: c products for each of k numbers.
static void tap(const struct sizes *z, enum cuda_pass pass, const struct arrays *a, size_t xi,
                size_t wi, size_t yi) {
    size_t step = (size_t)z->r * (size_t)z->r * (size_t)z->c;

    for (int k = 0; k < z->k; k++) {
        double *x = a->x + xi, *w = a->w + wi + (size_t)k * step, *y = a->y + yi + k, sum = 0;
        for (int c = 0; c < z->c; c++) {
            if (pass == PASS_FORWARD)
                sum += x[c] * w[c];
            else if (pass == PASS_DATA)
                x[c] += *y * w[c];
            else
                w[c] += *y * x[c];
        }
        *y += sum;
    }
}

static void pixel(const struct call *call, const struct sizes *z, const struct arrays *a, int n,
                  int oy, int ox) {
    const struct cuda_problem *s = &call->problem;
    size_t yi =
        (((size_t)n * (size_t)z->ho + (size_t)oy) * (size_t)z->wo + (size_t)ox) * (size_t)z->k;

    for (int r = 0; r < s->r; r++)
        for (int q = 0; q < s->r; q++) {
            int iy = oy * s->stride - s->pad + r, ix = ox * s->stride - s->pad + q;
            if (iy < 0 || iy >= s->h || ix < 0 || ix >= s->w)
                continue;
            size_t xi = (((size_t)n * (size_t)s->h + (size_t)iy) * (size_t)s->w + (size_t)ix) *
                        (size_t)s->c;
            tap(z, s->pass, a, xi, (size_t)(r * s->r + q) * (size_t)s->c, yi);
        }
}

// Runs when the stream comes to it.
static void compute(void *args) {
    const struct call *call = args;
    const struct cuda_problem *s = &call->problem;
    struct sizes z = {s->n, s->c, s->h, s->w, s->k, s->r, 0, 0};
    void *tensors[3] = {call->operands.x, call->operands.filter, call->operands.y};
    static const int written_by[] = {[PASS_FORWARD] = 2, [PASS_DATA] = 0, [PASS_FILTER] = 1};
    int written = written_by[s->pass];
    size_t counts[3];
    double *arrays[3];

    cuda_problem_output(s, &z.ho, &z.wo);
    cuda_problem_sizes(s, counts);
    for (int i = 0; i < 3; i++)
        arrays[i] =
            i == written ? xcalloc(counts[i], sizeof(double)) : unpack(call, tensors[i], counts[i]);
    const struct arrays a = {arrays[0], arrays[1], arrays[2]};
    for (int n = 0; n < s->n; n++)
        for (int oy = 0; oy < z.ho; oy++)
            for (int ox = 0; ox < z.wo; ox++)
                pixel(call, &z, &a, n, oy, ox);
    memset(call->workspace, 0xff, WORKSPACE);
    for (size_t i = 0; i < counts[written]; i++)
        put(call, tensors[written], i, arrays[written][i]);
    for (int i = 0; i < 3; i++)
        free(arrays[i]);
}

int cuda_conv_run(struct cuda_conv *c, int stream, const struct cuda_operands *operands,
                  void *workspace) {
    struct call call = {c->problem, *operands, workspace};

    CUDA(ERR_DEVICE_LOST,
         cuda_host_call(c->convs->streams[stream], "conv", compute, &call, sizeof call));
    return ERR_OK;
}
