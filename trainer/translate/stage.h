// stage - one layer of a net on bands of rows, from the map before it.
//
// Rows are asked for from above to below, and each is made once: the rows that two bands need both
// are kept. A stage reads what the layer before gives: its norm, activation and skip are applied
// while reading, from statistics that are known by then.
#ifndef STAGE_H
#define STAGE_H

#include "image/image.h"
#include "nets/nets.h"
#include "translate/band_rows.h"
#include "translate/scratch.h"

// A layer of the net and its maps. z is what its convolution gives, [h,w,conv.k].
struct level {
    struct net_layer layer;
    int in_h, in_w; // of what the convolution reads (after `up`), without a border
    int h, w;
    int out_h, out_w, out_c; // of what the layer gives
    bool stored;             // z is kept in `z`; else it is made again where it is needed
    bool kept;               // z is needed until a later level joins it
    int joins;               // the level whose output it joins; -1: none
    float *mean, *rstd;      // [conv.k], when they are known
    struct scratch *z;
};

// What all stages of a picture share.
struct bands {
    struct device *device;
    int n_levels;
    struct level *levels;
    const struct image *picture; // what the first level reads
    struct scratch *remembered;  // the block's input
};

struct stage;

// The stage of level i; those of levels before whose z is not stored are made with it. `rows`: at
// most so many are asked for at a time. ERR_DEVICE.
int stage_new(const struct bands *b, int i, int rows, struct stage **ret);
void stage_free(struct stage *s);

// Bytes that stage_new takes, without the packed weights and the convolutions' scratch.
size_t stage_buffer_bytes(const struct bands *b, int i, int rows);

// Rows [first, end) of z, [end - first,w,k]; lent until the next call. `first` is 0, then what
// `end` was. ERR_DEVICE, ERR_IO, ERR_SPACE.
int stage_rows(struct stage *s, int first, int end, const float **ret_rows);

#endif
