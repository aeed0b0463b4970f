// source, cache and work: pictures through the threads, within the budget, replaced by rule.

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/digest.h"
#include "base/err.h"
#include "base/fs.h"
#include "base/rng.h"
#include "base/util.h"
#include "check.h"
#include "source.h"
#include "work.h"

#define PICTURES 6

static char folder[] = "/tmp/test_source_XXXXXX";

static struct image drawn(int w, int h, int i) {
    struct image im = {.w = w, .h = h, .c = 3, .pixels = xmalloc((size_t)(w * h * 3))};
    for (int p = 0; p < w * h * 3; p++)
        im.pixels[p] = (uint8_t)rng_block(1, RNG_TEST, (uint64_t)p / 64, (uint32_t)i).v[0];
    return im;
}

static void add_picture(struct manifest *m, int i) {
    char name[32], path[128];
    (void)snprintf(name, sizeof name, "%s%d.png", m->domain, i);
    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    struct image im = drawn(40 + i, 30 + 2 * i, i);
    assert_int_equal(image_save_png(path, &im), ERR_OK);
    struct manifest_record *r = &m->records[i];
    assert_int_equal(digest_file(path, r->sha256, &r->size), ERR_OK);
    r->path = xstrdup(name);
    r->w = im.w;
    r->h = im.h;
    image_fini(&im);
}

static struct manifest *pictures(const char *domain) {
    struct manifest *m = xcalloc(1, sizeof *m);
    (void)text_copy(m->domain, sizeof m->domain, domain);
    m->root = xstrdup(folder);
    m->count = PICTURES - 1;
    m->held_out = 1;
    m->records = xcalloc(PICTURES, sizeof *m->records);
    for (int i = 0; i < PICTURES; i++)
        add_picture(m, i);
    manifest_seal(m);
    return m;
}

struct fixture {
    struct config config;
    struct items items;
    struct manifest *manifest[2];
    struct source source;
};

static int set_up(void **state) {
    struct fixture *f = xcalloc(1, sizeof *f);
    f->config.loader.load_size = 20;
    f->config.loader.crop_size = 16;
    f->config.loader.preprocess = "resize_and_crop";
    f->config.loader.cache = 1 << 20;
    f->config.loader.exact_decode = true;
    f->config.trainer.input_nc = f->config.trainer.output_nc = 3;
    f->config.curator[0].use = f->config.curator[1].use = "folder";
    f->config.curator[0].max_pixels = f->config.curator[1].max_pixels = 1 << 20;
    f->manifest[0] = pictures("A");
    f->manifest[1] = pictures("B");
    f->items = (struct items){.seed = 3,
                              .flip = true,
                              .n = {PICTURES - 1, PICTURES - 1},
                              .n_all = {PICTURES - 1, PICTURES - 1},
                              .held = {1, 1},
                              .batch_size = 2};
    source_init(&f->source, &f->config, &f->items, f->manifest, NULL);
    *state = f;
    return 0;
}

static int tear_down(void **state) {
    struct fixture *f = *state;
    source_fini(&f->source);
    manifest_free(f->manifest[0]);
    manifest_free(f->manifest[1]);
    free(f);
    return 0;
}

static struct work_batch *wait_for(struct work *w) {
    struct work_batch *b;
    while (!(b = work_next(w))) {
        struct pollfd p = {.fd = work_fd(w), .events = POLLIN};
        assert_int_equal(poll(&p, 1, 5000), 1);
    }
    return b;
}

// Every batch of two epochs, as one digest.
static void digest_of_two_epochs(struct fixture *f, int threads, char ret[65]) {
    struct work *w = work_new(&f->source, threads, 1);
    uint8_t sum[64] = {0};
    for (uint64_t k = 0; k < 2 * items_batches(&f->items); k++) {
        struct msg_ticket t = {.epoch = 1 + k / 3, .index = k % 3};
        t.count = items_in_batch(&f->items, t.index);
        assert_int_equal(work_begin(w, &t, 1), ERR_OK);
        struct work_batch *b = wait_for(w);
        struct msg m;
        struct link_frame frames[2];
        assert_int_equal(work_pack(b, &m, frames), ERR_OK);
        for (int side = 0; side < 2; side++) {
            assert_int_equal(frames[side].size, t.count * 16 * 16 * 3);
            digest_bytes(frames[side].bytes, frames[side].size, sum + 32);
            digest_bytes(sum, sizeof sum, sum);
            free(frames[side].bytes);
        }
        work_batch_free(w, b);
    }
    work_free(w);
    digest_hex(sum, ret);
}

static void batches_do_not_depend_on_threads_or_cache(void **state) {
    struct fixture *f = *state;
    char one[65], four[65], uncached[65];
    digest_of_two_epochs(f, 1, one);
    digest_of_two_epochs(f, 4, four);
    assert_string_equal(one, four);
    cache_free(f->source.cache);
    f->source.cache = cache_new(0, 2 * PICTURES);
    digest_of_two_epochs(f, 3, uncached);
    assert_string_equal(one, uncached);
    assert_int_equal(cache_bytes(f->source.cache), 0);
}

static void the_cache_stays_within_its_budget_and_keeps_what_it_has(void **state) {
    struct image im = drawn(10, 10, 0), other = drawn(10, 10, 1), small = drawn(5, 5, 2), out;
    struct cache *c = cache_new(2 * 300 + 74, 5);
    cache_put(c, 0, &im);
    cache_put(c, 1, &other);
    cache_put(c, 2, &im);    // no room
    cache_put(c, 3, &small); // a byte too many
    cache_put(c, 0, &other); // it is there
    assert_int_equal(cache_bytes(c), 600);
    assert_false(cache_get(c, 2, &out));
    assert_false(cache_get(c, 3, &out));
    assert_false(cache_get(c, 99, &out));
    assert_true(cache_get(c, 0, &out));
    assert_memory_equal(out.pixels, im.pixels, 300);
    image_fini(&out);
    cache_free(c);
    image_fini(&im);
    image_fini(&other);
    image_fini(&small);
}

// Whatever pictures come, and from whichever thread, pixels kept never pass the budget.
static void a_small_budget_holds_in_many_threads(void **state) {
    struct fixture *f = *state;
    char small[65], large[65];
    digest_of_two_epochs(f, 2, large);
    size_t one = 20 * 20 * 3;
    cache_free(f->source.cache);
    f->source.cache = cache_new(3 * one + one / 2, 2 * PICTURES);
    digest_of_two_epochs(f, 4, small);
    assert_string_equal(small, large);
    assert_int_equal(cache_bytes(f->source.cache), 3 * one);
}

// Record 0 of A as a JPEG of 160x120.
static void put_jpeg(struct fixture *f) {
    struct manifest_record *r = &f->manifest[0]->records[0];
    struct image small = drawn(20, 15, 7), im;
    char path[128];
    image_resize(&small, 160, 120, &im);
    (void)snprintf(path, sizeof path, "%s/A0.jpg", folder);
    assert_int_equal(image_save_jpeg(path, &im, 90), ERR_OK);
    assert_int_equal(digest_file(path, r->sha256, &r->size), ERR_OK);
    free(r->path);
    r->path = xstrdup("A0.jpg");
    r->w = 160;
    r->h = 120;
    image_fini(&small);
    image_fini(&im);
}

static struct image got(struct fixture *f, bool exact) {
    struct item item = {.augment = true}; // no cropping range: load_size is 20, crop_size 16
    struct source_times times = {0};
    struct image im;
    uint64_t record;
    cache_free(f->source.cache);
    f->source.cache = cache_new(0, 2 * PICTURES);
    f->source.exact = exact;
    assert_int_equal(source_get(&f->source, &item, 0, &im, &record, &times), ERR_OK);
    assert_int_equal(record, 0);
    return im;
}

static void a_smaller_decoding_is_nearly_the_exact_one(void **state) {
    struct fixture *f = *state;
    put_jpeg(f);
    struct image exact = got(f, true), scaled = got(f, false);
    int n = 16 * 16 * 3, sum = 0;
    assert_int_equal(scaled.w, exact.w);
    assert_int_equal(scaled.h, exact.h);
    for (int i = 0; i < n; i++)
        sum += abs(exact.pixels[i] - scaled.pixels[i]);
    assert_true(sum > 0);     // it was decoded smaller
    assert_true(sum / n < 6); // than its grain, which has a deviation of some 70
    image_fini(&exact);
    image_fini(&scaled);
}

static void overwrite(const char *name, const char *text) {
    char path[128];
    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    assert_int_equal(fs_write_atomic(path, text, strlen(text)), ERR_OK);
}

static void a_changed_picture_is_replaced_by_the_next(void **state) {
    struct fixture *f = *state;
    overwrite("A1.png", "not what it was");
    struct item item = {.record = {1, 0}};
    struct source_times times = {0};
    struct image replaced, next;
    uint64_t record;
    assert_int_equal(source_get(&f->source, &item, 0, &replaced, &record, &times), ERR_OK);
    assert_int_equal(record, 2);
    item.record[0] = 2;
    assert_int_equal(source_get(&f->source, &item, 0, &next, &record, &times), ERR_OK);
    assert_memory_equal(replaced.pixels, next.pixels, 16 * 16 * 3);
    image_fini(&replaced);
    image_fini(&next);
}

static void a_domain_without_a_usable_picture_is_an_error(void **state) {
    struct fixture *f = *state;
    char name[24];
    for (int i = 0; i < PICTURES - 1; i++) {
        (void)snprintf(name, sizeof name, "B%d.png", i);
        overwrite(name, "gone");
    }
    struct item item = {0};
    struct source_times times = {0};
    struct image im;
    uint64_t record;
    assert_int_equal(source_get(&f->source, &item, 1, &im, &record, &times), ERR_DATA);
    assert_non_null(strstr(err_text(), "domain B"));
}

static void more_tickets_than_slots_are_refused(void **state) {
    struct fixture *f = *state;
    struct work *w = work_new(&f->source, 1, 1);
    struct msg_ticket t = {.epoch = 1, .count = 2};
    assert_int_equal(work_begin(w, &t, 1), ERR_OK);
    assert_int_equal(work_begin(w, &t, 1), ERR_LIMIT);
    work_batch_free(w, wait_for(w));
    assert_int_equal(work_begin(w, &t, 1), ERR_OK);
    t.count = 5000;
    assert_int_equal(work_begin(w, &t, 1), ERR_PEER);
    work_free(w);
}

int main(void) {
    if (!mkdtemp(folder))
        return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(batches_do_not_depend_on_threads_or_cache, set_up,
                                        tear_down),
        cmocka_unit_test(the_cache_stays_within_its_budget_and_keeps_what_it_has),
        cmocka_unit_test_setup_teardown(a_small_budget_holds_in_many_threads, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_smaller_decoding_is_nearly_the_exact_one, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_changed_picture_is_replaced_by_the_next, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_domain_without_a_usable_picture_is_an_error, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(more_tickets_than_slots_are_refused, set_up, tear_down),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    (void)fs_remove_tree(folder);
    return failed;
}
