// The averaged generators: the average is the definition, is what is used, and disturbs nothing.
#include "trainer/models/model_test.h"

#include "base/util.h"

#define DECAY 0.75

static const struct sizes size = {2, 24, 24};

static struct config_trainer options_of(const char *model, double ema) {
    struct config_trainer o = recipe_options(model);

    o.norm = "batch";
    o.ngf = o.ndf = 2;
    o.nce_layers = "0,4";
    o.num_patches = 4;
    o.ema = ema;
    return o;
}

static const struct model_net *net_named(struct model *m, const char *name) {
    for (int i = 0; i < model_n_nets(m); i++)
        if (!strcmp(model_net(m, i)->name, name))
            return model_net(m, i);
    fail_msg("no net %s", name);
    return NULL;
}

static void follow(const struct model_net *g, double *average) {
    for (int k = 0; k < g->n_params; k++)
        for (size_t i = 0; i < g->params[k].count && g->params[k].m; i++, average++)
            *average = DECAY * *average + (1 - DECAY) * g->params[k].w[i];
}

static void assert_follows(const struct model_net *g, const double *average) {
    double worst = 0;

    for (int k = 0; k < g->n_params; k++)
        for (size_t i = 0; i < g->params[k].count && g->params[k].kind <= PARAM_NORM_BIAS;
             i++, average++)
            worst = fmax(worst, fabs(g->params[k].w[i] - *average) / (fabs(*average) + 1e-3));
    assert_true(worst < 1e-5); // five roundings to float of numbers of one size
}

static void the_average_is_the_definition(const char *recipe, const char *net) {
    struct config_trainer o = options_of(recipe, DECAY);
    struct model *m = open_model(&o);
    char name[32];
    size_t count = 0;

    (void)snprintf(name, sizeof name, "%s_ema", net);
    const struct model_net *g = net_named(m, net), *average = net_named(m, name);
    for (int k = 0; k < g->n_params; k++)
        count += g->params[k].count;
    double *want = xcalloc(count, sizeof *want), *at = want;
    for (int k = 0; k < g->n_params; k++)
        for (size_t i = 0; i < g->params[k].count && g->params[k].m; i++)
            *at++ = g->params[k].w[i];
    assert_int_equal(average->n_params, g->n_params);
    assert_follows(average, want);
    for (uint64_t step = 0; step < 5; step++) {
        train(m, &o, size, step);
        assert_int_equal(model_pull(m), ERR_OK);
        follow(g, want);
    }
    assert_follows(average, want);
    for (int k = 0; k < g->n_params; k++) {
        assert_string_equal(average->params[k].key, g->params[k].key);
        assert_null(average->params[k].m);
        if (g->params[k].kind == PARAM_RUNNING_MEAN || g->params[k].kind == PARAM_RUNNING_VAR)
            assert_memory_equal(average->params[k].w, g->params[k].w,
                                g->params[k].count * sizeof(float));
    }
    free(want);
    model_free(m);
}

static void of_cyclegan(void **state) {
    the_average_is_the_definition("cycle_gan", "G_A");
    the_average_is_the_definition("cycle_gan", "G_B");
}

static void of_cut_and_pix2pix(void **state) {
    the_average_is_the_definition("cut", "G");
    the_average_is_the_definition("pix2pix", "G");
}

static void training_does_not_see_it(void **state) {
    struct config_trainer with = options_of("cycle_gan", DECAY),
                          without = options_of("cycle_gan", 0);
    struct model *a = open_model(&with), *b = open_model(&without);

    for (uint64_t step = 0; step < 3; step++) {
        train(a, &with, size, step);
        train(b, &without, size, step);
    }
    assert_int_equal(model_n_nets(b) + 2, model_n_nets(a));
    for (int i = 0; i < model_n_nets(b); i++)
        for (int k = 0; k < model_net(b, i)->n_params; k++) {
            const struct model_param *p = &model_net(a, i)->params[k];
            const struct model_param *q = &model_net(b, i)->params[k];
            if (p->w)
                assert_memory_equal(p->w, q->w, p->count * sizeof(float));
        }
    model_free(a);
    model_free(b);
}

// A model whose weights are the average gives what the averaging one gives.
static void it_is_what_translates(void **state) {
    struct config_trainer with = options_of("cycle_gan", DECAY),
                          without = options_of("cycle_gan", 0);
    struct model *a = open_model(&with), *b = open_model(&without);
    float x[24 * 24 * 3], y[24 * 24 * 3], z[24 * 24 * 3];

    fill(x, COUNT(x), 77);
    for (uint64_t step = 0; step < 3; step++) {
        train(a, &with, size, step);
        assert_int_equal(model_translate(a, 1, 1, 24, 24, x, y), ERR_OK);
        assert_int_equal(model_pull(a), ERR_OK);
        const struct model_net *from = net_named(a, "G_B_ema"), *to = net_named(b, "G_B");
        for (int k = 0; k < to->n_params; k++)
            if (to->params[k].w)
                memcpy(to->params[k].w, from->params[k].w, to->params[k].count * sizeof(float));
        assert_int_equal(model_weights_changed(b), ERR_OK);
        assert_int_equal(model_translate(b, 1, 1, 24, 24, x, z), ERR_OK);
        assert_memory_equal(y, z, sizeof y);
    }
    model_free(a);
    model_free(b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(of_cyclegan),
        cmocka_unit_test(of_cut_and_pix2pix),
        cmocka_unit_test(training_does_not_see_it),
        cmocka_unit_test(it_is_what_translates),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
