// cache - decoded and resized pictures, at most so many bytes of pixels, least recently used out.
// Any thread may call it.
#ifndef CACHE_H
#define CACHE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "image.h"

struct cache;

// entries: upper bound of different keys, 0 .. entries - 1; memory for the table is taken now.
struct cache *cache_new(size_t budget_bytes, size_t entries);
void cache_free(struct cache *c);

// A copy of the picture into ret_image (owned by the caller); false if it is not there.
bool cache_get(struct cache *c, size_t key, struct image *ret_image);

// Keeps a copy, pushing others out; a picture larger than the budget is not kept.
void cache_put(struct cache *c, size_t key, const struct image *im);

size_t cache_bytes(struct cache *c);

#endif
