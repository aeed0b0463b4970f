// Faults that only a size shows: a picture of 24 megapixels in one piece, a GPU whose memory others
// hold, and engines that are measured twice.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/rng.h"
#include "base/util.h"
#include "device/device.h"
#include "gpu/gpu_judge.h"
#include "gpu/gpu_steps.h"

// ---- a large picture ----

// A picture that repeats itself every `period` pixels, a multiple of the net's strides. So does
// what the net makes of it, but for the edges: offsets that overflow, or tiles that are wrong, do
// not.
struct mosaic {
    int h, w, period;
};

static float *mosaic_new(const struct mosaic *s, uint64_t seed) {
    float *x = xmalloc((size_t)s->h * (size_t)s->w * 3 * sizeof *x);

    for (int i = 0; i < s->h; i++)
        for (int k = 0; k < s->w; k++)
            for (int c = 0; c < 3; c++) {
                uint64_t at = ((uint64_t)(i % s->period) * 4096 + (uint64_t)(k % s->period)) * 4;
                x[((size_t)i * (size_t)s->w + (size_t)k) * 3 + (size_t)c] =
                    (float)(2 * rng_uniform(seed, RNG_TEST, at + (uint64_t)c, 0) - 1);
            }
    return x;
}

// The numbers of one repetition, [period,period,3].
static double *repetition(const struct mosaic *s, const float *y, int row, int column) {
    size_t line = (size_t)s->period * 3;
    double *r = xcalloc((size_t)s->period * line, sizeof *r);

    for (size_t i = 0; i < (size_t)s->period; i++) {
        const float *from = y + (((size_t)row * (size_t)s->period + i) * (size_t)s->w +
                                 (size_t)column * (size_t)s->period) *
                                    3;
        for (size_t k = 0; k < line; k++)
            r[i * line + k] = from[k];
    }
    return r;
}

// The first that no edge reaches beside the last.
static double off_the_first(const struct mosaic *s, const float *y) {
    int rows = s->h / s->period, columns = s->w / s->period;
    double *first = repetition(s, y, 1, 1), *last = repetition(s, y, rows - 2, columns - 2);
    double error = gpu_relative((size_t)s->period * (size_t)s->period * 3, last, first);

    free(first);
    free(last);
    return error;
}

static void check_translation(struct gpu_check *g, const char *dtype, double bound) {
    struct mosaic s = {4000, 6000, 500};
    struct config_trainer o =
        gpu_options(g, g->small ? "resnet_1blocks" : "resnet_9blocks", g->small ? 4 : 64, dtype);
    struct model *m = NULL;

    if (g->small)
        s = (struct mosaic){96, 160, 32};
    float *x = mosaic_new(&s, g->seed), *y = xmalloc((size_t)s.h * (size_t)s.w * 3 * sizeof *y);
    int err = model_new(&o, &(struct model_host){0}, &m);
    if (!err)
        err = model_init(m, "normal", 0.02, g->seed);
    int64_t begun = now_us();
    if (!err)
        err = model_translate(m, 0, 1, s.h, s.w, x, y);
    double seconds = (double)(now_us() - begun) * 1e-6;
    if (err == ERR_LIMIT) {
        gpu_not_run(g, "%s, %dx%d in one piece: %s", dtype, s.w, s.h, err_text());
    } else if (err) {
        gpu_expect(g, false, "%s, %dx%d in one piece: %s", dtype, s.w, s.h, err_text());
    } else {
        gpu_row(g, dtype, "%s, %dx%d in one piece, %.1f s", o.netG, s.w, s.h, seconds);
        gpu_value(g, "the last repetition", off_the_first(&s, y), bound);
        gpu_row_end(g);
    }
    model_free(m);
    free(x);
    free(y);
}

// ---- a GPU that others fill ----

#define HELD_MAX 4096
// The emulation's memory is the host's: so much is taken of it at most.
#define EMULATED_MOST ((size_t)512 << 20)

struct held {
    struct device *d;
    void *blocks[HELD_MAX];
    int n;
    size_t bytes;
};

// False if it is more than `most`.
static bool hold(struct held *h, size_t block, size_t most) {
    while (h->n < HELD_MAX && h->bytes <= most &&
           h->d->backend->memory_new(h->d, block, &h->blocks[h->n]) == ERR_OK) {
        h->n++;
        h->bytes += block;
    }
    return h->bytes <= most;
}

static void let_go(struct held *h, size_t block) {
    if (!h->n)
        return;
    h->d->backend->memory_free(h->d, h->blocks[--h->n]);
    h->bytes -= block;
}

// Steps that are issued, recorded and repeated.
static int train(const struct gpu_check *g) {
    struct config_trainer o = gpu_options(g, "resnet_9blocks", g->small ? 4 : 32, "bf16");
    struct gpu_pictures p = gpu_pictures_new(1, g->small ? 32 : 128);
    struct model *m = NULL;
    int err = model_new(&o, &(struct model_host){0}, &m);

    if (!err)
        err = model_init(m, "normal", 0.02, g->seed);
    if (!err)
        err = model_shape(m, 1, p.size, p.size, p.size, p.size);
    for (int i = 0; i < 3 && !err; i++)
        err = gpu_step(m, &p, i);
    if (!err)
        err = model_wait(m);
    model_free(m);
    free(p.x);
    return err;
}

// A little more each time, until it trains: until then each try is told that there is no memory, in
// that word, and not that the GPU is lost.
static void squeeze(struct gpu_check *g, struct held *h, size_t block) {
    int err = ERR_LIMIT, tries = 0;

    for (; err == ERR_LIMIT && h->n; tries++) {
        err = train(g);
        if (err == ERR_LIMIT)
            let_go(h, block);
    }
    if (err)
        gpu_expect(g, false, "with %zu MiB held by others: %s: %s", h->bytes >> 20, err_name(err),
                   err_text());
    else
        gpu_expect(g, tries > 1,
                   "bf16, memory held by others: %d tries with no memory, then %zu "
                   "MiB more are enough",
                   tries - 1, (size_t)(tries - 1) * (block >> 20));
}

static void check_squeezed(struct gpu_check *g) {
    const size_t large = (size_t)(g->small ? 64 : 1024) << 20, block = (size_t)(g->small ? 2 : 32)
                                                                       << 20;
    struct device_options o = {.name = g->device, .threads = 1, .dtype = "bf16"};
    struct held *h = xcalloc(1, sizeof *h);

    if (device_open(&o, &h->d)) {
        gpu_expect(g, false, "bf16: %s", err_text());
        free(h);
        return;
    }
    gpu_untuned(true);
    bool full = hold(h, large, g->small ? EMULATED_MOST : SIZE_MAX / 2);
    if (full) {
        for (int i = 0; i < 2; i++) // so that what is given back is in small blocks
            let_go(h, large);
        (void)hold(h, block, SIZE_MAX / 2);
        squeeze(g, h, block);
    } else {
        gpu_not_run(g, "memory held by others: the emulation has more than %zu MiB",
                    EMULATED_MOST >> 20);
    }
    gpu_untuned(false);
    while (h->n)
        h->d->backend->memory_free(h->d, h->blocks[--h->n]);
    device_close(h->d);
    free(h);
}

// ---- engines that are measured twice ----

static int timed_start(const struct gpu_check *g, const char *plans, double *ret_ms) {
    enum { WARM = 30, STEPS = 100 };
    struct config_trainer o = gpu_options(g, "resnet_9blocks", 64, "bf16");
    struct gpu_pictures p = gpu_pictures_new(1, 128);
    struct model *m = NULL;
    int64_t begun = 0;
    int err = model_new(&o, &(struct model_host){0}, &m);

    if (!err)
        err = model_init(m, "normal", 0.02, g->seed);
    if (!err)
        err = model_shape(m, 1, p.size, p.size, p.size, p.size);
    for (int i = 0; i < WARM + STEPS && !err; i++) {
        if (i == WARM) {
            err = model_wait(m);
            begun = now_us();
        }
        if (!err)
            err = gpu_step(m, &p, i);
    }
    if (!err)
        err = model_wait(m);
    *ret_ms = (double)(now_us() - begun) * 1e-3 / STEPS;
    if (!err)
        err = model_plans_save(m, plans);
    model_free(m);
    free(p.x);
    return err;
}

// Lines of two plan files that are not the same; -1 if one cannot be read.
static int other_lines(const char *a, const char *b, int *ret_lines) {
    FILE *f = fopen(a, "r"), *h = fopen(b, "r");
    char x[512], y[512];
    int count = f && h ? 0 : -1;

    *ret_lines = 0;
    while (count >= 0 && fgets(x, sizeof x, f) && fgets(y, sizeof y, h)) {
        count += strcmp(x, y) != 0;
        ++*ret_lines;
    }
    if (f)
        (void)fclose(f); // only read
    if (h)
        (void)fclose(h); // likewise
    return count;
}

// Whether the choice of engines can be relied on: other engines may be chosen, not slower ones.
static void check_choice(struct gpu_check *g) {
    char files[2][48];
    double ms[2];
    int err = ERR_OK, lines;

    if (g->small) {
        gpu_not_run(g, "engines measured twice: there is nothing to measure");
        return;
    }
    for (int i = 0; i < 2; i++) {
        (void)snprintf(files[i], sizeof files[i], "gpu_check.%ld.%d.plans", (long)getpid(), i);
        if (!err)
            err = timed_start(g, files[i], &ms[i]);
    }
    if (err) {
        gpu_expect(g, false, "engines measured twice: %s", err_text());
    } else {
        int other = other_lines(files[0], files[1], &lines);
        gpu_expect(g, fabs(ms[0] - ms[1]) <= 0.05 * fmin(ms[0], ms[1]),
                   "bf16, engines measured twice: %d of %d lines of the plans differ, steps take "
                   "%.3f and %.3f ms",
                   other, lines, ms[0], ms[1]);
    }
    for (int i = 0; i < 2; i++)
        (void)remove(files[i]); // made here, if at all
}

void gpu_large(struct gpu_check *g) {
    static const double bounds[GPU_DTYPES] = {1e-4, 3e-3, 2e-2}; // a net's output, as in `nets`

    for (int d = GPU_DTYPES - 1; d > 0; d--) // fp32's way is tf32's
        if (gpu_wants(g, d))
            check_translation(g, gpu_dtypes[d], bounds[d]);
    if (g->dtype && strcmp(g->dtype, "bf16") != 0)
        return;
    check_squeezed(g);
    check_choice(g);
}
