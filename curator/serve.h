// serve - answers to requests for a finished manifest. Knows no socket, so tests need none.
#ifndef SERVE_H
#define SERVE_H

#include "link/msg.h"
#include "manifest.h"

// Answers manifest_ask with manifest_info and manifest_chunk_ask with manifest_chunk; anything
// else, and records that there are not, with refuse.
//   ret_frame  the raw frame of a chunk, malloc'ed; NULL with the other answers
void serve_answer(const struct manifest *m, const struct msg *ask, struct msg *ret_answer,
                  char **ret_frame, size_t *ret_size);

// No frame is larger.
#define SERVE_FRAME_MAX ((size_t)4 << 20)

#endif
