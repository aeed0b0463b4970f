// border - which pictures were decided by little: worth a look before a bound is believed.
#ifndef BORDER_H
#define BORDER_H

#include "curation/curation.h"

// The setting whose bound lies within CHECK_BORDER of what the picture has, and that alone would
// decide otherwise: of one that was rejected, the bound that rejected it; of one kept, the nearest.
// near_duplicates: its bits lie within DUPLICATES_BORDER of it. The curator's keep_name: it is
// among the last kept or the first cut of a ranking (as many as a contact sheet is wide). "" for
// all others.
const char *border_of(const struct curation *c, const struct picture *p);

#endif
