// Owns copies of the held-out images for the whole run; the frames of the feed are released.
#include "judge/held_out.h"

#include <stdlib.h>
#include <string.h>

#include "base/util.h"

void held_out_init(struct held_out *h, uint64_t n, const uint64_t available[2]) {
    for (int i = 0; i < 2; i++) {
        h->count[i] = (int)MIN(n, available[i]);
        // One more, so that a domain without images is no NULL.
        h->real[i] = xcalloc((size_t)h->count[i] + 1, sizeof *h->real[i]);
    }
}

void held_out_fini(struct held_out *h) {
    for (int i = 0; i < 2; i++) {
        for (int k = 0; k < h->count[i]; k++)
            image_fini(&h->real[i][k]);
        free(h->real[i]);
    }
    *h = (struct held_out){0};
}

int held_out_wanted(const struct held_out *h) {
    return MAX(h->count[0], h->count[1]);
}

void held_out_keep(struct held_out *h, uint64_t index, const int height[2], const int width[2],
                   const int channels[2], const uint8_t *const pixels[2]) {
    for (int i = 0; i < 2; i++) {
        // The loader repeats images where a domain has fewer; copies are not kept.
        if (index >= (uint64_t)h->count[i])
            continue;
        struct image *im = &h->real[i][index];
        size_t size = (size_t)height[i] * (size_t)width[i] * (size_t)channels[i];
        *im = (struct image){width[i], height[i], channels[i], xmalloc(size)};
        memcpy(im->pixels, pixels[i], size);
    }
}

char held_out_domain(const struct held_out *h, int side) {
    // Side 0 is A unless swapped, then side 1 is.
    return (side == 1) == h->swapped ? 'A' : 'B';
}
