// init_from - initial weights from files (trainer.init_from).
//
// The files are read once, before the first step. A folder or run provides every net that it has a
// file for (sources.h). A single file is the first generator's. Nets without a file get random
// weights; a moving average starts as a copy of its net. The state keeps the digests of the files,
// not their paths, so equal trainings have equal checkpoints.
#ifndef INIT_FROM_H
#define INIT_FROM_H

#include "checkpoint/state.h"
#include "models/model.h"

// Loads the nets that `where` has weights for and lists them in s->init. Calls `loaded` for each
// with the path of the file; may be NULL. ERR_DATA: there is no file, or one cannot be read, or its
// digest is not its checkpoint's. ERR_MISMATCH names the file, the net and the first tensor that
// differs.
int init_from_load(const char *where, struct model_net *const *nets, int n_nets, struct state *s,
                   void (*loaded)(void *context, const struct state_init *init, const char *path),
                   void *context);

// For a resumed run whose settings still have init_from: ERR_MISMATCH unless it began with these
// weights. Files that can no longer be read are not compared.
int init_from_check(const char *where, struct model_net *const *nets, int n_nets,
                    const struct state *s);

#endif
