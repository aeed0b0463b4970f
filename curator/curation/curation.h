// curation - from a folder to verdicts and a manifest.
//
//   curation_init -> curation_find -> curation_judge -> curation_manifest -> curation_fini
//
// The result depends on the settings, the files' names and bytes, and the seed; not on threads,
// times or the cache.
#ifndef CURATION_H
#define CURATION_H

#include "kinds/curators.h"
#include "manifest.h"

#define CURATION_FEW 500 // pictures; below, a warning

// c is zeroed but for what its caller gives: domain, seed, settings, say, context and, if wanted,
// progress and cancel. The settings are lent until curation_fini. BUG if use names no curator.
void curation_init(struct curation *c);
void curation_fini(struct curation *c);

// Lists the candidates. The root is the curator's, or with held_out the deepest folder that holds
// both, so that one manifest has trainA/1.jpg and testA/2.jpg. ERR_DATA.
int curation_find(struct curation *c);

// Hex digest of all that the verdicts depend on, as far as it can be known without reading the
// pictures: settings, seed, sources, and path, size and mtime of every candidate.
void curation_state(const struct curation *c, char ret[65]);

// Gives every picture its verdict. With `cache`, files known from there are not read and the cache
// is brought up to date (a failure of that is only told); NULL: all are read.
// ERR_DATA with reasons, distributions and the setting to change when nothing is left.
int curation_judge(struct curation *c, const char *cache);

// False after a failure that left pictures without a verdict.
bool curation_is_decided(const struct curation *c);

// The kept and the held-out pictures, sealed; the caller frees it.
struct manifest *curation_manifest(const struct curation *c);

#endif
