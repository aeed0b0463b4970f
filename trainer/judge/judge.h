// judge - what a checkpoint's weights are worth: scores into the database, the best one told.
//
// Metrics, per direction AtoB and BtoA (evaluate.h):
//   swd/AtoB swd/AtoB_identity               distance of the fakes, and of what they were made of,
//                                            from the pictures they imitate
//   held_out/cycle_L1_A held_out/cycle_SSIM_A  there and back, of pictures of A
//   diversity/AtoB                           of the fakes, as a share of that of what they imitate
//   paired/L1_AtoB paired/SSIM_AtoB paired/PSNR_AtoB   beside the true picture
//   judge/score                              evaluate_total
//   judge/best                               a value of best_metric that is better than all before
// and what trainer.judge_command prints (judge/judge_command.h), as judge/NAME.
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
    struct state *state; // its step is what is judged; its best is set
    const bool *stop;    // set when the process is to stop; checked before each image
    // Gets every score, in addition to the database. May be NULL.
    void (*follow)(void *context, const char *key, double value);
    // Called often while the user's command runs. An error ends the command and is returned.
    int (*meanwhile)(void *context);
    void *context; // of follow and meanwhile
};

// Whether a metric of this name will be recorded; losses are not looked at.
bool judge_records(const struct config *config, int n_generators, const char *key);

// Whether trainer.best_metric names something that is recorded. ERR_CONFIG.
int judge_check(const struct config *config, int n_generators);

// Judges and records. Pictures that cannot be judged are an event, not an error. The checkpoint of
// step 0 is never the best. ERR_STOPPED: nothing was recorded. ERR_DEVICE_LOST, ERR_IO, ERR_SPACE.
int judge(struct judge *j);

#endif
