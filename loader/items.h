// items - which images make a batch, and how each is augmented: a pure function of
// (seed, split, epoch, index). Loaders, threads and the order of arrival do not matter.
//
//   Training, unaligned   An epoch has max(nA, nB) items. Item p takes A[perm(epoch, p) mod nA] and
//                         a random B with replacement; with serial_batches A[p mod nA] and
//                         B[p mod nB]. (The reference's unaligned_dataset.py.)
//   Training, aligned     Both sides have the same n records. Item p takes record perm(epoch, p) of
//                         both. Crop, flip and jitter are drawn once for both sides.
//   Held out              Item p takes A[p mod held_a] and B[p mod held_b], unaugmented. A domain
//                         without held-out images uses its training images, from the first on.
//
// Batch k of an epoch holds items k * batch_size and on; the last batch may be short.
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
    double jitter[JITTER_KINDS]; // the bound x of each change, see items_jitter; 0: off
    uint64_t n[2], held[2];      // of sides A and B, after `direction` and max_dataset_size
    uint64_t n_all[2];           // records before max_dataset_size: held-out ones follow these
    uint64_t batch_size;
};

struct item {
    uint64_t record[2]; // index into the manifest of each side
    uint64_t position;  // p; the index of its random draws
    uint64_t epoch;
    bool augment;
};

// Takes the settings and the manifests of sides A and B. ERR_DATA as items_check.
int items_init(struct items *it, const struct config *config, struct manifest *const manifests[2]);

// Items of an epoch: max(nA, nB).
uint64_t items_per_epoch(const struct items *it);
// ceil(items / batch_size).
uint64_t items_batches(const struct items *it);
// Images of each domain in batch `index` of an epoch; 0 behind the last batch. For tests and
// benchmarks, which make tickets; in a run the trainer does.
uint64_t items_in_batch(const struct items *it, uint64_t index);

// Item j of a ticket. Training: `index` is the batch; held out: the first image.
struct item items_get(const struct items *it, enum items_split split, uint64_t epoch,
                      uint64_t index, uint64_t j);

// ERR_DATA if a side is empty, or aligned sides differ in their numbers.
int items_check(const struct items *it);

// Crop offset along axis 0 (x) or 1 (y), uniform in [0, range]; 0 if the item is not augmented.
int items_crop(const struct items *it, const struct item *item, int side, int axis, int range);
bool items_flip(const struct items *it, const struct item *item, int side);

// Draws the colour changes, each factor uniform: brightness, contrast and saturation in
// [max(0, 1 - x), 1 + x], hue in [-x, x], in one of 24 orders. False: no change.
bool items_jitter(const struct items *it, const struct item *item, int side,
                  struct jitter *ret_jitter);

// The replacement for a record that cannot be used: the next one of the same part (training or held
// out), cyclically.
uint64_t items_next(const struct items *it, int side, uint64_t record);

#endif
