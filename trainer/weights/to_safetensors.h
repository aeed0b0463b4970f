// to_safetensors - converts weights of any file to safetensors, which the PyTorch modules load
// with strict=True.
#ifndef TO_SAFETENSORS_H
#define TO_SAFETENSORS_H

#include "weights/recognise.h"
#include "weights/weights.h"

// Writes and syncs `path`: the tensors of the net `r` in the order of its state dict. Only one
// tensor is in memory at a time. ERR_MISMATCH, ERR_IO, ERR_SPACE, ERR_FORMAT (damaged, or not
// finite).
int weights_to_safetensors(struct weights *w, const struct recognised *r, const char *path);

#endif
