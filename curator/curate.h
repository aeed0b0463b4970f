// curate - a curation with its files in the run's folder (the working directory):
//
//   manifest/A.manifest         the result (manifest.h)
//   manifest/A.settings         curation_state it was made from, and the summary; written last
//   manifest/A.cache            what is known of unchanged files (cache.h)
//   manifest/A.domain           what the kept pictures look like together (domain.h)
//   samples/curation_A.png      contact sheet
#ifndef CURATE_H
#define CURATE_H

#include "curation/curation.h"
#include "points/points.h"

// Finds and decides, and writes the files above. Verdicts, looks, params and the sheet go to
// `points` (may be NULL). The last of the two domains' curators reports how far apart the domains
// lie. If nothing has changed since the files were written, the manifest is loaded and nothing is
// reported.
//   c  after curation_init; the caller ends it
// The caller frees *ret_manifest; c->summary is set. ERR_DATA, ERR_IO, ERR_SPACE, ERR_STOPPED.
int curate(struct curation *c, struct points *points, struct manifest **ret_manifest);

// Decides with the help of the cache and prints why `file` was kept or not.
int curate_explain(struct curation *c, const char *file, FILE *out);

#endif
