// state - state.json: the counters of a checkpoint and the digests of its files.
//
// The file holds no time, host or path, so equal trainings have equal files.
//
//   {"format": 1, "step": 12000, "epoch": 8, "batch": 100, "images": 12000, "scheduled": 1,
//    "device": "cpu", "dtype": "fp32",                    dtype is left out if fp32
//    "plateau": {"values": 0, "sum": 0, "epochs": 7, "best": 2.5, "bad": 1, "drops": 0},
//    "best": {"metric": "judge/score", "step": 11000, "value": 0.61},
//    "init": {"G_A": "<SHA-256 of the file that its first weights were in>"},
//    "manifests": {"A": {"digest": "...", "count": 1100, "held_out": 58}, "B": {...}},
//    "files": {"D_A.safetensors": "<SHA-256>", ...}}
#ifndef STATE_H
#define STATE_H

#include <stdbool.h>
#include <stdint.h>

#include "checkpoint/best.h"
#include "checkpoint/plateau.h"
#include "manifest.h"

#define STATE_FILES_MAX 16

struct state_file {
    char name[64];
    char digest[65];
};

#define STATE_INIT_MAX 8

struct state_init {
    char net[16];
    char digest[65];
};

struct state {
    uint64_t step;         // steps done
    uint64_t epoch, batch; // the next batch to train on: epoch from 1, batch from 0
    uint64_t images;       // pictures of A seen
    uint64_t scheduled;    // 1: at a step where the settings ask for one; 0: in between
    char device[16], dtype[8];
    struct plateau plateau; // all zero and not in the file unless the rate follows a metric
    struct best best;       // likewise until there is a best checkpoint
    int n_init;             // nets with initial weights from a file; not in the file if 0
    struct state_init init[STATE_INIT_MAX];
    struct manifest_summary manifest[2];
    int n_files;
    struct state_file files[STATE_FILES_MAX];
};

// Adds a file; BUG beyond STATE_FILES_MAX.
void state_add_file(struct state *s, const char *name, const char *digest);
// The digest of a file; NULL if there is none of that name.
const char *state_digest(const struct state *s, const char *name);

// Written to a temporary file and renamed. ERR_IO, ERR_SPACE.
int state_save(const struct state *s, const char *path);
// ERR_IO; ERR_FORMAT names the field that is missing or wrong.
int state_load(const char *path, struct state *ret_state);

#endif
