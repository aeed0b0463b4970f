// work - batches in the making: threads that fetch images, tickets that wait for them.
//
// One ticket becomes 2 * count images (or count pairs, where they are aligned), which any thread
// may take; the thread that finishes the
// last one puts the batch on the list of finished ones and signals `work_fd`. Tickets under way are
// bounded by `slots` (the credits given to the trainer), and with them the memory.
#ifndef WORK_H
#define WORK_H

#include <stdbool.h>

#include "link/link.h"
#include "source.h"

struct work;

struct work_batch {
    struct msg_ticket ticket;
    int err; // what source_get returned for an image; its text in `text`
    char text[512];
    struct image *image[2];
    uint64_t *record[2];
    struct source_times times;             // summed over the images
    int64_t begun_us, started_us, done_us; // ticket taken, first image begun, last one ready
    uint64_t session;                      // given back, see work_begin
};

// For a process that makes batches for long: freed memory is kept for the next image (up to 128
// MiB for each of malloc's arenas) and not given back and faulted in again, page by page, every
// time.
void work_keep_memory(void);

struct work *work_new(struct source *source, int threads, int slots);
void work_free(struct work *w); // waits for the images under way

// Takes a ticket. `session` tells batches of a session that is over from those of this one.
// ERR_LIMIT when all slots are taken.
int work_begin(struct work *w, const struct msg_ticket *ticket, uint64_t session);

// A finished batch, in the order they were finished; NULL if there is none. To be given back with
// work_batch_free, which frees its slot.
struct work_batch *work_next(struct work *w);
void work_batch_free(struct work *w, struct work_batch *b);

int work_fd(const struct work *w); // readable when there may be a finished batch

// The batch as a message with its two raw frames (allocated; freed by ZeroMQ after sending, or by
// the caller). ERR_DATA if the images of a domain differ in size.
int work_pack(const struct work_batch *b, struct msg *ret_msg, struct link_frame ret_frames[2]);

#endif
