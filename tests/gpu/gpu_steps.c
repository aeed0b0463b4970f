// Whole CycleGAN steps: their bits, their time.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "gpu_check.h"
#include "model.h"
#include "rng.h"
#include "util.h"

#define PLANS "gpu_check.plans"
#define CEILING 790.0 // TFLOP/s of a large bf16 matrix product on an H200

static struct model_options options_of(const struct gpu_check *g, const char *arch, int width,
                                       const char *dtype) {
    return (struct model_options){
        .model = "cycle_gan",
        .device = g->device,
        .dtype = dtype,
        .netG = arch,
        .netD = "basic",
        .norm = "instance",
        .gan_mode = "lsgan",
        .input_nc = 3,
        .output_nc = 3,
        .ngf = width,
        .ndf = width,
        .n_layers_D = 3,
        .beta1 = 0.5,
        .beta2 = 0.999,
        .lambda_A = 10,
        .lambda_B = 10,
        .lambda_identity = 0.5,
        .threads = 1,
        .shapes = 1,
    };
}

// Pictures of the host, n of each domain, that differ from step to step.
struct pictures {
    size_t bytes;
    uint8_t *x;
};

static struct pictures pictures_new(int n, int size) {
    struct pictures p = {.bytes = (size_t)n * (size_t)size * (size_t)size * 3};

    p.x = xmalloc(2 * p.bytes + 256);
    for (size_t i = 0; i < 2 * p.bytes + 256; i++)
        p.x[i] = (uint8_t)rng_block(3, RNG_TEST, i / 16, 0).v[i % 4];
    return p;
}

static int step(struct model *m, const struct pictures *p, int number) {
    model_set_step(m, (uint64_t)number);
    int err = model_feed(m, MODEL_A, p->x + number % 256);
    if (!err)
        err = model_feed(m, MODEL_B, p->x + p->bytes / 2 + number % 256);
    if (!err)
        err = model_generate(m);
    if (!err)
        err = model_update_g(m, 2e-4);
    if (!err)
        err = model_update_d(m, 2e-4, NULL, NULL);
    return err;
}

static int train(struct model *m, int n, int size, int steps, double *seconds) {
    struct pictures p = pictures_new(n, size);
    int err = model_init(m, "normal", 0.02, 1);

    if (!err)
        err = model_shape(m, n, size, size, size, size);
    for (int i = 0; i < steps && !err; i++) {
        int64_t start = now_us();
        err = step(m, &p, i);
        if (!err)
            err = model_wait(m);
        if (seconds)
            seconds[i] = (double)(now_us() - start) * 1e-6;
    }
    free(p.x);
    return err;
}

static bool same(struct model *a, struct model *b) {
    for (int i = 0; i < model_n_nets(a); i++) {
        const struct model_net *p = model_net(a, i), *q = model_net(b, i);
        for (int k = 0; k < p->n_params; k++)
            if (p->params[k].w &&
                memcmp(p->params[k].w, q->params[k].w, p->params[k].count * sizeof(float)) != 0)
                return false;
    }
    return true;
}

static struct model *run(const struct model_options *o, int size, int steps) {
    struct model *m;

    if (model_new(o, &m))
        return NULL;
    if (train(m, 2, size, steps, NULL) || model_pull(m)) {
        model_free(m);
        return NULL;
    }
    return m;
}

void gpu_bits(struct gpu_check *g) {
    static const char *const dtypes[] = {"fp32", "tf32", "bf16"};
    int size = g->small ? 32 : 128, steps = g->small ? 4 : 20;

    for (unsigned i = 0; i < COUNT(dtypes); i++) {
        struct model_options o = options_of(g, "resnet_6blocks", g->small ? 4 : 64, dtypes[i]);
        struct model *first = run(&o, size, steps), *second = NULL, *eager = NULL;
        o.plans = PLANS;
        if (first && model_plans_save(first, PLANS) == ERR_OK)
            second = run(&o, size, steps);
        (void)setenv("CUDA_EAGER", "1", 1); // memory is there
        if (second)
            eager = run(&o, size, steps);
        (void)unsetenv("CUDA_EAGER"); // likewise
        gpu_expect(g, second && same(first, second), "%s: %d steps twice with one plan file%s%s",
                   dtypes[i], steps, second ? "" : ": ", second ? "" : err_text());
        gpu_expect(g, eager && same(first, eager), "%s: recorded and issued steps", dtypes[i]);
        model_free(first);
        model_free(second);
        model_free(eager);
        (void)remove(PLANS); // made here
    }
}

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

// GFLOP a picture pair: 2 a multiplication and addition; goals in ms, 0: none.
static const struct timed {
    const char *arch;
    int size, batch;
    double gflop, goal_ms;
} timed[] = {
    {"resnet_9blocks", 128, 1, 469, 2.0}, {"resnet_9blocks", 128, 4, 469, 4.0},
    {"resnet_9blocks", 128, 16, 469, 14}, {"resnet_6blocks", 128, 1, 338, 0},
    {"resnet_6blocks", 128, 4, 338, 0},   {"resnet_6blocks", 128, 16, 338, 0},
    {"resnet_6blocks", 256, 1, 1357, 0},  {"resnet_6blocks", 256, 6, 1357, 16},
    {"resnet_9blocks", 256, 6, 1880, 0},
};

static void time_one(struct gpu_check *g, const struct timed *t, const char *dtype) {
    int size = g->small ? 32 : t->size, warm = g->small ? 3 : 10;
    int steps = warm + (g->small ? 2 : t->batch > 4 ? 30 : 100);
    struct model_options o = options_of(g, t->arch, g->small ? 4 : 64, dtype);
    double *seconds = xcalloc((size_t)steps, sizeof *seconds);
    struct model *m;

    if (model_new(&o, &m)) {
        gpu_expect(g, false, "%s", err_text());
        free(seconds);
        return;
    }
    if (train(m, t->batch, size, steps, seconds)) {
        gpu_expect(g, false, "%s", err_text());
    } else {
        qsort(seconds + warm, (size_t)(steps - warm), sizeof *seconds, by_value);
        double ms = seconds[warm + (steps - warm) / 2] * 1e3;
        double rate = t->gflop * t->batch / ms * 1e-3;
        printf("%-4s %dx%d %-14s batch %-2d  %8.3f ms  %6.0f MiB  %5.0f TFLOP/s %3.0f %%", dtype,
               size, size, t->arch, t->batch, ms, (double)model_device_memory_peak(m) / 1048576,
               g->small ? 0 : rate, g->small ? 0 : 100 * rate / CEILING);
        if (t->goal_ms > 0 && !g->small)
            printf("  goal %.1f: %s", t->goal_ms, ms <= t->goal_ms ? "reached" : "missed");
        printf("\n");
        (void)fflush(stdout); // a line at a time
    }
    model_free(m);
    free(seconds);
}

// The table's GFLOP are those of the widths above.
static void time_shape(struct gpu_check *g) {
    for (unsigned i = 0; i < COUNT(timed); i++) {
        char text[64];
        (void)snprintf(text, sizeof text, "%s,%d,%d", timed[i].arch, timed[i].size, timed[i].batch);
        if (strcmp(text, g->shape) != 0)
            continue;
        time_one(g, &timed[i], "bf16");
        time_one(g, &timed[i], "tf32");
        return;
    }
    gpu_expect(g, false, "--shape %s: none of those that are timed", g->shape);
}

void gpu_speed(struct gpu_check *g) {
    if (g->shape) {
        time_shape(g);
        return;
    }
    for (unsigned i = 0; i < COUNT(timed); i++)
        if (!g->small || i == 0)
            time_one(g, &timed[i], "bf16");
    for (unsigned i = 0; i < COUNT(timed) && !g->small; i++)
        if (timed[i].goal_ms > 0)
            time_one(g, &timed[i], "tf32");
    if (g->small)
        gpu_not_run(g, "step times of nets as they are used");
    gpu_not_run(g, "PyTorch's steps: make gpu-peers, one shape a call");
}
