// translation - translates the images of a conveyor: whole, several of one size at a time, or in
// bands if memory is limited (bands.h).
#ifndef TRANSLATION_H
#define TRANSLATION_H

#include <stddef.h>

#include "translate/conveyor.h"
#include "translate/progress_bar.h"
#include "translate/translator.h"

struct translation_options {
    struct translator *translator;
    struct conveyor *conveyor;
    struct progress_bar *bar;
    int batch;           // the most images at a time; of one padded size
    size_t memory;       // limit of the whole process; 0: no limit
    size_t resident;     // memory of the process before the first image
    size_t in_flight;    // conveyor_options.bytes
    const char *scratch; // folder for bands
};

// Without a limit, an image that needs more than the free memory of the machine is refused. Errors
// like ERR_LIMIT fail one image. A failure of the device, or a full disk, ends everything and is
// returned.
int translation_run(const struct translation_options *options);

#endif
