// The CycleGAN step as a whole: tapes, shapes, determinism, refusals. Its numbers are checked by
// the golden cases.
#include "trainer/models/model_test.h"

#include "backend/memory.h"

#include "base/util.h"
#include "device/device.h"
#include "nets/nets.h"

static struct config_trainer tiny(void) {
    return recipe_options("cycle_gan");
}

struct pair_sizes {
    int n, h_a, w_a, h_b, w_b;
};

static void step(struct model *m, const struct pair_sizes *s, uint64_t number) {
    assert_int_equal(model_shape(m, s->n, s->h_a, s->w_a, s->h_b, s->w_b), ERR_OK);
    feed(m, MODEL_A, (size_t)(s->n * s->h_a * s->w_a * 3), 2 * number);
    feed(m, MODEL_B, (size_t)(s->n * s->h_b * s->w_b * 3), 2 * number + 1);
    assert_int_equal(model_generate(m), ERR_OK);
    assert_int_equal(model_update_g(m, 2e-4), ERR_OK);
    assert_int_equal(model_update_d(m, 2e-4, model_fake(m, MODEL_A), model_fake(m, MODEL_B)),
                     ERR_OK);
}

static void assert_same_parameters(struct model *a, struct model *b) {
    for (int i = 0; i < model_n_nets(a); i++)
        for (int k = 0; k < model_net(a, i)->n_params; k++) {
            const struct model_param *p = &model_net(a, i)->params[k];
            const struct model_param *q = &model_net(b, i)->params[k];
            assert_memory_equal(p->w, q->w, p->count * sizeof(float));
            assert_memory_equal(p->m, q->m, p->count * sizeof(float));
            assert_memory_equal(p->v, q->v, p->count * sizeof(float));
        }
}

static void two_runs_give_the_same_bits(void **state) {
    struct config_trainer o = tiny();
    struct model *a = open_model(&o), *b = open_model(&o);
    struct pair_sizes s = {2, 16, 20, 16, 20};

    for (uint64_t i = 0; i < 3; i++) {
        step(a, &s, i);
        step(b, &s, i);
    }
    assert_same_parameters(a, b);
    model_free(a);
    model_free(b);
}

static void training_lowers_the_cycle_loss(void **state) {
    struct config_trainer o = tiny();
    struct model *m = open_model(&o);
    struct pair_sizes s = {1, 16, 16, 16, 16};
    double first;

    step(m, &s, 0);
    first = loss(m, "cycle_A") + loss(m, "cycle_B");
    for (int i = 0; i < 60; i++)
        step(m, &s, 0);
    assert_true(loss(m, "cycle_A") + loss(m, "cycle_B") < 0.9 * first);
    assert_true(model_gradients_finite(m));
    assert_int_equal(*model_net(m, 0)->adam_steps, 61);
    model_free(m);
}

// Going through a short batch must leave nothing behind but the weights.
static void short_batch_does_not_disturb_the_next(void **state) {
    struct config_trainer o = tiny();
    struct model *a, *b;
    struct pair_sizes full = {3, 16, 20, 16, 20}, last = {1, 16, 20, 16, 20};

    a = open_model(&o);
    o.shapes = 1; // b builds each tape anew
    b = open_model(&o);
    for (uint64_t i = 0; i < 6; i++) {
        step(a, i % 3 == 2 ? &last : &full, i);
        step(b, i % 3 == 2 ? &last : &full, i);
    }
    assert_same_parameters(a, b);
    model_free(a);
    model_free(b);
}

// Means over the batch: one step on [x; x] has the losses of one on x.
static void batch_of_two_equal_pictures_has_the_losses_of_one(void **state) {
    struct config_trainer o = tiny();
    struct model *a = open_model(&o), *b = open_model(&o);
    struct pair_sizes one = {1, 16, 16, 16, 16};
    size_t count = 16 * 16 * 3;

    step(a, &one, 0);
    assert_int_equal(model_shape(b, 2, 16, 16, 16, 16), ERR_OK);
    for (int d = 0; d < 2; d++) {
        float x[2 * 16 * 16 * 3];
        fill(x, count, (uint64_t)d);
        fill(x + count, count, (uint64_t)d);
        assert_int_equal(model_feed_floats(b, (enum model_domain)d, x), ERR_OK);
    }
    assert_int_equal(model_generate(b), ERR_OK);
    assert_int_equal(model_update_g(b, 2e-4), ERR_OK);
    assert_int_equal(model_update_d(b, 2e-4, model_fake(b, MODEL_A), model_fake(b, MODEL_B)),
                     ERR_OK);
    for (int i = 0; i < model_n_losses(a); i++)
        // Float sums in another order.
        assert_true(fabs(model_loss(a, i) - model_loss(b, i)) <= 1e-5 * model_loss(a, i));
    model_free(a);
    model_free(b);
}

// With A and B of different sizes translation and identity are separate calls; with equal sizes
// one. Pictures of B that are wider by nothing but a different shape must not change the A side.
static void domains_of_different_size_train(void **state) {
    struct config_trainer o = tiny();
    struct model *a = open_model(&o), *b = open_model(&o);
    struct pair_sizes equal = {2, 16, 20, 16, 20}, different = {2, 16, 20, 24, 16};

    step(a, &equal, 0);
    step(b, &different, 0);
    assert_true(isfinite(loss(b, "G_B")) && isfinite(loss(b, "idt_A")));
    // The picture G_A made of A depends on A alone; 1e-5: other batch, other kernels.
    for (size_t i = 0; i < 2 * 16 * 20 * 3; i++)
        assert_true(fabsf(model_fake(a, MODEL_B)[i] - model_fake(b, MODEL_B)[i]) < 1e-5f);
    assert_true(fabs(loss(a, "cycle_A") - loss(b, "cycle_A")) <= 1e-5 * loss(a, "cycle_A"));
    assert_true(fabs(loss(a, "G_A") - loss(b, "G_A")) <= 1e-5 * loss(a, "G_A"));
    model_free(a);
    model_free(b);
}

static void biases_before_a_norm_stay_where_they_are(void **state) {
    struct config_trainer o = tiny();
    struct model *m = open_model(&o);
    struct pair_sizes s = {1, 16, 16, 16, 16};
    int frozen = 0;

    for (int i = 0; i < model_n_nets(m); i++)
        for (int k = 0; k < model_net(m, i)->n_params; k++)
            if (model_net(m, i)->params[k].frozen)
                model_net(m, i)->params[k].w[0] = 0.25f;
    step(m, &s, 0);
    step(m, &s, 1);
    for (int i = 0; i < model_n_nets(m); i++)
        for (int k = 0; k < model_net(m, i)->n_params; k++) {
            const struct model_param *p = &model_net(m, i)->params[k];
            frozen += p->frozen;
            assert_true(!p->frozen || p->w[0] == 0.25f);
            assert_true(p->frozen || p->m[0] != 0); // all others are trained
        }
    assert_int_equal(frozen, 2 * 17 + 2 * 2); // every conv but G's last and D's first and last
    model_free(m);
}

static void translation_in_mid_step_disturbs_nothing(void **state) {
    struct config_trainer o = tiny();
    struct model *a = open_model(&o), *b = open_model(&o);
    struct pair_sizes s = {2, 16, 20, 16, 20};
    size_t count = 2 * 16 * 20 * 3;
    float *x = xcalloc(count, sizeof *x), *y = xcalloc(count, sizeof *y);

    step(a, &s, 0);
    assert_int_equal(model_shape(b, 2, 16, 20, 16, 20), ERR_OK);
    feed(b, MODEL_A, count, 0);
    feed(b, MODEL_B, count, 1);
    fill(x, count, 0);
    assert_int_equal(model_generate(b), ERR_OK);
    assert_int_equal(model_translate(b, 0, 2, 16, 20, x, y), ERR_OK);
    for (size_t i = 0; i < count; i++)
        assert_true(fabsf(y[i] - model_fake(b, MODEL_B)[i]) < 1e-5f); // other batch, other kernels
    assert_int_equal(model_update_g(b, 2e-4), ERR_OK);
    for (int size = 8; size <= 32; size += 4) // more shapes than are kept
        assert_int_equal(model_translate(b, 1, 1, size, 12, x, y), ERR_OK);
    assert_int_equal(model_update_d(b, 2e-4, model_fake(b, MODEL_A), model_fake(b, MODEL_B)),
                     ERR_OK);
    assert_same_parameters(a, b);
    free(x);
    free(y);
    model_free(a);
    model_free(b);
}

static void gradients_that_are_not_finite_are_noticed(void **state) {
    struct config_trainer o = tiny();
    struct model *m = open_model(&o);
    struct pair_sizes s = {1, 16, 16, 16, 16};

    step(m, &s, 0);
    assert_true(model_gradients_finite(m));
    float x[16 * 16 * 3] = {[7] = NAN};
    assert_int_equal(model_feed_floats(m, MODEL_A, x), ERR_OK);
    assert_int_equal(model_generate(m), ERR_OK);
    assert_int_equal(model_update_g(m, 2e-4), ERR_OK);
    assert_false(model_gradients_finite(m));
    model_free(m);
}

static void count_call(void *context) {
    ++*(int *)context;
}

static void callback_runs_between_ops(void **state) {
    struct config_trainer o = tiny();
    struct pair_sizes s = {1, 16, 16, 16, 16};
    int calls = 0;

    struct model_host host = {.seed = 42, .between_ops = count_call, .context = &calls};
    struct model *m = open_model_with(&o, &host);
    step(m, &s, 0);
    assert_true(calls > 200);
    model_free(m);
}

static void without_identity_its_losses_are_zero(void **state) {
    struct config_trainer o = tiny();
    struct pair_sizes s = {1, 16, 16, 16, 16};

    o.lambda_identity = 0;
    struct model *m = open_model(&o);
    step(m, &s, 0);
    assert_true(loss(m, "idt_A") == 0 && loss(m, "idt_B") == 0);
    assert_null(model_idt(m, MODEL_A));
    assert_true(loss(m, "cycle_A") > 0);
    model_free(m);
}

// One tape of the generator, its memory shared or apart, poisoned before the run.
static void run_generator(bool apart, float **ret_dx, float **ret_g, size_t *ret_count) {
    struct device_options cpu = {.name = "cpu", .threads = 2};
    struct net_options options = {
        .arch = "resnet_9blocks", .in_nc = 3, .out_nc = 2, .nf = 4, .norm = "instance"};
    struct optimizer optimizer;
    struct device *device;
    struct net *net;
    size_t size = 0;
    int x, y, r;

    assert_int_equal(device_open(&cpu, &device), ERR_OK);
    assert_int_equal(generator_new(&options, &net), ERR_OK);
    net_reserve(net, &size);
    assert_int_equal(optimizer_init(&optimizer, device, size, 0.5, 0.999), ERR_OK);
    assert_int_equal(net_bind(net, &optimizer), ERR_OK);
    for (size_t i = 0; i < size; i++)
        optimizer.w[i] = (float)(rng_uniform(4, RNG_TEST, i, 0) - 0.5) * 0.3f;
    struct graph *g = graph_new(device);
    x = graph_input(g, 2, 16, 12, 3);
    graph_require_gradient(g, x);
    assert_int_equal(net_forward(net, g, x, NET_TRAIN, &y), ERR_OK);
    r = graph_input(g, 2, 16, 12, 2);
    graph_dot(g, y, r);
    graph_backward(g);
    graph_keep(g, graph_gradient(g, x));
    graph_place(g, apart);
    assert_int_equal(optimizer_refresh(&optimizer), ERR_OK);
    void *arena = xaligned(graph_arena_bytes(g));
    memset(arena, 0xff, graph_arena_bytes(g)); // NaN
    fill(graph_data(g, arena, x), 2 * 16 * 12 * 3, 1);
    fill(graph_data(g, arena, r), 2 * 16 * 12 * 2, 2);
    assert_int_equal(graph_run(g, arena, 0, graph_n_ops(g), NULL), ERR_OK);
    *ret_dx = xcalloc(2 * 16 * 12 * 3, sizeof(float));
    memcpy(*ret_dx, graph_data(g, arena, graph_gradient(g, x)), 2 * 16 * 12 * 3 * sizeof(float));
    *ret_g = xcalloc(size, sizeof(float));
    memcpy(*ret_g, optimizer.g, size * sizeof(float));
    *ret_count = size;
    free(arena);
    graph_free(g);
    net_free(net);
    optimizer_fini(&optimizer);
    device_close(device);
}

static void tensors_that_share_memory_do_not_meet(void **state) {
    float *dx[2], *g[2];
    size_t count;

    for (int apart = 0; apart < 2; apart++)
        run_generator(apart, &dx[apart], &g[apart], &count);
    assert_memory_equal(dx[0], dx[1], 2 * 16 * 12 * 3 * sizeof(float));
    assert_memory_equal(g[0], g[1], count * sizeof(float));
    for (size_t i = 0; i < count; i++)
        assert_true(isfinite(g[0][i]));
    for (int i = 0; i < 2; i++) {
        free(dx[i]);
        free(g[i]);
    }
}

static void assert_refused(const struct config_trainer *o, int want, const char *word) {
    struct model *m;

    assert_int_equal(model_new(o, &usual_host, &m), want);
    assert_non_null(strstr(err_text(), word));
}

// Both discriminators have one, and it is theirs: the other's pictures do not change it.
static void check_penalty(const char *norm) {
    struct config_trainer o = tiny();
    struct pair_sizes s = {2, 16, 16, 16, 16};
    struct model *m, *unpenalized;

    o.gan_mode = "wgangp";
    o.lambda_gp = 10;
    o.norm = (char *)norm;
    m = open_model(&o);
    o.gan_mode = "wgangp_no_penalty";
    unpenalized = open_model(&o);
    step(m, &s, 0);
    step(unpenalized, &s, 0);
    assert_true(loss(m, "gp_A") > 0 && loss(m, "gp_B") > 0 && loss(m, "gp_A") != loss(m, "gp_B"));
    for (int i = 2; i < 4; i++)
        assert_true(model_net(m, i)->params[0].m[0] != model_net(unpenalized, i)->params[0].m[0]);
    assert_true(model_gradients_finite(m));
    model_free(m);
    model_free(unpenalized);
}

static void wgangp_has_a_penalty_for_each_discriminator(void **state) {
    check_penalty("instance");
    check_penalty("none");
    check_penalty("batch");
}

static void options_that_cannot_work_are_refused(void **state) {
    struct config_trainer o;

#define REFUSED(field, value, err, word)                                                           \
    o = tiny();                                                                                    \
    o.field = value;                                                                               \
    assert_refused(&o, err, word)
    REFUSED(model, "pix3pix", ERR_CONFIG, "cycle_gan");
    REFUSED(netG, "resnet_65blocks", ERR_CONFIG, "resnet_9blocks");
    REFUSED(netG, "resnet_07blocks2", ERR_CONFIG, "resnet_9blocks");
    REFUSED(netD, "advanced", ERR_CONFIG, "basic");
    REFUSED(norm, "layer", ERR_CONFIG, "instance");
    REFUSED(gan_mode, "gan", ERR_CONFIG, "lsgan");
    REFUSED(device, "cuda", ERR_DEVICE, "\"cpu\"");
    REFUSED(winograd, "f6", ERR_CONFIG, "f4");
    REFUSED(threads, 0, ERR_CONFIG, "threads");
    REFUSED(output_nc, 1, ERR_CONFIG, "lambda_identity");
    REFUSED(n_layers_D, 0, ERR_CONFIG, "n_layers");
    REFUSED(ngf, 0, ERR_CONFIG, "features");
#undef REFUSED
}

static void sizes_that_cannot_work_are_refused(void **state) {
    struct config_trainer o = tiny();
    struct model *m;
    float x[4] = {0};

    o.netD = "basic";
    m = open_model(&o);
    assert_int_equal(model_shape(m, 1, 30, 32, 32, 32), ERR_SHAPE);
    assert_non_null(strstr(err_text(), "divisible by 4"));
    assert_int_equal(model_shape(m, 0, 32, 32, 32, 32), ERR_SHAPE);
    assert_int_equal(model_shape(m, 1, 4, 4, 4, 4), ERR_SHAPE);
    assert_int_equal(model_shape(m, 1, 16, 16, 16, 16), ERR_SHAPE); // D: a 1x1 map meets its norm
    assert_non_null(strstr(err_text(), "at least 24"));
    assert_int_equal(model_translate(m, 0, 1, 6, 8, x, x), ERR_SHAPE);
    assert_int_equal(model_shape(m, 1, 24, 32, 32, 24), ERR_OK);
    model_free(m);
}

static void batch_beyond_the_memory_limit_is_refused(void **state) {
    struct config_trainer o = tiny();
    struct model *m;
    struct pair_sizes s = {1, 16, 16, 16, 16};

    o.memory = (size_t)24 << 20;
    m = open_model(&o);
    step(m, &s, 0);
    assert_int_equal(model_shape(m, 64, 64, 64, 64, 64), ERR_LIMIT);
    assert_non_null(strstr(err_text(), "MiB"));
    step(m, &s, 1); // the old shape still works
    assert_true(model_memory_bytes(m) <= (size_t)o.memory);
    model_free(m);
}

static void batch_beyond_the_machine_is_refused(void **state) {
    struct config_trainer o = tiny();
    struct model *m = open_model(&o);
    struct pair_sizes s = {1, 16, 16, 16, 16};

    assert_int_equal(model_shape(m, 4096, 2048, 2048, 2048, 2048), ERR_LIMIT);
    assert_non_null(strstr(err_text(), "are free"));
    assert_non_null(strstr(err_text(), "loader.crop_size"));
    // The advice was found without taking the memory.
    assert_true(memory_peak() < (size_t)1 << 30);
    step(m, &s, 0);
    model_free(m);
}

static void kernels_are_listed_once_each(void **state) {
    struct config_trainer o = tiny();
    struct model *m = open_model(&o);
    struct pair_sizes s = {1, 16, 16, 16, 16};
    char *text;

    step(m, &s, 0);
    text = model_kernels(m);
    assert_non_null(strstr(text, "conv 7x7/1 3->4 on [2,22,22]: "));
    assert_non_null(strstr(text, "convT 3x3/2 16->8"));
    assert_null(
        strstr(strstr(text, "conv 7x7/1 3->4 on [2,22,22]") + 1, "conv 7x7/1 3->4 on [2,22,22]"));
    free(text);
    model_free(m);
}

// The largest difference between neighbours in the middle of what a constant picture becomes, out
// of the borders' reach. Without norms, which would subtract the constant.
static double checkerboard(const char *upsample) {
    enum { SIDE = 192, MIDDLE = SIDE / 2 };
    struct config_trainer o = tiny();
    float *x = xcalloc(SIDE * SIDE * 3, sizeof *x), *y = xcalloc(SIDE * SIDE * 3, sizeof *y);
    double most = 0;

    o.upsample = (char *)upsample;
    o.norm = "none";
    struct model *m = open_model(&o);
    for (int k = 0; k < model_net(m, 0)->n_params; k++) // 0.05 would vanish layer by layer
        for (size_t i = 0; i < model_net(m, 0)->params[k].count; i++)
            model_net(m, 0)->params[k].w[i] *= 4;
    assert_int_equal(model_weights_changed(m), ERR_OK);
    for (int i = 0; i < SIDE * SIDE * 3; i++)
        x[i] = 0.3f;
    assert_int_equal(model_translate(m, 0, 1, SIDE, SIDE, x, y), ERR_OK);
    for (int i = MIDDLE - 4; i < MIDDLE + 4; i++)
        most =
            fmax(most, fabs((double)y[(MIDDLE * SIDE + i) * 3] - y[(MIDDLE * SIDE + i + 1) * 3]));
    model_free(m);
    free(x);
    free(y);
    return most;
}

static void resizing_leaves_no_checkerboard(void **state) {
    double transposed = checkerboard("transposed"), resized = checkerboard("resize");

    assert_true(checkerboard(NULL) == transposed);
    assert_true(transposed > 0 && resized < 1e-4 * transposed);
}

static void resizing_trains_and_has_its_own_state_dict(void **state) {
    struct config_trainer o = tiny();
    struct pair_sizes s = {1, 32, 32, 32, 32};
    struct model *m;

    o.upsample = "resize";
    m = open_model(&o);
    for (int i = 0, found = 0; i <= model_net(m, 0)->n_params; i++) {
        if (i == model_net(m, 0)->n_params) {
            assert_int_equal(found, 2);
            break;
        }
        const struct model_param *p = &model_net(m, 0)->params[i];
        assert_null(strstr(p->key, "filt"));
        found += !strcmp(p->key, "model.17.weight") && p->dims[0] == 8 && p->dims[1] == 16;
        found += !strcmp(p->key, "model.21.weight") && p->dims[0] == 4 && p->dims[1] == 8;
    }
    step(m, &s, 0);
    double before = model_loss(m, 2);
    for (uint64_t i = 0; i < 30; i++)
        step(m, &s, 0);
    assert_true(model_loss(m, 2) < 0.9 * before);
    model_free(m);
    o.netG = "unet_128";
    assert_int_equal(model_new(&o, &usual_host, &m), ERR_CONFIG);
    assert_non_null(strstr(err_text(), "resnets only"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(resizing_leaves_no_checkerboard),
        cmocka_unit_test(resizing_trains_and_has_its_own_state_dict),
        cmocka_unit_test(two_runs_give_the_same_bits),
        cmocka_unit_test(training_lowers_the_cycle_loss),
        cmocka_unit_test(short_batch_does_not_disturb_the_next),
        cmocka_unit_test(batch_of_two_equal_pictures_has_the_losses_of_one),
        cmocka_unit_test(domains_of_different_size_train),
        cmocka_unit_test(biases_before_a_norm_stay_where_they_are),
        cmocka_unit_test(translation_in_mid_step_disturbs_nothing),
        cmocka_unit_test(gradients_that_are_not_finite_are_noticed),
        cmocka_unit_test(callback_runs_between_ops),
        cmocka_unit_test(without_identity_its_losses_are_zero),
        cmocka_unit_test(tensors_that_share_memory_do_not_meet),
        cmocka_unit_test(wgangp_has_a_penalty_for_each_discriminator),
        cmocka_unit_test(options_that_cannot_work_are_refused),
        cmocka_unit_test(sizes_that_cannot_work_are_refused),
        cmocka_unit_test(batch_beyond_the_memory_limit_is_refused),
        cmocka_unit_test(batch_beyond_the_machine_is_refused),
        cmocka_unit_test(kernels_are_listed_once_each),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
