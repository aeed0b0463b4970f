// duplicates - first equal bytes by sorting, then nearly equal hashes by an index. The caller's
// order decides which of two copies stays.
#include "curation/duplicates.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "pictures/near.h"

// The good pictures of a list, in its order.
struct good {
    struct picture **items;
    size_t count;
};

static struct good good_of(struct picture *const *ordered, size_t count) {
    struct good g = {.items = xcalloc(count, sizeof(struct picture *))};
    for (size_t i = 0; i < count; i++)
        // Pictures that were not read have neither digest nor hash.
        if (picture_is_good(ordered[i]) && ordered[i]->known)
            g.items[g.count++] = ordered[i];
    return g;
}

// ---- the same bytes ----

struct keyed {
    struct picture *picture;
    size_t place;
};

static int compare_bytes(const struct picture *p, const struct picture *q) {
    int order = memcmp(p->sha256, q->sha256, sizeof p->sha256);
    // Of pairs the partner has to be equal too, or two pairs with one common side would become one.
    return order || !p->partner || !q->partner
               ? order
               : memcmp(p->partner->sha256, q->partner->sha256, sizeof p->sha256);
}

static int by_bytes(const void *a, const void *b) {
    const struct keyed *p = a, *q = b;
    int order = compare_bytes(p->picture, q->picture);
    // qsort is not stable. The place keeps the preferred copy in front of its equals.
    return order ? order : (p->place > q->place) - (p->place < q->place);
}

static void reject_equal(const struct good *g, const char *setting) {
    struct keyed *keyed = xcalloc(g->count, sizeof *keyed);
    for (size_t i = 0; i < g->count; i++)
        keyed[i] = (struct keyed){g->items[i], i};
    if (g->count)
        qsort(keyed, g->count, sizeof *keyed, by_bytes);
    // A run of equal keys begins at `first`, the preferred one; all after it in the run go.
    for (size_t first = 0, i = 1; i < g->count; i++) {
        struct picture *p = keyed[i].picture;
        if (compare_bytes(keyed[first].picture, p) != 0) {
            first = i;
            continue;
        }
        p->twin = keyed[first].picture;
        picture_reject(p, "duplicate", NAN, "the same bytes as '%.150s', %s", p->twin->path,
                       setting);
    }
    free(keyed);
}

// ---- nearly the same hash ----

static struct near_item item_of(const struct picture *p) {
    struct near_item item = {.own = p->hash};
    if (p->partner)
        item.partner = p->partner->hash;
    return item;
}

static void reject_near(const struct good *g, int bits) {
    // The index also finds hashes one bit beyond the bound, which the report calls borderline.
    struct near *index = near_new(bits + DUPLICATES_BORDER, g->count);
    struct picture **kept = xcalloc(g->count, sizeof(struct picture *));
    size_t n = 0, twin;
    for (size_t i = 0; i < g->count; i++) {
        struct picture *p = g->items[i];
        struct near_item item = item_of(p);
        // An earlier call with a shorter list may have set it.
        p->twin = NULL;
        if (near_find(index, &item, &twin, &p->twin_bits))
            p->twin = kept[twin];
        if (p->twin && p->twin_bits <= bits) {
            picture_reject(p, "near_duplicate", p->twin_bits,
                           "%d of %d bits differ from '%.150s', near_duplicates is %d",
                           p->twin_bits, DHASH_BITS, p->twin->path, bits);
            // A rejected picture is not added: chains of small steps would otherwise reject
            // distinct pictures.
            continue;
        }
        near_add(index, &item);
        kept[n++] = p;
    }
    free(kept);
    near_free(index);
}

size_t duplicates_reject(const struct curation *c, struct picture *const *ordered, size_t count) {
    int bits = (int)c->settings->near_duplicates;
    struct good g = good_of(ordered, count);
    // near_duplicates without drop_duplicates rejects equal bytes too: their distance is 0.
    if (bits || c->settings->drop_duplicates)
        reject_equal(&g, c->settings->drop_duplicates ? "drop_duplicates is true"
                                                      : "near_duplicates is set");
    free(g.items);
    // Made again, because each step may have rejected some.
    g = good_of(ordered, count);
    if (bits)
        reject_near(&g, bits);
    free(g.items);
    g = good_of(ordered, count);
    free(g.items);
    return g.count;
}

// ---- held out too ----

// All known pictures of a verdict, malloc'ed.
static struct good pictures_of(const struct curation *c, enum verdict verdict) {
    struct good g = {.items = xcalloc(c->walk.found.count, sizeof(struct picture *))};
    for (size_t i = 0; i < c->walk.found.count; i++) {
        struct picture *p = &c->walk.found.items[i];
        if (p->verdict == verdict && p->known)
            g.items[g.count++] = p;
    }
    return g;
}

static void note_leak(const struct curation *c, struct picture *p, struct picture *held_out,
                      int bits, struct leaks *l) {
    bool equal = compare_bytes(p, held_out) == 0;
    *(equal ? &l->equal : &l->near) += 1;
    if (!l->example)
        // Pictures are sorted by path, so the first one found is the first by path.
        l->example = p;
    p->twin = held_out;
    p->twin_bits = bits;
    if (c->settings->drop_leaks)
        picture_reject(p, "held_out_too", bits,
                       "%s '%.150s', which is held out; drop_leaks is true",
                       equal ? "the same bytes as" : "nearly the same as", held_out->path);
}

void duplicates_find_leaks(struct curation *c, struct leaks *ret) {
    struct good held = pictures_of(c, VERDICT_HOLD_OUT), kept = pictures_of(c, VERDICT_KEEP);
    // Leaks are looked for even where near duplicates may stay.
    int bits = c->settings->near_duplicates ? (int)c->settings->near_duplicates : LEAK_BITS;
    struct near *index = near_new(bits, held.count);
    *ret = (struct leaks){0};
    for (size_t i = 0; i < held.count; i++) {
        struct near_item item = item_of(held.items[i]);
        near_add(index, &item);
    }
    // Held-out pictures are usually fewer, so the index holds those and the many are looked up.
    for (size_t i = 0; i < kept.count; i++) {
        struct near_item item = item_of(kept.items[i]);
        size_t twin;
        int distance;
        if (near_find(index, &item, &twin, &distance))
            note_leak(c, kept.items[i], held.items[twin], distance, ret);
    }
    near_free(index);
    free(held.items);
    free(kept.items);
}
