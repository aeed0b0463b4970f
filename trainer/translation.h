// translation - pictures of a conveyor through a translator, several of one size at a time.
#ifndef TRANSLATION_H
#define TRANSLATION_H

#include <stddef.h>

#include "conveyor.h"
#include "tally.h"
#include "translator.h"

struct translation_options {
    struct translator *translator;
    struct conveyor *conveyor;
    struct tally *tally;
    int batch; // at most; successive pictures of one padded size
};

// ERR_LIMIT and the like end one picture. A failure of the device or of the program's own ends all
// and is returned.
int translation_run(const struct translation_options *options);

#endif
