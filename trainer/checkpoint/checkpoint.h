// checkpoint - a training at one step as a folder: complete, or not there.
//
//   checkpoints/step_00012000/G_A.safetensors  one file a net: keys and layouts of the
//                             ...              reference's state dicts
//                             optimizer.safetensors  adam.m.NET.KEY, adam.v.NET.KEY, adam.t.NET
//                             pool.bin         the pool's state (unless there is no pool)
//                             plans.txt        of a device that has plans: see device_options
//                             kernels.txt      every kernel this training has used, sorted
//                             pipeline.conf    the settings that decide the bits, and no other:
//                                              no name, path, process count or interval
//                             state.json       counters and the digest of every other file
//   checkpoints/latest -> step_00012000
//   checkpoints/best -> step_00011000          by trainer.best_metric
//
// No file holds a time, a host or a path: `sha256sum checkpoints/step_*/*` of two trainings of the
// same thing are equal, whatever interrupted them. The folder is made under a hidden name, synced
// and renamed (one that is there is exchanged); `latest` moves last. Who is killed at any point
// leaves the old folder or the new one.
#ifndef CHECKPOINT_H
#define CHECKPOINT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "checkpoint/state.h"
#include "config/config.h"
#include "nets/param.h"

#define CHECKPOINT_PATH 512
#define CHECKPOINT_PLANS "plans.txt"

// "ROOT/step_00012000"
void checkpoint_path(const char *root, uint64_t step, char ret_path[CHECKPOINT_PATH]);

// ---- saving: begin, let the pool write PATH/pool.bin, write, commit ----

// Makes an empty hidden folder for this step in `root` (made if missing). ERR_IO, ERR_SPACE.
int checkpoint_begin(const char *root, uint64_t step, char ret_path[CHECKPOINT_PATH]);

struct checkpoint_content {
    struct model_net *const *nets;
    int n_nets;
    const struct config *config; // device already resolved
    const char *kernels;         // lines; "" if there are none
    bool plans;                  // CHECKPOINT_PLANS is in the folder already
    const char *pool_digest;     // of pool.bin, SHA-256 in hex; NULL: there is no pool
};

// Writes and syncs everything into the folder of checkpoint_begin; fills s->files.
int checkpoint_write(const char *path, const struct checkpoint_content *content, struct state *s);

// Moves the folder to its name and `latest` to it. ERR_IO, ERR_SPACE.
int checkpoint_commit(const char *root, const char *path, uint64_t step);

// Moves `best` to the checkpoint of that step; 0: there is none. ERR_IO.
int checkpoint_mark_best(const char *root, uint64_t step);

// Removes what is no longer kept among the checkpoints up to s->step. The best one stays whole. Of
// those that the settings name (state.scheduled) the newest `keep` stay whole; of the older ones
// the first of every `keep_weights_every` epochs keeps its weights, the others go. One in between
// stays until there is a newer checkpoint. Also removes leftovers of a killed process.
int checkpoint_retain(const char *root, const struct state *s, int keep, int keep_weights_every);

// ---- loading ----

struct checkpoint_refusals {
    void (*refused)(void *context, const char *dir, const char *reason);
    void *context;
};

// The newest whole checkpoint whose digests hold; tells of each newer one that is refused.
// *ret_state is untouched with ERR_AGAIN: there is no checkpoint at all. ERR_FORMAT: there are
// some, and none can be used.
int checkpoint_find(const char *root, const struct checkpoint_refusals *refusals,
                    char ret_path[CHECKPOINT_PATH], struct state *ret_state);

// Weights and optimizer of all nets. Nothing is changed unless everything fits.
// ERR_MISMATCH names what differs in another architecture; ERR_IO, ERR_FORMAT.
int checkpoint_load(const char *path, struct model_net *const *nets, int n_nets);

// Compares a file with its digest in the state.json beside it; where there is none, the file is of
// imported weights or somebody else's, and good. ERR_IO; ERR_FORMAT: it differs, or is not named.
int checkpoint_check_file(const char *path);

// The weights of one net, its file checked so.
int checkpoint_load_net(const char *path, struct model_net *net);

#endif
