// jitter: against Pillow's own enhancement (byte for byte), against the formulas in double
// precision, and as a function of (seed, epoch, position).
#include <math.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fs.h"
#include "base/rng.h"
#include "base/util.h"
#include "check.h"
#include "items.h"

enum { W = 64, H = 40, BYTES = W * H * 3, CASES = 60 };

// Reads lines "factors order", answers with the changed picture, as torchvision's
// functional_pil has it.
static const char judge[] =
    "import sys\n"
    "from PIL import Image, ImageEnhance\n"
    "im = Image.frombytes('RGB', (64, 40), open(sys.argv[1], 'rb').read())\n"
    "def hue(im, f):\n"
    "    h, s, v = im.convert('HSV').split()\n"
    "    h = h.point([(i + int(f * 255)) % 256 for i in range(256)])\n"
    "    return Image.merge('HSV', (h, s, v)).convert('RGB')\n"
    "ways = [lambda im, f: ImageEnhance.Brightness(im).enhance(f),\n"
    "        lambda im, f: ImageEnhance.Contrast(im).enhance(f),\n"
    "        lambda im, f: ImageEnhance.Color(im).enhance(f), hue]\n"
    "for line in open(sys.argv[2]):\n"
    "    fields = line.split()\n"
    "    out = im\n"
    "    for k in fields[4]:\n"
    "        out = ways[int(k)](out, float(fields[int(k)]))\n"
    "    sys.stdout.buffer.write(out.tobytes())\n";

static struct image colours(void) {
    struct image im;
    image_init(&im, W, H, 3);
    for (int i = 0; i < BYTES; i++)
        im.pixels[i] = (uint8_t)rng_block(1, RNG_TEST, (uint64_t)i, 3).v[0];
    memset(im.pixels, 0, 30); // black, gray and white have no hue
    memset(im.pixels + 30, 255, 30);
    memset(im.pixels + 60, 99, 30);
    return im;
}

static struct jitter a_case(uint64_t i) {
    struct items it = {.seed = 11, .jitter = {0.9, 0.8, 0.7, 0.5}};
    struct item item = {.position = i, .epoch = 2, .augment = true};
    struct jitter j;
    assert_true(items_jitter(&it, &item, 0, &j));
    if (i < JITTER_KINDS) // each by itself first
        for (int k = 0; k < JITTER_KINDS; k++)
            j.on[k] = k == (int)i;
    return j;
}

static void write_case(FILE *f, const struct jitter *j) {
    for (int k = 0; k < JITTER_KINDS; k++)
        (void)fprintf(f, "%.17g ", j->factor[k]);
    for (int k = 0; k < JITTER_KINDS; k++)
        if (j->on[j->order[k]])
            (void)fprintf(f, "%d", (int)j->order[k]);
    (void)fprintf(f, "\n");
}

static void write_cases(const char *path) {
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    for (uint64_t i = 0; i < CASES; i++) {
        struct jitter j = a_case(i);
        write_case(f, &j);
    }
    assert_int_equal(fclose(f), 0);
}

static void changes_equal_pillow(void **state) {
    if (system("/usr/bin/python3 -c 'import PIL' 2>/dev/null"))
        skip();
    char folder[] = "/tmp/test_jitter_XXXXXX", path[64], command[256];
    assert_non_null(mkdtemp(folder));
    assert_int_equal(chdir(folder), 0);
    struct image im = colours();
    assert_int_equal(fs_write_atomic("judge.py", judge, strlen(judge)), ERR_OK);
    assert_int_equal(fs_write_atomic("in", im.pixels, BYTES), ERR_OK);
    (void)snprintf(path, sizeof path, "%s/cases", folder);
    write_cases(path);
    (void)snprintf(command, sizeof command, "/usr/bin/python3 judge.py in cases >out");
    assert_int_equal(system(command), 0);
    uint8_t *want;
    size_t size;
    assert_int_equal(fs_read("out", 1 << 24, &want, &size), ERR_OK);
    assert_int_equal(size, CASES * BYTES);
    for (uint64_t i = 0; i < CASES; i++) {
        struct image out = colours();
        struct jitter j = a_case(i);
        jitter_apply(&j, &out);
        assert_memory_equal(out.pixels, want + i * BYTES, BYTES);
        image_fini(&out);
    }
    image_fini(&im);
    free(want);
    assert_int_equal(chdir("/"), 0);
    (void)fs_remove_tree(folder);
}

static double luma(const uint8_t *p) {
    return 0.299 * p[0] + 0.587 * p[1] + 0.114 * p[2];
}

// Blend, within the truncation of the result and the rounding of the degenerate picture.
static void blends_follow_the_formula(void **state) {
    struct image im = colours();
    double mean = 0;
    for (int i = 0; i < BYTES; i += 3)
        mean += luma(im.pixels + i) / (W * H);
    for (int kind = JITTER_BRIGHTNESS; kind <= JITTER_SATURATION; kind++)
        for (double f = 0; f <= 2; f += 0.25) {
            struct jitter j = {.order = {0, 1, 2, 3}};
            struct image out = colours();
            j.on[kind] = true;
            j.factor[kind] = f;
            jitter_apply(&j, &out);
            for (int i = 0; i < BYTES; i++) {
                double d = kind == JITTER_BRIGHTNESS ? 0
                           : kind == JITTER_CONTRAST ? mean
                                                     : luma(im.pixels + i / 3 * 3);
                double want = fmin(255, fmax(0, d + f * (im.pixels[i] - d)));
                double slack = 1 + fabs(1 - f); // truncation; the degenerate value is rounded
                assert_true(fabs(out.pixels[i] - want) <= slack);
            }
            image_fini(&out);
        }
    image_fini(&im);
}

static void draws_are_uniform_and_depend_on_all_three(void **state) {
    struct items it = {.seed = 5, .jitter = {0.4, 0, 0, 0.1}};
    double low[2] = {9, 9}, high[2] = {-9, -9}, sum[2] = {0};
    int orders[256] = {0}, n = 2400;
    for (int i = 0; i < n; i++) {
        struct item item = {.position = (uint64_t)i, .epoch = 1, .augment = true};
        struct jitter j, again, other;
        assert_true(items_jitter(&it, &item, i % 2, &j));
        assert_true(items_jitter(&it, &item, i % 2, &again));
        assert_memory_equal(&j, &again, sizeof j);
        assert_true(j.on[0] && !j.on[1] && !j.on[2] && j.on[3]);
        assert_true(items_jitter(&it, &item, !(i % 2), &other));
        assert_true(other.factor[0] != j.factor[0]);
        for (int k = 0; k < 2; k++) {
            double f = j.factor[k * 3];
            low[k] = fmin(low[k], f);
            high[k] = fmax(high[k], f);
            sum[k] += f / n;
        }
        orders[j.order[0] | j.order[1] << 2 | j.order[2] << 4 | j.order[3] << 6]++;
    }
    assert_true(low[0] >= 0.6 && low[0] < 0.61 && high[0] <= 1.4 && high[0] > 1.39);
    assert_true(low[1] >= -0.1 && low[1] < -0.095 && high[1] <= 0.1 && high[1] > 0.095);
    assert_true(fabs(sum[0] - 1) < 0.03 && fabs(sum[1]) < 0.01); // six standard deviations
    int used = 0;
    for (int i = 0; i < 256; i++) {
        used += orders[i] > 0;
        assert_true(orders[i] == 0 || (orders[i] > 40 && orders[i] < 160)); // 100 +- 6 * 10
    }
    assert_int_equal(used, 24);
}

static void nothing_changes_when_off_or_held_out_and_pairs_change_alike(void **state) {
    struct items off = {.seed = 5}, on = {.seed = 5, .aligned = true, .jitter = {0.4, 0.4, 0.4}};
    struct item item = {.position = 3, .epoch = 1, .augment = true}, held_out = {.position = 3};
    struct jitter a, b;
    assert_false(items_jitter(&off, &item, 0, &a));
    assert_false(items_jitter(&on, &held_out, 0, &a));
    assert_true(items_jitter(&on, &item, 0, &a));
    assert_true(items_jitter(&on, &item, 1, &b));
    assert_memory_equal(&a, &b, sizeof a);
}

static void gray_pictures_keep_their_one_channel(void **state) {
    struct jitter j = {
        .on = {true, true, true, true}, .factor = {1, 1, 3, 0.3}, .order = {3, 2, 1, 0}};
    struct image im, was;
    image_init(&im, 5, 5, 1);
    for (int i = 0; i < 25; i++)
        im.pixels[i] = (uint8_t)(i * 10);
    image_crop(&im, 0, 0, 5, 5, &was);
    jitter_apply(&j, &im);
    assert_memory_equal(im.pixels, was.pixels, 25);
    image_fini(&im);
    image_fini(&was);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(changes_equal_pillow),
        cmocka_unit_test(blends_follow_the_formula),
        cmocka_unit_test(draws_are_uniform_and_depend_on_all_three),
        cmocka_unit_test(nothing_changes_when_off_or_held_out_and_pairs_change_alike),
        cmocka_unit_test(gray_pictures_keep_their_one_channel),
    };
    return cmocka_run_group_tests_name("jitter", tests, NULL, NULL);
}
