// The part of bench_curator.c about perceptual hashes: making them, and cutting near duplicates.
#ifndef BENCH_HASHES_H
#define BENCH_HASHES_H

#include <time.h>

#include "curation/duplicates.h"

#define HASHES 200000
#define HASHES_CHECKED 5000

static double thread_s(void) {
    struct timespec t;
    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t); // there is one
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static double hash_once(uint8_t *const *files, const size_t *sizes) {
    struct image_how how = {image_default_limits, .fit_w = 16, .fit_h = 16};
    double begun = thread_s();
    for (int i = 0; i < PICTURES; i++) {
        struct image gray;
        struct dhash hash;
        if (image_decode_how("made", files[i], sizes[i], &how, 1, &gray))
            BUG("%s", err_text());
        dhash_of(&gray, &hash);
        image_fini(&gray);
    }
    return thread_s() - begun;
}

static void bench_hash(void) {
    static uint8_t *files[PICTURES];
    static size_t sizes[PICTURES];
    double seconds[REPEATS];
    size_t bytes = 0;
    for (int i = 0; i < PICTURES; i++) {
        struct image im;
        draw_picture((uint64_t)i, &im);
        if (image_encode_jpeg(&im, 90, &files[i], &sizes[i]))
            BUG("%s", err_text());
        image_fini(&im);
        bytes += sizes[i];
    }
    for (int i = 0; i < REPEATS; i++)
        seconds[i] = hash_once(files, sizes);
    print_more("hash", PICTURES, seconds, ",\"mean_bytes\":%zu", bytes / PICTURES);
    for (int i = 0; i < PICTURES; i++)
        free(files[i]);
}

static struct dhash random_hash(uint64_t i) {
    struct rng_block b = rng_block(1, RNG_TEST, i, 1);
    return (struct dhash){(uint64_t)b.v[0] << 32 | b.v[1], (uint64_t)b.v[2] << 32 | b.v[3]};
}

static struct dhash flip(struct dhash h, uint64_t i, int bits) {
    for (int k = 0; k < bits; k++) {
        uint64_t bit = rng_below(2, RNG_TEST, i, (uint32_t)k, DHASH_BITS);
        *(bit < 64 ? &h.rows : &h.columns) ^= 1ULL << bit % 64;
    }
    return h;
}

// Every tenth is planted: it differs in 0 to 6 bits from one of the others before it.
static void make_hashes(bool alike, uint64_t count, struct pictures *list) {
    struct dhash face = random_hash(0);
    for (uint64_t i = 0; i < count; i++) {
        struct picture *p = pictures_add(list);
        struct dhash h = random_hash(i + 1);
        p->path = xasprintf("%06d.jpg", (int)i);
        p->known = true;
        if (alike) { // half of the bits are those of one face
            h.rows = (h.rows & 0xaaaaaaaaaaaaaaaa) | (face.rows & 0x5555555555555555);
            h.columns = (h.columns & 0xaaaaaaaaaaaaaaaa) | (face.columns & 0x5555555555555555);
        }
        uint64_t of = rng_below(3, RNG_TEST, i, 0, MAX(i, 1));
        if (i % 10 == 9)
            h = flip(list->items[of - (of % 10 == 9)].hash, i, (int)(i / 10 % 7));
        p->hash = h;
        memcpy(p->sha256, &i, sizeof i);
    }
}

// All of them in the order of the list, without verdicts.
static struct picture **in_order(struct pictures *list) {
    struct picture **ordered = xcalloc(list->count, sizeof(struct picture *));
    for (size_t i = 0; i < list->count; i++) {
        ordered[i] = &list->items[i];
        list->items[i].verdict = VERDICT_OPEN;
    }
    return ordered;
}

// Comparing all pairs says the same of each.
static void check_by_brute_force(const struct curation *c, bool alike) {
    struct pictures list = {0};
    bool rejected[HASHES_CHECKED] = {0};
    make_hashes(alike, HASHES_CHECKED, &list);
    struct picture **ordered = in_order(&list);
    (void)duplicates_reject(c, ordered, list.count); // its verdicts are looked at
    for (size_t i = 0; i < list.count; i++) {
        for (size_t k = 0; k < i && !rejected[i]; k++)
            rejected[i] = !rejected[k] && dhash_distance(list.items[i].hash, list.items[k].hash) <=
                                              c->settings->near_duplicates;
        if (rejected[i] != (list.items[i].verdict == VERDICT_REJECT))
            BUG("hash %zu: all pairs say %d", i, rejected[i]);
    }
    free(ordered);
    pictures_fini(&list);
}

static void bench_duplicates(const char *what, bool alike) {
    double seconds[REPEATS];
    const struct config_curator settings = {.near_duplicates = 6};
    const struct curation c = {.settings = &settings};
    struct pictures list = {0};
    size_t left = 0;
    check_by_brute_force(&c, alike);
    make_hashes(alike, HASHES, &list);
    for (int i = 0; i < REPEATS; i++) {
        struct picture **ordered = in_order(&list);
        double begun = thread_s();
        left = duplicates_reject(&c, ordered, list.count);
        seconds[i] = thread_s() - begun;
        free(ordered);
    }
    if (left > HASHES - HASHES / 10)
        BUG("%zu are left", left); // the planted ones at least have to go
    print_more(what, HASHES, seconds, ",\"kept\":%zu", left);
    pictures_fini(&list);
}

#endif
