// origin - where the weights that translate uses come from, and a translator with them.
//
//   a run          runs/NAME: its settings, a step's checkpoint (the latest if none is named)
//   a checkpoint   such a folder alone: settings and weights are both in it
//   a file         weights.h: the architecture is recognised from names and shapes
#ifndef ORIGIN_H
#define ORIGIN_H

#include "config/config.h"
#include "translate/translator.h"

// One of run, checkpoint and weights; the others NULL.
struct origin_request {
    const char *run, *checkpoint, *weights;
    const char *step;      // of a run; NULL: the latest
    const char *direction; // "AtoB", "BtoA"; NULL: the direction that was learnt first
    const char *device;    // NULL: as the settings say, but the CPU if their GPU is not here
    const char *dtype;     // NULL: as the settings say
    int gpu;               // -1: as the settings say
    int threads;           // 0: one per core
    bool raw;              // the weights as trained, where there is an average of them
};

struct origin {
    struct translator *translator;
    struct config *config; // NULL of a file
    char *text;            // what is used, for a person
};

// ERR_USAGE, ERR_CONFIG (a direction that was not learnt, channels that no picture has), ERR_IO,
// ERR_FORMAT, ERR_MISMATCH, ERR_DEVICE. On failure *ret is empty.
int origin_open(const struct origin_request *request, struct origin *ret);
void origin_close(struct origin *o);

#endif
