// held_out - images that are not trained on. The sample sheets and the scores use them.
#ifndef HELD_OUT_H
#define HELD_OUT_H

#include <stdbool.h>
#include <stdint.h>

#include "image/image.h"

struct held_out {
    int count[2];          // of A and B
    struct image *real[2]; // owned
    bool swapped;          // direction BtoA: side 0 is domain B, side 1 is domain A
    bool trained[2];       // nothing is held out of the domain: these are training images
};

// Makes room for min(n, available[i]) images of domain i.
void held_out_init(struct held_out *h, uint64_t n, const uint64_t available[2]);
void held_out_fini(struct held_out *h);

// The number of batches of one image to request.
int held_out_wanted(const struct held_out *h);

// Copies the images with number `index`. pixels[i] is [h,w,c] of domain i in height[i], width[i]
// and channels[i]. Does nothing for a domain that has no room for this number.
void held_out_keep(struct held_out *h, uint64_t index, const int height[2], const int width[2],
                   const int channels[2], const uint8_t *const pixels[2]);

// The domain on side 0 or 1: 'A' or 'B'.
char held_out_domain(const struct held_out *h, int side);

#endif
