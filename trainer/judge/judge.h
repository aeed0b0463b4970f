// judge - scores the weights of a checkpoint, records the scores, and finds the best checkpoint.
//
// Metrics, per direction AtoB and BtoA (evaluate.h):
//   swd/AtoB swd/AtoB_identity               distance of the fakes, and of their inputs, from the
//                                            images of the other domain
//   held_out/cycle_L1_A held_out/cycle_SSIM_A  images of A translated there and back
//   diversity/AtoB                           of the fakes, relative to the images they imitate
//   paired/L1_AtoB paired/SSIM_AtoB paired/PSNR_AtoB   fakes compared with their true images
//   judge/score                              evaluate_total
//   judge/best                               best_metric, when it is better than all before
// and the scores that trainer.judge_command prints (judge_command.h), as judge/NAME.
#ifndef JUDGE_H
#define JUDGE_H

#include "checkpoint/state.h"
#include "config/config.h"
#include "judge/held_out.h"
#include "models/model.h"
#include "points/points.h"

struct judge {
    struct model *model;
    const struct held_out *held;
    const struct config *config;
    struct points *points;
    struct state *state; // in: step; out: best
    const bool *stop;    // set when the process is to stop; checked before each image
    // Gets every score, in addition to the database. May be NULL.
    void (*follow)(void *context, const char *key, double value);
    // Called often while the user's command runs. An error ends the command and is returned.
    int (*meanwhile)(void *context);
    void *context; // of follow and meanwhile
};

// Whether a score of this name will be recorded. Losses are not considered.
bool judge_records(const struct config *config, int n_generators, const char *key);

// The name under which a score is stored. Of training images, held_out/cycle_L1_A becomes
// training/cycle_L1_A. Settings name it held_out/ in any case.
void judge_stored_name(const struct held_out *held, const char *key, char ret[65]);

// trainer.plateau_metric, where its default swd/AtoB is swd/BtoA if B to A is all that is trained.
const char *judge_plateau_metric(const struct config *c, int n_generators);
// ERR_CONFIG unless trainer.best_metric names a score that is recorded.
int judge_check(const struct config *config, int n_generators);

// Computes and records the scores. Images that cannot be scored cause an event, not an error. Step
// 0 is never the best. ERR_STOPPED: nothing was recorded. ERR_DEVICE_LOST, ERR_IO, ERR_SPACE.
int judge(struct judge *j);

#endif
