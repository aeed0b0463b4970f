// checkpoint - a training at one step as a folder, which is complete or does not exist.
//
//   checkpoints/step_00012000/G_A.safetensors  one file a net: keys and layouts of the
//                             ...              PyTorch repository's state dicts
//                             optimizer.safetensors  adam.m.NET.KEY, adam.v.NET.KEY, adam.t.NET
//                             pool.bin         the pool's state (unless there is no pool)
//                             plans.txt        if the device has plans: see device_options
//                             kernels.txt      every kernel this training has used, sorted
//                             pipeline.conf    the settings that influence the weights, and no
//                                              others: no name, path, process count or interval
//                             state.json       counters and the digest of every other file
//   checkpoints/latest -> step_00012000
//   checkpoints/best -> step_00011000          by trainer.best_metric
//
// No file holds a time, a host or a path. So `sha256sum checkpoints/step_*/*` of two equal
// trainings agree, however often they were interrupted. The folder is written under a hidden name,
// synced and renamed; an existing one is exchanged. `latest` moves last. A process killed at any
// point leaves the old folder or the new one.
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

// Makes an empty hidden folder for this step in `root`, which is made if missing. ERR_IO,
// ERR_SPACE.
int checkpoint_begin(const char *root, uint64_t step, char ret_path[CHECKPOINT_PATH]);

struct checkpoint_content {
    struct model_net *const *nets;
    int n_nets;
    const struct config *config; // device resolved
    const char *kernels;         // lines; "" if there are none
    bool plans;                  // CHECKPOINT_PLANS is in the folder already
    const char *pool_digest;     // of pool.bin, SHA-256 in hex; NULL: there is no pool
};

// Writes and syncs all files into the folder of checkpoint_begin, and fills s->files.
int checkpoint_write(const char *path, const struct checkpoint_content *content, struct state *s);

// Renames the folder to its final name and moves `latest` to it. ERR_IO, ERR_SPACE.
int checkpoint_commit(const char *root, const char *path, uint64_t step);

// Moves `best` to the checkpoint of that step; 0: does nothing. ERR_IO.
int checkpoint_mark_best(const char *root, uint64_t step);

// Removes old checkpoints up to s->step. The best one stays whole. Of the scheduled ones
// (state.scheduled) the newest `keep` stay whole. Of the older ones the first of every
// `keep_weights_every` epochs keeps its weights; the others are removed. An unscheduled one stays
// until there is a newer checkpoint. Also removes leftovers of a killed process. ERR_IO.
int checkpoint_retain(const char *root, const struct state *s, int keep, int keep_weights_every);

// ---- loading ----

struct checkpoint_refusals {
    void (*refused)(void *context, const char *dir, const char *reason);
    void *context;
};

// Finds the newest checkpoint that is whole and whose digests are right. Reports each newer one
// that is refused. ERR_AGAIN: there is no checkpoint, and *ret_state is untouched. ERR_FORMAT:
// there are checkpoints, but none can be used.
int checkpoint_find(const char *root, const struct checkpoint_refusals *refusals,
                    char ret_path[CHECKPOINT_PATH], struct state *ret_state);

// Loads weights and optimizer state of all nets. Changes nothing unless everything fits.
// ERR_MISMATCH names the first tensor that differs. ERR_IO, ERR_FORMAT.
int checkpoint_load(const char *path, struct model_net *const *nets, int n_nets);

// Compares a file with its digest in the state.json beside it. Without a state.json the file is not
// from a checkpoint and is accepted. ERR_IO. ERR_FORMAT: it differs, or state.json does not name
// it.
int checkpoint_check_file(const char *path);

// Loads the weights of one net after checkpoint_check_file.
int checkpoint_load_net(const char *path, struct model_net *net);

#endif
