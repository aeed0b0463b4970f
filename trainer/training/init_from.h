// init_from - a training that begins with weights from elsewhere (trainer.init_from).
//
// Read once, before the first step. A folder or run gives every net that it holds under its name
// (sources.h); a single file is the first generator's. Nets without a file begin as without this
// setting; an average begins as the net it is of. Which files they were is kept in the state, by
// their digests, so that checkpoints stay free of paths.
#ifndef INIT_FROM_H
#define INIT_FROM_H

#include "checkpoint/state.h"
#include "models/model.h"

// Fills the nets for which `where` has weights; s->init says which. `told` is called for each with
// the file's path; may be NULL. ERR_DATA: there is none, or one that cannot be read or is not
// as its checkpoint says; ERR_MISMATCH names the file, the net and the first tensor that differs.
int init_from_load(const char *where, struct model_net *const *nets, int n_nets, struct state *s,
                   void (*told)(void *context, const struct state_init *init, const char *path),
                   void *context);

// Of a run that goes on, if the setting is there: ERR_MISMATCH unless it began with these weights.
// What cannot be read any more is not compared.
int init_from_check(const char *where, struct model_net *const *nets, int n_nets,
                    const struct state *s);

#endif
