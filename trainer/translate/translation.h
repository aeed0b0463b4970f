// translation - pictures of a conveyor through a translator: whole, several of one size at a time,
// or in bands where memory is bounded (bands.h).
#ifndef TRANSLATION_H
#define TRANSLATION_H

#include <stddef.h>

#include "translate/conveyor.h"
#include "translate/tally.h"
#include "translate/translator.h"

struct translation_options {
    struct translator *translator;
    struct conveyor *conveyor;
    struct tally *tally;
    int batch;           // at most; successive pictures of one padded size
    size_t memory;       // that the whole process may take; 0: what the machine has
    size_t resident;     // what it took before the first picture
    size_t in_flight;    // conveyor_options.bytes
    const char *scratch; // folder for bands
};

// Without a bound a picture that needs more memory than the machine has free is refused.
// ERR_LIMIT and the like end one picture. A failure of the device or of the program's own ends all
// and is returned.
int translation_run(const struct translation_options *options);

#endif
