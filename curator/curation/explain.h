// explain - why one picture was kept or not.
#ifndef EXPLAIN_H
#define EXPLAIN_H

#include <stdio.h>

#include "curation/curation.h"

// Verdict, reason, score, rank and cut-off of `file` on `out`, after a curation; all that was
// measured of it beside the bounds; its twin. The name is looked
// for as a path (absolute, or relative to the manifest's or the curator's root), then as a file's
// name alone. ERR_USAGE if it was no candidate.
int explain(const struct curation *c, const char *file, FILE *out);

#endif
