// Pairs through the loader: cut, resized, cropped and mirrored as the reference does it, which is
// done again here by Pillow; decoded once; replaced together.

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

enum { PAIRS = 5, LOAD = 22, CROP = 16, BYTES = CROP * CROP * 3 };

// Reads lines "path half flip x y", writes the bytes of each as the reference's data set makes
// them.
static const char judge[] = "import sys\n"
                            "from PIL import Image\n"
                            "for line in sys.stdin:\n"
                            "    path, half, flip, x, y = line.split()\n"
                            "    im = Image.open(path).convert('RGB')\n"
                            "    w, h = im.size\n"
                            "    w2 = int(w / 2)\n"
                            "    if half == 'L': im = im.crop((0, 0, w2, h))\n"
                            "    if half == 'R': im = im.crop((w2, 0, w, h))\n"
                            "    im = im.resize((22, 22), Image.BICUBIC)\n"
                            "    x, y = int(x), int(y)\n"
                            "    im = im.crop((x, y, x + 16, y + 16))\n"
                            "    if flip == '1': im = im.transpose(Image.FLIP_LEFT_RIGHT)\n"
                            "    sys.stdout.buffer.write(im.tobytes())\n";

static char folder[] = "/tmp/test_pairs_XXXXXX";

struct fixture {
    struct config config;
    struct items items;
    struct manifest *manifest[2];
    struct source source;
};

static void draw(const char *path, int w, int h, int i) {
    struct image im;
    image_init(&im, w, h, 3);
    for (int p = 0; p < w * h * 3; p++)
        im.pixels[p] = (uint8_t)rng_block(1, RNG_TEST, (uint64_t)p / 16, (uint32_t)i).v[p % 3];
    assert_int_equal(image_save_jpeg(path, &im, 90), ERR_OK);
    image_fini(&im);
}

// Side by side (`form` without a letter) or in files of their own.
static struct manifest *pairs_of(char domain, bool side_by_side) {
    struct manifest *m = xcalloc(1, sizeof *m);
    m->domain[0] = domain;
    m->root = xstrdup(folder);
    m->count = PAIRS - 1;
    m->held_out = 1;
    m->records = xcalloc(PAIRS, sizeof *m->records);
    for (int i = 0; i < PAIRS; i++) {
        struct manifest_record *r = &m->records[i];
        char *path;
        r->path = side_by_side ? xasprintf("ab%d.jpg", i) : xasprintf("%c%d.jpg", domain, i);
        path = xasprintf("%s/%s", folder, r->path);
        r->w = side_by_side ? (61 + i) / 2 : 31;
        r->h = 30 + i;
        draw(path, side_by_side ? 61 + i : 31, r->h, side_by_side ? i : i + 10 * domain);
        assert_int_equal(digest_file(path, r->sha256, &r->size), ERR_OK);
        free(path);
    }
    manifest_seal(m);
    return m;
}

static struct fixture *begin(bool side_by_side, bool swapped) {
    struct fixture *f = xcalloc(1, sizeof *f);
    f->config.loader.load_size = LOAD;
    f->config.loader.crop_size = CROP;
    f->config.loader.preprocess = "resize_and_crop";
    f->config.loader.cache = 1 << 20;
    f->config.loader.exact_decode = true;
    f->config.trainer.input_nc = f->config.trainer.output_nc = 3;
    for (int i = 0; i < 2; i++) {
        f->config.curator[i].use = "paired";
        f->config.curator[i].max_pixels = 1 << 20;
        f->manifest[i] = pairs_of("AB"[i ^ swapped], side_by_side);
    }
    f->items = (struct items){.seed = 5,
                              .flip = true,
                              .aligned = true,
                              .n = {PAIRS - 1, PAIRS - 1},
                              .n_all = {PAIRS - 1, PAIRS - 1},
                              .held = {1, 1},
                              .batch_size = 2};
    source_init(&f->source, &f->config, &f->items, f->manifest, NULL);
    return f;
}

static void end(struct fixture *f) {
    source_fini(&f->source);
    manifest_free(f->manifest[0]);
    manifest_free(f->manifest[1]);
    free(f);
}

static bool has_pillow(void) {
    return system("/usr/bin/python3 -c 'import PIL' 2>/dev/null") == 0;
}

// What Pillow makes of the lines in folder/lines; n pictures, malloc'ed.
static uint8_t *pillow(int n) {
    uint8_t *bytes;
    size_t size;
    char command[512], path[64];
    (void)snprintf(path, sizeof path, "%s/judge.py", folder);
    assert_int_equal(fs_write_atomic(path, judge, strlen(judge)), ERR_OK);
    (void)snprintf(command, sizeof command,
                   "/usr/bin/python3 %s/judge.py <%s/lines >%s/pillow 2>/dev/null", folder, folder,
                   folder);
    assert_int_equal(system(command), 0);
    (void)snprintf(path, sizeof path, "%s/pillow", folder);
    assert_int_equal(fs_read(path, 1 << 20, &bytes, &size), ERR_OK);
    assert_int_equal(size, n * BYTES);
    return bytes;
}

static void add_line(FILE *out, const struct fixture *f, const struct item *item, int side) {
    const struct manifest *m = f->manifest[side];
    char half = f->source.halves ? m->domain[0] == 'A' ? 'L' : 'R' : '-';
    assert_true(fprintf(out, "%s/%s %c %d %d %d\n", m->root, m->records[item->record[side]].path,
                        half, items_flip(&f->items, item, side),
                        items_crop(&f->items, item, side, 0, LOAD - CROP),
                        items_crop(&f->items, item, side, 1, LOAD - CROP)) > 0);
}

static void equals_pillow(bool side_by_side, bool swapped) {
    enum { N = 2 * 3 * (PAIRS - 1) };
    static uint8_t ours[N][BYTES];
    char path[64];
    if (!has_pillow())
        skip();
    struct fixture *f = begin(side_by_side, swapped);
    (void)snprintf(path, sizeof path, "%s/lines", folder);
    FILE *lines = fopen(path, "w");
    assert_non_null(lines);
    for (int i = 0; i < N / 2; i++) {
        struct item item = items_get(&f->items, ITEMS_TRAIN, 1 + (uint64_t)i / 4,
                                     (uint64_t)i % 4 / 2, (uint64_t)i % 2);
        struct image both[2];
        struct source_times times = {0};
        uint64_t record;
        assert_int_equal(source_get_pair(&f->source, &item, both, &record, &times), ERR_OK);
        assert_int_equal(record, item.record[0]);
        for (int side = 0; side < 2; side++) {
            add_line(lines, f, &item, side);
            assert_int_equal(both[side].w * both[side].h * 3, BYTES);
            memcpy(ours[2 * i + side], both[side].pixels, BYTES);
            image_fini(&both[side]);
        }
    }
    assert_int_equal(fclose(lines), 0);
    uint8_t *theirs = pillow(N);
    assert_memory_equal(ours, theirs, sizeof ours);
    free(theirs);
    end(f);
}

static void halves_equal_the_reference(void **state) {
    equals_pillow(true, false);
}

static void halves_stay_left_and_right_when_the_direction_is_turned(void **state) {
    equals_pillow(true, true);
}

static void pairs_in_two_files_equal_the_reference(void **state) {
    equals_pillow(false, false);
}

// The halves of an odd width differ: crops are drawn for A's, also when the sides are swapped.
static void crops_of_unequal_halves_are_drawn_for_a(void **state) {
    struct fixture *f = begin(true, true);
    source_fini(&f->source);
    f->config.loader.preprocess = "crop";
    source_init(&f->source, &f->config, &f->items, f->manifest, NULL);
    for (uint64_t k = 0; k < PAIRS - 1; k++) {
        struct item item = items_get(&f->items, ITEMS_TRAIN, 1, k / 2, k % 2);
        struct image both[2], file, half, expected;
        struct source_times times = {0};
        uint64_t record;
        assert_int_equal(source_get_pair(&f->source, &item, both, &record, &times), ERR_OK);
        char *path = xasprintf("%s/%s", folder, f->manifest[0]->records[record].path);
        assert_int_equal(image_load(path, &image_default_limits, 3, &file), ERR_OK);
        for (int side = 0; side < 2; side++) {
            image_cut_half(&file, side ? IMAGE_LEFT : IMAGE_RIGHT, &half);
            image_crop(&half, items_crop(&f->items, &item, 0, 0, file.w / 2 - CROP),
                       items_crop(&f->items, &item, 0, 1, file.h - CROP), CROP, CROP, &expected);
            if (items_flip(&f->items, &item, 0))
                image_flip(&expected);
            assert_memory_equal(both[side].pixels, expected.pixels, BYTES);
            image_fini(&half);
            image_fini(&expected);
            image_fini(&both[side]);
        }
        image_fini(&file);
        free(path);
    }
    end(f);
}

static void halves_without_pairing_are_cut_too(void **state) {
    struct fixture *f = begin(true, false);
    struct item item = items_get(&f->items, ITEMS_TRAIN, 1, 0, 0);
    struct image both[2], alone;
    struct source_times times = {0};
    uint64_t record;
    assert_int_equal(source_get_pair(&f->source, &item, both, &record, &times), ERR_OK);
    cache_free(f->source.cache);
    f->source.cache = cache_new(0, 2 * PAIRS);
    for (int side = 0; side < 2; side++) {
        assert_int_equal(source_get(&f->source, &item, side, &alone, &record, &times), ERR_OK);
        assert_memory_equal(alone.pixels, both[side].pixels, BYTES);
        image_fini(&alone);
        image_fini(&both[side]);
    }
    end(f);
}

static void what_is_one_picture_to_its_curator_is_not_cut(void **state) {
    struct fixture *f = begin(true, false);
    struct source whole;
    f->config.curator[0].use = f->config.curator[1].use = "folder";
    source_init(&whole, &f->config, &f->items, f->manifest, NULL);
    assert_true(f->source.halves);
    assert_false(whole.halves);
    source_fini(&whole);
    end(f);
}

static void a_pair_in_one_file_is_decoded_once(void **state) {
    struct fixture *f = begin(true, false);
    struct item item = items_get(&f->items, ITEMS_TRAIN, 1, 0, 0);
    for (int turn = 0; turn < 2; turn++) {
        struct image both[2];
        struct source_times times = {0};
        uint64_t record;
        assert_int_equal(source_get_pair(&f->source, &item, both, &record, &times), ERR_OK);
        // The second half was not asked of the cache's file again: no hit, then two.
        assert_int_equal(times.cache_hits, turn ? 2 : 0);
        image_fini(&both[0]);
        image_fini(&both[1]);
    }
    end(f);
}

static void a_pair_with_a_changed_side_is_replaced_whole(void **state) {
    struct fixture *f = begin(false, false);
    char path[64];
    (void)snprintf(path, sizeof path, "%s/B1.jpg", folder);
    assert_int_equal(fs_write_atomic(path, "gone", 4), ERR_OK);
    struct item changed = {.record = {1, 1}}, next = {.record = {2, 2}};
    struct image both[2], next_both[2];
    struct source_times times = {0};
    uint64_t record;
    assert_int_equal(source_get_pair(&f->source, &changed, both, &record, &times), ERR_OK);
    assert_int_equal(record, 2);
    assert_int_equal(source_get_pair(&f->source, &next, next_both, &record, &times), ERR_OK);
    for (int side = 0; side < 2; side++) {
        assert_memory_equal(both[side].pixels, next_both[side].pixels, BYTES);
        image_fini(&both[side]);
        image_fini(&next_both[side]);
    }
    end(f);
}

static void without_a_usable_pair_it_is_an_error(void **state) {
    struct fixture *f = begin(false, false);
    for (int i = 0; i < PAIRS - 1; i++) {
        char path[64];
        (void)snprintf(path, sizeof path, "%s/%c%d.jpg", folder, i % 2 ? 'A' : 'B', i);
        assert_int_equal(fs_write_atomic(path, "gone", 4), ERR_OK);
    }
    struct item item = {0};
    struct image both[2];
    struct source_times times = {0};
    uint64_t record;
    assert_int_equal(source_get_pair(&f->source, &item, both, &record, &times), ERR_DATA);
    assert_non_null(strstr(err_text(), "no pair"));
    end(f);
}

static void batches_hold_pairs(void **state) {
    struct fixture *f = begin(true, false);
    struct work *w = work_new(&f->source, 2, 1);
    struct msg_ticket t = {.epoch = 1, .index = 1, .count = 2};
    struct work_batch *b;
    assert_int_equal(work_begin(w, &t, 1), ERR_OK);
    while (!(b = work_next(w))) {
        struct pollfd p = {.fd = work_fd(w), .events = POLLIN};
        assert_int_equal(poll(&p, 1, 5000), 1);
    }
    for (uint64_t i = 0; i < 2; i++) {
        struct item item = items_get(&f->items, ITEMS_TRAIN, 1, 1, i);
        assert_int_equal(b->record[0][i], item.record[0]);
        assert_int_equal(b->record[1][i], item.record[0]);
        assert_int_equal(b->image[0][i].w, CROP);
        assert_int_equal(b->image[1][i].w, CROP);
    }
    work_batch_free(w, b);
    work_free(w);
    end(f);
}

int main(void) {
    if (!mkdtemp(folder))
        return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(halves_equal_the_reference),
        cmocka_unit_test(halves_stay_left_and_right_when_the_direction_is_turned),
        cmocka_unit_test(pairs_in_two_files_equal_the_reference),
        cmocka_unit_test(crops_of_unequal_halves_are_drawn_for_a),
        cmocka_unit_test(halves_without_pairing_are_cut_too),
        cmocka_unit_test(what_is_one_picture_to_its_curator_is_not_cut),
        cmocka_unit_test(a_pair_in_one_file_is_decoded_once),
        cmocka_unit_test(a_pair_with_a_changed_side_is_replaced_whole),
        cmocka_unit_test(without_a_usable_pair_it_is_an_error),
        cmocka_unit_test(batches_hold_pairs),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    (void)fs_remove_tree(folder);
    return failed;
}
