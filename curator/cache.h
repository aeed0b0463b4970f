// cache - what is known about files that have not changed, so that they are not read again.
//
// One line a good picture; a rejected one is read again. The file is disposable: one that cannot be
// read, or is of other settings, is as good as none.
//
//   cyclegan-cache 1 <key>
//   <mtime ns> <mean x3 std x3 luma contrast sharpness, as %a> <record as in a manifest>
#ifndef CACHE_H
#define CACHE_H

#include "picture.h"

// Fills in (`known`) every picture of the sorted list whose path, size and mtime are in the file.
//   key  hex digest of the settings that the entries depend on
// Returns how many.
size_t cache_apply(const char *path, const char *key, struct pictures *list);

// Writes all known pictures. ERR_IO, ERR_SPACE.
int cache_save(const char *path, const char *key, const struct pictures *list);

#endif
