// near - finds, among hashes seen before, one within a Hamming distance, without comparing all.
//
// Exact: nothing is missed. The bits are dealt into g groups, g = int(distance / 2) + 1; of two
// hashes that differ in at most `distance` < 2 g bits, one group at least differs in at most one
// bit (pigeon-holes; M. Norouzi et al., "Fast Exact Search in Hamming Space with Multi-Index
// Hashing", 2014). So for every group those are looked up that have its bits, and those that have
// them but for one: 128 + g look-ups, however many hashes there are. Neighbouring bits of a hash
// are alike, so bit i is dealt into group i mod g.
//
// Memory: 32 + 4 g bytes an item of the capacity, and 6 to 12 g again.
#ifndef NEAR_H
#define NEAR_H

#include <stdbool.h>
#include <stddef.h>

#include "pictures/dhash.h"

// What is compared. Of a picture alone `partner` is zero.
struct near_item {
    struct dhash own, partner;
};

// The larger of the distances of the two sides.
static inline int near_distance(const struct near_item *a, const struct near_item *b) {
    int own = dhash_distance(a->own, b->own), partner = dhash_distance(a->partner, b->partner);
    return own > partner ? own : partner;
}

struct near;

// Holds up to `capacity` items; distance 0 .. 32.
struct near *near_new(int distance, size_t capacity);
void near_free(struct near *n);

// Items are numbered from 0.
void near_add(struct near *n, const struct near_item *item);

// The nearest of those added, if it is within the distance; of equally near ones the first.
bool near_find(const struct near *n, const struct near_item *item, size_t *ret_index,
               int *ret_distance);

#endif
