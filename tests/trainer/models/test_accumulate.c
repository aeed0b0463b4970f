// Updates by the gradients of several batches: those of one batch of them all.
#include "trainer/models/model_test.h"

#include "base/util.h"

enum { SIDE = 24, BATCHES = 3 };

static struct config_trainer options_of(const char *model, int accumulate) {
    struct config_trainer o = recipe_options(model);

    o.accumulate = accumulate;
    o.ema = 0.5;
    o.shapes = 3;
    return o;
}

// A step on pictures [first, first + n), whatever batches they come in.
static void batch(struct model *m, uint64_t first, int n, int i, int of) {
    enum { COUNT_OF_ONE = SIDE * SIDE * 3 };
    float *x = xcalloc((size_t)n * COUNT_OF_ONE, sizeof *x);

    assert_int_equal(model_shape(m, n, SIDE, SIDE, SIDE, SIDE), ERR_OK);
    model_set_step(m, first);
    model_set_micro_batch(m, i, of);
    for (int d = 0; d < 2; d++) {
        for (int k = 0; k < n; k++)
            fill(x + k * COUNT_OF_ONE, COUNT_OF_ONE, 2 * (first + (uint64_t)k) + (uint64_t)d);
        assert_int_equal(model_feed_floats(m, (enum model_domain)d, x), ERR_OK);
    }
    assert_int_equal(model_generate(m), ERR_OK);
    if (model_d_first(m))
        assert_int_equal(model_update_d(m, 2e-4, NULL, NULL), ERR_OK);
    assert_int_equal(model_update_g(m, 2e-4), ERR_OK);
    if (!model_d_first(m))
        assert_int_equal(model_update_d(m, 2e-4, NULL, NULL), ERR_OK);
    assert_int_equal(model_wait(m), ERR_OK);
    free(x);
}

// The larger of the differences of Adam's first moments, which are half the gradients after the
// first step, as a share of the largest moment of each parameter.
static double moments_apart(struct model *a, struct model *b) {
    double worst = 0;

    for (int i = 0; i < model_n_nets(a); i++)
        for (int k = 0; k < model_net(a, i)->n_params; k++) {
            const struct model_param *p = &model_net(a, i)->params[k];
            const struct model_param *q = &model_net(b, i)->params[k];
            double most = 0, apart = 0;
            for (size_t j = 0; p->m && j < p->count; j++) {
                most = fmax(most, fabs((double)p->m[j]));
                apart = fmax(apart, fabs((double)p->m[j] - q->m[j]));
            }
            worst = fmax(worst, most > 0 ? apart / most : apart);
        }
    return worst;
}

static bool same_weights(struct model *a, struct model *b) {
    bool same = true;

    for (int i = 0; i < model_n_nets(a); i++)
        for (int k = 0; k < model_net(a, i)->n_params; k++)
            same &= !memcmp(model_net(a, i)->params[k].w, model_net(b, i)->params[k].w,
                            model_net(a, i)->params[k].count * sizeof(float));
    return same;
}

static void three_batches_are_one_of_three(const char *model) {
    struct config_trainer one = options_of(model, 0), three = options_of(model, BATCHES);
    struct model *a = open_model(&one), *b = open_model(&three), *before = open_model(&one);

    batch(a, 0, BATCHES, 0, 1);
    for (int i = 0; i < BATCHES; i++) {
        assert_true(same_weights(b, before));
        batch(b, (uint64_t)i, 1, i, BATCHES);
    }
    assert_false(same_weights(b, before));
    assert_int_equal(*model_net(b, 0)->adam_steps, 1);
    assert_true(moments_apart(a, b) < 2e-5); // sums of 24 x 24 products in another order
    // The rest of an epoch may be fewer.
    batch(a, 10, 2, 0, 1);
    batch(b, 10, 1, 0, 2);
    batch(b, 11, 1, 1, 2);
    assert_int_equal(*model_net(b, 0)->adam_steps, 2);
    assert_true(moments_apart(a, b) < 1e-3); // the weights differ by Adam's roundings already
    model_free(a);
    model_free(b);
    model_free(before);
}

static void of_cyclegan(void **state) {
    three_batches_are_one_of_three("cycle_gan");
}

static void where_d_comes_first(void **state) {
    // Of pix2pix D's update comes first, and the updated D rates G: of a part of the batches
    // it cannot be. So only that every batch counts once.
    struct config_trainer o = options_of("pix2pix", 2);
    struct model *m = open_model(&o);

    batch(m, 0, 1, 0, 2);
    assert_int_equal(*model_net(m, 0)->adam_steps, 0);
    batch(m, 1, 1, 1, 2);
    assert_int_equal(*model_net(m, 0)->adam_steps, 1);
    assert_int_equal(*model_net(m, 1)->adam_steps, 1);
    model_free(m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(of_cyclegan),
        cmocka_unit_test(where_d_comes_first),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
