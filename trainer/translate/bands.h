// bands - one picture that is larger than memory through a translator.
//
// The net runs layer by layer. A layer runs over bands of rows, and what it gives is kept whole: in
// memory as far as that goes, else in a scratch file without a name. A norm needs mean and variance
// of the whole map, so they are summed in double while the map is made and applied when the next
// layer reads it. Bands read the neighbouring rows that they need, borders are reflected at the
// picture's edges alone: what comes out is the picture that the whole net gives, to rounding, and
// no band can be seen. The work is linear in the picture; maps at the picture's full size are
// not kept but made twice (some 4 % more arithmetic). All of it is the CPU's work, also where the
// translator has another device.
#ifndef BANDS_H
#define BANDS_H

#include <stddef.h>
#include <stdint.h>

#include "image/image.h"
#include "translate/translator.h"

struct bands_options {
    struct translator *translator;
    size_t memory;       // bytes that all of it may take, besides the two pictures
    const char *scratch; // folder for what does not fit; must be there
    int rows;            // of a band at most; 0: as memory allows
    // Told now and then how much of the work is done (0 to 1); may be NULL.
    void (*part)(void *context, double done);
    void *context;
};

struct bands_need {
    size_t least;     // memory without which it cannot be done
    uint64_t scratch; // bytes of scratch files with options->memory
};

// What a picture of w x h will take. ERR_DEVICE.
int bands_need(const struct bands_options *options, int w, int h, struct bands_need *ret);

// ret = G(im). ERR_LIMIT: memory is below `least`; ERR_SPACE: the disk has less than `scratch`
// (both before anything is done); ERR_IO, ERR_DEVICE.
int bands_translate(const struct bands_options *options, const struct image *im,
                    struct image *ret_image);

#endif
