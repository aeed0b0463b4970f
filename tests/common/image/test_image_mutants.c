// Thousands of damaged pictures, the same in every run: each is decoded in every way or refused
// with a reason, in time and within the limits. MUTANTS=20000 make SAN=1 test T=mutants for many.
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include <jpeglib.h>
#include <webp/encode.h>
#include <zlib.h>

#include "base/err.h"
#include "base/fs.h"
#include "base/rng.h"
#include "base/util.h"
#include "check.h"
#include "image/image.h"
#include "preprocess.h"

enum {
    SEEDS_MAX = 64,
    SEED_BYTES_MAX = 40000,
    MUTANTS = 2000,
    MAX_PIXELS = 1 << 20,
    RSS_MAX_MB = 600, // a picture of 2^20 pixels, its coefficients, and what sanitizers hold back
    FREE_BYTES = 4096,
};

static const struct image_limits limits = {.max_pixels = MAX_PIXELS, .max_pixels_per_byte = 2000};

struct bytes {
    uint8_t *bytes;
    size_t size;
};

static struct bytes seeds[SEEDS_MAX];
static size_t seed_count;

static void add_seed(const void *bytes, size_t size) {
    assert_true(size > 0);
    if (seed_count == SEEDS_MAX || size > SEED_BYTES_MAX)
        return;
    seeds[seed_count].bytes = xmalloc(size);
    memcpy(seeds[seed_count].bytes, bytes, size);
    seeds[seed_count++].size = size;
}

// ---- seeds: every coding ----

static struct image picture(int w, int h, int c) {
    struct image im;
    image_init(&im, w, h, c);
    for (int i = 0; i < w * h * c; i++)
        im.pixels[i] = (uint8_t)(i * 5 / w + (int)rng_block(1, RNG_TEST, (uint64_t)i, 8).v[0] % 40);
    return im;
}

static void add_jpeg(int channels, J_COLOR_SPACE space, bool progressive, bool arithmetic,
                     unsigned restart) {
    struct jpeg_compress_struct c;
    struct jpeg_error_mgr errors;
    struct image im = picture(53 * channels, 37, 1);
    uint8_t *bytes = NULL;
    unsigned long size = 0;
    c.err = jpeg_std_error(&errors);
    jpeg_create_compress(&c);
    jpeg_mem_dest(&c, &bytes, &size);
    c.image_width = 53;
    c.image_height = 37;
    c.input_components = channels;
    c.in_color_space = channels == 4 ? JCS_CMYK : channels == 3 ? JCS_RGB : JCS_GRAYSCALE;
    jpeg_set_defaults(&c);
    jpeg_set_colorspace(&c, space);
    if (progressive)
        jpeg_simple_progression(&c);
    c.arith_code = arithmetic;
    c.restart_interval = restart;
    jpeg_start_compress(&c, TRUE);
    static const uint8_t exif[] = "Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0"
                                  "\0\0\0";
    jpeg_write_marker(&c, JPEG_APP0 + 1, exif, sizeof exif);
    for (int y = 0; y < 37; y++) {
        JSAMPROW row = im.pixels + (size_t)y * (size_t)im.w;
        (void)jpeg_write_scanlines(&c, &row, 1);
    }
    jpeg_finish_compress(&c);
    jpeg_destroy_compress(&c);
    add_seed(bytes, size);
    free(bytes);
    image_fini(&im);
}

static void put32(uint8_t *at, uint32_t v) {
    for (int i = 0; i < 4; i++)
        at[i] = (uint8_t)(v >> (24 - 8 * i));
}

static size_t add_chunk(uint8_t *at, const char *name, const void *data, size_t size) {
    put32(at, (uint32_t)size);
    memcpy(at + 4, name, 4);
    if (size)
        memcpy(at + 8, data, size);
    put32(at + 8 + size, (uint32_t)crc32(0, at + 4, (uInt)(4 + size)));
    return size + 12;
}

// Rows of `row` bytes, each behind its filter.
static void add_png(uint8_t depth, uint8_t type, bool interlaced, size_t row) {
    enum { SIDE = 24 };
    uint8_t file[16384] = "\x89PNG\r\n\x1a\n", raw[12000], packed[12500];
    uint8_t header[13] = {0, 0, 0, SIDE, 0, 0, 0, SIDE, depth, type, 0, 0, interlaced};
    uLongf packed_size = sizeof packed;
    size_t at = 8, n = interlaced ? 2 * SIDE * (row + 4) : SIDE * (row + 1);
    for (size_t i = 0; i < n; i++) // filter types above 4 only where the passes' rows differ
        raw[i] = (uint8_t)(i % (row + 1) ? rng_block(1, RNG_TEST, i / 3, 4).v[0] : i % 5);
    if (interlaced)
        memset(raw, 0, sizeof raw);
    assert_int_equal(compress(packed, &packed_size, raw, n), Z_OK);
    at += add_chunk(file + at, "IHDR", header, sizeof header);
    if (type == 3)
        at += add_chunk(file + at, "PLTE", raw, 48);
    if (type != 4 && type != 6)
        at += add_chunk(file + at, "tRNS", "\0\x07\0\x03\0\x09", type == 3 ? 4 : type == 0 ? 2 : 6);
    at += add_chunk(file + at, "eXIf",
                    "II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x03\0\0\0\0\0\0", 26);
    at += add_chunk(file + at, "IDAT", packed, packed_size);
    at += add_chunk(file + at, "IEND", NULL, 0);
    add_seed(file, at);
}

static void add_webp(bool lossless, bool alpha) {
    struct image im = picture(40 * 4, 30, 1);
    uint8_t *bytes = NULL;
    size_t size = !alpha     ? WebPEncodeRGB(im.pixels, 40, 30, 160, 80, &bytes)
                  : lossless ? WebPEncodeLosslessRGBA(im.pixels, 40, 30, 160, &bytes)
                             : WebPEncodeRGBA(im.pixels, 40, 30, 160, 80, &bytes);
    add_seed(bytes, size);
    WebPFree(bytes);
    image_fini(&im);
}

// Difficult files of others, where they lie beside the tree.
static void add_foreign(void) {
    glob_t found;
    if (glob("../shared/data/nasty/*", 0, NULL, &found))
        return;
    for (size_t i = 0; i < found.gl_pathc; i++) {
        uint8_t *bytes;
        size_t size;
        assert_int_equal(fs_read(found.gl_pathv[i], 1 << 24, &bytes, &size), ERR_OK);
        if (size)
            add_seed(bytes, size);
        free(bytes);
    }
    globfree(&found);
}

static int make_seeds(void **state) {
    for (int k = 0; k < 4; k++) {
        add_jpeg(3, JCS_YCbCr, k & 1, k & 2, k == 0 ? 2 : 0);
        add_jpeg(1, JCS_GRAYSCALE, k & 1, k & 2, 0);
    }
    add_jpeg(4, JCS_CMYK, false, false, 0);
    add_jpeg(4, JCS_YCCK, true, false, 0);
    for (int interlaced = 0; interlaced < 2; interlaced++) {
        add_png(8, 2, interlaced, 72);
        add_png(8, 6, interlaced, 96);
        add_png(16, 0, interlaced, 48);
        add_png(16, 6, interlaced, 192);
        add_png(4, 3, interlaced, 12);
        add_png(1, 0, interlaced, 3);
        add_png(8, 4, interlaced, 48);
    }
    for (int k = 0; k < 3; k++)
        add_webp(k & 1, k > 0);
    for (size_t i = 0; i < seed_count; i++) {
        struct image im;
        if (image_decode("seed", seeds[i].bytes, seeds[i].size, &limits, 3, &im))
            fail_msg("seed %zu: %s", i, err_text());
        image_fini(&im);
    }
    add_foreign();
    return 0;
}

static int free_seeds(void **state) {
    while (seed_count > 0)
        free(seeds[--seed_count].bytes);
    return 0;
}

// ---- mutants ----

struct draws {
    uint64_t mutant;
    uint32_t next;
};

static uint32_t draw(struct draws *d, size_t below) {
    return (uint32_t)rng_below(9, RNG_TEST, d->mutant, d->next++, MAX(below, 1));
}

static void change_bytes(struct draws *d, struct bytes *m) {
    static const uint8_t extremes[] = {0, 1, 0x7f, 0x80, 0xff, 0xd9, 0xda, 0xc2};
    for (uint32_t n = 1 + draw(d, 6); n > 0; n--) {
        // Half of the changes hit the first bytes, where sizes and kinds are.
        size_t at = draw(d, draw(d, 2) ? m->size : MIN(m->size, (size_t)200));
        uint32_t kind = draw(d, 3);
        m->bytes[at] = kind == 0   ? (uint8_t)draw(d, 256)
                       : kind == 1 ? extremes[draw(d, sizeof extremes)]
                                   : (uint8_t)(m->bytes[at] ^ 1 << draw(d, 8));
    }
}

static void remove_part(struct draws *d, struct bytes *m) {
    size_t at = draw(d, m->size), n = draw(d, MIN(m->size - at, (size_t)300));
    memmove(m->bytes + at, m->bytes + at + n, m->size - at - n);
    m->size -= n;
}

static void repeat_part(struct draws *d, struct bytes *m) {
    size_t n = draw(d, MIN(m->size, (size_t)FREE_BYTES)), from = draw(d, m->size - n);
    size_t to = draw(d, m->size);
    memmove(m->bytes + to + n, m->bytes + to, m->size - to);
    memmove(m->bytes + to, m->bytes + from, n);
    m->size += n;
}

static void take_from_another(struct draws *d, struct bytes *m) {
    const struct bytes *other = &seeds[draw(d, seed_count)];
    size_t at = draw(d, m->size), n = MIN(m->size - at, other->size);
    memcpy(m->bytes + at, other->bytes + other->size - n, n);
}

// A PNG's checksums are right again, so that more than they is tested.
static void mend_checksums(struct bytes *m) {
    for (size_t at = 8; at + 12 <= m->size;) {
        size_t n = (size_t)m->bytes[at] << 24 | (size_t)m->bytes[at + 1] << 16 |
                   (size_t)m->bytes[at + 2] << 8 | m->bytes[at + 3];
        if (n > m->size - at - 12)
            return;
        put32(m->bytes + at + 8 + n, (uint32_t)crc32(0, m->bytes + at + 4, (uInt)(4 + n)));
        at += 12 + n;
    }
}

static struct bytes mutant(uint64_t i) {
    struct draws d = {.mutant = i};
    const struct bytes *seed = &seeds[i % seed_count];
    struct bytes m = {xcalloc(seed->size + FREE_BYTES, 1), seed->size};
    memcpy(m.bytes, seed->bytes, seed->size);
    switch (draw(&d, 6)) {
    case 0:
        m.size = draw(&d, m.size);
        break;
    case 1:
        remove_part(&d, &m);
        break;
    case 2:
        repeat_part(&d, &m);
        break;
    case 3:
        take_from_another(&d, &m);
        break;
    default:
        change_bytes(&d, &m);
    }
    if (draw(&d, 2) && m.size > 8 && memcmp(m.bytes + 1, "PNG", 3) == 0)
        mend_checksums(&m);
    return m;
}

// ---- what becomes of them ----

struct tally {
    uint64_t decoded, refused, kept; // in full by default; not; in part where that is allowed
    double slowest_s;
};

static double cpu_s(void) {
    struct timespec t;
    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t); // always there
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static bool decode(const struct bytes *m, const struct image_how *how, int channels,
                   struct tally *t) {
    struct image im;
    double begun = cpu_s();
    int err = image_decode_how("mutant", m->bytes, m->size, how, channels, &im);
    t->slowest_s = MAX(t->slowest_s, cpu_s() - begun);
    if (err) {
        assert_int_equal(err, ERR_FORMAT);
        assert_non_null(strstr(err_text(), "'mutant': "));
        assert_true(strlen(err_text()) > strlen("'mutant': ") + 3);
        return false;
    }
    assert_true((int64_t)im.w * im.h <= MAX_PIXELS);
    assert_int_equal(im.c, channels);
    image_fini(&im);
    return true;
}

static void resize(const struct bytes *m, uint64_t i, struct image_how how, struct tally *t) {
    struct image_info info;
    struct image im;
    int64_t resize_us = 0;
    int w, h;
    enum preprocess p = (enum preprocess)(i % (PREPROCESS_NONE + 1));
    if (image_probe("mutant", m->bytes, m->size, &limits, &info) ||
        preprocess_check(p, info.w, info.h, 24, 16))
        return;
    preprocess_scaled_size(p, info.w, info.h, 24, 16, &w, &h);
    double begun = cpu_s();
    if (image_decode_resized("mutant", m->bytes, m->size, &how, 3, w, h, &im, &resize_us) ==
        ERR_OK) {
        assert_int_equal(im.w, w);
        assert_int_equal(im.h, h);
        image_fini(&im);
    }
    t->slowest_s = MAX(t->slowest_s, cpu_s() - begun);
}

static void meet(uint64_t i, struct tally *t) {
    struct bytes m = mutant(i);
    // In a block of its own size, so that a sanitizer sees what is read behind its end.
    struct bytes exact = {xmalloc(MAX(m.size, (size_t)1)), m.size};
    memcpy(exact.bytes, m.bytes, m.size);
    struct image_how plain = {.limits = limits}, keep = plain, turned = plain, small = plain;
    keep.keep_truncated = small.keep_truncated = true;
    turned.apply_exif = turned.alpha_on_white = true;
    small.fit_w = small.fit_h = 12;
    bool whole = decode(&exact, &plain, 3, t), part = decode(&exact, &keep, 1, t);
    assert_true(part || !whole); // what is whole is kept
    assert_true(decode(&exact, &turned, 3, t) == whole);
    (void)decode(&exact, &small, 3, t); // of fewer coefficients, damage may stay unseen
    resize(&exact, i, i % 2 ? small : turned, t);
    t->decoded += whole;
    t->refused += !whole;
    t->kept += part && !whole;
    free(exact.bytes);
    free(m.bytes);
}

static void every_mutant_is_decoded_or_refused_with_a_reason(void **state) {
    const char *wanted = getenv("MUTANTS");
    uint64_t n = wanted ? strtoull(wanted, NULL, 10) : MUTANTS;
    struct tally t = {0};
    struct rusage usage;
    for (uint64_t i = 0; i < n; i++)
        meet(i, &t);
    (void)getrusage(RUSAGE_SELF, &usage);
    print_message("%llu mutants of %zu files: %llu decoded, %llu refused, of these %llu kept in "
                  "part where that is allowed; the slowest took %.3f s; at most %ld MB\n",
                  (unsigned long long)n, seed_count, (unsigned long long)t.decoded,
                  (unsigned long long)t.refused, (unsigned long long)t.kept, t.slowest_s,
                  usage.ru_maxrss / 1024);
    assert_true(t.decoded > n / 50 && t.refused > n / 4 && t.kept > n / 50); // they reach all ways
    assert_true(t.slowest_s < 1);
    assert_true(usage.ru_maxrss / 1024 < RSS_MAX_MB);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(every_mutant_is_decoded_or_refused_with_a_reason,
                                        make_seeds, free_seeds),
    };
    return cmocka_run_group_tests_name("image_mutants", tests, NULL, NULL);
}
