// items - which images make a batch, and how each is augmented: a pure function of
// (seed, split, epoch, index). No loader, thread or order of arrival has a say in it.
//
// Training (reference.md 4.2, unaligned): an epoch has max(nA, nB) items; item p takes
// A[perm(epoch, p) mod nA] and B at random with replacement, or B[perm mod nB] when one of the
// sides is not drawn (serial_batches). Batch k holds items k * batch .. ; the last may be short.
// Aligned: both sides have the same n records; item p takes record perm(epoch, p) of both, and
// crop, flip and jitter are drawn once for both sides. Held out: item p takes A[p mod held_a], B[p
// mod held_b], unaugmented; a domain without held-out images lends training images instead,
// from its first on.
#ifndef ITEMS_H
#define ITEMS_H

#include <stdbool.h>
#include <stdint.h>

#include "config/config.h"
#include "jitter.h"
#include "manifest.h"

enum items_split { ITEMS_TRAIN, ITEMS_HELD_OUT };

struct items {
    uint64_t seed;
    bool serial, flip, aligned;
    double jitter[JITTER_KINDS]; // how far each change may go; 0: off
    uint64_t n[2], held[2];      // of sides A and B, after `direction` and max_dataset_size
    uint64_t n_all[2];           // records before max_dataset_size: held-out ones follow these
    uint64_t batch_size;
};

struct item {
    uint64_t record[2]; // index into the manifest of each side
    uint64_t position;  // p: what crop and flip are drawn for
    uint64_t epoch;
    bool augment;
};

// What the settings say about the images of sides A and B. ERR_DATA as items_check.
int items_init(struct items *it, const struct config *config, struct manifest *const manifests[2]);

// Items of an epoch: max(nA, nB).
uint64_t items_per_epoch(const struct items *it);
// ceil(items / batch_size).
uint64_t items_batches(const struct items *it);
// Images of each domain in batch `index` of an epoch (the last may be short).
uint64_t items_in_batch(const struct items *it, uint64_t index);

// Item j of a ticket. Training: `index` is the batch; held out: the first image.
struct item items_get(const struct items *it, enum items_split split, uint64_t epoch,
                      uint64_t index, uint64_t j);

// ERR_DATA if the sides cannot be what the fields say: empty, or aligned and not equally many.
int items_check(const struct items *it);

// Crop offset along axis 0 (x) or 1 (y), uniform in [0, range]; 0 if the item is not augmented.
int items_crop(const struct items *it, const struct item *item, int side, int axis, int range);
bool items_flip(const struct items *it, const struct item *item, int side);

// How the colours change, each factor uniform: brightness, contrast and saturation in
// [max(0, 1 - x), 1 + x], hue in [-x, x], in one of 24 orders. False: not at all.
bool items_jitter(const struct items *it, const struct item *item, int side,
                  struct jitter *ret_jitter);

// The replacement for an image that cannot be used: the next training record, cyclically; for
// held-out records the next held-out one.
uint64_t items_next(const struct items *it, int side, uint64_t record);

#endif
