#include "judge/held_out.h"

#include <stdlib.h>
#include <string.h>

#include "base/util.h"

void held_out_init(struct held_out *h, uint64_t n, const struct state_manifest manifests[2]) {
    for (int i = 0; i < 2; i++) {
        // The loader lends training pictures where there are none.
        uint64_t distinct = manifests[i].held_out ? manifests[i].held_out : manifests[i].count;
        h->count[i] = (int)MIN(n, distinct);
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

void held_out_keep(struct held_out *h, const struct feed_batch *b) {
    for (int i = 0; i < 2; i++) {
        if (b->index >= (uint64_t)h->count[i])
            continue;
        struct image *im = &h->real[i][b->index];
        size_t size = (size_t)b->h[i] * (size_t)b->w[i] * (size_t)b->c[i];
        *im = (struct image){b->w[i], b->h[i], b->c[i], xmalloc(size)};
        memcpy(im->pixels, b->pixels[i], size);
    }
}
