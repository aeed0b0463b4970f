// work - a thread pool that turns tickets into batches.
//
// A ticket is split into 2 * count images, or count pairs if the sides are aligned. Any thread
// takes the next one. The thread that finishes the last one appends the batch to the finished list
// and signals work_fd. `slots` bounds the batches in flight, and so the memory.
#ifndef WORK_H
#define WORK_H

#include <stdbool.h>

#include "link/link.h"
#include "source.h"

struct work;

struct work_batch {
    struct msg_ticket ticket;
    int err; // of the first image that failed; `text` is its message
    char text[512];
    struct image *image[2];
    uint64_t *record[2];
    struct source_times times;             // summed over the images
    int64_t begun_us, started_us, done_us; // ticket accepted, first image started, last one done
    uint64_t session;                      // as given to work_begin
};

// Makes malloc keep freed memory (up to 128 MiB for each of its arenas) for the next images.
// Otherwise every batch would be returned to the system and faulted in again, page by page.
void work_keep_memory(void);

struct work *work_new(struct source *source, int threads, int slots);
void work_free(struct work *w); // waits for images in flight; discards the batches

// Accepts a ticket. `session` is returned with the batch, so that the caller can discard batches of
// an earlier session. ERR_LIMIT if all slots are taken; ERR_PEER for a ticket out of range.
int work_begin(struct work *w, const struct msg_ticket *ticket, uint64_t session);

// The next finished batch, in the order of completion; NULL if there is none. work_batch_free frees
// it and its slot.
struct work_batch *work_next(struct work *w);
void work_batch_free(struct work *w, struct work_batch *b);

int work_fd(const struct work *w); // readable when there may be a finished batch

// The batch as a message with its two raw frames. Their bytes are allocated; link_send takes them
// over, else the caller frees them. ERR_DATA if the images of a domain differ in size.
int work_pack(const struct work_batch *b, struct msg *ret_msg, struct link_frame ret_frames[2]);

#endif
