// held_out - pictures that are not trained on: the probes of the sheets, the judges' pictures.
#ifndef HELD_OUT_H
#define HELD_OUT_H

#include "image/image.h"
#include "streams/feed.h"

struct held_out {
    int count[2];          // of A and B
    struct image *real[2]; // owned
};

// Room for `n` pictures of each domain, or as many as it has.
void held_out_init(struct held_out *h, uint64_t n, const struct state_manifest manifests[2]);
void held_out_fini(struct held_out *h);

// How many batches of one picture to ask for.
int held_out_wanted(const struct held_out *h);

// Keeps the pictures of batch b->index (of one picture a domain), as far as there is room.
void held_out_keep(struct held_out *h, const struct feed_batch *b);

#endif
