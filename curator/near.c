#include "near.h"

#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "util.h"

enum { GROUPS_MAX = 33, NONE = -1 };

struct near {
    int distance, groups, shift;
    size_t capacity, count;
    struct dhash masks[GROUPS_MAX]; // the bits of each group
    struct near_item *items;
    // A table per group: the last item of each bucket, and before each item the one of its bucket.
    int32_t *heads, *before;
};

struct near *near_new(int distance, size_t capacity) {
    if (distance < 0 || distance >= GROUPS_MAX || capacity > INT32_MAX)
        BUG("distance %d among %zu", distance, capacity);
    struct near *n = xcalloc(1, sizeof *n);
    int bits = 4;
    while (bits < 31 && (size_t)1 << bits < capacity)
        bits++;
    n->distance = distance;
    n->groups = distance + 1;
    n->shift = 64 - bits;
    n->capacity = capacity;
    for (int i = 0; i < DHASH_BITS; i++)
        *(i < 64 ? &n->masks[i % n->groups].rows : &n->masks[i % n->groups].columns) |= 1ULL
                                                                                        << i % 64;
    size_t heads = ((size_t)1 << bits) * (size_t)n->groups;
    n->items = xcalloc(capacity, sizeof *n->items);
    n->heads = xmalloc(heads * sizeof *n->heads);
    n->before = xcalloc(capacity * (size_t)n->groups, sizeof *n->before);
    memset(n->heads, 0xff, heads * sizeof *n->heads); // NONE
    return n;
}

void near_free(struct near *n) {
    if (!n)
        return;
    free(n->items);
    free(n->heads);
    free(n->before);
    free(n);
}

// The bucket of a group's bits: multiplicative hashing. Others may fall into it too; those compared
// there are only too many.
static int32_t *bucket(const struct near *n, int group, struct dhash h) {
    uint64_t mixed = (h.rows & n->masks[group].rows) * 0x9e3779b97f4a7c15ULL;
    mixed = (mixed ^ mixed >> 32) + (h.columns & n->masks[group].columns);
    mixed *= 0xd6e8feb86659fd93ULL;
    mixed = (mixed ^ mixed >> 32) * 0xd6e8feb86659fd93ULL;
    return n->heads + ((size_t)group << (64 - n->shift)) + (mixed >> n->shift);
}

void near_add(struct near *n, const struct near_item *item) {
    if (n->count == n->capacity)
        BUG("more than %zu hashes", n->capacity);
    n->items[n->count] = *item;
    for (int g = 0; g < n->groups; g++) {
        int32_t *head = bucket(n, g, item->own);
        n->before[(size_t)g * n->capacity + n->count] = *head;
        *head = (int32_t)n->count;
    }
    n->count++;
}

bool near_find(const struct near *n, const struct near_item *item, size_t *ret_index,
               int *ret_distance) {
    int best = n->distance + 1;
    int32_t found = NONE;
    for (int g = 0; g < n->groups; g++) {
        const int32_t *before = n->before + (size_t)g * n->capacity;
        for (int32_t i = *bucket(n, g, item->own); i != NONE; i = before[i]) {
            int distance = near_distance(item, &n->items[i]);
            if (distance < best || (distance == best && found > i)) {
                best = distance;
                found = i;
            }
        }
    }
    if (found == NONE)
        return false;
    *ret_index = (size_t)found;
    *ret_distance = best;
    return true;
}
