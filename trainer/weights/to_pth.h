// to_pth - converts weights of any file to a state dict that torch.load reads (PyTorch 1.6 or
// newer).
//
// The file is an uncompressed zip archive, as torch.save writes it:
//
//   archive/data.pkl    pickle, protocol 2: OrderedDict of _rebuild_tensor_v2(storage, 0, sizes,
//                       strides, False, OrderedDict())
//   archive/byteorder   "little"
//   archive/data/N      the numbers of tensor N, float32 or int64
//   archive/version     "3\n"
//
// Source: PyTorch, torch/serialization.py, _save.
#ifndef TO_PTH_H
#define TO_PTH_H

#include "weights/recognise.h"
#include "weights/weights.h"

// Writes `path`, which may exist: the tensors of the net `r` in the order of its state dict. All of
// them are in memory at once. The same weights give the same bytes. ERR_MISMATCH, ERR_IO,
// ERR_SPACE, ERR_FORMAT (damaged, or not finite).
int weights_to_pth(struct weights *w, const struct recognised *r, const char *path);

#endif
