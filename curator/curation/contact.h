// contact - a sheet of pictures that a curation kept and rejected.
#ifndef CONTACT_H
#define CONTACT_H

#include "curation/curation.h"
#include "image/image.h"

#define CONTACT_COLUMNS 8

// One row each, of at most CONTACT_COLUMNS pictures spread evenly over those it stands for: kept,
// held out, kept and left out by little (explain_border), the last kept and the first cut of a
// ranking, every reason for rejecting; of duplicates, pairs of the kept one and the other. A
// picture that cannot be decoded shows as its name. The caller ends *ret_image.
void contact_image(const struct curation *c, struct image *ret_image);

#endif
