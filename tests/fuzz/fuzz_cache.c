// What curators leave for themselves: a cache of pictures and one of labels (with the head and the
// digest that hold, so that their lines are read) and a domain file. What was taken is written and
// taken again.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/text.h"
#include "base/util.h"
#include "curation/domain.h"
#include "fuzz/fuzz.h"
#include "kinds/label_cache.h"
#include "pictures/cache.h"
#include "pictures/checksum.h"

#define KEY "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

#define LABELS_SEED                                                                                \
    "files 1 200 1 6120697320620a\nvalue 0 6e69676874\nvalue 2 -\nname 010001 612e6a7067\n"        \
    "name 000000 c3a9\n"

static struct pictures two_pictures(void) {
    static const char *const names[] = {"a.jpg", "b/c.png"};
    struct pictures list = {0};
    for (size_t i = 0; i < COUNT(names); i++) {
        struct picture *p = pictures_add(&list);
        p->path = xstrdup(names[i]);
        p->size = 9;
        p->mtime_ns = 7;
    }
    return list;
}

static size_t known(const struct pictures *list) {
    size_t n = 0;
    for (size_t i = 0; i < list->count; i++)
        n += list->items[i].known || list->items[i].bad;
    return n;
}

static void try_cache(const uint8_t *bytes, size_t size) {
    struct pictures list = two_pictures(), again = two_pictures();
    struct text t = {0};
    size_t hits;
    text_add(&t, "cyclegan-cache 2 %s\n", KEY);
    text_add_bytes(&t, bytes, size);
    checksum_seal(&t);
    fuzz_write("cache", t.bytes, t.size);
    FUZZ_CHECK(cache_apply("cache", KEY, &list, &hits) == ERR_OK);
    FUZZ_CHECK(hits == known(&list));
    FUZZ_CHECK(cache_save("again", KEY, &list) == ERR_OK);
    FUZZ_CHECK(cache_apply("again", KEY, &again, &hits) == ERR_OK);
    FUZZ_CHECK(hits == known(&list));
    for (size_t i = 0; i < list.count; i++) {
        const struct picture *p = &list.items[i], *q = &again.items[i];
        FUZZ_CHECK(p->known == q->known && p->verdict == q->verdict);
        FUZZ_CHECK(strcmp(p->reason, q->reason) == 0 && p->w == q->w && p->h == q->h);
        FUZZ_CHECK(memcmp(&p->stats, &q->stats, sizeof p->stats) == 0);
        FUZZ_CHECK(dhash_equal(p->hash, q->hash));
        FUZZ_CHECK(!p->known || memcmp(p->histogram, q->histogram, sizeof *p->histogram) == 0);
    }
    free(t.bytes);
    pictures_fini(&list);
    pictures_fini(&again);
}

static void try_domain(const uint8_t *bytes, size_t size) {
    struct domain d;
    struct domain_distance distance;
    struct text t = {0};
    text_add_bytes(&t, bytes, size);
    checksum_seal(&t);
    fuzz_write("domain", t.bytes, t.size);
    if (domain_load("domain", &d) == ERR_OK) {
        domain_distance(&d, &d, &distance);
        FUZZ_CHECK(distance.colours == 0);
    }
    free(t.bytes);
}

static void try_labels(const uint8_t *bytes, size_t size) {
    struct labels l = {0}, again = {0};
    struct text t = {0};
    char digests[2][65];
    text_add(&t, "cyclegan-labels 1 %s\n", KEY);
    text_add_bytes(&t, bytes, size);
    checksum_seal(&t);
    fuzz_write("labels", t.bytes, t.size);
    if (label_cache_load("labels", KEY, &l) == ERR_OK) {
        FUZZ_CHECK(label_cache_save("labels", KEY, &l) == ERR_OK);
        FUZZ_CHECK(label_cache_load("labels", KEY, &again) == ERR_OK);
        labels_digest(&l, digests[0]);
        labels_digest(&again, digests[1]);
        FUZZ_CHECK(strcmp(digests[0], digests[1]) == 0);
    }
    free(t.bytes);
    labels_fini(&l);
    labels_fini(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    try_labels(bytes, size);
    try_cache(bytes, size);
    try_domain(bytes, size);
    return 0;
}

static void without_head_and_digest(const char *from, const char *to, bool head) {
    char text[16384];
    FILE *in = fopen(from, "rb");
    size_t n = in ? fread(text, 1, sizeof text - 1, in) : 0;
    if (in)
        (void)fclose(in); // only read from
    text[n] = 0;
    char *begin = head ? strchr(text, '\n') + 1 : text;
    char *end = strstr(text, "digest ");
    fuzz_write(to, begin, (size_t)(end - begin));
}

void fuzz_seeds(void) {
    struct pictures list = two_pictures();
    struct domain d = {.pictures = 2, .manifest = KEY};
    list.items[0].known = true;
    list.items[0].w = list.items[0].h = 5;
    list.items[0].stats.luma = 60.5;
    list.items[0].histogram = xcalloc(1, sizeof *list.items[0].histogram);
    list.items[0].histogram->bins[3][7] = STATS_WHOLE;
    picture_reject(&list.items[1], "broken", 3, "%s", "cut short");
    list.items[1].bad = true;
    (void)cache_save("whole", KEY, &list); // a seed less
    without_head_and_digest("whole", "lines", true);
    (void)domain_save(&d, "domain");
    without_head_and_digest("domain", "two", false);
    fuzz_write("labelled", LABELS_SEED, sizeof LABELS_SEED - 1);
    pictures_fini(&list);
}
