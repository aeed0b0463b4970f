// stage - computes one layer of a net in bands of rows.
//
// Rows are requested from top to bottom and computed once: rows that two bands share are kept. A
// stage reads the convolution z of the layer before. It applies that layer's norm, activation and
// skip connection while reading; their statistics are complete by then.
#ifndef STAGE_H
#define STAGE_H

#include "image/image.h"
#include "nets/nets.h"
#include "translate/band_rows.h"
#include "translate/scratch.h"

// A layer of the net and its feature maps. z is the output of its convolution, [h,w,conv.k].
struct level {
    struct net_layer layer;
    int in_h, in_w; // input of the convolution, after `up`, without border
    int h, w;
    int out_h, out_w, out_c; // output of the layer
    bool stored;             // z is kept; else it is computed again for the next layer
    bool kept;               // z is needed until a later level concatenates it
    int joins;               // the level whose output is concatenated; -1: none
    float *mean, *rstd;      // [conv.k], valid when z is complete
    struct scratch *z;
};

// Shared by all stages of an image.
struct bands {
    struct device *device;
    int n_levels;
    struct level *levels;
    const struct image *picture; // input of the first level
    struct scratch *remembered;  // input of the current residual block
};

struct stage;

// Makes the stage of level i, and those of earlier levels whose z is not stored. `rows` is the
// largest number of rows per request. ERR_DEVICE.
int stage_new(const struct bands *b, int i, int rows, struct stage **ret);
void stage_free(struct stage *s);

// Bytes that stage_new allocates, without packed weights and workspaces.
size_t stage_buffer_bytes(const struct bands *b, int i, int rows);

// Computes rows [first, end) of z, [end - first,w,k]; valid until the next call. `first` is 0 at
// first, then the previous `end`. ERR_DEVICE, ERR_IO, ERR_SPACE.
int stage_rows(struct stage *s, int first, int end, const float **ret_rows);

#endif
