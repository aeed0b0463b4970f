// weights - reads files of trained weights as lists of named tensors.
//
// The format is recognised by content, not by name:
//
//   PyTorch       a state dict written by torch.save: the zip container, or the one before
//                 PyTorch 1.6. The reader runs no code (pickle.h)
//   safetensors   (safetensors.h), also a checkpoint's G_A.safetensors
//
// These conversions are applied, each with a line in the notes:
//
//   a dict around the state dict   If the object is a dict without tensors, the dict in it that
//                  holds tensors is taken. Of several, "state_dict". Else the file is refused,
//                  with the names it has. A name after '#' chooses: FILE#params_ema.
//   "module.", "_orig_mod."   of DataParallel and torch.compile, if every name begins so: taken
//   off. "netG_A.", "netD.", "G.", "generator.", ...   a net in the state dict of a whole model:
//   the
//                  prefix is taken off, other tensors are left out. If there are several nets,
//                  FILE#netG_A or FILE#G_A chooses one; else the file is refused with their names.
//   running_mean, running_var, num_batches_tracked without a weight beside them: of an instance
//                  norm of PyTorch before 0.4. Dropped, as the PyTorch repository does.
//   other types    F16, BF16 and F64 become F32.
//   other strides  become row-major.
//
// Only the list is kept in memory. Tensors are read from the file on request. Opening and reading
// allocate less than 1 MiB, for any file.
#ifndef WEIGHTS_H
#define WEIGHTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "nets/param.h"

#define WEIGHTS_RANK_MAX 4

enum weights_type { WEIGHTS_F32, WEIGHTS_F16, WEIGHTS_BF16, WEIGHTS_F64, WEIGHTS_I64 };

struct weights_tensor {
    const char *name;       // printable ASCII
    enum weights_type type; // in the file
    int rank;               // 0: one number
    int64_t dims[WEIGHTS_RANK_MAX];
    size_t count;
};

struct weights;

// ERR_IO, ERR_FORMAT (the text names the file, what is wrong and where), ERR_LIMIT.
int weights_open(const char *path, struct weights **ret_weights);
void weights_close(struct weights *w);

// Maps the errors of an unusable file to ERR_DATA, so that a program exits with 78. Other errors
// and the text stay.
int weights_unusable(int err);

const char *weights_path(const struct weights *w);
int weights_count(const struct weights *w);
// In the file's order. Lent until weights_close.
const struct weights_tensor *weights_at(const struct weights *w, int i);
// NULL if there is none of that name.
const struct weights_tensor *weights_find(const struct weights *w, const char *name);
// The conversions applied, one line each, ended by '\n'. "" if there are none.
const char *weights_notes(const struct weights *w);

// Reads t->count numbers, row-major, as fp32. ERR_IO; ERR_FORMAT: damaged, or a number is not
// finite (names the tensor).
int weights_read(struct weights *w, const struct weights_tensor *t, float *ret_values);
// For a tensor of type I64.
int weights_read_integers(struct weights *w, const struct weights_tensor *t, int64_t *ret_values);

// Fills a net, which must have the same tensors. The caller calls model_weights_changed.
// ERR_MISMATCH names the first tensor that differs; the net is then as it was.
int weights_load(struct weights *w, struct model_net *net);

// The same check without reading: whether weights_load would find every tensor.
int weights_fit(const struct weights *w, const struct model_net *net);

#endif
