// folder - the files below root that `include`, `exclude` and `recursive` name.
#ifndef FOLDER_H
#define FOLDER_H

#include "kinds/curators.h"

// Scans as struct curator's scan: rejects by path as `subfolder`, `excluded`, `not_included`; warns
// of a pattern that fits no file.
int folder_scan(struct curation *c);

#endif
