// Whole CycleGAN steps, and their bits.
#include "gpu_steps.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "rng.h"
#include "util.h"

#define PLANS "gpu_check.plans"

struct model_options gpu_options(const struct gpu_check *g, const char *arch, int width,
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

struct gpu_pictures gpu_pictures_new(int n, int size) {
    struct gpu_pictures p = {.bytes = (size_t)n * (size_t)size * (size_t)size * 3};

    p.x = xmalloc(2 * p.bytes + 256);
    for (size_t i = 0; i < 2 * p.bytes + 256; i++)
        p.x[i] = (uint8_t)rng_block(3, RNG_TEST, i / 16, 0).v[i % 4];
    return p;
}

int gpu_feed(struct model *m, const struct gpu_pictures *p, int step) {
    model_set_step(m, (uint64_t)step);
    int err = model_feed(m, MODEL_A, p->x + step % 256);

    return err ? err : model_feed(m, MODEL_B, p->x + p->bytes / 2 + step % 256);
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

static int train(struct model *m, int n, int size, int steps) {
    struct gpu_pictures p = gpu_pictures_new(n, size);
    int err = model_init(m, "normal", 0.02, 1);

    if (!err)
        err = model_shape(m, n, size, size, size, size);
    for (int i = 0; i < steps && !err; i++) {
        err = gpu_step(m, &p, i);
        if (!err)
            err = model_wait(m);
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
    if (train(m, 2, size, steps) || model_pull(m)) {
        model_free(m);
        return NULL;
    }
    return m;
}

void gpu_bits(struct gpu_check *g) {
    static const char *const dtypes[] = {"fp32", "tf32", "bf16"};
    int size = g->small ? 32 : 128, steps = g->small ? 4 : 20;

    for (unsigned i = 0; i < COUNT(dtypes); i++) {
        struct model_options o = gpu_options(g, "resnet_6blocks", g->small ? 4 : 64, dtypes[i]);
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
