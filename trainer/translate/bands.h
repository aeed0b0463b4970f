// bands - translates one image that is too large for the memory.
//
// The net runs layer by layer, each layer over bands of rows. The output of a layer is kept whole:
// in memory as far as possible, else in a temporary file. A norm needs mean and variance of the
// whole map. They are summed in double while the map is computed, and applied when the next layer
// reads it. Bands share the rows at their seams, and only the edges of the image are reflected. So
// the result equals that of the whole net up to rounding, and no seam shows. The work is linear in
// the size of the image. Maps of full size are computed twice instead of kept (about 4 % more
// arithmetic). The CPU does all of it, even if the translator has another device.
#ifndef BANDS_H
#define BANDS_H

#include <stddef.h>
#include <stdint.h>

#include "image/image.h"
#include "translate/translator.h"

struct bands_options {
    struct translator *translator;
    size_t memory;       // limit in bytes, without input and output image
    const char *scratch; // existing folder for temporary files
    int rows;            // the most rows in a band; 0: as memory allows
    // Called from time to time with the share of work done, 0 to 1. May be NULL.
    void (*part)(void *context, double done);
    void *context;
};

struct bands_need {
    size_t least;     // the smallest possible options->memory
    uint64_t scratch; // bytes of temporary files with options->memory
};

// Computes the need of an image of w x h. ERR_DEVICE.
int bands_need(const struct bands_options *options, int w, int h, struct bands_need *ret);

// ret = G(im). ERR_LIMIT: memory is below `least`; ERR_SPACE: the disk has less than `scratch`
// (both before anything is done); ERR_IO, ERR_DEVICE.
int bands_translate(const struct bands_options *options, const struct image *im,
                    struct image *ret_image);

#endif
