// Options, images and steps of the CycleGAN that the checks and measurements run.
#include "gpu/gpu_steps.h"

#include <stdlib.h>

#include "base/err.h"
#include "base/rng.h"
#include "base/util.h"

struct config_trainer gpu_options(const struct gpu_check *g, const char *arch, int width,
                                  const char *dtype) {
    return (struct config_trainer){
        .model = "cycle_gan",
        .device = (char *)g->device,
        .dtype = (char *)dtype,
        .netG = (char *)arch,
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
        .no_dropout = true,
        .threads = 1,
        .shapes = 1,
    };
}

struct gpu_pictures gpu_pictures_new(int n, int size) {
    struct gpu_pictures p = {
        .n = n, .size = size, .bytes = (size_t)n * (size_t)size * (size_t)size * 3};

    p.x = xmalloc(2 * p.bytes + 256);
    for (size_t i = 0; i < 2 * p.bytes + 256; i++)
        p.x[i] = (uint8_t)rng_block(3, RNG_TEST, i / 16, 0).v[i % 4];
    return p;
}

static const uint8_t *pictures_of(const struct gpu_pictures *p, enum model_domain d, int step) {
    return p->x + (d == MODEL_A ? 0 : p->bytes / 2) + step % 256;
}

int gpu_feed(struct model *m, const struct gpu_pictures *p, int step) {
    model_set_step(m, (uint64_t)step);
    int err = model_feed(m, MODEL_A, pictures_of(p, MODEL_A, step));

    return err ? err : model_feed(m, MODEL_B, pictures_of(p, MODEL_B, step));
}

int gpu_feed_ahead(struct model *m, const struct gpu_pictures *p, int step) {
    int err = ERR_OK;

    for (int d = 0; d < 2 && !err; d++)
        err = model_prefetch(m, (enum model_domain)d, p->n, p->size, p->size,
                             pictures_of(p, (enum model_domain)d, step));
    return err;
}

int gpu_step(struct model *m, const struct gpu_pictures *p, int step) {
    int err = gpu_feed(m, p, step);

    if (!err)
        err = model_generate(m);
    if (!err)
        err = model_update_g(m, 2e-4);
    if (!err)
        err = model_update_d(m, 2e-4, NULL, NULL);
    return err;
}
