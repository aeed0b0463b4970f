// What a domain looks like, how far two lie apart, and who says so.
#include "curator/curator_test.h"

#include <fcntl.h>
#include <math.h>
#include <sys/stat.h>

#include "curation/domain.h"

// ---- the distance ----

static struct domain of_shares(const double shares[STATS_BINS]) {
    struct domain d = {.pictures = 1};
    for (int k = 0; k < STATS_CHANNELS; k++)
        memcpy(d.shares[k], shares, sizeof d.shares[k]);
    return d;
}

enum { SAMPLES = 200000 };

static int by_value(const void *a, const void *b) {
    double p = *(const double *)a, q = *(const double *)b;
    return (p > q) - (p < q);
}

// Evenly spread within each bin: SAMPLES of them, sorted.
static void sample(const double shares[STATS_BINS], double *ret) {
    size_t n = 0;
    double owed = 0;
    for (int b = 0; b < STATS_BINS; b++) {
        owed += shares[b] * SAMPLES;
        size_t count = (size_t)(owed + 0.5) - n;
        for (size_t i = 0; i < count && n + i < SAMPLES; i++)
            ret[n + i] = (b + ((double)i + 0.5) / (double)count) * 8;
        n += count;
    }
    while (n < SAMPLES)
        ret[n++] = 256;
    qsort(ret, SAMPLES, sizeof *ret, by_value);
}

// In one dimension the cheapest way is from the k-th smallest to the k-th smallest.
static double moved(const double a[STATS_BINS], const double b[STATS_BINS]) {
    static double p[SAMPLES], q[SAMPLES];
    double sum = 0;
    sample(a, p);
    sample(b, q);
    for (int i = 0; i < SAMPLES; i++)
        sum += fabs(p[i] - q[i]);
    return sum / SAMPLES;
}

static void random_shares(uint64_t index, double ret[STATS_BINS]) {
    double sum = 0;
    for (uint32_t b = 0; b < STATS_BINS; b++) {
        double u = rng_uniform(11, RNG_TEST, index, b);
        ret[b] = u * u * u;
        sum += ret[b];
    }
    for (int b = 0; b < STATS_BINS; b++)
        ret[b] /= sum;
}

static void earth_is_what_sorted_samples_are_moved(void **state) {
    for (uint64_t i = 0; i < 20; i++) {
        double a[STATS_BINS], b[STATS_BINS];
        struct domain_distance d;
        random_shares(2 * i, a);
        random_shares(2 * i + 1, b);
        struct domain da = of_shares(a), db = of_shares(b);
        domain_distance(&da, &db, &d);
        // Samples round each share to 1 / SAMPLES of 256 levels.
        assert_true(fabs(d.earth[2] - moved(a, b)) < 0.02);
        assert_true(fabs(d.colours - d.earth[0]) < 1e-12);
        struct domain_distance back, none;
        domain_distance(&db, &da, &back);
        domain_distance(&da, &da, &none);
        assert_true(fabs(back.earth[1] - d.earth[1]) < 1e-9);
        assert_true(none.earth[0] == 0 && none.frechet[0] == 0);
    }
}

static void a_shift_by_bins_is_its_distance(void **state) {
    double a[STATS_BINS] = {[3] = 0.5, [10] = 0.5}, b[STATS_BINS] = {[8] = 0.5, [15] = 0.5};
    struct domain da = of_shares(a), db = of_shares(b);
    struct domain_distance d;
    domain_distance(&da, &db, &d);
    assert_true(fabs(d.earth[3] - 40) < 1e-9);
}

static void frechet_takes_all_pixels_means_and_deviations(void **state) {
    struct domain a = {.mean = {.mean = {100}, .std = {30}}, .spread = {.mean = {40}}};
    struct domain b = {.mean = {.mean = {112}, .std = {34}}};
    struct domain_distance d;
    domain_distance(&a, &b, &d); // deviations: sqrt(30^2 + 40^2) = 50 and 34
    assert_true(fabs(d.frechet[0] - 20) < 1e-12);
}

// ---- the file ----

static void fill(struct domain *d) {
    *d = (struct domain){.pictures = 3, .mean = {.luma = 12.5}, .sides = {1, 2, 3}};
    memset(d->manifest, 'a', 64);
    for (int k = 0; k < STATS_CHANNELS; k++)
        random_shares((uint64_t)k, d->shares[k]);
}

static void a_domain_is_read_as_it_was_written(void **state) {
    struct domain d, again;
    fill(&d);
    assert_int_equal(domain_save(&d, "A.domain"), ERR_OK);
    assert_int_equal(domain_load("A.domain", &again), ERR_OK);
    assert_memory_equal(&d, &again, sizeof d);
}

static void a_mutated_domain_is_refused(void **state) {
    struct domain d;
    uint8_t *bytes;
    size_t size;
    fill(&d);
    assert_int_equal(domain_save(&d, "A.domain"), ERR_OK);
    assert_int_equal(fs_read("A.domain", 1 << 20, &bytes, &size), ERR_OK);
    for (size_t i = 0; i < size; i += 3) {
        FILE *out = fopen("A.domain", "wb");
        assert_non_null(out);
        if (i % 2)
            bytes[i] ^= (uint8_t)(1 + i % 255);
        assert_int_equal(fwrite(bytes, 1, i % 2 ? size : i, out), i % 2 ? size : i); // or cut
        assert_int_equal(fclose(out), 0);
        assert_int_equal(domain_load("A.domain", &d), ERR_FORMAT);
        assert_non_null(strstr(err_text(), "A.domain"));
        if (i % 2)
            bytes[i] ^= (uint8_t)(1 + i % 255);
    }
    free(bytes);
}

// ---- who says so ----

static void even(const char *name, int level) {
    struct image im;
    image_init(&im, 32, 32, 3);
    memset(im.pixels, level, 32 * 32 * 3);
    im.pixels[0] ^= (uint8_t)(uintptr_t)name[strlen(name) - 5]; // no two are the same file
    assert_int_equal(image_save_png(in_folder(name), &im), 0);
    image_fini(&im);
}

static int curate_domain(const char *letter, const char *root) {
    struct manifest *m = NULL;
    free(settings.root);
    settings.root = xstrdup(in_folder(root));
    begin();
    memcpy(curation.domain, letter, 2);
    curation.warn_distance = 50;
    int err = curate(&curation, NULL, &m);
    manifest_free(m);
    return err;
}

static void make_two(int level_a, int level_b) {
    assert_int_equal(fs_mkdirs(in_folder("a"), 0755), ERR_OK);
    assert_int_equal(fs_mkdirs(in_folder("b"), 0755), ERR_OK);
    even("a/1.png", level_a);
    even("a/2.png", level_a);
    even("b/1.png", level_b);
    even("b/2.png", level_b);
}

static void the_second_curator_says_how_far_apart_they_are(void **state) {
    make_two(20, 100);
    assert_int_equal(curate_domain("A", "a"), ERR_OK);
    assert_null(heard_with("levels apart"));
    assert_int_equal(curate_domain("B", "b"), ERR_OK);
    assert_non_null(heard_with("info distance the colours of A and B lie 80."));
    assert_non_null(heard_with("warn domains_far_apart"));
    assert_non_null(heard_with("warn few_pictures"));
    assert_int_equal(curate_domain("B", "b"), ERR_OK); // unchanged: nothing again
    assert_null(heard_with("levels apart"));
}

static void one_that_changes_is_compared_again(void **state) {
    make_two(20, 100);
    assert_int_equal(curate_domain("A", "a"), ERR_OK);
    assert_int_equal(curate_domain("B", "b"), ERR_OK);
    even("b/3.png", 44); // in the middle of its bin, as the others
    even("b/4.png", 44);
    even("b/5.png", 44);
    even("b/6.png", 44);
    assert_int_equal(curate_domain("B", "b"), ERR_OK);
    const char *text = heard_with("info distance the colours of A and B lie ");
    assert_non_null(text);
    double levels = strtod(strstr(text, " lie ") + 5, NULL);
    assert_true(fabs(levels - (2 * 80 + 4 * 24) / 6.0) < 0.2); // one pixel of 1024 is other
    assert_null(heard_with("domains_far_apart"));
}

static void held_out_and_rejected_pictures_do_not_count(void **state) {
    struct domain d;
    make_two(20, 100);
    even("a/3.png", 200);
    settings.max_luma = 150;
    assert_int_equal(curate_domain("A", "a"), ERR_OK);
    assert_int_equal(domain_load("manifest/A.domain", &d), ERR_OK);
    assert_int_equal(d.pictures, 2);
    assert_true(fabs(d.mean.luma - 20) < 0.1);
    assert_true(d.sides[0] == 32 && d.aspects[1] == 1);
    assert_true(d.shares[0][2] > 0.99);
}

static void a_domain_of_one_brightness_is_warned_of(void **state) {
    make_two(255, 100);
    even("b/3.png", 140);
    assert_int_equal(curate_domain("A", "a"), ERR_OK);
    assert_non_null(heard_with("warn no_variance domain A: nearly all pixels"));
    assert_int_equal(curate_domain("B", "b"), ERR_OK);
    assert_null(heard_with("no_variance"));
}

// Names, sizes and times agree, as in two unpacked archives: the cache of one root is not the
// other's.
static void another_root_is_read_again(void **state) {
    static const char *const names[] = {"a/1.png", "a/2.png", "b/1.png", "b/2.png"};
    const struct timespec times[2] = {{1, 0}, {1, 0}};
    struct domain d;
    make_two(20, 100);
    for (size_t i = 0; i < COUNT(names); i++)
        assert_int_equal(utimensat(AT_FDCWD, in_folder(names[i]), times, 0), 0);
    assert_int_equal(curate_domain("B", "b"), ERR_OK);
    assert_int_equal(curate_domain("B", "a"), ERR_OK);
    assert_int_equal(domain_load("manifest/B.domain", &d), ERR_OK);
    assert_true(fabs(d.mean.luma - 20) < 0.1);
}

static void one_folder_for_both_domains_is_warned_of(void **state) {
    make_two(20, 100);
    assert_int_equal(curate_domain("A", "a"), ERR_OK);
    assert_int_equal(curate_domain("B", "b"), ERR_OK);
    assert_null(heard_with("same_pictures"));
    assert_int_equal(curate_domain("B", "a"), ERR_OK);
    assert_non_null(
        heard_with("warn same_pictures 2 of 2 pictures of domain B are in domain A too"));
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        CASE(earth_is_what_sorted_samples_are_moved),
        CASE(a_shift_by_bins_is_its_distance),
        CASE(frechet_takes_all_pixels_means_and_deviations),
        CASE(a_domain_is_read_as_it_was_written),
        CASE(a_mutated_domain_is_refused),
        CASE(the_second_curator_says_how_far_apart_they_are),
        CASE(one_that_changes_is_compared_again),
        CASE(held_out_and_rejected_pictures_do_not_count),
        CASE(a_domain_of_one_brightness_is_warned_of),
        CASE(one_folder_for_both_domains_is_warned_of),
        CASE(another_root_is_read_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
