// The checks that all curators share: bounds of looks, limits before decoding, duplicates; and that
// what is known of unchanged files is not found out again.
#include "curator/curator_test.h"

#include <math.h>

#include "curation/contact.h"
#include "curation/explain.h"
#include "pictures/check.h"
#include "pictures/near.h"

// ---- pictures of a known look ----

static void save(const char *name, const struct image *im, int quality) {
    char *path = in_folder(name);
    assert_int_equal(quality ? image_save_jpeg(path, im, quality) : image_save_png(path, im), 0);
}

// Blocks of `block` pixels, each of a random colour low .. high.
static void blocks(struct image *im, int w, int h, int block, int low, int high) {
    static uint64_t drawn;
    image_init(im, w, h, 3);
    drawn++;
    for (int i = 0; i < w * h; i++) {
        uint32_t cell = (uint32_t)(i / w / block * 1000 + i % w / block);
        for (uint32_t k = 0; k < 3; k++)
            im->pixels[3 * i + (int)k] =
                (uint8_t)(low + (int)rng_below(9, RNG_TEST, drawn << 20 | cell, k,
                                               (uint64_t)(high - low + 1)));
    }
}

static void draw_blocks(const char *name, int w, int h, int low, int high) {
    struct image im;
    blocks(&im, w, h, 4, low, high);
    save(name, &im, 0);
    image_fini(&im);
}

static void draw_gray(const char *name) {
    struct image im, gray;
    blocks(&im, 64, 64, 4, 0, 255);
    image_gray(&im, &gray);
    save(name, &gray, 90);
    image_fini(&im);
    image_fini(&gray);
}

static void every_bound_has_its_reason_its_score_and_its_setting(void **state) {
    static const struct {
        const char *name, *reason, *setting;
    } cases[] = {
        {"dark.png", "dark", "luma .* min_luma is 40"},
        {"bright.png", "bright", "max_luma is 215"},
        {"gray.jpg", "grayscale", "min_chroma is 3"},
        {"flat.png", "flat", "contrast .* min_contrast is 5"},
        {"two.png", "flat", "entropy .* min_entropy is 2"},
        {"soft.png", "blurred", "sharpness .* min_sharpness is 50"},
        {"narrow.png", "narrow", "aspect 0.5, min_aspect is 0.6"},
        {"wide.png", "wide", "aspect 2, max_aspect is 1.9"},
    };
    draw_blocks("data/good.png", 64, 64, 0, 255);
    draw_blocks("data/dark.png", 64, 64, 0, 60);
    draw_blocks("data/bright.png", 64, 64, 200, 255);
    draw_gray("data/gray.jpg");
    draw_blocks("data/flat.png", 64, 64, 120, 131);
    draw_blocks("data/narrow.png", 32, 64, 0, 255);
    draw_blocks("data/wide.png", 64, 32, 0, 255);
    struct image im;
    image_init(&im, 64, 64, 3);
    for (int i = 0; i < 64 * 64; i++) // two colours
        memcpy(im.pixels + 3 * i, i % 64 < 32 ? "\xff\x20\x20" : "\x20\x20\xff", 3);
    save("data/two.png", &im, 0);
    for (int i = 0; i < 64 * 64 * 3; i++) // a ramp
        im.pixels[i] = (uint8_t)(i % 3 == 0 ? 255 - i / 192 * 3 : i / 192 * 3);
    save("data/soft.png", &im, 0);
    image_fini(&im);
    settings.min_luma = 40;
    settings.max_luma = 215;
    settings.min_chroma = 3;
    settings.min_contrast = 5;
    settings.min_entropy = 2;
    settings.min_sharpness = 50;
    settings.min_aspect = 0.6;
    settings.max_aspect = 1.9;
    assert_int_equal(judged(), ERR_OK);
    assert_reason("good.png", "ok");
    for (size_t i = 0; i < COUNT(cases); i++) {
        const struct picture *p = picture(cases[i].name);
        const char *last = strrchr(cases[i].setting, '*');
        assert_string_equal(p->reason, cases[i].reason);
        assert_non_null(strstr(p->detail, last ? last + 2 : cases[i].setting));
        assert_true(isfinite(p->score));
    }
    assert_true(picture("dark.png")->score == picture("dark.png")->stats.luma);
}

static void without_bounds_nothing_is_left_out(void **state) {
    draw_blocks("data/dark.png", 64, 64, 0, 3);
    draw_gray("data/gray.jpg");
    draw_blocks("data/wide.png", 300, 4, 7, 7);
    draw_blocks("data/again.png", 300, 4, 7, 7); // the same bytes
    assert_int_equal(judged(), ERR_OK);
    assert_int_equal(count_of(VERDICT_REJECT), 0);
}

static void the_nearest_bound_is_told(void **state) {
    struct picture p = {.w = 100, .h = 50, .stats = {.luma = 63, .contrast = 10}};
    double margin;
    assert_string_equal(check_nearest(&settings, &p, &margin)->reason, "large");
    assert_true(margin > 0.9);
    settings.min_luma = 60;
    settings.min_contrast = 5;
    const struct check *c = check_nearest(&settings, &p, &margin);
    assert_string_equal(c->reason, "dark");
    assert_true(fabs(margin - 0.05) < 1e-12);
}

static void a_bomb_is_refused_by_its_header(void **state) {
    struct image im;
    image_init(&im, 3000, 3000, 3);
    save("data/flat.png", &im, 0); // some 30 KB
    image_fini(&im);
    draw_blocks("data/good.png", 64, 64, 0, 255);
    settings.max_pixels_per_byte = 100;
    assert_int_equal(judged(), ERR_OK);
    assert_reason("flat.png", "bomb");
    assert_non_null(strstr(picture("flat.png")->detail, "max_pixels_per_byte is 100"));
    assert_true(picture("flat.png")->score > 100);
    settings.max_pixels = 1000;
    settings.max_pixels_per_byte = 2000;
    assert_int_equal(judged(), ERR_DATA);
    assert_reason("flat.png", "too_large");
    assert_non_null(strstr(picture("flat.png")->detail, "max_pixels is 1000"));
}

// Every mutation of a JPEG, cut or changed in a byte: both ways of decoding say the same of it.
static void quick_judging_finds_the_same_damage(void **state) {
    struct image im;
    uint8_t *good, *bytes;
    size_t size, whole;
    char name[64];
    int bad = 0;
    blocks(&im, 90, 70, 3, 0, 255);
    assert_int_equal(image_encode_jpeg(&im, 85, &good, &whole), ERR_OK);
    for (int i = 0; i < 600; i++) {
        bytes = xmalloc(whole);
        memcpy(bytes, good, whole);
        size = i % 3 ? whole : rng_below(2, RNG_TEST, (uint64_t)i, 0, whole);
        if (i % 3)
            bytes[rng_below(2, RNG_TEST, (uint64_t)i, 1, whole)] ^=
                (uint8_t)(1 + rng_below(2, RNG_TEST, (uint64_t)i, 2, 255));
        (void)snprintf(name, sizeof name, "data/%03d.jpg", i);
        FILE *out = fopen(in_folder(name), "wb");
        assert_non_null(out);
        assert_int_equal(fwrite(bytes, 1, size, out), size);
        assert_int_equal(fclose(out), 0);
        free(bytes);
    }
    assert_int_equal(judged(), ERR_OK);
    char *reasons[600];
    for (int i = 0; i < 600; i++) {
        reasons[i] = xstrdup(curation.walk.found.items[i].reason);
        bad += curation.walk.found.items[i].verdict == VERDICT_REJECT;
    }
    assert_in_range(bad, 250, 550);
    settings.quick = true;
    assert_int_equal(judged(), ERR_OK);
    for (int i = 0; i < 600; i++) {
        const struct picture *p = &curation.walk.found.items[i];
        assert_string_equal(p->reason, reasons[i]);
        free(reasons[i]);
    }
    free(good);
    image_fini(&im);
}

static void quick_judging_measures_nearly_the_same(void **state) {
    struct image im;
    blocks(&im, 400, 300, 50, 0, 255);
    save("data/a.jpg", &im, 90);
    image_fini(&im);
    assert_int_equal(judged(), ERR_OK);
    struct picture full = *picture("a.jpg");
    settings.quick = true;
    assert_int_equal(judged(), ERR_OK);
    const struct picture *p = picture("a.jpg");
    assert_int_equal(p->w, 400);
    assert_int_equal(p->h, 300);
    assert_true(fabs(p->stats.luma - full.stats.luma) <
                1); // a block's mean is its first coefficient
    assert_in_range(dhash_distance(p->hash, full.hash), 0, 3);
}

// ---- what is shown ----

static void what_was_decided_by_little_is_borderline(void **state) {
    draw_blocks("data/far.png", 64, 64, 180, 255);
    draw_blocks("data/just.png", 64, 64, 100, 134);
    draw_blocks("data/nearly.png", 64, 64, 90, 128);
    draw_blocks("data/never.png", 64, 64, 0, 30);
    settings.min_luma = 113;
    assert_int_equal(judged(), ERR_OK);
    assert_reason("just.png", "ok");
    assert_reason("nearly.png", "dark");
    assert_string_equal(explain_border(&curation, picture("far.png")), "");
    assert_string_equal(explain_border(&curation, picture("just.png")), "min_luma");
    assert_string_equal(explain_border(&curation, picture("nearly.png")), "min_luma");
    assert_string_equal(explain_border(&curation, picture("never.png")), "");
}

static char *explained(const char *name) {
    static char text[8192];
    FILE *out = fmemopen(text, sizeof text, "w");
    assert_non_null(out);
    assert_int_equal(explain(&curation, name, out), ERR_OK);
    assert_int_equal(fclose(out), 0);
    return text;
}

static void an_explanation_has_every_score_beside_its_bound(void **state) {
    struct image im;
    blocks(&im, 64, 64, 8, 0, 60);
    save("data/a.png", &im, 0);
    save("data/b.jpg", &im, 80);
    image_fini(&im);
    draw_blocks("data/c.png", 64, 64, 0, 255);
    settings.min_luma = 25;
    settings.near_duplicates = 6;
    assert_int_equal(judged(), ERR_OK);
    const char *text = explained("b.jpg");
    assert_non_null(strstr(text, "reject (near_duplicate)"));
    assert_non_null(strstr(text, "from 'a.png', near_duplicates is 6"));
    assert_non_null(strstr(text, "twin      a.png"));
    for (int i = 0; i < check_count; i++)
        assert_non_null(strstr(text, checks[i].setting));
    assert_non_null(strstr(text, "min_luma      25       holds"));
}

static void a_sheet_has_a_row_for_each_outcome(void **state) {
    struct image im, sheet;
    assert_int_equal(judged(), ERR_DATA); // nothing there yet
    blocks(&im, 64, 64, 8, 0, 255);
    save("data/a.png", &im, 0);
    save("data/b.jpg", &im, 80);
    image_fini(&im);
    draw_blocks("data/c.png", 64, 64, 0, 255);
    settings.hold_out = 0;
    settings.near_duplicates = 6;
    assert_int_equal(judged(), ERR_OK);
    contact_image(&curation, &sheet);
    int two_rows = sheet.h;
    image_fini(&sheet);
    draw_blocks("data/d.png", 64, 64, 0, 30);
    settings.min_luma = 60;
    assert_int_equal(judged(), ERR_OK);
    contact_image(&curation, &sheet);
    assert_in_range(sheet.h - two_rows, 128, 160); // one more: dark
    image_fini(&sheet);
}

// ---- duplicates ----

static void of_equal_files_the_first_by_path_is_kept(void **state) {
    struct image im;
    blocks(&im, 64, 64, 8, 0, 255);
    save("data/c.png", &im, 0);
    save("data/a.png", &im, 0);
    save("data/b.png", &im, 0);
    image_fini(&im);
    draw_blocks("data/d.png", 64, 64, 0, 255);
    settings.drop_duplicates = true;
    assert_int_equal(judged(), ERR_OK);
    assert_reason("a.png", "ok");
    assert_reason("b.png", "duplicate");
    assert_reason("c.png", "duplicate");
    assert_reason("d.png", "ok");
    assert_non_null(strstr(picture("c.png")->detail, "'a.png', drop_duplicates is true"));
}

static void of_near_duplicates_the_largest_is_kept(void **state) {
    struct image im, half;
    blocks(&im, 128, 128, 16, 0, 255);
    image_resize(&im, 64, 64, &half);
    save("data/a.jpg", &half, 60);
    save("data/b.png", &im, 0);
    save("data/c.jpg", &im, 50);
    image_fini(&im);
    image_fini(&half);
    draw_blocks("data/d.png", 64, 64, 0, 255);
    settings.near_duplicates = 6;
    assert_int_equal(judged(), ERR_OK);
    assert_reason("a.jpg", "near_duplicate");
    assert_reason("b.png", "ok");
    assert_reason("c.jpg", "near_duplicate");
    assert_reason("d.png", "ok");
    assert_ptr_equal(picture("a.jpg")->twin, picture("b.png"));
    assert_non_null(strstr(picture("c.jpg")->detail, "from 'b.png', near_duplicates is 6"));
    assert_true(picture("c.jpg")->score <= 6);
}

// Ranked curators keep the better rank, and read on until enough are left.
static void a_ranked_curator_keeps_the_better_one_of_duplicates(void **state) {
    struct image im;
    char row[128], text[2048] = "4\nlefteye_x lefteye_y righteye_x righteye_y nose_x nose_y "
                                "leftmouth_x leftmouth_y rightmouth_x rightmouth_y\n";
    static const struct {
        const char *name;
        int shift;
    } rows[] = {{"000001.png", 3}, {"000002.png", 0}, {"000003.png", 0}, {"000004.png", -4}};
    for (size_t i = 0; i < COUNT(rows); i++) {
        int s = rows[i].shift;
        (void)snprintf(row, sizeof row, "%s %d 111 107 111 89 136 73 152 105 152\n", rows[i].name,
                       69 + s);
        strcat(text, row);
    }
    write_text(in_folder("data/list_landmarks_align_celeba.txt"), text);
    blocks(&im, 64, 64, 8, 0, 255);
    save("data/000001.png", &im, 0);
    save("data/000002.png", &im, 0);
    image_fini(&im);
    draw_blocks("data/000003.png", 64, 64, 0, 255);
    draw_blocks("data/000004.png", 64, 64, 0, 255);
    settings.use = "celeba";
    settings.keep_nearest = 3;
    settings.near_duplicates = 6;
    settings.hold_out = 0;
    assert_int_equal(judged(), ERR_OK);
    assert_reason("000001.png", "duplicate");
    assert_reason("000002.png", "ok");
    assert_reason("000003.png", "ok");
    assert_reason("000004.png", "ok");
    assert_int_equal(curation.files_read, 4);
}

// Of pairs both pictures have to be alike, and both curators come to the same.
static void judge_side(const char *letter) {
    begin();
    memcpy(curation.domain, letter, 2);
    curation.other = &settings;
    assert_int_equal(curation_find(&curation), ERR_OK);
    assert_int_equal(curation_decide(&curation, NULL), ERR_OK);
}

static void a_pair_is_a_duplicate_if_both_its_pictures_are(void **state) {
    struct image face, small;
    blocks(&face, 64, 64, 8, 0, 255);
    image_resize(&face, 48, 48, &small);
    assert_int_equal(fs_mkdirs(in_folder("data/trainA"), 0755), ERR_OK);
    assert_int_equal(fs_mkdirs(in_folder("data/trainB"), 0755), ERR_OK);
    save("data/trainA/1.png", &small,
         0); // smaller on one side only: the first is kept all the same
    save("data/trainA/2.png", &face, 0);
    save("data/trainA/3.png", &face, 0);
    save("data/trainB/1.png", &face, 0);
    save("data/trainB/2.png", &small, 0);
    draw_blocks("data/trainB/3.png", 64, 64, 0, 255); // alike in A, not in B
    image_fini(&face);
    image_fini(&small);
    settings.use = "paired";
    settings.near_duplicates = 6;
    settings.hold_out = 0;
    for (int side = 0; side < 2; side++) {
        judge_side(side ? "B" : "A");
        assert_int_equal(curation.walk.found.count, 3);
        assert_string_equal(curation.walk.found.items[0].reason, "ok");
        assert_string_equal(curation.walk.found.items[1].reason, "near_duplicate");
        assert_string_equal(curation.walk.found.items[2].reason, "ok");
    }
}

// A file that holds both: each half has its own domain's bounds, and both curators leave it out.
static void a_bad_half_leaves_out_the_pair_on_both_sides(void **state) {
    struct config_curator b = settings;
    struct image im;
    assert_int_equal(fs_mkdirs(in_folder("data/train"), 0755), ERR_OK);
    for (int i = 0; i < 3; i++) {
        char name[32];
        blocks(&im, 64, 32, 4, 100, 255);
        for (int y = 0; i == 1 && y < 32; y++) // dark on the right
            memset(im.pixels + (size_t)(y * 64 + 32) * 3, 10, 32 * 3);
        (void)snprintf(name, sizeof name, "data/train/%d.png", i);
        save(name, &im, 0);
        image_fini(&im);
    }
    settings.use = b.use = "paired";
    settings.hold_out = b.hold_out = 0;
    b.min_luma = 50; // of B only
    for (int side = 0; side < 2; side++) {
        begin();
        curation.domain[0] = side ? 'B' : 'A';
        curation.settings = side ? &b : &settings;
        curation.other = side ? &settings : &b;
        assert_int_equal(curation_find(&curation), ERR_OK);
        assert_int_equal(curation_decide(&curation, NULL), ERR_OK);
        assert_int_equal(count_of(VERDICT_KEEP), 2);
        assert_reason("1.png", side ? "dark" : "partner_dark");
    }
}

// ---- the index against all pairs ----

enum { HASHES = 2000 };

// Some random, some within a few bits of an earlier one, some clustered as aligned faces are.
static void make_hashes(struct dhash *h, size_t n) {
    for (size_t i = 0; i < n; i++) {
        struct rng_block b = rng_block(3, RNG_TEST, i, 0);
        h[i] = (struct dhash){(uint64_t)b.v[0] << 32 | b.v[1], (uint64_t)b.v[2] << 32 | b.v[3]};
        if (i % 3 == 1) // few bits set
            h[i] = (struct dhash){h[i].rows & h[i].rows >> 7 & h[i].columns >> 3,
                                  h[i].columns & h[i].rows >> 13 & h[i].columns >> 5};
        if (i % 3 == 2) {
            h[i] = h[rng_below(4, RNG_TEST, i, 0, i)];
            for (uint32_t k = 0; k < i % 12; k++) {
                uint64_t bit = rng_below(5, RNG_TEST, i, k, DHASH_BITS);
                *(bit < 64 ? &h[i].rows : &h[i].columns) ^= 1ULL << bit % 64;
            }
        }
    }
}

static bool nearest_of_all(const struct near_item *items, size_t n, int distance, size_t *ret_index,
                           int *ret_distance) {
    *ret_distance = distance + 1;
    for (size_t k = 0; k < n; k++) {
        int own = 0, partner = 0;
        for (int bit = 0; bit < 64; bit++) {
            own += (items[n].own.rows ^ items[k].own.rows) >> bit & 1;
            own += (items[n].own.columns ^ items[k].own.columns) >> bit & 1;
            partner += (items[n].partner.rows ^ items[k].partner.rows) >> bit & 1;
            partner += (items[n].partner.columns ^ items[k].partner.columns) >> bit & 1;
        }
        if (MAX(own, partner) < *ret_distance) {
            *ret_distance = MAX(own, partner);
            *ret_index = k;
        }
    }
    return *ret_distance <= distance;
}

static void the_index_finds_what_comparing_all_finds(void **state) {
    static struct dhash hashes[HASHES];
    static struct near_item items[HASHES];
    make_hashes(hashes, HASHES);
    for (int distance = 0; distance <= 12; distance += 3) {
        struct near *index = near_new(distance, HASHES);
        size_t hits = 0;
        for (size_t i = 0; i < HASHES; i++) {
            items[i] = (struct near_item){.own = hashes[i]};
            if (i % 5 == 0) // some pairs
                items[i].partner = hashes[i];
            size_t found, expected;
            int d, expected_d;
            bool hit = near_find(index, &items[i], &found, &d);
            assert_int_equal(hit, nearest_of_all(items, i, distance, &expected, &expected_d));
            if (hit) {
                assert_int_equal(d, expected_d);
                assert_int_equal(found, expected);
            }
            hits += hit;
            near_add(index, &items[i]);
        }
        near_free(index);
        assert_true(distance == 0 || hits > HASHES / 20);
    }
}

// ---- the same again ----

static void make_similar_data(void) {
    char name[64];
    for (int i = 0; i < 150; i++) {
        struct image im, other;
        blocks(&im, 40 + i % 9, 40 + i % 7, 5, i % 11 ? 0 : 20, i % 13 ? 255 : 60);
        (void)snprintf(name, sizeof name, "data/%03d.png", i);
        save(name, &im, 0);
        if (i % 2) {
            image_resize(&im, 30 + i % 4, 33, &other);
            (void)snprintf(name, sizeof name, "data/x%03d.jpg", 150 - i);
            save(name, &other, 50 + i % 40);
            image_fini(&other);
        }
        image_fini(&im);
    }
    write_text(in_folder("data/text.jpg"), "this is not a picture");
    settings.near_duplicates = 8;
    settings.min_luma = 30;
    settings.min_sharpness = 100;
}

// Manifest, and every verdict with its reason and detail.
static char *everything(void) {
    char *all = manifest_bytes();
    for (size_t i = 0; i < curation.walk.found.count; i++) {
        const struct picture *p = &curation.walk.found.items[i];
        char *longer = xasprintf("%s%s %s %s %a %s\n", all, p->path, verdict_name(p->verdict),
                                 p->reason, p->score, p->detail ? p->detail : "");
        free(all);
        all = longer;
    }
    return all;
}

static void duplicates_and_bounds_do_not_depend_on_threads_or_the_cache(void **state) {
    static const int counts[] = {1, 2, 8};
    make_similar_data();
    assert_int_equal(judged(), ERR_OK);
    char *first = everything();
    assert_non_null(strstr(first, "near_duplicate"));
    assert_non_null(strstr(first, "dark"));
    for (size_t i = 0; i < COUNT(counts); i++) {
        settings.threads = counts[i];
        char cache[32];
        (void)snprintf(cache, sizeof cache, "%d.cache", counts[i]);
        for (int round = 0; round < 2; round++) { // cold, resumed
            assert_int_equal(judge_all_with(cache), ERR_OK);
            assert_int_equal(curation.files_read, round ? 0 : curation.walk.found.count);
            char *again = everything();
            assert_string_equal(again, first);
            free(again);
        }
    }
    free(first);
}

static atomic_bool cancel;

static void stop_halfway(void *context, size_t done, size_t total) {
    atomic_store(&cancel, done >= 128);
}

static void what_was_stopped_goes_on_where_it_was(void **state) {
    make_similar_data();
    settings.threads = 2;
    atomic_store(&cancel, false);
    begin();
    curation.cancel = &cancel;
    curation.progress = stop_halfway;
    assert_int_equal(curation_find(&curation), ERR_OK);
    assert_int_equal(curation_decide(&curation, "A.cache"), ERR_STOPPED);
    size_t before = curation.files_read;
    assert_in_range(before, 100, 180);
    assert_int_equal(judge_all_with("A.cache"), ERR_OK);
    assert_int_equal(curation.files_read, curation.walk.found.count - before);
    char *resumed = everything();
    assert_int_equal(judged(), ERR_OK);
    char *cold = everything();
    assert_string_equal(resumed, cold);
    free(resumed);
    free(cold);
}

static void only_what_is_new_or_changed_is_read(void **state) {
    make_similar_data();
    assert_int_equal(judge_all_with("A.cache"), ERR_OK);
    assert_int_equal(curation.files_read, curation.walk.found.count);
    draw_blocks("data/new.png", 50, 50, 0, 255);
    draw_blocks("data/003.png", 64, 64, 0, 255);
    settings.near_duplicates = 2; // another question about what is known
    settings.min_luma = 0;
    assert_int_equal(judge_all_with("A.cache"), ERR_OK);
    assert_int_equal(curation.files_read, 2);
    char *resumed = everything();
    assert_int_equal(judged(), ERR_OK);
    char *cold = everything();
    assert_string_equal(resumed, cold);
    free(resumed);
    free(cold);
}

static void a_mutated_cache_is_refused_with_a_reason(void **state) {
    static const uint8_t others[] = {0, ' ', '\n', '-', '0', 'z', 0xff};
    uint8_t *bytes;
    size_t size;
    draw_blocks("data/a.png", 20, 20, 0, 255);
    write_text(in_folder("data/c.jpg"), "this is not a picture");
    assert_int_equal(judge_all_with("A.cache"), ERR_OK);
    char *good = everything();
    assert_int_equal(fs_read("A.cache", 1 << 20, &bytes, &size), ERR_OK);
    for (size_t i = 0; i < size; i += 5) {
        uint8_t was = bytes[i], now = others[i % COUNT(others)];
        bytes[i] = was == now ? 'x' : now;
        assert_int_equal(fs_write_atomic("A.cache", bytes, size), ERR_OK);
        assert_int_equal(judge_all_with("A.cache"), ERR_OK);
        assert_int_equal(curation.files_read, 2);
        size_t head = strlen("cyclegan-cache 2 ") + 64; // else it is of other settings
        assert_true(i <= head || heard_with("warn cache all pictures are read again"));
        char *again = everything();
        assert_string_equal(again, good);
        free(again);
        bytes[i] = was;
    }
    free(bytes);
    free(good);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

// The loader would have nothing to crop, or would fill the rest with black.
static void a_picture_smaller_than_the_crop_is_left_out(void **state) {
    struct config_loader reading = {.preprocess = "crop", .crop_size = 16};
    draw("both.jpg", 12, 12);
    draw("fits.jpg", 16, 17);
    draw("flat.jpg", 40, 15);
    begin();
    curation.reading = &reading;
    assert_int_equal(curation_find(&curation), ERR_OK);
    assert_int_equal(curation_decide(&curation, NULL), ERR_OK);
    assert_reason("both.jpg", "smaller_than_crop");
    assert_reason("fits.jpg", "ok");
    assert_reason("flat.jpg", "smaller_than_crop");
    assert_string_equal(
        picture("flat.jpg")->detail,
        "40x15, loader.preprocess = crop needs loader.crop_size = 16 on both sides");
    char crop16[65], crop17[65], resized[65];
    curation_state(&curation, crop16);
    reading.crop_size = 17; // a resumed curation has to look again
    curation_state(&curation, crop17);
    assert_string_not_equal(crop16, crop17);
    reading.preprocess = "resize_and_crop";
    curation_state(&curation, resized);
    assert_string_not_equal(crop17, resized);

    begin();
    curation.reading = &reading; // which is resized first
    assert_int_equal(curation_find(&curation), ERR_OK);
    assert_int_equal(curation_decide(&curation, NULL), ERR_OK);
    assert_reason("both.jpg", "ok");

    reading = (struct config_loader){.preprocess = "crop", .crop_size = 100};
    begin();
    curation.reading = &reading;
    assert_int_equal(curation_find(&curation), ERR_OK);
    assert_int_equal(curation_decide(&curation, NULL), ERR_DATA);
    assert_non_null(strstr(err_text(), "3 smaller_than_crop"));
    assert_non_null(strstr(err_text(), "needs loader.crop_size = 100"));
}

static void a_training_picture_that_is_held_out_too_is_told(void **state) {
    draw("train/a.jpg", 40, 40);
    draw("train/b.jpg", 40, 40);
    draw("train/c.jpg", 40, 40);
    assert_int_equal(fs_mkdirs(in_folder("data/test"), 0755), ERR_OK);
    assert_int_equal(link(in_folder("data/train/b.jpg"), in_folder("data/test/again.jpg")), 0);
    free(settings.root);
    settings.root = xstrdup(in_folder("data/train"));
    settings.held_out = in_folder("data/test");
    settings.drop_leaks = false;
    assert_int_equal(judged(), ERR_OK);
    assert_reason("train/b.jpg", "ok");
    assert_non_null(heard_with("warn leak domain A: "));
    assert_non_null(heard_with("'train/b.jpg' is 'test/again.jpg'"));
    settings.drop_leaks = true;
    assert_int_equal(judged(), ERR_OK);
    assert_reason("train/b.jpg", "held_out_too");
    assert_int_equal(picture("test/again.jpg")->verdict, VERDICT_HOLD_OUT);
    assert_non_null(heard_with("info leak"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        CASE(every_bound_has_its_reason_its_score_and_its_setting),
        CASE(without_bounds_nothing_is_left_out),
        CASE(the_nearest_bound_is_told),
        CASE(a_bomb_is_refused_by_its_header),
        CASE(quick_judging_finds_the_same_damage),
        CASE(quick_judging_measures_nearly_the_same),
        CASE(what_was_decided_by_little_is_borderline),
        CASE(an_explanation_has_every_score_beside_its_bound),
        CASE(a_sheet_has_a_row_for_each_outcome),
        CASE(of_equal_files_the_first_by_path_is_kept),
        CASE(of_near_duplicates_the_largest_is_kept),
        CASE(a_ranked_curator_keeps_the_better_one_of_duplicates),
        CASE(a_pair_is_a_duplicate_if_both_its_pictures_are),
        CASE(a_bad_half_leaves_out_the_pair_on_both_sides),
        CASE(the_index_finds_what_comparing_all_finds),
        CASE(duplicates_and_bounds_do_not_depend_on_threads_or_the_cache),
        CASE(what_was_stopped_goes_on_where_it_was),
        CASE(only_what_is_new_or_changed_is_read),
        CASE(a_mutated_cache_is_refused_with_a_reason),
        CASE(a_picture_smaller_than_the_crop_is_left_out),
        CASE(a_training_picture_that_is_held_out_too_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
