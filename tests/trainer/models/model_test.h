// model_test - small trainings through model.h, for tests of recipes.
#ifndef MODEL_TEST_H
#define MODEL_TEST_H

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/rng.h"
#include "check.h"
#include "config/config.h"
#include "models/model.h"

// A small model of a recipe; a test changes what it is about.
static inline struct config_trainer recipe_options(const char *model) {
    return (struct config_trainer){
        .model = (char *)model,
        .device = "cpu",
        .netG = "resnet_6blocks",
        .netD = "n_layers",
        .norm = "instance",
        .gan_mode = "lsgan",
        .winograd = "auto",
        .no_dropout = true,
        .input_nc = 3,
        .output_nc = 3,
        .ngf = 4,
        .ndf = 4,
        .n_layers_D = 2,
        .beta1 = 0.5,
        .beta2 = 0.999,
        .lambda_A = 10,
        .lambda_B = 7,
        .lambda_identity = 0.5,
        .lambda_L1 = 100,
        .lambda_gp = 10,
        .lambda_GAN = 1,
        .lambda_NCE = 1,
        .nce_T = 0.07,
        .nce_layers = "0,4,8",
        .netF_nc = 8,
        .num_patches = 16,
        .nce_idt = true,
        .threads = 2,
        .shapes = 2,
    };
}

struct sizes {
    int n, h, w;
};

static inline void fill(float *x, size_t count, uint64_t picture) {
    for (size_t i = 0; i < count; i++)
        x[i] = (float)(2 * rng_uniform(9, RNG_TEST, picture, (uint32_t)i) - 1);
}

static inline void feed(struct model *m, enum model_domain domain, size_t count, uint64_t picture) {
    float *x = malloc(count * sizeof *x);

    assert_non_null(x);
    fill(x, count, picture);
    assert_int_equal(model_feed_floats(m, domain, x), ERR_OK);
    free(x);
}

static const struct model_host usual_host = {.seed = 42};

static inline struct model *open_model_with(const struct config_trainer *options,
                                            const struct model_host *host) {
    struct model *m;

    assert_int_equal(model_new(options, host, &m), ERR_OK);
    assert_int_equal(model_init(m, "normal", 0.05, 3), ERR_OK);
    return m;
}

static inline struct model *open_model(const struct config_trainer *options) {
    return open_model_with(options, &usual_host);
}

// Step `number` on pictures that depend on it alone, with a learning rate.
static inline void train_at(struct model *m, const struct config_trainer *o, struct sizes s,
                            uint64_t number, double lr) {
    size_t pixels = (size_t)(s.n * s.h * s.w);

    assert_int_equal(model_shape(m, s.n, s.h, s.w, s.h, s.w), ERR_OK);
    model_set_step(m, number);
    feed(m, MODEL_A, pixels * (size_t)o->input_nc, 2 * number);
    feed(m, MODEL_B, pixels * (size_t)o->output_nc, 2 * number + 1);
    assert_int_equal(model_generate(m), ERR_OK);
    for (int part = 0; part < 2; part++)
        if (model_d_first(m) == (part == 0))
            assert_int_equal(model_update_d(m, lr, model_fake(m, MODEL_A), model_fake(m, MODEL_B)),
                             ERR_OK);
        else
            assert_int_equal(model_update_g(m, lr), ERR_OK);
    assert_int_equal(model_wait(m), ERR_OK);
}

static inline void train(struct model *m, const struct config_trainer *o, struct sizes s,
                         uint64_t number) {
    train_at(m, o, s, number, 2e-4);
}

static inline bool has_loss(const struct model *m, const char *name) {
    for (int i = 0; i < model_n_losses(m); i++)
        if (strcmp(model_loss_name(m, i), name) == 0)
            return true;
    return false;
}

static inline double loss(const struct model *m, const char *name) {
    for (int i = 0; i < model_n_losses(m); i++)
        if (strcmp(model_loss_name(m, i), name) == 0)
            return model_loss(m, i);
    fail_msg("no loss %s", name);
    return NAN;
}

#endif
