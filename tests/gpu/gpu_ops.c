// Ops against the double-precision reference (tests/trainer/oracle/*.c).
#include <stdio.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/util.h"
#include "device/device.h"
#include "gpu/gpu_bench.h"

// tf32 rounds what is multiplied by tensor cores, nothing else.
static const struct gpu_mode modes[GPU_DTYPES] = {
    {"fp32", 1e-5, 1e-5, 1e-5, 1e-5},
    {"tf32", 1e-5, 1e-5, 1e-3, 1e-3},
    {"bf16", 5e-3, 1e-2, 5e-3, 1e-2},
};

static bool open_device(struct bench *b) {
    struct device_options o = {.name = b->g->device, .threads = 1, .dtype = b->mode->dtype};

    if (device_open(&o, &b->d) == ERR_OK)
        return true;
    gpu_expect(b->g, false, "%s: %s", b->mode->dtype, err_text());
    return false;
}

// The layers of the nets, with the engines that training would choose.
static void tuned_convs(struct bench *b) {
    if (!b->g->small && open_device(b)) {
        gpu_large_convs(b);
        device_close(b->d);
    }
}

// The norms again on a device that has no room for a picture in shared memory.
static void norms_in_two_passes(struct bench *b) {
    (void)setenv("CUDA_TWO_PASSES", "1", 1); // memory is there
    b->two_passes = true;
    if (open_device(b)) {
        gpu_norms(b);
        device_close(b->d);
    }
    b->two_passes = false;
    (void)unsetenv("CUDA_TWO_PASSES"); // likewise
}

static void everything_else(struct bench *b) {
    gpu_untuned(true);
    if (open_device(b)) {
        gpu_convs(b);
        gpu_norms(b);
        gpu_heads(b);
        gpu_losses(b);
        gpu_params(b);
        device_close(b->d);
    }
    gpu_untuned(false);
}

void gpu_ops(struct gpu_check *g) {
    printf("bounds: fp32 1e-05; tf32 1e-05, convolutions 1e-03; bf16 5e-03, filters' and norms' "
           "gradients 1e-02; sums, statistics, losses 1e-05\n");
    for (unsigned i = 0; i < COUNT(modes); i++) {
        struct bench b = {.g = g, .mode = &modes[i], .drawn = (uint64_t)i << 40};
        if (!gpu_wants(g, (int)i))
            continue;
        everything_else(&b);
        tuned_convs(&b);
        norms_in_two_passes(&b);
    }
}
