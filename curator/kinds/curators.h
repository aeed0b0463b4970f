// curators - the table of kinds: which images of a data set a domain is made of. One row for each
// value of the setting `use`; each row stands in a file of its own.
#ifndef CURATORS_H
#define CURATORS_H

#include "curation/curation.h"

extern const struct curator curator_folder, curator_celeba, curator_anime, curator_bdd100k,
    curator_paired, curator_exec;

// The row of that name. BUG if there is none: the configuration allows only those there are.
const struct curator *curator_find(const char *name);

// All names and helps, for --help; malloc'ed.
char *curators_help(void);

#endif
