// feed - requests batches by number from the loaders: the trainer's side of the tickets.
//
// The images of a batch depend on its number alone. So any loader may answer, in any order, and any
// loader may die. Tickets are issued in order and ahead of need. The credits of the loaders, and
// FEED_AHEAD_MAX, limit the batches in flight or waiting. A ticket is issued again if the session
// of its loader ends, or without an answer after ticket_timeout_us. A second answer is dropped. A
// loader with other data than the first is refused.
//
// No function blocks. Call feed_poll whenever there is time.
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
    struct points *points;    // NULL: no events
    uint64_t batch_size;
    uint64_t max_dataset_size; // images used of each domain; 0: all
    int channels[2];           // of A and B
    int64_t ticket_timeout_us;
};

struct feed_batch {
    uint64_t split, epoch, index;
    int n;                    // images of each domain
    int h[2], w[2], c[2];     // of A and B
    const uint8_t *pixels[2]; // [n,h,w,c]; lent until feed_batch_fini
    uint64_t *records[2];     // n indices into the manifests
    zmq_msg_t frames[2];      // they own the pixels
};

struct feed;

// Fails as hub_open does.
int feed_open(const struct feed_options *options, struct feed **ret_feed);
// Accepts NULL. Frees the batches that were not taken; batches that were taken stay valid.
void feed_close(struct feed *f);

// Sets the data that a checkpoint was made with. With other data feed_poll fails with ERR_MISMATCH.
void feed_expect(struct feed *f, const struct manifest_summary manifests[2]);

// Receives batches and issues tickets. ERR_IO, ERR_MISMATCH. A misbehaving loader is refused with
// an event; that is not an error.
int feed_poll(struct feed *f);

// Whether a loader has described the data. Then feed_manifests and feed_epoch_batches are valid.
bool feed_ready(const struct feed *f);
const struct manifest_summary *feed_manifests(const struct feed *f); // of A and B
// ceil(max(nA, nB) / batch_size)
uint64_t feed_epoch_batches(const struct feed *f);

// Requests held-out images 0 .. n - 1 of each domain, one image a batch, before any training batch.
// If a domain has fewer, the loader starts again from its first.
void feed_want_held_out(struct feed *f, uint64_t n);
// Requests `count` training batches from (epoch, index) on. Called once, after feed_ready.
void feed_want_training(struct feed *f, uint64_t epoch, uint64_t index, uint64_t count);

// Takes a batch. Held-out batches have split 1 and epoch 1. ERR_AGAIN: it has not arrived.
int feed_take(struct feed *f, uint64_t split, uint64_t epoch, uint64_t index,
              struct feed_batch *ret_batch);
void feed_batch_fini(struct feed_batch *b); // accepts a zeroed one
// Moves `from`, which is empty afterwards, to *ret_batch, whose old content is overwritten.
void feed_batch_move(struct feed_batch *from, struct feed_batch *ret_batch);

// Ends the stream to every loader.
void feed_finish(struct feed *f);

int feed_loaders(const struct feed *f);      // loaders that can take tickets
int feed_batches_held(const struct feed *f); // batches in flight or waiting
uint64_t feed_dropped(const struct feed *f); // second answers so far; for tests

// To poll: the socket for ZMQ_POLLIN, and the time (now_us) at which feed_poll is due without a
// message.
void *feed_socket(struct feed *f);
int64_t feed_due_us(const struct feed *f);

#endif
