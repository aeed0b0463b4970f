// gpu_check - numerics and speed of the engine on the local GPU. `make gpu-check` builds and runs
// it; it needs gcc, nvcc, cuDNN and what `make gpu-pack` put into gpu-pack/.
//
//   gpu_check [--device cuda] [--golden FILE] [--small] [--only ops|golden|bits|speed|profile]
//            [--shape ARCH,SIZE,BATCH] [--json FILE]
//
// Exit status 0 if every check held, 1 if one failed, 77 if there is no GPU.
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "err.h"
#include "gpu_check.h"
#include "util.h"

// There is no CPU backend in this program: its library is not needed then.
int backend_cpu_open(const struct device_options *options, struct device **ret_device) {
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

static const struct {
    const char *name, *title;
    void (*run)(struct gpu_check *g);
} parts[] = {
    {"ops", "every op against the double-precision reference", gpu_ops},
    {"golden", "golden cases in fp32", gpu_golden},
    {"bits", "the same bits again", gpu_bits},
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
    (void)fprintf(stderr, "gpu_check [--device cuda] [--golden FILE] [--small] "
                          "[--only ops|golden|bits|speed|profile] [--shape ARCH,SIZE,BATCH] "
                          "[--json FILE]\n");
    return 2;
}

int main(int argc, char **argv) {
    struct gpu_check g = {.device = "cuda"};
    const char *only = NULL;
    int64_t start = now_us();

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
        else if (strcmp(argv[i], "--small") == 0)
            g.small = true;
        else
            return usage();
    if (!greet(&g))
        return 77;
    for (unsigned i = 0; i < COUNT(parts); i++)
        if (!only || strcmp(only, parts[i].name) == 0) {
            printf("\n== %s\n", parts[i].title);
            parts[i].run(&g);
        }
    printf("\n%d checks, %d failed, %d not run, %.0f s\n", g.checks, g.failures, g.not_run,
           (double)(now_us() - start) * 1e-6);
    return g.failures ? 1 : 0;
}
