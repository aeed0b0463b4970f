// near - multi-index hashing for Hamming distances (near.h). Buckets are linked lists by index, so
// adding allocates nothing.
#include "pictures/near.h"

#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/rng.h"
#include "base/util.h"

// 128 bits in 17 groups leave 7 bits a group: more groups would make buckets too full.
enum { DISTANCE_MAX = 32, GROUPS_MAX = DISTANCE_MAX / 2 + 1, NONE = -1, SEEN_SHIFT = 4 };

struct near {
    int distance, groups, bits; // of a bucket's number
    size_t capacity, count;
    struct dhash masks[GROUPS_MAX]; // the bits of each group
    uint8_t group_of[DHASH_BITS];
    struct near_item *items;
    // A table per group: the last item of each bucket, and before each item the one of its bucket.
    int32_t *heads, *before;
    // A bit for each of the 1 << SEEN_SHIFT parts of a bucket. Most look-ups find nothing and end
    // at this bit, without touching the buckets.
    uint64_t *seen;
};

// deal_bits also uses this, to set bits of an empty mask.
static struct dhash with_bit_flipped(struct dhash h, int bit) {
    *(bit < 64 ? &h.rows : &h.columns) ^= 1ULL << bit % 64;
    return h;
}

// Dealt by a fixed permutation: the result is the same in every run.
static void deal_bits(struct near *n) {
    for (int i = 0; i < DHASH_BITS; i++) {
        int g = (int)(rng_permute(0, RNG_DEAL, 0, DHASH_BITS, (uint64_t)i) % (uint64_t)n->groups);
        n->group_of[i] = (uint8_t)g;
        n->masks[g] = with_bit_flipped(n->masks[g], i);
    }
}

struct near *near_new(int distance, size_t capacity) {
    if (distance < 0 || distance > DISTANCE_MAX || capacity > INT32_MAX)
        BUG("distance %d among %zu", distance, capacity);
    struct near *n = xcalloc(1, sizeof *n);
    int bits = 4;
    // About one bucket an item, so lists stay short.
    while (bits < 31 && (size_t)1 << bits < capacity)
        bits++;
    n->distance = distance;
    n->groups = distance / 2 + 1;
    n->bits = bits;
    n->capacity = capacity;
    deal_bits(n);
    // Every group has a table of its own in the same array.
    size_t heads = ((size_t)1 << bits) * (size_t)n->groups;
    n->items = xcalloc(capacity, sizeof *n->items);
    n->heads = xmalloc(heads * sizeof *n->heads);
    // 64 bits of `seen` fit a word; heads << SEEN_SHIFT is a multiple of 64, since bits is at least
    // 4.
    n->seen = xcalloc((heads << SEEN_SHIFT) / 64, sizeof *n->seen);
    n->before = xcalloc(capacity * (size_t)n->groups, sizeof *n->before);
    memset(n->heads, 0xff, heads * sizeof *n->heads); // NONE
    return n;
}

void near_free(struct near *n) {
    if (!n)
        return;
    free(n->items);
    free(n->heads);
    free(n->seen);
    free(n->before);
    free(n);
}

// Index of the part of a bucket for a group's bits: multiplicative hashing. A collision only costs
// time, since every candidate is compared in full.
static size_t part_of(const struct near *n, int group, struct dhash h) {
    uint64_t mixed = (h.rows & n->masks[group].rows) * 0x9e3779b97f4a7c15ULL;
    mixed = (mixed ^ mixed >> 32) + (h.columns & n->masks[group].columns);
    mixed *= 0xd6e8feb86659fd93ULL;
    mixed = (mixed ^ mixed >> 32) * 0xd6e8feb86659fd93ULL;
    int bits = n->bits + SEEN_SHIFT;
    // The high bits of a product are its best mixed ones.
    return ((size_t)group << bits) + (mixed >> (64 - bits));
}

void near_add(struct near *n, const struct near_item *item) {
    if (n->count == n->capacity)
        BUG("more than %zu hashes", n->capacity);
    n->items[n->count] = *item;
    for (int g = 0; g < n->groups; g++) {
        size_t part = part_of(n, g, item->own);
        int32_t *head = &n->heads[part >> SEEN_SHIFT];
        // The new item becomes the head; the old head follows it.
        n->before[(size_t)g * n->capacity + n->count] = *head;
        n->seen[part / 64] |= 1ULL << part % 64;
        *head = (int32_t)n->count;
    }
    n->count++;
}

struct search {
    const struct near *index;
    const struct near_item *item;
    int32_t found;
    int distance; // of `found`; at first one more than is allowed
};

// Searches the bucket of `bits`: the item's own bits or those with one flipped.
static void look_up(struct search *s, int group, struct dhash bits) {
    const struct near *n = s->index;
    const int32_t *before = n->before + (size_t)group * n->capacity;
    size_t part = part_of(n, group, bits);
    if (!(n->seen[part / 64] >> part % 64 & 1))
        return;
    for (int32_t i = n->heads[part >> SEEN_SHIFT]; i != NONE; i = before[i]) {
        int distance = near_distance(s->item, &n->items[i]);
        // Of equal distances the first added wins, whatever group finds it first.
        if (distance > s->distance || (distance == s->distance && s->found <= i))
            continue;
        s->distance = distance;
        s->found = i;
    }
}

bool near_find(const struct near *n, const struct near_item *item, size_t *ret_index,
               int *ret_distance) {
    // One more than allowed, so that the comparison above needs no special case.
    struct search s = {n, item, NONE, n->distance + 1};
    // Exact matches of a group first; then all groups but for one bit.
    for (int g = 0; g < n->groups; g++)
        look_up(&s, g, item->own);
    // At distance 0 each group matches exactly, and flips find nothing.
    for (int bit = 0; bit < DHASH_BITS && n->distance > 0; bit++)
        look_up(&s, n->group_of[bit], with_bit_flipped(item->own, bit));
    if (s.found == NONE)
        return false;
    *ret_index = (size_t)s.found;
    *ret_distance = s.distance;
    return true;
}
