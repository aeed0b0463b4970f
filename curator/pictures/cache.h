// cache - measurements of unchanged files, so that they are not read again.
//
// One line for each picture that was read. The file is disposable: if it is damaged or of other
// settings, it is ignored.
//
//   cyclegan-cache 3 <key>
//   good <mtime ns> <stats> <stats of the opposite half> <hash> <histogram> <orientation> <record>
//   bad <mtime ns> <score, %a> <reason> <detail> <record>
//   digest <sha256>                  of all lines above
//
//   stats      the doubles of image_stats, as %a
//   hash       32 hex digits: rows, columns
//   histogram  4 hex digits a bin
//   orientation  1..8
//   detail     in hex; - for none
//   record     as in a manifest; of a bad one the digest is 0 and the size 1x1
#ifndef CACHE_H
#define CACHE_H

#include "pictures/picture.h"

// A picture that is not OPEN keeps its verdict.
// Fills in every picture of the sorted list whose path, size and mtime are in the file: `known`,
// or, if it is not for later, rejected for what its bytes are.
//   key  hex digest of the settings that the entries depend on
//   ret_hits  how many; also written on failure
// No file, and one of other settings, has none. ERR_IO; ERR_FORMAT: not as it was written.
int cache_apply(const char *path, const char *key, struct pictures *list, size_t *ret_hits);

// Writes all known pictures and those that were rejected for their bytes. ERR_IO, ERR_SPACE.
int cache_save(const char *path, const char *key, const struct pictures *list);

#endif
