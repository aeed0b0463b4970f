// feed - the trainer's side of the tickets: batches asked for by number, from any loader.
//
// Which pictures make a batch depends on its number alone, so it does not matter who answers, in
// which order, or who dies. Tickets are handed out in order, ahead of need: at most as many batches
// are under way or waiting as the loaders have given credits for (and FEED_AHEAD_MAX). A ticket
// of a loader whose session has ended, or unanswered for ticket_timeout_us, is handed out again; a
// second answer is dropped. A loader that reads other data than the first is refused.
//
// Nothing blocks: call feed_poll whenever there is time.
#ifndef FEED_H
#define FEED_H

#include <stdbool.h>
#include <stdint.h>

#include "link/link.h"
#include "manifest.h"
#include "points/points.h"

#define FEED_AHEAD_MAX 256

struct feed_options {
    struct link_options link; // endpoint, identity, ...
    struct points *points;    // NULL: events are not told
    uint64_t batch_size;
    uint64_t max_dataset_size; // pictures used of each domain; 0: all
    int channels[2];           // of A and B
    int64_t ticket_timeout_us;
};

struct feed_batch {
    uint64_t split, epoch, index;
    int n;                    // pictures of each domain
    int h[2], w[2], c[2];     // of A and B
    const uint8_t *pixels[2]; // [n,h,w,c]; lent until feed_batch_fini
    uint64_t *records[2];     // n indices into the manifests
    zmq_msg_t frames[2];      // what holds the pixels
};

struct feed;

// Fails as hub_open does.
int feed_open(const struct feed_options *options, struct feed **ret_feed);
void feed_close(struct feed *f);

// The data a checkpoint was made with: any other then fails feed_poll with ERR_MISMATCH.
void feed_expect(struct feed *f, const struct manifest_summary manifests[2]);

// Takes what has come and hands out tickets. ERR_IO, ERR_MISMATCH; a misbehaving loader is refused
// with an event and is not an error.
int feed_poll(struct feed *f);

// Whether a loader has told what data there is; then feed_manifests and feed_epoch_batches hold.
bool feed_ready(const struct feed *f);
const struct manifest_summary *feed_manifests(const struct feed *f); // of A and B
// ceil(max(nA, nB) / batch_size)
uint64_t feed_epoch_batches(const struct feed *f);

// Asks for held-out pictures 0 .. n - 1 of each domain, one batch of one picture each, before any
// training batch. The loader begins again from the first when a domain has fewer.
void feed_want_held_out(struct feed *f, uint64_t n);
// Asks for `count` training batches from (epoch, index) on. Once, after feed_ready.
void feed_want_training(struct feed *f, uint64_t epoch, uint64_t index, uint64_t count);

// Takes a batch out; held-out ones are of split 1 and epoch 1. ERR_AGAIN: it is not there yet.
int feed_take(struct feed *f, uint64_t split, uint64_t epoch, uint64_t index,
              struct feed_batch *ret_batch);
void feed_batch_fini(struct feed_batch *b); // accepts a zeroed one
// Empties `from`; ret_batch is overwritten.
void feed_batch_move(struct feed_batch *from, struct feed_batch *ret_batch);

// Tells every loader that no ticket will come.
void feed_finish(struct feed *f);

int feed_loaders(const struct feed *f);      // that can be given tickets
int feed_batches_held(const struct feed *f); // under way or waiting
uint64_t feed_dropped(const struct feed *f); // second answers so far

void *feed_socket(struct feed *f);
int64_t feed_due_us(const struct feed *f);

#endif
