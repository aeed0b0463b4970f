// A step's bits do not depend on the number of threads, with each recipe and kind of net. Layers
// are wide enough for every kernel that a net of ordinary size has.
#include "check.h"
#include "model_test.h"

static void assert_same_bits(struct model *a, struct model *b, int threads) {
    for (int i = 0; i < model_n_nets(a); i++)
        for (int k = 0; k < model_net(a, i)->n_params; k++) {
            const struct model_param *p = &model_net(a, i)->params[k];
            const struct model_param *q = &model_net(b, i)->params[k];
            size_t bytes = p->count * sizeof(float);
            if ((p->w && memcmp(p->w, q->w, bytes) != 0) ||
                (p->m && memcmp(p->m, q->m, bytes) != 0))
                fail_msg("%d threads change %s of %s", threads, p->key, model_net(a, i)->name);
        }
    for (int i = 0; i < model_n_losses(a); i++)
        if (model_loss(a, i) != model_loss(b, i))
            fail_msg("%d threads change loss %s", threads, model_loss_name(a, i));
}

static struct model *trained(struct config_trainer o, struct sizes sizes, int threads) {
    o.threads = threads;
    struct model *m = open_model(&o);
    for (int step = 0; step < 2; step++)
        train(m, &o, sizes, (uint64_t)step);
    assert_int_equal(model_pull(m), ERR_OK);
    return m;
}

static void check_threads(struct config_trainer o, struct sizes sizes) {
    struct model *one = trained(o, sizes, 1);

    for (int threads = 2; threads <= 8; threads *= 2) {
        struct model *m = trained(o, sizes, threads);
        assert_same_bits(one, m, threads);
        model_free(m);
    }
    model_free(one);
}

static struct config_trainer wide(const char *model) {
    struct config_trainer o = recipe_options(model);

    o.ngf = o.ndf = 16;
    o.netD = "basic";
    return o;
}

static void cycle_gan(void **state) {
    check_threads(wide("cycle_gan"), (struct sizes){2, 64, 64});
}

static void pix2pix_with_a_unet_and_batch_norm(void **state) {
    struct config_trainer o = wide("pix2pix");

    o.netG = "unet_128";
    o.norm = "batch";
    o.gan_mode = "vanilla";
    check_threads(o, (struct sizes){2, 128, 128});
}

static void cut(void **state) {
    check_threads(wide("cut"), (struct sizes){1, 64, 48});
}

static void gradient_penalty(void **state) {
    struct config_trainer o = wide("pix2pix");

    o.gan_mode = "wgangp";
    check_threads(o, (struct sizes){2, 64, 64});
}

static void channels_of_no_round_number(void **state) {
    struct config_trainer o = wide("cycle_gan");

    o.ngf = o.ndf = 10;
    o.netD = "pixel";
    check_threads(o, (struct sizes){2, 64, 64});
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cycle_gan),
        cmocka_unit_test(pix2pix_with_a_unet_and_batch_norm),
        cmocka_unit_test(cut),
        cmocka_unit_test(gradient_penalty),
        cmocka_unit_test(channels_of_no_round_number),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
