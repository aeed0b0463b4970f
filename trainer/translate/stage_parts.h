// stage_parts - what stage.c and stage_read.c share and nobody else sees.
#ifndef STAGE_PARTS_H
#define STAGE_PARTS_H

#include "translate/stage.h"

#define STAGE_CONVS 6 // heights of bands that are kept ready

struct conv {
    int rows; // 0: free
    uint64_t used;
    struct device_conv *conv;
};

struct stage {
    const struct bands *bands;
    int level, rows;
    struct stage *source; // of the level before, if its z is not stored
    struct device_weights *weights;
    float *in; // what the convolution reads: rows [low, high), with borders
    int low, high, capacity;
    float *out;              // what it gives
    float *z, *skip, *value; // of the level before, see buffer_sizes
    struct conv convs[STAGE_CONVS];
    uint64_t clock;
    void *workspace;
    size_t workspace_bytes;
};

static inline const struct level *stage_level(const struct stage *s) {
    return &s->bands->levels[s->level];
}

// Floats of a row of z.
static inline size_t stage_out_row(const struct level *l) {
    return (size_t)l->w * (size_t)l->layer.conv.k;
}

// Rows [first, end) of what the layer's convolution reads, without their border: what the level
// before gives, or the picture, doubled if the layer says so; row i at i * stride floats of ret.
// Keeps them if the layer remembers its input. Fails as scratch_read does.
int stage_read(struct stage *s, int first, int end, float *ret, size_t stride);

#endif
