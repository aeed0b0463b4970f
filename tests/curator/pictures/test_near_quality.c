// How well perceptual hashes tell copies from other pictures, on real ones: recall on copies that
// were encoded again, resized, made lighter or darker; precision against all pairs of different
// pictures. Prints the figures.
#include "curator/curator_test.h"

#include "pictures/dhash.h"

enum { PICTURES_MAX = 1000, EACH = 100, BITS_MAX = 12, RECOMMENDED = 6 };

static char data_folder[256];

static const char *const sets[] = {
    "anime",
    "celeba",
    "celeba_half",
    "cityscapes/trainA",
    "facades/train",
    "face2genshin/trainA",
    "face2genshin/trainB",
};

// ---- copies ----

static void encode_again(const struct image *im, int quality, struct image *ret_image) {
    uint8_t *bytes;
    size_t size;
    assert_int_equal(image_encode_jpeg(im, quality, &bytes, &size), ERR_OK);
    assert_int_equal(image_decode("copy", bytes, size, &image_default_limits, 3, ret_image), 0);
    free(bytes);
}

static void resized(const struct image *im, int w, int h, struct image *ret_image) {
    struct image other;
    image_resize(im, MAX(1, w), MAX(1, h), &other);
    encode_again(&other, 85, ret_image);
    image_fini(&other);
}

static void brighter(const struct image *im, int percent, struct image *ret_image) {
    struct image other;
    image_crop(im, 0, 0, im->w, im->h, &other);
    for (int i = 0; i < im->w * im->h * im->c; i++)
        other.pixels[i] = (uint8_t)MIN(255, (other.pixels[i] * percent + 50) / 100);
    encode_again(&other, 85, ret_image);
    image_fini(&other);
}

static void quality_50(const struct image *im, struct image *ret) {
    encode_again(im, 50, ret);
}
static void quality_75(const struct image *im, struct image *ret) {
    encode_again(im, 75, ret);
}
static void half(const struct image *im, struct image *ret) {
    resized(im, im->w / 2, im->h / 2, ret);
}
static void larger(const struct image *im, struct image *ret) {
    resized(im, im->w * 3 / 2, im->h * 3 / 2, ret);
}
static void square_128(const struct image *im, struct image *ret) {
    resized(im, 128, 128, ret);
}
static void darker_10(const struct image *im, struct image *ret) {
    brighter(im, 90, ret);
}
static void lighter_10(const struct image *im, struct image *ret) {
    brighter(im, 110, ret);
}

static const struct copy {
    const char *name;
    void (*make)(const struct image *im, struct image *ret_image);
} copies[] = {
    {"encoded again, quality 50", quality_50},
    {"encoded again, quality 75", quality_75},
    {"half the size", half},
    {"half as large again", larger},
    {"128x128", square_128},
    {"10 % darker", darker_10},
    {"10 % lighter", lighter_10},
};

// ---- counting ----

// found[k][d]: copies of kind k that differ in at most d bits.
struct figures {
    int originals, found[COUNT(copies)][BITS_MAX + 1];
    long pairs, wrong[BITS_MAX + 1]; // pairs of different pictures
    struct dhash hashes[PICTURES_MAX];
    char *names[PICTURES_MAX];
};

static struct dhash hash_of(const struct image *im) {
    struct image gray;
    struct dhash hash;
    image_gray(im, &gray);
    dhash_of(&gray, &hash);
    image_fini(&gray);
    return hash;
}

static void add_original(struct figures *f, const char *path) {
    struct image im, copy;
    assert_true(f->originals < PICTURES_MAX);
    assert_int_equal(image_load(path, &image_default_limits, 3, &im), ERR_OK);
    struct dhash hash = hash_of(&im);
    for (size_t k = 0; k < COUNT(copies); k++) {
        copies[k].make(&im, &copy);
        for (int d = dhash_distance(hash, hash_of(&copy)); d <= BITS_MAX; d++)
            f->found[k][d]++;
        image_fini(&copy);
    }
    f->names[f->originals] = xstrdup(path);
    f->hashes[f->originals++] = hash;
    image_fini(&im);
}

// Without those that are the same file twice.
static void add_set(struct figures *f, const char *name) {
    free(settings.root);
    settings.root = xasprintf("%s/%s", data_folder, name);
    settings.drop_duplicates = true;
    settings.limit = EACH;
    settings.hold_out = 0;
    if (!fs_is_dir(settings.root))
        return;
    assert_int_equal(judged(), ERR_OK);
    for (size_t i = 0; i < curation.walk.found.count; i++) {
        const struct picture *p = &curation.walk.found.items[i];
        char *path = xasprintf("%s/%s", curation.root, p->path);
        if (p->verdict == VERDICT_KEEP)
            add_original(f, path);
        free(path);
    }
}

static void count_pairs(struct figures *f) {
    for (int i = 0; i < f->originals; i++)
        for (int k = 0; k < i; k++) {
            int distance = dhash_distance(f->hashes[i], f->hashes[k]);
            f->pairs++;
            if (distance <= BITS_MAX)
                printf("different, %d bits: %s %s\n", distance, f->names[i], f->names[k]);
            for (int d = distance; d <= BITS_MAX; d++)
                f->wrong[d]++;
        }
}

static long found_of_all(const struct figures *f, int d) {
    long n = 0;
    for (size_t k = 0; k < COUNT(copies); k++)
        n += f->found[k][d];
    return n;
}

static void print(const struct figures *f) {
    printf("%d pictures, %zu copies of each, %ld pairs of different ones\n"
           "recall in %% at near_duplicates =",
           f->originals, COUNT(copies), f->pairs);
    for (int d = 2; d <= BITS_MAX; d += 2)
        printf(" %7d", d);
    for (size_t k = 0; k < COUNT(copies); k++) {
        printf("\n%-32s", copies[k].name);
        for (int d = 2; d <= BITS_MAX; d += 2)
            printf(" %7.2f", 100.0 * f->found[k][d] / f->originals);
    }
    printf("\n%-32s", "all");
    for (int d = 2; d <= BITS_MAX; d += 2)
        printf(" %7.2f",
               100.0 * (double)found_of_all(f, d) / (double)((long)COUNT(copies) * f->originals));
    printf("\n%-32s", "pairs of different ones");
    for (int d = 2; d <= BITS_MAX; d += 2)
        printf(" %7ld", f->wrong[d]);
    printf("\n%-32s", "precision in %");
    for (int d = 2; d <= BITS_MAX; d += 2)
        printf(" %7.2f",
               100.0 * (double)found_of_all(f, d) / (double)(found_of_all(f, d) + f->wrong[d]));
    printf("\n");
}

static void copies_are_found_and_others_are_not(void **state) {
    static struct figures f;
    if (!fs_is_dir(data_folder))
        skip();
    for (size_t i = 0; i < COUNT(sets); i++)
        add_set(&f, sets[i]);
    assert_true(f.originals > 100);
    count_pairs(&f);
    print(&f);
    long all = (long)COUNT(copies) * f.originals, found = found_of_all(&f, RECOMMENDED);
    assert_true(found * 100 >= all * 99);
    assert_true(found * 100 >= (found + f.wrong[RECOMMENDED]) * 99);
    for (int i = 0; i < f.originals; i++)
        free(f.names[i]);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(copies_are_found_and_others_are_not, setup, teardown),
    };
    if (!realpath("../shared/data", data_folder))
        data_folder[0] = 0;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
