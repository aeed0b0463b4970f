// Kind image: exact pictures.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "base/util.h"
#include "golden/golden.h"
#include "image/image.h"
#include "preprocess.h"

static void source(const struct json *src, struct image *ret_image) {
    uint32_t index = (uint32_t)json_int(src, "index", 0);
    int w = (int)json_int(src, "w", 1), h = (int)json_int(src, "h", 1);
    int c = (int)json_int(src, "c", 3);
    bool smooth = strcmp(json_text(src, "pattern", ""), "smooth") == 0;
    uint32_t i = 0;

    image_init(ret_image, w, h, c);
    for (int y = 0; y < h; y++)
        for (int x = 0; x < w; x++)
            for (int ch = 0; ch < c; ch++, i++) {
                uint32_t hash = golden_hash(index, i);
                uint32_t wave = (uint32_t)(x * 37 / 8 + y * 61 / 8 + ch * 85) + (hash >> 29);
                ret_image->pixels[i] = (uint8_t)(smooth ? wave & 255 : hash >> 24);
            }
}

static void check_shape(struct golden_case *j, const struct json *check, const int *shape,
                        int rank) {
    const struct json *want = json_get(check, "shape");

    if (json_count(want) != rank)
        golden_complain(j, "rank %d, the file has %d", rank, json_count(want));
    for (int i = 0; i < rank; i++)
        if (shape[i] != json_int_at(want, i))
            golden_fail(j, "shape", shape[i], (double)json_int_at(want, i), 0);
}

static void check_bytes(struct golden_case *j, const struct json *check, const uint8_t *a,
                        size_t n) {
    const struct json *first = json_get(check, "first"), *idx = json_get(check, "idx");
    double sum = 0;
    uLong crc = crc32(0, a, (uInt)n);

    for (size_t i = 0; i < n; i++)
        sum += a[i];
    if (sum != json_number(check, "sum", NAN))
        golden_fail(j, "sum", sum, json_number(check, "sum", NAN), 0);
    for (int i = 0; i < json_count(first); i++)
        if ((size_t)i < n && a[i] != json_int_at(first, i))
            golden_fail(j, "first", a[i], (double)json_int_at(first, i), 0);
    for (int i = 0; i < json_count(idx); i++) {
        size_t at = (size_t)json_int_at(idx, i);
        long long want = json_int_at(json_get(check, "val"), i);
        if (at >= n || a[at] != want)
            golden_fail(j, "val", at < n ? a[at] : NAN, (double)want, 0);
    }
    if ((long long)crc != json_int(check, "crc32", -1))
        golden_fail(j, "crc32", (double)crc, json_number(check, "crc32", NAN), 0);
}

static void check_picture(struct golden_case *j, const struct json *check, const struct image *im) {
    int shape[3] = {im->h, im->w, im->c};

    check_shape(j, check, shape, json_count(json_get(check, "shape")) == 2 && im->c == 1 ? 2 : 3);
    check_bytes(j, check, im->pixels, (size_t)im->h * (size_t)im->w * (size_t)im->c);
}

static void check_f32(struct golden_case *j, const struct json *check, const float *a, size_t n) {
    const struct json *idx = json_get(check, "idx");
    double sum = 0, want = json_number(check, "sum", NAN);
    uLong crc = crc32(0, (const Bytef *)a, (uInt)(n * sizeof *a));

    for (size_t i = 0; i < n; i++)
        sum += (double)a[i];
    if (!(fabs(sum - want) <= 1e-9 * (double)n)) // the file has 12 digits
        golden_fail(j, "sum", sum, want, 1e-9 * (double)n);
    for (int i = 0; i < json_count(idx); i++) {
        size_t at = (size_t)json_int_at(idx, i);
        float value = (float)json_number_at(json_get(check, "val"), i);
        if (at >= n || a[at] != value)
            golden_fail(j, "val", at < n ? (double)a[at] : NAN, (double)value, 0);
    }
    if ((long long)crc != json_int(check, "crc32", -1))
        golden_fail(j, "crc32", (double)crc, json_number(check, "crc32", NAN), 0);
}

static void op_preprocess(struct golden_case *j, const struct json *c, const struct json *check,
                          const struct image *im) {
    const struct json *pos = json_get(c, "crop_pos");
    struct image gray, out;
    enum preprocess p;
    float *x;

    if (!preprocess_from_name(json_text(c, "preprocess", ""), &p)) {
        golden_complain(j, "unknown preprocess");
        return;
    }
    if (json_bool(c, "gray"))
        image_gray(im, &gray);
    preprocess_apply(p, json_bool(c, "gray") ? &gray : im, (int)json_int(c, "load_size", 286),
                     (int)json_int(c, "crop_size", 256), (int)json_int_at(pos, 0),
                     (int)json_int_at(pos, 1), json_bool(c, "flip"), &out);
    size_t n = (size_t)out.h * (size_t)out.w * (size_t)out.c;
    x = xcalloc(n, sizeof *x);
    size_t plane = n / (size_t)out.c;
    for (size_t i = 0; i < n; i++) // [c,h,w] from interleaved bytes
        x[i] = image_to_tensor_table()[out.pixels[i % plane * (size_t)out.c + i / plane]];
    check_shape(j, check, (int[]){out.c, out.h, out.w}, 3);
    check_f32(j, check, x, n);
    free(x);
    image_fini(&out);
    if (json_bool(c, "gray"))
        image_fini(&gray);
}

// The ops that turn a source picture into another.
static void picture_op(struct golden_case *j, const struct json *c, const struct json *check,
                       const char *op) {
    int size = (int)json_int(c, "size", 1);
    struct image im, out = {0};

    source(json_get(c, "src"), &im);
    if (strcmp(op, "resize") == 0)
        image_resize(&im, (int)json_int(c, "out_w", 1), (int)json_int(c, "out_h", 1), &out);
    else if (strcmp(op, "gray") == 0)
        image_gray(&im, &out);
    else if (strcmp(op, "crop") == 0)
        image_crop(&im, (int)json_int(c, "x", 0), (int)json_int(c, "y", 0), size, size, &out);
    else if (strcmp(op, "flip") == 0)
        image_flip(&im);
    if (strcmp(op, "preprocess") == 0)
        op_preprocess(j, c, check, &im);
    else
        check_picture(j, check, out.pixels ? &out : &im);
    image_fini(&out);
    image_fini(&im);
}

static void op_roundtrip(struct golden_case *j, const struct json *check) {
    uint8_t bytes[256];
    int differ = 0;

    for (int i = 0; i < 256; i++) {
        bytes[i] = image_from_tensor(image_to_tensor_table()[i]);
        differ += bytes[i] != i;
    }
    check_bytes(j, check, bytes, 256);
    if (differ != json_int(check, "differ", -1))
        golden_fail(j, "differ", differ, json_number(check, "differ", NAN), 0);
}

static void op_tensor2im(struct golden_case *j, const struct json *c, const struct json *check) {
    const struct json *shape = json_get(c, "shape");
    int ch = (int)json_int_at(shape, 1), h = (int)json_int_at(shape, 2);
    int w = (int)json_int_at(shape, 3);
    struct image im;

    image_init(&im, w, h, 3);
    for (int p = 0; p < h * w; p++)
        for (int k = 0; k < 3; k++)
            im.pixels[3 * p + k] = image_from_tensor(golden_value(
                (uint32_t)json_int(c, "index", 0), (uint32_t)((ch == 1 ? 0 : k) * h * w + p),
                json_number(c, "scale", 1), 0));
    check_picture(j, check, &im);
    image_fini(&im);
}

static void op_make_power(struct golden_case *j, const struct json *c, const struct json *check) {
    const struct json *pairs = json_get(check, "pairs");

    for (int i = 0; i < json_count(pairs); i++) {
        const struct json *pair = json_at(pairs, i);
        int got = preprocess_make_power((int)json_int_at(pair, 0), (int)json_int(c, "base", 4));
        if (got != json_int_at(pair, 1))
            golden_fail(j, "pairs", got, (double)json_int_at(pair, 1), 0);
    }
}

static void op_scale_width(struct golden_case *j, const struct json *c, const struct json *check) {
    const struct json *sizes = json_get(check, "sizes");

    for (int i = 0; i < json_count(sizes); i++) {
        const struct json *s = json_at(sizes, i);
        int w, h;
        preprocess_scale_width((int)json_int_at(s, 0), (int)json_int_at(s, 1),
                               (int)json_int(c, "load_size", 286),
                               (int)json_int(c, "crop_size", 256), &w, &h);
        if (w != json_int_at(s, 2) || h != json_int_at(s, 3))
            golden_complain(j, "sizes: got %dx%d, want %lldx%lld", w, h, json_int_at(s, 2),
                            json_int_at(s, 3));
    }
}

void case_image(struct golden_case *j, const struct json *c) {
    static const char *const pictures[] = {"resize", "gray", "crop", "flip", "preprocess"};
    const char *op = json_text(c, "op", "");
    const struct json *check = json_at(json_get(c, "check"), 0);

    for (unsigned i = 0; i < COUNT(pictures); i++)
        if (strcmp(op, pictures[i]) == 0) {
            picture_op(j, c, check, op);
            return;
        }
    if (strcmp(op, "to_tensor_table") == 0)
        check_f32(j, check, image_to_tensor_table(), 256);
    else if (strcmp(op, "roundtrip_table") == 0)
        op_roundtrip(j, check);
    else if (strcmp(op, "tensor2im") == 0)
        op_tensor2im(j, c, check);
    else if (strcmp(op, "make_power") == 0)
        op_make_power(j, c, check);
    else if (strcmp(op, "scale_width") == 0)
        op_scale_width(j, c, check);
    else
        golden_complain(j, "unknown op \"%s\"", op);
}
