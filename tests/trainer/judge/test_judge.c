// Tests of the judge: scores move the right way, a collapsed generator is flagged.
#include <glob.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fs.h"
#include "base/util.h"
#include "checkpoint/best.h"
#include "config/config.h"
#include "image/image.h"
#include "judge/evaluate.h"
#include "judge/judge.h"
#include "judge/samples.h"
#include "judge/swd.h"
#include "trainer/models/model_test.h"

enum { N = 6, SIDE = 32 };
#define FACES "../shared/data/face2genshin/"

static const struct config_trainer small = {
    .model = "cycle_gan",
    .device = "cpu",
    .netG = "resnet_6blocks",
    .netD = "basic",
    .norm = "instance",
    .gan_mode = "lsgan",
    .input_nc = 3,
    .output_nc = 3,
    .ngf = 8,
    .ndf = 8,
    .n_layers_D = 3,
    .lambda_A = 10,
    .lambda_B = 10,
    .lambda_identity = 0.5,
    .beta1 = 0.5,
    .beta2 = 0.999,
    .no_dropout = true,
    .threads = 2,
    .shapes = 1,
};

// Smooth colour fields, darker for domain 1.
static struct image draw(int domain, int number) {
    struct image im;
    double phase = 6.3 * rng_uniform(5, RNG_TEST, (uint64_t)(domain * 1000 + number), 0);
    image_init(&im, SIDE, SIDE, 3);
    for (int y = 0; y < SIDE; y++)
        for (int x = 0; x < SIDE; x++)
            for (int c = 0; c < 3; c++)
                im.pixels[(y * SIDE + x) * 3 + c] =
                    (uint8_t)((domain ? 40 : 120) + 40 * sin(phase + 0.2 * x + 0.1 * c * y));
    return im;
}

static void draw_held_out(struct held_out *h) {
    for (int d = 0; d < 2; d++) {
        h->count[d] = N;
        h->real[d] = xcalloc(N, sizeof *h->real[d]);
        for (int i = 0; i < N; i++)
            h->real[d][i] = draw(d, i);
    }
}

static void score(struct model *m, const char *folder, bool paired, struct evaluate_scores ret[2]) {
    static const bool stop = false;
    struct held_out held = {0};
    struct evaluate_options options = {N, 7, paired, &stop, folder};

    draw_held_out(&held);
    assert_int_equal(evaluate(m, &held, &options, ret), ERR_OK);
    held_out_fini(&held);
}

static void a_generator_that_gives_one_picture_has_no_diversity(void **state) {
    struct model *m = open_model(&small);
    struct evaluate_scores s[2];
    struct model_net *g = model_net(m, 0);

    score(m, NULL, false, s);
    assert_true(evaluate_diversity_share(&s[0]) > 0 && evaluate_diversity_share(&s[1]) > 0);
    for (int k = 0; k < g->n_params; k++)
        memset(g->params[k].w, 0, g->params[k].count * sizeof(float));
    assert_int_equal(model_weights_changed(m), ERR_OK);
    score(m, NULL, false, s);
    assert_true(evaluate_diversity_share(&s[0]) == 0);
    assert_true(evaluate_diversity_share(&s[1]) > 0);
    model_free(m);
}

static void the_numbers_are_there_and_the_same_again(void **state) {
    struct model *m = open_model(&small);
    struct evaluate_scores s[2], again[2];

    score(m, NULL, true, s);
    score(m, NULL, true, again);
    assert_memory_equal(s, again, sizeof s);
    for (int i = 0; i < 2; i++) {
        assert_true(s[i].distance > 0 && s[i].identity > 0);
        assert_true(s[i].cycle_l1 > 0 && fabs(s[i].cycle_ssim) <= 1);
        assert_true(s[i].l1 > 0 && s[i].psnr > 0 && fabs(s[i].ssim) <= 1);
    }
    assert_true(fabs(evaluate_total(s, 2, true) - (s[0].l1 + s[1].l1) / 2) < 1e-12);
    score(m, NULL, false, s);
    assert_true(isnan(s[0].l1) && isnan(s[0].psnr));
    model_free(m);
}

static void pictures_are_written_for_others(void **state) {
    struct model *m = open_model(&small);
    struct evaluate_scores s[2];
    char folder[] = "/tmp/judge-XXXXXX", path[64];
    static const char *const names[] = {"real_A", "fake_A", "real_B", "fake_B"};

    assert_non_null(mkdtemp(folder));
    for (int again = 0; again < 2; again++)
        score(m, folder, false, s);
    for (int i = 0; i < 4; i++)
        for (int k = 0; k <= N; k++) {
            (void)snprintf(path, sizeof path, "%s/%s/%04d.png", folder, names[i], k);
            assert_int_equal(fs_exists(path), k < N);
        }
    assert_int_equal(fs_remove_tree(folder), ERR_OK);
    model_free(m);
}

static void the_best_is_the_lowest_or_the_highest(void **state) {
    struct best b = {0};

    assert_false(best_note(&b, "x", 10, NAN));
    assert_true(best_note(&b, "x", 20, 2));
    assert_false(best_note(&b, "x", 30, 2));
    assert_true(best_note(&b, "x", 40, 1));
    assert_true(b.step == 40 && b.value == 1);
    assert_true(best_note(&b, "-x", 50, 0.5));
    assert_true(best_note(&b, "-x", 55, 3));
    assert_false(best_note(&b, "-x", 60, 2));
    assert_string_equal(best_name("-x"), "x");
}

static int load(const char *pattern, int first, int every, int n, struct image *ret) {
    glob_t found;
    int count = 0;

    if (glob(pattern, 0, NULL, &found))
        return 0;
    for (size_t i = (size_t)first; i < found.gl_pathc && count < n; i += (size_t)every) {
        struct image whole;
        assert_int_equal(image_load(found.gl_pathv[i], &image_default_limits, 3, &whole), ERR_OK);
        image_resize(&whole, 64, 64, &ret[count++]);
        image_fini(&whole);
    }
    globfree(&found);
    return count;
}

// Of real pictures: the same set, two halves of one domain, two domains.
static void distances_move_the_right_way(void **state) {
    enum { HALF = 60 };
    struct image a[2][HALF], b[HALF];
    double same, halves, domains;

    if (!fs_is_dir(FACES))
        skip();
    assert_int_equal(load(FACES "trainA/*", 0, 2, HALF, a[0]), HALF);
    assert_int_equal(load(FACES "trainA/*", 1, 2, HALF, a[1]), HALF);
    assert_int_equal(load(FACES "trainB/*", 0, 1, HALF, b), HALF);
    assert_int_equal(swd(a[0], HALF, a[0], HALF, 7, &same), ERR_OK);
    assert_int_equal(swd(a[1], HALF, a[0], HALF, 7, &halves), ERR_OK);
    assert_int_equal(swd(b, HALF, a[0], HALF, 7, &domains), ERR_OK);
    print_message("distance of a set from itself %g, of halves of a domain %.1f, of domains %.1f\n",
                  same, halves, domains);
    assert_true(same == 0);
    assert_true(halves < domains / 3);
    for (int i = 0; i < HALF; i++) {
        image_fini(&a[0][i]);
        image_fini(&a[1][i]);
        image_fini(&b[i]);
    }
}

// Nothing is held out of B: its scores are not called held_out.
static void scores_of_training_images_are_named_for_it(void **state) {
    const struct held_out held = {.trained = {false, true}};
    char name[65];
    judge_stored_name(&held, "held_out/cycle_L1_A", name);
    assert_string_equal(name, "held_out/cycle_L1_A");
    judge_stored_name(&held, "held_out/cycle_SSIM_B", name);
    assert_string_equal(name, "training/cycle_SSIM_B");
    judge_stored_name(&held, "swd/AtoB", name);
    assert_string_equal(name, "swd/AtoB");
}

// The first generator of a run BtoA translates from B to A.
static void scores_are_named_by_the_run_s_direction(void **state) {
    struct config *c = config_new();
    struct held_out held = {.swapped = true, .trained = {true, false}};
    char name[65];
    config_set_text(&c->top.direction, "BtoA");
    c->trainer.judge_pictures = 4;
    assert_true(judge_records(c, 1, "swd/BtoA"));
    // The default of plateau_metric is a score that this run has.
    assert_string_equal(c->trainer.plateau_metric, "swd/AtoB");
    assert_true(judge_records(c, 1, judge_plateau_metric(c, 1)));
    assert_false(judge_records(c, 1, "swd/AtoB"));
    assert_true(judge_records(c, 2, "held_out/cycle_L1_A"));
    config_set_text(&c->trainer.best_metric, "swd/AtoB");
    assert_int_equal(judge_check(c, 1), ERR_CONFIG);
    assert_non_null(strstr(err_text(), "judge/score, swd/BtoA and diversity/BtoA"));
    assert_int_equal(held_out_domain(&held, 0), 'B');
    assert_int_equal(held_out_domain(&held, 1), 'A');
    judge_stored_name(&held, "held_out/cycle_L1_B", name); // B is side 0
    assert_string_equal(name, "training/cycle_L1_B");
    config_free(c);
}

static void page_explains_the_columns_that_its_sheets_have(void **state) {
    char folder[] = "/tmp/page-XXXXXX", old[4096];
    uint8_t *text;
    size_t size;
    assert_non_null(getcwd(old, sizeof old));
    assert_non_null(mkdtemp(folder));
    assert_int_equal(chdir(folder), 0);
    assert_int_equal(fs_mkdirs("samples", 0755), ERR_OK);
    for (int generators = 1; generators <= 2; generators++) {
        assert_int_equal(samples_page("run", generators), ERR_OK);
        assert_int_equal(fs_read("index.html", 1 << 20, &text, &size), ERR_OK);
        assert_true(!strstr((char *)text, "rec (") == (generators == 1));
        free(text);
    }
    assert_int_equal(chdir(old), 0);
    fs_remove_tree(folder);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_generator_that_gives_one_picture_has_no_diversity),
        cmocka_unit_test(the_numbers_are_there_and_the_same_again),
        cmocka_unit_test(pictures_are_written_for_others),
        cmocka_unit_test(the_best_is_the_lowest_or_the_highest),
        cmocka_unit_test(distances_move_the_right_way),
        cmocka_unit_test(scores_of_training_images_are_named_for_it),
        cmocka_unit_test(scores_are_named_by_the_run_s_direction),
        cmocka_unit_test(page_explains_the_columns_that_its_sheets_have),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
