// label_cache - the contents of label files, so that unchanged files are not read again.
//
// The file is disposable: if it is damaged or of other files, it is ignored.
//
//   cyclegan-labels 1 <key>
//   files <number> <their bytes> <contradictions> <the first of these>
//   value <kind> <text>            of each kind in the order of their indices
//   name <indices> <name>          in the order of the rows; a byte a kind
//   digest <sha256>                of all lines above
//
// Texts and indices are in hex; - for an empty text.
#ifndef LABEL_CACHE_H
#define LABEL_CACHE_H

#include "kinds/label_files.h"
#include "kinds/labels.h"

// Hex digest of path, size and mtime of every file, in their order. To be taken before they are
// read. ERR_IO.
int label_cache_key(const struct label_files *files, char ret[65]);

// Fills *ret_labels, which is zeroed. ERR_AGAIN: there is no file, or it is of another key;
// ERR_FORMAT: not as it was written; ERR_IO. On failure *ret_labels stays zeroed.
int label_cache_load(const char *path, const char *key, struct labels *ret_labels);

// ERR_LIMIT: more than is kept (LABEL_CACHE_BYTES); ERR_IO, ERR_SPACE.
int label_cache_save(const char *path, const char *key, const struct labels *l);

#define LABEL_CACHE_BYTES ((size_t)256 << 20)

#endif
