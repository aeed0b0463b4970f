// The CUT step as a whole: repetition, resuming, what its options do, refusals. Its numbers are
// checked by the golden cases.
#include "trainer/models/model_test.h"

#include <sys/wait.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/util.h"
#include "checkpoint/checkpoint.h"
#include "config/config.h"

#define SIDE 16

static struct config_trainer tiny(void) {
    struct config_trainer o = recipe_options("cut");

    o.n_layers_D = 1;
    o.nce_layers = "0,4,8,12,16";
    o.netF_nc = 16;
    o.num_patches = 24;
    return o;
}

static struct config_trainer tiny_fast(void) {
    struct config_trainer o = tiny();

    o.nce_idt = false;
    o.flip_equivariance = true;
    o.lambda_NCE = 10;
    return o;
}

static struct model *open_tiny_with(const struct config_trainer *options,
                                    const struct model_host *host) {
    struct model *m;

    assert_int_equal(model_new(options, host, &m), ERR_OK);
    assert_int_equal(model_init(m, "xavier", 1, 3), ERR_OK);
    return m;
}

static struct model *open_tiny(const struct config_trainer *options) {
    return open_tiny_with(options, &usual_host);
}

static void step_on(struct model *m, int n, uint64_t number, uint64_t pictures) {
    size_t count = (size_t)(n * SIDE * SIDE * 3);

    assert_int_equal(model_shape(m, n, SIDE, SIDE, SIDE, SIDE), ERR_OK);
    model_set_step(m, number);
    feed(m, MODEL_A, count, 2 * pictures);
    feed(m, MODEL_B, count, 2 * pictures + 1);
    assert_true(model_d_first(m));
    assert_int_equal(model_generate(m), ERR_OK);
    assert_int_equal(model_update_d(m, 2e-4, NULL, model_fake(m, MODEL_B)), ERR_OK);
    assert_int_equal(model_update_g(m, 2e-4), ERR_OK);
}

static void step(struct model *m, int n, uint64_t number) {
    step_on(m, n, number, number);
}

static bool same_parameters(struct model *a, struct model *b) {
    for (int i = 0; i < model_n_nets(a); i++)
        for (int k = 0; k < model_net(a, i)->n_params; k++) {
            const struct model_param *p = &model_net(a, i)->params[k];
            const struct model_param *q = &model_net(b, i)->params[k];
            if (memcmp(p->w, q->w, p->count * sizeof(float)) != 0)
                return false;
        }
    return true;
}

static void two_runs_give_the_same_bits(void **state) {
    struct config_trainer options[] = {tiny(), tiny_fast()};

    for (int i = 0; i < 2; i++) {
        struct model *a = open_tiny(&options[i]), *b = open_tiny(&options[i]);
        for (uint64_t k = 0; k < 3; k++) {
            step(a, 2, k);
            step(b, 2, k);
        }
        assert_true(same_parameters(a, b));
        model_free(a);
        model_free(b);
    }
}

static void another_seed_draws_other_patches(void **state) {
    struct config_trainer o = tiny();
    struct model *a = open_tiny(&o);

    struct model *b = open_tiny_with(&o, &(struct model_host){.seed = 43});
    step(a, 1, 0);
    step(b, 1, 0);
    assert_false(same_parameters(a, b));
    model_free(a);
    model_free(b);
}

static void training_lowers_the_loss_of_patches(void **state) {
    struct config_trainer o = tiny();
    struct model *m = open_tiny(&o);
    double first;

    step_on(m, 1, 0, 0);
    first = loss(m, "NCE");
    for (uint64_t i = 1; i < 60; i++)
        step_on(m, 1, i, 0);
    assert_true(loss(m, "NCE") < 0.9 * first);
    assert_true(model_gradients_finite(m));
    model_free(m);
}

static void losses_add_up(void **state) {
    struct config_trainer options[] = {tiny(), tiny_fast()};

    for (int i = 0; i < 2; i++) {
        struct model *m = open_tiny(&options[i]);
        step(m, 2, 0);
        double nce = i ? loss(m, "NCE") : 0.5 * (loss(m, "NCE") + loss(m, "NCE_Y"));
        assert_true(fabs(loss(m, "G") - loss(m, "G_GAN") - nce) <= 1e-12 * fabs(loss(m, "G")));
        assert_int_equal(has_loss(m, "NCE_Y"), i == 0);
        assert_true(loss(m, "D_real") > 0 && loss(m, "D_fake") > 0);
        model_free(m);
    }
}

// A batch of the same picture twice: each picture's patches are compared among themselves, unless
// the whole batch's are, where each meets its double.
static void negatives_are_of_the_same_picture_unless_told(void **state) {
    struct config_trainer o = tiny_fast();
    double value[3];

    for (int i = 0; i < 3; i++) {
        int n = i ? 2 : 1;
        o.nce_includes_all_negatives_from_minibatch = i == 2;
        struct model *m = open_tiny(&o);
        assert_int_equal(model_shape(m, n, SIDE, SIDE, SIDE, SIDE), ERR_OK);
        for (int d = 0; d < 2; d++) {
            float x[2 * SIDE * SIDE * 3];
            for (int k = 0; k < n; k++)
                fill(x + k * SIDE * SIDE * 3, SIDE * SIDE * 3, (uint64_t)d + 1);
            assert_int_equal(model_feed_floats(m, (enum model_domain)d, x), ERR_OK);
        }
        assert_int_equal(model_generate(m), ERR_OK);
        assert_int_equal(model_update_d(m, 2e-4, NULL, model_fake(m, MODEL_B)), ERR_OK);
        assert_int_equal(model_update_g(m, 2e-4), ERR_OK);
        value[i] = loss(m, "NCE");
        model_free(m);
    }
    assert_true(fabs(value[0] - value[1]) <= 1e-5 * value[0]); // float sums in another order
    assert_true(value[2] > 1.05 * value[1]);
}

static void mirroring_is_seen_by_the_generator_alone(void **state) {
    struct config_trainer o = tiny_fast();
    struct model *a = open_tiny(&o), *b = open_tiny(&o);
    size_t row = SIDE * 3;
    const int patches[24] = {0};

    for (int flip = 0; flip < 2; flip++) {
        struct model_draws draws = {.flip = flip};
        struct model *m = flip ? b : a;
        for (int l = 0; l < 5; l++)
            draws.patches[0][l] = patches;
        assert_int_equal(model_shape(m, 1, SIDE, SIDE, SIDE, SIDE), ERR_OK);
        float picture[SIDE * SIDE * 3];
        for (int y = 0; y < SIDE; y++)
            for (int x = 0; x < SIDE; x++) // b is given the mirrored picture
                fill(picture + (size_t)y * row + (size_t)(flip ? SIDE - 1 - x : x) * 3, 3,
                     (uint64_t)(y * SIDE + x));
        assert_int_equal(model_feed_floats(m, MODEL_A, picture), ERR_OK);
        model_set_draws(m, &draws);
        assert_int_equal(model_generate(m), ERR_OK);
    }
    assert_memory_equal(model_fake(a, MODEL_B), model_fake(b, MODEL_B), SIDE * row * sizeof(float));
    model_free(a);
    model_free(b);
}

// ---- resuming ----

static struct config *config;

static int save(const char *root, struct model_net **nets, uint64_t at) {
    struct state s = {.step = at, .epoch = 1, .device = "cpu"};
    struct checkpoint_content content = {
        .nets = nets, .n_nets = 3, .config = config, .kernels = ""};
    char folder[CHECKPOINT_PATH];
    int err = checkpoint_begin(root, at, folder);

    if (!err)
        err = checkpoint_write(folder, &content, &s);
    return err ? err : checkpoint_commit(root, folder, at);
}

static int load(const char *root, struct model_net **nets, uint64_t at) {
    char path[CHECKPOINT_PATH];

    checkpoint_path(root, at, path);
    return checkpoint_load(path, nets, 3);
}

// Steps [from, to) in a process of its own, from the checkpoint in `root` if there is one.
static void train_in_a_process(const char *root, uint64_t from, uint64_t to) {
    pid_t pid = fork();
    int status = -1;

    if (pid == 0) {
        struct config_trainer o = tiny();
        struct model *m = open_tiny(&o);
        struct model_net *nets[] = {model_net(m, 0), model_net(m, 1), model_net(m, 2)};
        if (from)
            assert_int_equal(load(root, nets, from), ERR_OK);
        assert_int_equal(model_weights_changed(m), ERR_OK);
        for (uint64_t i = from; i < to; i++)
            step(m, 2, i);
        int err = save(root, nets, to);
        model_free(m);
        _exit(err != ERR_OK);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

static void assert_same_file(const char *name) {
    uint8_t *bytes[2];
    size_t size[2];

    for (int i = 0; i < 2; i++) {
        char path[CHECKPOINT_PATH];
        (void)snprintf(path, sizeof path, "%s/step_00000020/%s", i ? "halves" : "whole", name);
        assert_int_equal(fs_read(path, 1 << 24, &bytes[i], &size[i]), ERR_OK);
    }
    assert_int_equal(size[0], size[1]);
    assert_memory_equal(bytes[0], bytes[1], size[0]);
    free(bytes[0]);
    free(bytes[1]);
}

static void twenty_steps_are_ten_and_in_another_process_ten(void **state) {
    train_in_a_process("whole", 0, 20);
    train_in_a_process("halves", 0, 10);
    train_in_a_process("halves", 10, 20);
    assert_same_file("G.safetensors");
    assert_same_file("F.safetensors");
    assert_same_file("D.safetensors");
    assert_same_file("optimizer.safetensors");
}

// ---- the nets ----

static const struct model_param *find(struct model *m, int net, const char *key) {
    for (int k = 0; k < model_net(m, net)->n_params; k++)
        if (strcmp(model_net(m, net)->params[k].key, key) == 0)
            return &model_net(m, net)->params[k];
    fail_msg("no %s", key);
    return NULL;
}

static void filters_are_in_the_state_dict_and_stay(void **state) {
    struct config_trainer o = tiny();
    struct model *m = open_tiny(&o);
    const struct model_param *blur = find(m, 0, "model.7.filt"), *up = find(m, 0, "model.18.filt");

    step(m, 1, 0);
    assert_true(blur->count == 8 * 9 && blur->dims[1] == 1 && blur->w[4] == 0.25f);
    assert_true(up->count == 16 * 16 && up->w[0] == 0.0625f && up->w[5] == 0.5625f);
    assert_true(!blur->m && !up->m);
    assert_true(find(m, 2, "model.2.filt")->count == 4 * 9);
    assert_true(find(m, 0, "model.19.weight")->rank == 4);
    model_free(m);
}

// Such a bias moves what is sampled, so it is trained; all others before an instance norm are not.
static void biases_of_sampled_maps_are_trained(void **state) {
    struct config_trainer o = tiny();
    struct model *m = open_tiny(&o);

    step(m, 1, 0);
    assert_true(!find(m, 0, "model.4.bias")->frozen && find(m, 0, "model.4.bias")->m[0] != 0);
    assert_true(!find(m, 0, "model.8.bias")->frozen && find(m, 0, "model.8.bias")->m[0] != 0);
    assert_true(find(m, 0, "model.1.bias")->frozen && find(m, 0, "model.1.bias")->m[0] == 0);
    assert_true(find(m, 1, "mlp_0.0.weight")->rank == 2);
    assert_true(find(m, 1, "mlp_4.2.bias")->m[0] != 0);
    model_free(m);
}

// With the penalty D's loss differs from that without by the penalty alone.
static void penalty_of_wgangp_is_logged_and_changes_the_discriminator(void **state) {
    struct config_trainer o = tiny();
    struct model *a, *b;

    o.lambda_gp = 10;
    o.gan_mode = "wgangp_no_penalty";
    a = open_tiny(&o);
    o.gan_mode = "wgangp";
    b = open_tiny(&o);
    step(a, 2, 0);
    step(b, 2, 0);
    assert_true(!has_loss(a, "gp") && loss(b, "gp") > 0);
    assert_true(loss(a, "D_real") == loss(b, "D_real") && loss(a, "D_fake") == loss(b, "D_fake"));
    assert_true(find(a, 2, "model.0.weight")->m[0] != find(b, 2, "model.0.weight")->m[0]);
    for (uint64_t i = 1; i < 40; i++)
        step_on(b, 2, i, 0);
    assert_true(model_gradients_finite(b));
    model_free(a);
    model_free(b);
}

static void options_that_cannot_work_are_refused(void **state) {
    struct config_trainer o;
    struct model *m;

#define REFUSED(field, value, word)                                                                \
    o = tiny();                                                                                    \
    o.field = value;                                                                               \
    assert_int_equal(model_new(&o, &usual_host, &m), ERR_CONFIG);                                  \
    assert_non_null(strstr(err_text(), word))
    REFUSED(nce_layers, "0,4,x", "nce_layers");
    REFUSED(nce_layers, "", "nce_layers");
    REFUSED(nce_layers, "4,0", "nce_layers");
    REFUSED(nce_layers, "0,7", "nce_layers"); // a fixed filter
    REFUSED(nce_layers, "0,99", "nce_layers");
    REFUSED(num_patches, 0, "num_patches");
    REFUSED(netF_nc, 0, "netF_nc");
    REFUSED(output_nc, 1, "input_nc");
#undef REFUSED
}

static void sizes_that_cannot_work_are_refused(void **state) {
    struct config_trainer o = tiny();
    struct model *m = open_tiny(&o);

    assert_int_equal(model_shape(m, 1, 16, 16, 16, 20), ERR_SHAPE);
    assert_non_null(strstr(err_text(), "one size"));
    assert_int_equal(model_shape(m, 1, 18, 16, 18, 16), ERR_SHAPE);
    model_free(m);
}

int main(void) {
    static const char *const sets[] = {"dataroot=.", "name=one", "trainer.model=cut"};
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(twenty_steps_are_ten_and_in_another_process_ten), // forks: the first
        cmocka_unit_test(two_runs_give_the_same_bits),
        cmocka_unit_test(another_seed_draws_other_patches),
        cmocka_unit_test(training_lowers_the_loss_of_patches),
        cmocka_unit_test(losses_add_up),
        cmocka_unit_test(negatives_are_of_the_same_picture_unless_told),
        cmocka_unit_test(mirroring_is_seen_by_the_generator_alone),
        cmocka_unit_test(filters_are_in_the_state_dict_and_stay),
        cmocka_unit_test(biases_of_sampled_maps_are_trained),
        cmocka_unit_test(penalty_of_wgangp_is_logged_and_changes_the_discriminator),
        cmocka_unit_test(options_that_cannot_work_are_refused),
        cmocka_unit_test(sizes_that_cannot_work_are_refused),
    };
    struct config_problems problems;
    char folder[] = "/tmp/test_cut_XXXXXX";

    if (!mkdtemp(folder) || chdir(folder) || fs_mkdirs("trainA", 0755) ||
        fs_mkdirs("trainB", 0755) ||
        config_resolve(NULL, ".", sets, COUNT(sets), &config, &problems))
        return 1;
    config_problems_fini(&problems);
    int failures = cmocka_run_group_tests(tests, NULL, NULL);
    (void)fs_remove_tree(folder); // only a test's folder
    config_free(config);
    return failures;
}
