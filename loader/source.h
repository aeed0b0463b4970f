// source - makes one image ready for its batch: reads it, checks it against the manifest, decodes
// and resizes it (or takes it from the cache), crops, flips and jitters it.
//
// An image that cannot be decoded, or that has changed since the manifest was made, is replaced by
// the next record (items_next), so that every loader chooses the same replacement. It is reported
// once, by name. Of a pair both images are replaced. Any thread may call source_get and
// source_get_pair.
//
// If both domains are `paired` and list the same files of the same root, each file holds two images
// side by side. They are cut apart before they are resized; A is the left one.
#ifndef SOURCE_H
#define SOURCE_H

#include "cache.h"
#include "config/config.h"
#include "items.h"
#include "manifest.h"
#include "points/points.h"
#include "preprocess.h"

struct source_times {
    int64_t read_us, decode_us, resize_us;
    uint64_t cache_hits;
};

struct source {
    const struct items *items;
    const struct manifest *manifest[2]; // of sides A and B
    int channels[2];
    bool halves; // the files hold two images side by side
    int lead;    // the side of domain A, whose size gives the crop range of a pair
    enum preprocess preprocess;
    int load_size, crop_size;
    struct image_how how;
    bool exact; // decode JPEG in full size, not at 1/2, 1/4 or 1/8
    struct cache *cache;
    struct points *points;
    uint8_t *reported[2]; // one byte a record: its failure has been reported
};

// Fills a source. It owns its cache; the manifests, items and points are lent.
void source_init(struct source *s, const struct config *config, const struct items *items,
                 struct manifest *const manifests[2], struct points *points);
void source_fini(struct source *s);

// ERR_DATA if no record of the domain can be used.
//   ret_record   the record that was used, after replacements
//   times        are added to
int source_get(struct source *s, const struct item *item, int side, struct image *ret_image,
               uint64_t *ret_record, struct source_times *times);

// Both images of an aligned item, by index of the side; a file that holds both is decoded once.
// ERR_DATA when no pair can be used.
int source_get_pair(struct source *s, const struct item *item, struct image ret_images[2],
                    uint64_t *ret_record, struct source_times *times);

#endif
