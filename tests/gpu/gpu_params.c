// Ops on flat buffers of parameters: Adam, blends, and the search for numbers that are not finite.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "gpu/gpu_bench.h"
#include "trainer/oracle/ops.h"

struct adam_case {
    struct adam_args args;
    struct floats g, p, m, v;
};

static void run_adam(struct bench *b, void *context) {
    struct adam_case *c = context;

    bench_must(
        b->d->backend->adam(b->d, &c->args, c->g.memory, c->p.memory, c->m.memory, c->v.memory));
}

// The step by itself is judged too: beside p it is small, and lost in p's rounding, which the
// bound of 1e-4 on the way of five steps of about lr allows for.
static void check_adam(struct bench *b, size_t count, int64_t t) {
    struct adam_case c = {.args = {count, 0.5, 0.999}};
    struct device_section *section;
    double *before = xcalloc(count, sizeof *before);
    float *p = xcalloc(count, sizeof *p);

    c.g = floats_in(b, count);
    c.p = floats_in(b, count);
    c.m = floats_in(b, count);
    c.v = floats_in(b, count);
    for (size_t i = 0; i < count; i++)
        c.v.host[i] = 0.01 * fabs(c.v.host[i]);
    floats_send(b, &c.v);
    c.p.least = c.m.least = 0.5;
    memcpy(before, c.p.host, count * sizeof *before);
    bench_must(b->d->backend->section_new(b->d, &section));
    for (int step = 0; step < 5; step++) { // issued, recorded, repeated
        struct device_values values = {.lr = 0.02 / (1 + step), .t = t + step};
        for (size_t i = 0; i < count; i++)
            c.g.host[i] = bench_draw_float(b);
        floats_send(b, &c.g);
        bench_section(b, section, &values, run_adam, &c);
        ref_adam(&c.args, &values, c.g.host, c.p.host, c.m.host, c.v.host);
    }
    gpu_row(b->g, b->mode->dtype, "Adam, 5 steps from t = %lld, %zu parameters", (long long)t,
            count);
    gpu_value(b->g, "p", floats_error(b, &c.p), 1e-6);
    gpu_value(b->g, "m", floats_error(b, &c.m), 1e-6);
    gpu_value(b->g, "v", floats_error(b, &c.v), 1e-6);
    bench_must(b->d->backend->copy_out(b->d, p, c.p.memory, count * sizeof *p));
    double wrong = 0, size = 0;
    for (size_t i = 0; i < count; i++) {
        double way = c.p.host[i] - before[i];
        wrong += (p[i] - c.p.host[i]) * (p[i] - c.p.host[i]);
        size += way * way;
    }
    gpu_value(b->g, "way", sqrt(wrong / size), count > 1 ? 1e-4 : 1e-2);
    gpu_row_end(b->g);
    b->d->backend->section_free(section);
    floats_drop(b, &c.g);
    floats_drop(b, &c.p);
    floats_drop(b, &c.m);
    floats_drop(b, &c.v);
    free(before);
    free(p);
}

// To the bit: each operation is rounded to float.
static void check_blend(struct bench *b, size_t count, double a, double c) {
    struct floats x = floats_in(b, count), y = floats_in(b, count);
    float *got = xcalloc(count, sizeof *got);
    double different = 0;

    bench_must(b->d->backend->blend(b->d, count, a, x.memory, c, y.memory));
    bench_must(b->d->backend->copy_out(b->d, got, y.memory, count * sizeof *got));
    for (size_t i = 0; i < count; i++) {
        float of_x = (float)a * (float)x.host[i], of_y = (float)c * (float)y.host[i];
        y.host[i] = of_x + of_y;
        different += got[i] != (float)y.host[i];
    }
    gpu_row(b->g, b->mode->dtype, "blend %g x + %g y, %zu numbers", a, c, count);
    gpu_value(b->g, "y", floats_error(b, &y), 0);
    gpu_value(b->g, "different", different, 0);
    gpu_row_end(b->g);
    floats_drop(b, &x);
    floats_drop(b, &y);
    free(got);
}

static int bad_after(struct bench *b, const struct floats *x, int *flag) {
    bench_must(b->d->backend->finite(b->d, x->count, x->memory, flag));
    bench_must(device_wait(b->d));
    return *flag;
}

// The values are how many places gave a wrong answer.
static void check_finite(struct bench *b, size_t count) {
    static const float bad[] = {INFINITY, -INFINITY, NAN};
    struct floats x = floats_in(b, count);
    double missed = 0, unset;
    void *flag;
    int *set;

    bench_must(b->d->backend->shared_new(b->d, sizeof *set, &flag));
    set = flag;
    gpu_row(b->g, b->mode->dtype, "finite, %zu numbers", count);
    gpu_value(b->g, "false alarms", bad_after(b, &x, set), 0);
    for (size_t i = 0; i < count; i += i < 70 || i + 70 > count ? 1 : count / 41 + 1) {
        float good = (float)x.host[i], *at = (float *)x.memory + i;
        bench_must(b->d->backend->copy_in(b->d, at, &bad[i % COUNT(bad)], sizeof good));
        *set = 0;
        missed += bad_after(b, &x, set) != 1;
        bench_must(b->d->backend->copy_in(b->d, at, &good, sizeof good));
    }
    gpu_value(b->g, "missed", missed, 0);
    *set = 1;
    unset = bad_after(b, &x, set) != 1;
    gpu_value(b->g, "taken back", unset, 0);
    gpu_row_end(b->g);
    b->d->backend->shared_free(b->d, flag);
    floats_drop(b, &x);
}

void gpu_params(struct bench *b) {
    check_adam(b, 1, 1);
    check_adam(b, 4099, 1000003);
    check_adam(b, b->g->small ? 20011 : 2000003, 1);
    check_blend(b, 1, 0.75, 0.25);
    check_blend(b, b->g->small ? 10007 : 3000017, 0.1, 0.9);
    check_blend(b, 517, 1, 1);
    check_finite(b, 1);
    check_finite(b, 517);
    check_finite(b, b->g->small ? 10007 : 1000003);
}
