// weights_source - finds the weights for `translate` and makes a translator with them.
//
//   run          runs/NAME: its settings, and a checkpoint (the latest unless a step is named)
//   checkpoint   such a folder alone: it holds both settings and weights
//   file         weights.h: the architecture is recognised by names and shapes of the tensors
#ifndef WEIGHTS_SOURCE_H
#define WEIGHTS_SOURCE_H

#include "config/config.h"
#include "translate/translator.h"

// One of run, checkpoint and weights; the others NULL.
struct weights_source_request {
    const char *run, *checkpoint, *weights;
    const char *step;      // of a run; NULL: the latest
    const char *direction; // "AtoB", "BtoA"; NULL: top.direction of the run
    const char *device;    // NULL: of the settings, or the CPU if their GPU is missing
    const char *dtype;     // NULL: of the settings
    int gpu;               // -1: of the settings
    int threads;           // 0: one per core
    bool raw;              // not the moving average
};

struct weights_source {
    struct translator *translator;
    struct config *config; // NULL for a file
    char *text;            // what was loaded, to print
};

// ERR_USAGE, ERR_CONFIG (the run does not translate this way, or the
// channels fit no image), ERR_IO,
// ERR_FORMAT, ERR_MISMATCH, ERR_DEVICE. On failure *ret is empty.
int weights_source_open(const struct weights_source_request *request, struct weights_source *ret);
void weights_source_close(struct weights_source *o);

#endif
