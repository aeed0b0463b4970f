// A picture in bands is the picture as a whole: every generator, sizes that bands do not divide,
// bands of every height, maps in memory and in files. The judge is the whole net on its tape.

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "backend/pixels.h"
#include "base/err.h"
#include "base/rng.h"
#include "base/util.h"
#include "check.h"
#include "nets/init.h"
#include "translate/band_rows.h"
#include "translate/bands.h"

#define MIB ((size_t)1 << 20)

static struct translator *open_net(const struct net_options *net) {
    struct translator_options o = {.net = *net, .device = "cpu", .winograd = "auto", .threads = 2};
    struct translator *t;
    assert_int_equal(translator_new(&o, &t), ERR_OK);
    struct model_net *params = translator_params(t);
    for (int i = 0; i < params->n_params; i++) {
        struct init_args args = {.type = INIT_NORMAL, .gain = 0.2, .seed = 4, .sub = (uint32_t)i};
        init_param(&args, &params->params[i]);
    }
    assert_int_equal(translator_ready(t), ERR_OK);
    return t;
}

static struct net_options resnet(int nf) {
    return (struct net_options){
        .arch = "resnet_6blocks", .in_nc = 3, .out_nc = 3, .nf = nf, .norm = "instance"};
}

// A smooth picture with some noise: statistics of its parts differ.
static void make_picture(int w, int h, int c, struct image *ret) {
    image_init(ret, w, h, c);
    for (int y = 0; y < h; y++)
        for (int x = 0; x < w; x++)
            for (int k = 0; k < c; k++) {
                uint32_t i = (uint32_t)((y * w + x) * c + k);
                double v = 160.0 * y / h + 40.0 * x / w + 55 * rng_uniform(2, RNG_TEST, 1, i);
                ret->pixels[i] = (uint8_t)v;
            }
}

static void whole(struct translator *t, const struct image *im, struct image *ret) {
    int h = translator_padded(t, im->h), w = translator_padded(t, im->w);
    int c = translator_channels_out(t);
    assert_int_equal(translator_shape(t, 1, h, w), ERR_OK);
    pixels_from_rows(im, 0, h, w, translator_input(t));
    assert_int_equal(translator_run(t), ERR_OK);
    image_init(ret, im->w, im->h, c);
    pixels_put_rows(translator_output(t), 0, h, w, c, ret);
}

// Values that lie on the edge between two bytes may fall to either side; no other difference, and
// few of these.
static void assert_same(const struct image *a, const struct image *b) {
    int n = a->w * a->h * a->c, edge = 0;
    assert_int_equal(a->w, b->w);
    assert_int_equal(a->h, b->h);
    assert_int_equal(a->c, b->c);
    for (int i = 0; i < n; i++) {
        int d = abs(a->pixels[i] - b->pixels[i]);
        if (d > 1)
            fail_msg("byte %d of %dx%dx%d: %d, not %d", i, a->w, a->h, a->c, a->pixels[i],
                     b->pixels[i]);
        edge += d;
    }
    if (edge > 3 + n / 500)
        fail_msg("%d of %d bytes differ by one", edge, n);
}

static void same_in_bands(struct translator *t, int w, int h, struct bands_options o) {
    struct image im, want, got;
    make_picture(w, h, translator_channels_in(t), &im);
    whole(t, &im, &want);
    o.translator = t;
    o.scratch = ".";
    if (bands_translate(&o, &im, &got))
        fail_msg("%s", err_text());
    assert_same(&got, &want);
    image_fini(&im);
    image_fini(&want);
    image_fini(&got);
}

static void resnet_of_any_size_in_bands_of_any_height(void **state) {
    static const int sizes[][2] = {{1, 1}, {16, 16}, {37, 23}, {64, 50}, {20, 101}, {130, 36}};
    static const int rows[] = {1, 2, 3, 4, 7, 16, 1000};
    struct net_options net = resnet(8);
    struct translator *t = open_net(&net);
    for (size_t i = 0; i < COUNT(sizes); i++)
        for (size_t k = 0; k < COUNT(rows); k++)
            same_in_bands(t, sizes[i][0], sizes[i][1],
                          (struct bands_options){.memory = 256 * MIB, .rows = rows[k]});
    translator_free(t);
}

static void wide_layers_use_the_same_kernels(void **state) {
    struct net_options net = resnet(32); // Winograd's in the blocks
    struct translator *t = open_net(&net);
    same_in_bands(t, 96, 70, (struct bands_options){.memory = 512 * MIB, .rows = 8});
    translator_free(t);
}

static void every_generator(void **state) {
    static const struct net_options nets[] = {
        {.arch = "resnet_9blocks", .norm = "batch"},
        {.arch = "resnet_6blocks", .norm = "none"},
        {.arch = "resnet_6blocks", .norm = "instance", .dropout = true},
        {.arch = "resnet_6blocks", .norm = "instance", .antialias = true},
        {.arch = "resnet_6blocks", .norm = "instance", .antialias = true, .no_antialias_up = true},
        {.arch = "unet_128", .norm = "instance"},
        {.arch = "unet_128", .norm = "batch"},
        {.arch = "unet_256", .norm = "instance"},
    };
    for (size_t i = 0; i < COUNT(nets); i++) {
        struct net_options net = nets[i];
        net.in_nc = i % 2 ? 1 : 3;
        net.out_nc = 3;
        net.nf = 6;
        struct translator *t = open_net(&net);
        same_in_bands(t, 150, 131, (struct bands_options){.memory = 512 * MIB, .rows = 5});
        same_in_bands(t, 150, 131, (struct bands_options){.memory = 512 * MIB});
        translator_free(t);
    }
}

static void maps_that_do_not_fit_go_to_files(void **state) {
    struct net_options net = resnet(8);
    struct translator *t = open_net(&net);
    struct bands_options o = {.translator = t, .memory = 0};
    struct bands_need need;
    assert_int_equal(bands_need(&o, 300, 260, &need), ERR_OK);
    o.memory = need.least;
    assert_int_equal(bands_need(&o, 300, 260, &need), ERR_OK);
    assert_true(need.scratch > 0);
    same_in_bands(t, 300, 260, o);
    o.memory = need.least + need.scratch / 2; // half of it
    assert_int_equal(bands_need(&o, 300, 260, &need), ERR_OK);
    assert_true(need.scratch > 0);
    same_in_bands(t, 300, 260, o);
    o.memory = need.least + 512 * MIB;
    assert_int_equal(bands_need(&o, 300, 260, &need), ERR_OK);
    assert_int_equal(need.scratch, 0);
    translator_free(t);
}

static void too_little_memory_or_no_folder_is_refused(void **state) {
    struct net_options net = resnet(8);
    struct translator *t = open_net(&net);
    struct bands_options o = {.translator = t, .memory = 1, .scratch = "."};
    struct image im, got;
    make_picture(300, 300, 3, &im);
    assert_int_equal(bands_translate(&o, &im, &got), ERR_LIMIT);
    assert_non_null(strstr(err_text(), "even in bands"));
    struct bands_need need;
    assert_int_equal(bands_need(&o, 300, 300, &need), ERR_OK);
    o.memory = need.least;
    o.scratch = "/gone";
    assert_int_equal(bands_translate(&o, &im, &got), ERR_IO);
    assert_non_null(strstr(err_text(), "/gone"));
    image_fini(&im);
    translator_free(t);
}

// Against sums in long double over all pixels at once.
static void moments_do_not_depend_on_groups(void **state) {
    enum { H = 37, W = 19, C = 5 };
    static float x[H * W * C];
    struct moments a, b;
    for (int i = 0; i < H * W * C; i++)
        x[i] = (float)(1000 + rng_uniform(3, RNG_TEST, 1, (uint32_t)i)); // a large mean
    moments_init(&a, C);
    moments_init(&b, C);
    moments_add(&a, H, W, x);
    for (int y = 0, n = 1; y < H; y += n, n = MIN(n + 1, H - y))
        moments_add(&b, n, W, x + y * W * C);
    for (int c = 0; c < C; c++) {
        long double mean = 0, squares = 0;
        for (int p = 0; p < H * W; p++)
            mean += x[p * C + c];
        mean /= H * W;
        for (int p = 0; p < H * W; p++)
            squares += (x[p * C + c] - mean) * (x[p * C + c] - mean);
        assert_true(a.mean[c] == b.mean[c] && a.squares[c] == b.squares[c]);
        assert_true(fabs((double)(a.mean[c] - mean)) < 1e-9);       // 1000 times 1e-16, many times
        assert_true(fabs((double)(a.squares[c] - squares)) < 1e-7); // about 60
    }
    moments_fini(&a);
    moments_fini(&b);
}

int main(void) {
    char work[] = "/tmp/bands-test-XXXXXX";
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(moments_do_not_depend_on_groups),
        cmocka_unit_test(resnet_of_any_size_in_bands_of_any_height),
        cmocka_unit_test(wide_layers_use_the_same_kernels),
        cmocka_unit_test(every_generator),
        cmocka_unit_test(maps_that_do_not_fit_go_to_files),
        cmocka_unit_test(too_little_memory_or_no_folder_is_refused),
    };
    if (!mkdtemp(work) || chdir(work))
        return 1;
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    return chdir("/") || rmdir(work) ? 1 : failed;
}
