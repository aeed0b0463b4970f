// refusal - the error of a curation that leaves nothing to train on. Both functions set the text
// and return ERR_DATA.
#ifndef REFUSAL_H
#define REFUSAL_H

#include "curation/curation.h"

// No file is named like a picture; says what is there.
int refusal_no_files(const struct curation *c);

// Everything was rejected: reasons, sizes or years, and the setting that would keep some.
int refusal_nothing_left(const struct curation *c);

#endif
