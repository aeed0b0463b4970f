// training - the trainer's loop: batches in, fakes to the pool and back, updates, checkpoints.
//
// One thread. What has to wait does so in wait_for; a step that computes calls back between its
// ops, so that pings are answered, batches taken and tickets handed out meanwhile.
//
// A checkpoint that the schedule names (the end of an epoch or save_every_steps; the last step) is
// judged and rendered before it is saved. One in between (save_minutes, SIGTERM) is not: it leaves
// no trace in the numbers, so that interrupted and undisturbed trainings record the same.
#ifndef TRAINING_H
#define TRAINING_H

#include "streams/wait.h"

struct training;

// From the newest checkpoint below checkpoints/ in the current folder, or from fresh weights.
// `wait` is lent for the training's life; device and threads in its settings are resolved.
// ERR_CONFIG, ERR_DEVICE, ERR_MISMATCH; ERR_DATA: there are checkpoints and none can be used.
int training_new(struct wait *wait, struct training **ret_training);
void training_free(struct training *t);

// Trains to the end or until the process is asked to stop; saves a checkpoint in both cases.
// ERR_NOT_FINITE names step, batch and records; the last checkpoint stays as it is.
int training_run(struct training *t);

#endif
