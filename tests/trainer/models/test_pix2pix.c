// pix2pix as a whole, and what nets, norms and dropout do in a training. Numbers are checked by the
// golden cases.
#include "trainer/models/model_test.h"

#include "base/util.h"

static struct config_trainer tiny(void) {
    struct config_trainer o = recipe_options("pix2pix");

    o.norm = "batch";
    o.gan_mode = "vanilla";
    o.no_dropout = false;
    o.threads = 1;
    return o;
}

static const struct sizes small = {2, 16, 20};

static const struct model_param *param(struct model *m, int net, const char *key) {
    for (int k = 0; k < model_net(m, net)->n_params; k++)
        if (strcmp(model_net(m, net)->params[k].key, key) == 0)
            return &model_net(m, net)->params[k];
    fail_msg("no parameter %s", key);
    return NULL;
}

static bool same_weights(struct model *a, struct model *b) {
    for (int i = 0; i < model_n_nets(a); i++)
        for (int k = 0; k < model_net(a, i)->n_params; k++) {
            const struct model_param *p = &model_net(a, i)->params[k];
            const struct model_param *q = &model_net(b, i)->params[k];
            if (p->w && memcmp(p->w, q->w, p->count * sizeof(float)) != 0)
                return false;
            if (p->batches && *p->batches != *q->batches)
                return false;
        }
    return true;
}

static void training_lowers_the_distance(void **state) {
    struct config_trainer o = tiny();
    struct model *m = open_model(&o);

    train(m, &o, small, 0);
    double first = loss(m, "G_L1");
    for (int i = 0; i < 60; i++)
        train(m, &o, small, 0);
    assert_true(loss(m, "G_L1") < 0.9 * first);
    assert_true(model_gradients_finite(m));
    assert_int_equal(*model_net(m, 0)->adam_steps, 61);
    assert_int_equal(*model_net(m, 1)->adam_steps, 61);
    model_free(m);
}

// At the start D knows nothing: about log 2 for both, each without the half.
static void losses_of_d_are_logged_whole(void **state) {
    struct config_trainer o = tiny();
    struct model *m = open_model(&o);

    train(m, &o, small, 0);
    assert_true(fabs(loss(m, "D_real") - log(2)) < 0.2);
    assert_true(fabs(loss(m, "D_fake") - log(2)) < 0.2);
    model_free(m);
}

static void every_combination_of_nets_and_norms_trains(void **state) {
    static const struct {
        const char *net;
        struct sizes sizes;
    } generators[] = {{"resnet_6blocks", {1, 16, 20}},
                      {"resnet_9blocks", {2, 20, 16}},
                      {"unet_128", {1, 128, 256}},
                      {"unet_256", {2, 256, 256}}};
    static const char *const discriminators[] = {"basic", "n_layers", "pixel"};
    static const char *const norms[] = {"instance", "batch", "none"};
    static const char *const models[] = {"pix2pix", "cycle_gan"};

    for (unsigned i = 0; i < COUNT(generators) * 3 * 3 * 2; i++) {
        struct config_trainer o = tiny();
        struct sizes s = generators[i / 18].sizes;
        o.netG = (char *)generators[i / 18].net;
        o.norm = (char *)norms[i / 6 % 3];
        o.netD = (char *)discriminators[i / 2 % 3];
        o.model = (char *)models[i % 2];
        o.ngf = o.ndf = 2;
        if (strcmp(o.netD, "basic") == 0 && s.h < 24)
            s.h = s.w = 24;
        struct model *m = open_model(&o);
        train(m, &o, s, 0);
        assert_true(model_gradients_finite(m));
        for (int k = 0; k < model_n_losses(m); k++)
            assert_true(isfinite(model_loss(m, k)));
        model_free(m);
    }
}

static void domains_may_have_other_numbers_of_channels(void **state) {
    struct config_trainer o = tiny();
    float x[16 * 20], y[16 * 20 * 2];

    o.input_nc = 1;
    o.output_nc = 2;
    struct model *m = open_model(&o);
    train(m, &o, small, 0);
    assert_int_equal(param(m, 1, "model.0.weight")->dims[1], 3); // both, on the channels
    fill(x, COUNT(x), 1);
    assert_int_equal(model_translate(m, 0, 1, 16, 20, x, y), ERR_OK);
    model_free(m);
}

static void short_batch_does_not_disturb_the_next(void **state) {
    struct config_trainer o = tiny();
    struct model *a = open_model(&o);

    o.shapes = 1; // b builds each tape anew
    struct model *b = open_model(&o);
    for (uint64_t i = 0; i < 6; i++) {
        struct sizes s = {i % 3 == 2 ? 1 : 3, 16, 20};
        train(a, &o, s, i);
        train(b, &o, s, i);
    }
    assert_true(same_weights(a, b));
    model_free(a);
    model_free(b);
}

static void dropout_is_a_function_of_seed_and_step(void **state) {
    struct config_trainer o = tiny();
    struct model *a = open_model(&o), *b = open_model(&o);

    struct model *c = open_model_with(&o, &(struct model_host){.seed = 43});
    o.no_dropout = true;
    struct model *d = open_model(&o);
    train(a, &o, small, 5);
    train(b, &o, small, 5);
    train(c, &o, small, 5);
    assert_true(same_weights(a, b));
    assert_false(same_weights(a, c));
    (void)param(a, 0, "model.10.conv_block.6.weight");
    (void)param(d, 0, "model.10.conv_block.5.weight"); // without dropout nothing shifts
    model_free(a);
    model_free(b);
    model_free(c);
    model_free(d);
}

static void translation_draws_nothing_and_moves_nothing(void **state) {
    struct config_trainer o = tiny();
    struct model *a = open_model(&o), *b = open_model(&o);
    float x[2 * 16 * 20 * 3], y[2][COUNT(x)];

    train(a, &o, small, 0);
    train(b, &o, small, 0);
    fill(x, COUNT(x), 7);
    for (int i = 0; i < 2; i++) {
        model_set_step(a, (uint64_t)i);
        assert_int_equal(model_translate(a, 0, 2, 16, 20, x, y[i]), ERR_OK);
    }
    assert_memory_equal(y[0], y[1], sizeof y[0]);
    assert_true(same_weights(a, b));
    // A picture does not depend on its neighbours.
    assert_int_equal(model_translate(a, 0, 1, 16, 20, x, y[1]), ERR_OK);
    for (size_t i = 0; i < COUNT(x) / 2; i++)
        assert_true(y[0][i] == y[1][i]);
    assert_int_equal(model_translate(a, 1, 1, 16, 20, x, y[1]), ERR_CONFIG);
    assert_non_null(strstr(err_text(), "one direction"));
    model_free(a);
    model_free(b);
}

static void sizes_that_cannot_work_are_refused(void **state) {
    struct config_trainer o = tiny();

    o.netG = "unet_128";
    struct model *m = open_model(&o);
    assert_int_equal(model_shape(m, 1, 128, 100, 128, 100), ERR_SHAPE);
    assert_non_null(strstr(err_text(), "divisible by 128"));
    assert_int_equal(model_shape(m, 1, 128, 128, 128, 256), ERR_SHAPE);
    assert_non_null(strstr(err_text(), "one size"));
    model_free(m);
    o.netG = "resnet_6blocks";
    m = open_model(&o);
    assert_int_equal(model_shape(m, 4, 8, 8, 8, 8), ERR_SHAPE);
    assert_non_null(strstr(err_text(), "at least 12"));
    assert_int_equal(model_shape(m, 1, 12, 16, 12, 16), ERR_OK);
    model_free(m);
}

static void fresh_statistics_say_nothing(void **state) {
    struct config_trainer o = tiny();
    struct model *m = open_model(&o);
    const struct model_param *weight = param(m, 0, "model.2.weight");

    assert_true(param(m, 0, "model.2.running_mean")->w[3] == 0);
    assert_true(param(m, 0, "model.2.running_var")->w[3] == 1);
    assert_int_equal(*param(m, 0, "model.2.num_batches_tracked")->batches, 0);
    assert_true(fabsf(weight->w[0] - 1) < 0.4f && weight->w[0] != 1); // 8 deviations of 0.05
    assert_null(param(m, 0, "model.2.running_var")->m);
    model_free(m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(training_lowers_the_distance),
        cmocka_unit_test(losses_of_d_are_logged_whole),
        cmocka_unit_test(every_combination_of_nets_and_norms_trains),
        cmocka_unit_test(domains_may_have_other_numbers_of_channels),
        cmocka_unit_test(short_batch_does_not_disturb_the_next),
        cmocka_unit_test(dropout_is_a_function_of_seed_and_step),
        cmocka_unit_test(translation_draws_nothing_and_moves_nothing),
        cmocka_unit_test(sizes_that_cannot_work_are_refused),
        cmocka_unit_test(fresh_statistics_say_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
