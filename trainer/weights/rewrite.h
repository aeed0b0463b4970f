// rewrite - weights of any file as a safetensors file of ours, which the reference's modules load
// with strict=True.
#ifndef REWRITE_H
#define REWRITE_H

#include "weights/recognise.h"
#include "weights/weights.h"

// Writes and syncs `path`: the tensors of the net that `r` says, in the order of its state dict,
// one after the other through memory. ERR_MISMATCH, ERR_IO, ERR_SPACE, ERR_FORMAT (damaged, or not
// finite).
int rewrite(struct weights *w, const struct recognised *r, const char *path);

#endif
