// The time of a step, op by op, beside the least time that the GPU could need.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/util.h"
#include "gpu/gpu_steps.h"
#include "gpu/gpu_watch.h"
#include "models/recipe.h"

#define TFLOPS 790.0 // of a large bf16 matrix product on an H200
#define TBYTES 4.3   // a second, its memory
#define STEPS 50
#define ROWS 40 // of the table

// The time of an op on a device that computes at TFLOPS and moves TBYTES, whichever takes longer.
static double floor_us(const struct gpu_op *op) {
    return MAX(op->flop / TFLOPS, op->bytes / TBYTES) * 1e-6;
}

static double total_us(const struct gpu_op *op) {
    return op->calls * op->us;
}

static int by_total(const void *a, const void *b) {
    double x = total_us(a), y = total_us(b);

    return (x < y) - (x > y);
}

static void print_op(const struct gpu_op *op, double sum_us) {
    double us = MAX(op->us, 1e-3);

    printf("%-11s %-42s %5d %9.2f %9.3f %5.1f %%", op->name, op->shape, op->calls, op->us,
           total_us(op) * 1e-3, 100 * total_us(op) / sum_us);
    if (op->flop > 0)
        printf("  %7.1f TFLOP/s %5.1f %%", op->flop / us * 1e-6, op->flop / us * 1e-4 / TFLOPS);
    else
        printf("  %7.1f GB/s    %5.1f %%", op->bytes / us * 1e-3, op->bytes / us * 1e-4 / TBYTES);
    printf("  %8.2f\n", floor_us(op));
}

// What ops of one kind take together, or all convolutions, or all else.
struct sum {
    const char *name;
    int calls;
    double us, best_us;
};

static void add(struct sum *s, const struct gpu_op *op) {
    s->calls += op->calls;
    s->us += total_us(op);
    s->best_us += op->calls * floor_us(op);
}

static void print_sum(const struct sum *s) {
    printf("%-54s %5d %19.3f ms, at best %7.3f: %3.0f %%\n", s->name, s->calls, s->us * 1e-3,
           s->best_us * 1e-3, 100 * s->best_us / MAX(s->us, 1e-3));
}

// Kinds in the order of the table, the one with the longest op first.
static void print_sums(const struct gpu_op *ops, int count) {
    struct sum conv = {.name = "convolutions"}, own = {.name = "own kernels and copies"};

    for (int i = 0; i < count; i++) {
        struct sum kind = {.name = ops[i].name};
        bool seen = false;
        for (int k = 0; k < count; k++) {
            seen |= k < i && strcmp(ops[k].name, ops[i].name) == 0;
            if (strcmp(ops[k].name, ops[i].name) == 0)
                add(&kind, &ops[k]);
        }
        if (!seen)
            print_sum(&kind);
        add(ops[i].flop > 0 ? &conv : &own, &ops[i]);
    }
    print_sum(&conv);
    print_sum(&own);
}

static void print_table(struct gpu_op *ops, int count, double step_ms) {
    double sum_us = 1e-9;
    int calls = 0;

    qsort(ops, (size_t)count, sizeof *ops, by_total);
    for (int i = 0; i < count; i++) {
        sum_us += total_us(&ops[i]);
        calls += ops[i].calls;
    }
    printf("%-11s %-42s %5s %9s %9s %7s  %23s  %8s\n", "op", "shape", "calls", "us each", "ms",
           "share", "rate, of the ceiling", "best us");
    double rest_us = sum_us;
    for (int i = 0; i < MIN(count, ROWS); i++) {
        print_op(&ops[i], sum_us);
        rest_us -= total_us(&ops[i]);
    }
    if (count > ROWS)
        printf("%d kinds of ops more %62.3f %5.1f %%\n", count - ROWS, rest_us * 1e-3,
               100 * rest_us / sum_us);
    print_sums(ops, count);
    printf(
        "%d ops one after another: %.3f ms; the recorded step: %.3f ms; side by side the streams "
        "save %.0f %%\n",
        calls, sum_us * 1e-3, step_ms, 100 * (1 - step_ms * 1e3 / sum_us));
}

// The step as it runs, in ms: the mean of STEPS that are issued ahead of the device.
static int time_steps(struct model *m, const struct gpu_pictures *p, int steps, double *ret_ms) {
    int err = ERR_OK;
    int64_t begun = 0;

    for (int i = -3; i < steps && !err; i++) {
        if (i == 0)
            err = model_wait(m);
        if (i == 0)
            begun = now_us();
        if (!err)
            err = gpu_step(m, p, i + 3);
    }
    if (!err)
        err = model_wait(m);
    *ret_ms = (double)(now_us() - begun) * 1e-3 / steps;
    return err;
}

static int profile(const struct gpu_check *g, struct model *m, int n, int size) {
    struct gpu_pictures p = gpu_pictures_new(n, size);
    struct gpu_watch *w = gpu_watch_open(m->device, true, g->small ? 2 : 20);
    const struct gpu_op *found;
    double ms = 0;
    int err = model_init(m, "normal", 0.02, 1);

    if (!err)
        err = model_shape(m, n, size, size, size, size);
    if (!err)
        err = gpu_step(m, &p, 0);
    int count = gpu_watch_ops(w, &found);
    struct gpu_op *ops = xcalloc((size_t)count + 1, sizeof *ops);
    memcpy(ops, found, (size_t)count * sizeof *ops);
    gpu_watch_close(w);
    if (!err)
        err = time_steps(m, &p, g->small ? 2 : STEPS, &ms);
    if (!err)
        print_table(ops, count, ms);
    free(ops);
    free(p.x);
    return err;
}

static void profile_one(struct gpu_check *g, const char *arch, int size, int n) {
    struct config_trainer o = gpu_options(g, arch, g->small ? 4 : 64, "bf16");
    struct model *m = NULL;
    int err = model_new(&o, &(struct model_host){0}, &m);

    printf("bf16 %dx%d %s batch %d\n", size, size, arch, n);
    if (!err)
        err = profile(g, m, n, size);
    if (err)
        gpu_expect(g, false, "%s", err_text());
    model_free(m);
    printf("\n");
}

static void profile_shape(struct gpu_check *g, const char *shape) {
    char arch[32];
    int size, n;

    if (sscanf(shape, "%31[^,],%d,%d", arch, &size, &n) != 3)
        gpu_expect(g, false, "--shape %s: not ARCH,SIZE,BATCH", shape);
    else
        profile_one(g, arch, g->small ? 32 : size, n);
}

// Those of the goals at both ends, and whatever else missed its goal.
void gpu_profile(struct gpu_check *g) {
    static const char *const always[] = {"resnet_9blocks,128,1", "resnet_9blocks,128,16"};

    if (g->shape) {
        profile_shape(g, g->shape);
        return;
    }
    for (unsigned i = 0; i < (g->small ? 1 : COUNT(always)); i++)
        profile_shape(g, always[i]);
    for (int i = 0; i < g->n_missed; i++)
        if (strcmp(g->missed[i], always[0]) != 0 && strcmp(g->missed[i], always[1]) != 0)
            profile_shape(g, g->missed[i]);
}
