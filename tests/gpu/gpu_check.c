// gpu_check - numerics and speed of the engine on the local GPU. `make gpu-check` builds and runs
// it; it needs gcc, nvcc, cuDNN and what `make gpu-pack` put into gpu-pack/.
//
//   gpu_check [--device cuda] [--golden FILE] [--small]
//            [--only ops|nets|golden|bits|large|speed|profile|none]
//            [--seed N] [--dtype fp32|tf32|bf16] [--shape ARCH,SIZE,BATCH] [--json FILE]
//   gpu_check --shapes      which shapes are timed
//
// Exit status 0 if every check held, 1 if one failed, 77 if there is no GPU.
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/err.h"
#include "base/util.h"
#include "cpu/open.h"
#include "device/device.h"
#include "gpu/gpu_check.h"

// There is no CPU backend in this program: its library is not needed then.
int cpu_open(const struct device_options *options, struct device **ret_device) {
    return err_set(ERR_DEVICE, "this program checks GPUs");
}

void gpu_expect(struct gpu_check *g, bool right, const char *format, ...) {
    va_list args;

    g->checks++;
    g->failures += !right;
    printf("%s ", right ? "ok  " : "FAIL");
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    printf("\n");
    (void)fflush(stdout); // what comes next may end the process
}

void gpu_not_run(struct gpu_check *g, const char *format, ...) {
    va_list args;

    g->not_run++;
    printf("not run: ");
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    printf("\n");
}

const char *const gpu_dtypes[GPU_DTYPES] = {"fp32", "tf32", "bf16"};

void gpu_row(struct gpu_check *g, const char *dtype, const char *format, ...) {
    va_list args;

    g->row = (struct gpu_row){.dtype = dtype};
    va_start(args, format);
    (void)vsnprintf(g->row.what, sizeof g->row.what, format, args); // what is too long is cut
    va_end(args);
}

static void remember_worst(struct gpu_check *g, const char *label, double share) {
    for (int i = 0; i < GPU_DTYPES; i++) {
        struct gpu_worst *w = &g->worst[i];
        if (strcmp(gpu_dtypes[i], g->row.dtype) != 0 || share <= w->share)
            continue;
        w->share = share;
        (void)snprintf(w->what, sizeof w->what, "%.90s: %.20s", g->row.what, label);
    }
}

void gpu_value(struct gpu_check *g, const char *label, double error, double bound) {
    struct gpu_row *r = &g->row;
    bool right = error <= bound;
    double share = right          ? (bound > 0 ? error / bound : 0)
                   : isnan(error) ? INFINITY
                                  : error / bound;
    size_t at = strlen(r->values);

    g->checks++;
    g->failures += !right;
    r->failed |= !right;
    r->share = fmax(r->share, share);
    remember_worst(g, label, share);
    (void)snprintf(r->values + at, sizeof r->values - at, "  %s %.1e", label, error); // or cut
    at = strlen(r->values);
    if (!right)
        (void)snprintf(r->values + at, sizeof r->values - at, " (of %.0e!)", bound); // likewise
}

void gpu_row_end(struct gpu_check *g) {
    const struct gpu_row *r = &g->row;

    printf("%s %-4s %5.2f  %-50s%s\n", r->failed ? "FAIL" : "ok  ", r->dtype, r->share, r->what,
           r->values);
    (void)fflush(stdout); // what comes next may end the process
}

bool gpu_wants(const struct gpu_check *g, int i) {
    return !g->dtype || strcmp(g->dtype, gpu_dtypes[i]) == 0;
}

void gpu_untuned(bool untuned) {
    // Memory is there.
    if (untuned)
        (void)setenv("CUDA_UNTUNED", "1", 1);
    else
        (void)unsetenv("CUDA_UNTUNED");
}

static const struct {
    const char *name, *title;
    void (*run)(struct gpu_check *g);
} parts[] = {
    {"ops", "every op against the double-precision reference", gpu_ops},
    {"nets", "whole nets, a step's gradients and losses", gpu_nets},
    {"golden", "golden cases in fp32", gpu_golden},
    {"bits", "the same bits again", gpu_bits},
    {"large", "what shows at a size alone", gpu_large},
    {"speed", "steps: time, memory, rate", gpu_speed},
    {"profile", "where a step's time goes", gpu_profile},
};

// Says which device it is; false if there is none.
static bool greet(const struct gpu_check *g) {
    struct device_options o = {.name = g->device, .threads = 1};
    struct device *d;
    char text[300];

    if (device_open(&o, &d)) {
        printf("not run: %s\n", err_text());
        return false;
    }
    d->backend->describe(d, text, sizeof text);
    printf("%s\n", text);
    device_close(d);
    return true;
}

static int usage(void) {
    (void)fprintf(
        stderr,
        "gpu_check [--device cuda] [--golden FILE] [--small] [--seed N] [--dtype fp32|tf32|bf16] "
        "[--only ops|nets|golden|bits|large|speed|profile|none] "
        "[--shape ARCH,SIZE,BATCH] [--json FILE] | --shapes\n");
    return 2;
}

static double seconds_since(int64_t start) {
    return (double)(now_us() - start) * 1e-6;
}

static void run_parts(struct gpu_check *g, const char *only) {
    for (unsigned i = 0; i < COUNT(parts); i++) {
        int64_t start = now_us();
        if (only && strcmp(only, parts[i].name) != 0)
            continue;
        printf("\n== %s\n", parts[i].title);
        parts[i].run(g);
        printf("%s: %.1f s\n", parts[i].name, seconds_since(start));
    }
}

// `none` only says which device there is.
static bool is_part(const char *name) {
    for (unsigned i = 0; i < COUNT(parts); i++)
        if (strcmp(name, parts[i].name) == 0)
            return true;
    return strcmp(name, "none") == 0;
}

static bool is_dtype(const char *name) {
    for (int i = 0; i < GPU_DTYPES; i++)
        if (strcmp(name, gpu_dtypes[i]) == 0)
            return true;
    return false;
}

static void summarize(const struct gpu_check *g, int64_t start) {
    printf("\n");
    for (int i = 0; i < GPU_DTYPES; i++)
        if (g->worst[i].what[0])
            printf("%s: worst share of a bound %.2f, %s\n", gpu_dtypes[i], g->worst[i].share,
                   g->worst[i].what);
    printf("%d checks, %d failed, %d not run, %.0f s\n", g->checks, g->failures, g->not_run,
           seconds_since(start));
}

int main(int argc, char **argv) {
    struct gpu_check g = {.device = "cuda", .seed = (uint64_t)time(NULL)};
    const char *only = NULL;
    int64_t start = now_us();

    (void)setvbuf(stdout, NULL, _IOLBF, 0); // a line is seen when it is there
    for (int i = 1; i < argc; i++)
        if (strcmp(argv[i], "--device") == 0 && i + 1 < argc)
            g.device = argv[++i];
        else if (strcmp(argv[i], "--golden") == 0 && i + 1 < argc)
            g.golden = argv[++i];
        else if (strcmp(argv[i], "--only") == 0 && i + 1 < argc)
            only = argv[++i];
        else if (strcmp(argv[i], "--shape") == 0 && i + 1 < argc)
            g.shape = argv[++i];
        else if (strcmp(argv[i], "--json") == 0 && i + 1 < argc)
            g.json = argv[++i];
        else if (strcmp(argv[i], "--dtype") == 0 && i + 1 < argc)
            g.dtype = argv[++i];
        else if (strcmp(argv[i], "--seed") == 0 && i + 1 < argc)
            g.seed = strtoull(argv[++i], NULL, 10);
        else if (strcmp(argv[i], "--small") == 0)
            g.small = true;
        else if (strcmp(argv[i], "--shapes") == 0)
            return gpu_speed_shapes(&g);
        else
            return usage();
    if ((only && !is_part(only)) || (g.dtype && !is_dtype(g.dtype)))
        return usage();
    if (!greet(&g))
        return 77;
    printf("seed %llu\n", (unsigned long long)g.seed);
    run_parts(&g, only);
    summarize(&g, start);
    return g.failures ? 1 : 0;
}
