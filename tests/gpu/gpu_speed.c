// How long a training step takes, in three ways:
//   waited    the host waits for the end of each step
//   ahead     as training does it: a step is issued while the one before still runs
//   exchange  the same, and the fakes go to the host and back, as to a pool that answers at once
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/util.h"
#include "gpu/gpu_steps.h"
#include "gpu/gpu_watch.h"
#include "models/recipe.h"

#define CEILING 790.0    // TFLOP/s of a large bf16 matrix product on an H200
#define PICTURES_MAX 16  // of a batch
#define BATCHES 320000.0 // of the 200 epochs of Anime2Celeb at batch 1

enum way { WAITED, AHEAD, EXCHANGE, WAYS };

// Milliseconds: the median, and what one step in ten is below and above.
struct spread {
    double low, median, high;
};

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static struct spread spread_of(double *ms, int count) {
    qsort(ms, (size_t)count, sizeof *ms, by_value);
    return (struct spread){ms[count / 10], ms[count / 2], ms[count - 1 - count / 10]};
}

// Goals in ms, 0: none.
static const struct timed {
    const char *arch;
    int size, batch;
    double goal_ms;
} timed[] = {
    {"resnet_9blocks", 128, 1, 2.0}, {"resnet_9blocks", 128, 4, 4.0},
    {"resnet_9blocks", 128, 16, 14}, {"resnet_6blocks", 256, 6, 16},
    {"resnet_6blocks", 128, 1, 0},   {"resnet_6blocks", 128, 4, 0},
    {"resnet_6blocks", 128, 16, 0},  {"resnet_6blocks", 256, 1, 0},
    {"resnet_9blocks", 256, 6, 0},
};

struct result {
    struct spread way[WAYS];
    double start_s;  // until the first steps have run
    double plans_s;  // of that, what choosing plans took
    double gflop;    // of a step
    double peak_mib; // of the device's memory
};

// D's update on this step's fakes, as a pool gives them back.
static int update_d_exchanged(struct model *m, const struct gpu_pictures *p) {
    const void *pooled[2][PICTURES_MAX];
    size_t one = p->bytes / (size_t)p->n * model_number_bytes(m);

    for (int d = 0; d < 2; d++) {
        const char *sent = model_sent_fake(m, (enum model_domain)d);
        for (int i = 0; i < p->n; i++)
            pooled[d][i] = sent + (size_t)i * one;
    }
    return model_update_d_pooled(m, 2e-4, pooled[MODEL_A], pooled[MODEL_B]);
}

// As trainer/training/training.c does: while the device generates, the step before is looked at.
static int step_ahead(struct model *m, const struct gpu_pictures *p, int number, bool exchange) {
    int err = gpu_feed(m, p, number);

    if (!err)
        err = model_generate(m);
    if (!err && exchange)
        err = model_send_fakes(m);
    if (!err)
        err = model_wait(m);
    if (!err)
        err = model_update_g(m, 2e-4);
    if (!err)
        err = gpu_feed_ahead(m, p, number + 1);
    if (err)
        return err;
    return exchange ? update_d_exchanged(m, p) : model_update_d(m, 2e-4, NULL, NULL);
}

static int time_way(struct model *m, const struct gpu_pictures *p, enum way way, int steps,
                    struct spread *ret) {
    double *ms = xcalloc((size_t)steps, sizeof *ms);
    int err = ERR_OK;
    int64_t before = now_us();

    for (int i = -2; i < steps && !err; i++) {
        if (way == WAITED) {
            err = gpu_step(m, p, i + 2);
            if (!err)
                err = model_wait(m);
        } else {
            err = step_ahead(m, p, i + 2, way == EXCHANGE);
        }
        int64_t after = now_us();
        if (i >= 0)
            ms[i] = (double)(after - before) * 1e-3;
        before = after;
    }
    if (!err)
        err = model_wait(m);
    *ret = spread_of(ms, steps);
    free(ms);
    return err;
}

// What a step computes is counted while its ops are issued for the first time.
static int start(struct model *m, const struct gpu_pictures *p, int n, int size,
                 struct result *ret) {
    struct gpu_watch *w = gpu_watch_open(m->device, false, 1);
    int err = model_init(m, "normal", 0.02, 1);
    int64_t begun = now_us();

    if (!err)
        err = model_shape(m, n, size, size, size, size);
    ret->plans_s = (double)(now_us() - begun) * 1e-6;
    if (!err)
        err = gpu_step(m, p, 0);
    if (!err)
        err = model_wait(m);
    ret->gflop = gpu_watch_flop(w) * 1e-9;
    gpu_watch_close(w);
    for (int i = 0; i < 3 && !err; i++)
        err = gpu_step(m, p, i);
    return err ? err : model_wait(m);
}

static int measure(const struct gpu_check *g, const struct timed *t, const char *dtype,
                   struct result *ret) {
    int size = g->small ? 32 : t->size, steps = g->small ? 3 : t->batch > 1 ? 60 : 200;
    struct config_trainer o = gpu_options(g, t->arch, g->small ? 4 : 64, dtype);
    struct gpu_pictures p = gpu_pictures_new(t->batch, size);
    struct model *m = NULL;
    int64_t begun = now_us();
    int err = model_new(&o, &(struct model_host){0}, &m);

    if (!err)
        err = start(m, &p, t->batch, size, ret);
    ret->start_s = (double)(now_us() - begun) * 1e-6;
    if (!err && !g->small)
        err = time_way(m, &p, WAITED, 20, &ret->way[WAITED]); // until the clocks have risen
    for (int way = 0; way < WAYS && !err; way++)
        err = time_way(m, &p, (enum way)way, steps, &ret->way[way]);
    if (!err)
        ret->peak_mib = (double)model_device_memory_peak(m) / 1048576;
    model_free(m);
    free(p.x);
    return err;
}

static void print_head(void) {
    printf("%-4s %-22s %27s %27s %9s %6s %8s %12s %7s %s\n", "", "ms a step: median (10 %-90 %)",
           "waited", "ahead", "exchange", "MiB", "TFLOP/s", "of 790", "img/s", "start, plans");
}

static void print_row(const struct timed *t, const char *dtype, int size, const struct result *r) {
    const struct spread *waited = &r->way[WAITED], *ahead = &r->way[AHEAD];
    double rate = r->gflop / ahead->median;

    printf("%-4s %dx%d %s batch %-2d %8.3f (%7.3f-%7.3f) %8.3f (%7.3f-%7.3f) %9.3f %6.0f %8.1f "
           "%5.1f %% %9.1f %5.1f s %5.1f s",
           dtype, size, size, t->arch, t->batch, waited->median, waited->low, waited->high,
           ahead->median, ahead->low, ahead->high, r->way[EXCHANGE].median, r->peak_mib, rate,
           100 * rate / CEILING, t->batch / ahead->median * 1e3, r->start_s, r->plans_s);
    if (t->goal_ms > 0 && size == t->size)
        printf("  goal %.1f: %s", t->goal_ms, ahead->median <= t->goal_ms ? "reached" : "missed");
    printf("\n");
    (void)fflush(stdout); // a line at a time
}

// For programs: make gpu-peers.
static void note(const struct gpu_check *g, const struct timed *t, const char *dtype,
                 const struct result *r) {
    FILE *f = g->json ? fopen(g->json, "a") : NULL;

    if (!f)
        return;
    (void)fprintf(f,
                  "{\"dtype\": \"%s\", \"arch\": \"%s\", \"size\": %d, \"batch\": %d, "
                  "\"waited_ms\": %.4f, \"ahead_ms\": %.4f, \"low_ms\": %.4f, \"high_ms\": %.4f, "
                  "\"exchange_ms\": %.4f, \"peak_mib\": %.1f, \"gflop\": %.6f}\n",
                  dtype, t->arch, t->size, t->batch, r->way[WAITED].median, r->way[AHEAD].median,
                  r->way[AHEAD].low, r->way[AHEAD].high, r->way[EXCHANGE].median, r->peak_mib,
                  r->gflop);
    (void)fclose(f); // a reader finds what is missing
}

// The run that all began with.
static void print_hours(const struct timed *t, const char *dtype, const struct result *r) {
    if (strcmp(t->arch, "resnet_9blocks") != 0 || t->size != 128 || t->batch == 4)
        return;
    double minutes = BATCHES / t->batch * r->way[EXCHANGE].median / 60e3;
    double goal = t->batch == 1 ? 12 : 6;
    printf("     %s, 320,000 pictures of each domain at batch %d, with the exchange: %.1f minutes "
           "(%.2f hours), goal %.0f: %s\n",
           dtype, t->batch, minutes, minutes / 60, goal, minutes <= goal ? "reached" : "missed");
}

static void name(const struct timed *t, char ret[GPU_SHAPE]) {
    (void)snprintf(ret, GPU_SHAPE, "%s,%d,%d", t->arch, t->size, t->batch); // fits
}

static void remember_missed(struct gpu_check *g, const struct timed *t, const struct result *r) {
    if (t->goal_ms > 0 && r->way[AHEAD].median > t->goal_ms && g->n_missed < GPU_MISSED)
        name(t, g->missed[g->n_missed++]);
}

static void time_one(struct gpu_check *g, const struct timed *t, const char *dtype) {
    struct result r = {0};

    if (measure(g, t, dtype, &r)) {
        gpu_expect(g, false, "%s %dx%d %s batch %d: %s", dtype, t->size, t->size, t->arch, t->batch,
                   err_text());
        return;
    }
    print_row(t, dtype, g->small ? 32 : t->size, &r);
    if (!g->small)
        print_hours(t, dtype, &r);
    if (!g->small && strcmp(dtype, "bf16") == 0)
        remember_missed(g, t, &r);
    note(g, t, dtype, &r);
}

int gpu_speed_shapes(const struct gpu_check *g) {
    for (unsigned i = 0; i < (g->small ? 1 : COUNT(timed)); i++) {
        char text[GPU_SHAPE];
        name(&timed[i], text);
        printf("%s\n", text);
    }
    return 0;
}

static void time_shape(struct gpu_check *g) {
    for (unsigned i = 0; i < COUNT(timed); i++) {
        char text[GPU_SHAPE];
        name(&timed[i], text);
        if (strcmp(text, g->shape) != 0)
            continue;
        time_one(g, &timed[i], "bf16");
        time_one(g, &timed[i], "tf32");
        return;
    }
    gpu_expect(g, false, "--shape %s: none of those that are timed", g->shape);
}

void gpu_speed(struct gpu_check *g) {
    print_head();
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
    else
        time_one(g, &timed[0], "fp32");
    gpu_not_run(g, "PyTorch's steps: make gpu-peers");
}
