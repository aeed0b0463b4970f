// The golden cases that a device computes.
#include <stdio.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/fs.h"
#include "golden/golden.h"
#include "gpu/gpu_check.h"

static const struct golden_kind kinds[] = {
    {"forward", case_forward},
    {"backward", case_forward},
    {"cycle_gan", case_training},
    {"pix2pix", case_training},
    {"cut", case_training},
    {"adam", case_adam},
    {"gan_loss", case_gan_loss},
    {"patchnce", case_patchnce},
    {"gradient_penalty", case_gradient_penalty},
    {"lr", NULL},
    {"init", NULL},
    {"pool", NULL},
    {"image", NULL},
    {NULL, NULL},
};

void gpu_golden(struct gpu_check *g) {
    struct golden_case how = {.name = "hash_check", .device = g->device, .dtype = "fp32"};
    struct golden_totals t = {0};
    struct json *tree = NULL;
    uint8_t *bytes;
    size_t size;

    if (!g->golden || !fs_exists(g->golden)) {
        gpu_not_run(g, "golden cases: there are none; make gpu-pack where they are");
        return;
    }
    if (fs_read(g->golden, (size_t)1 << 30, &bytes, &size) == ERR_OK) {
        tree = json_unpack(bytes, size);
        free(bytes);
    }
    gpu_untuned(true); // many shapes, each of them once
    if (tree)
        golden_run(&how, kinds, tree, &t);
    gpu_untuned(false);
    // Here a device that cannot do something has failed.
    gpu_expect(g, tree && t.passed && !t.failed && !t.skipped,
               "golden cases: %d passed, %d failed, %d skipped; %d need no device", t.passed,
               t.failed, t.skipped, t.apart);
    json_free(tree);
}
