// parts - the training's state, shared by the files of this room only:
//
//   report.c    sends the run's state and checkpoints to the monitor
//   data.c      waits for batches and for the pool; the data that the run begins with
//   device.c    explains a failure of the device
//   due.c       decides when an update, a checkpoint or a sample sheet is due
//   judge.c     computes scores and renders sample sheets
//   save.c      writes checkpoints
//   begin.c     loads the checkpoint, or makes fresh weights
//   training.c  the loop and its steps; the only file that calls all others
#ifndef TRAINING_PARTS_H
#define TRAINING_PARTS_H

#include "checkpoint/checkpoint.h"
#include "judge/held_out.h"
#include "streams/feed.h"
#include "streams/wait.h"
#include "training/progress.h"
#include "training/schedule.h"
#include "training/training.h"

#define TRAINING_ROOT "checkpoints"
#define TRAINING_NETS_MAX 8

// A step that was issued to the device and whose losses nobody has read yet.
struct in_flight {
    struct progress_step progress;
    struct feed_batch batch; // numbers only, no pixels; n = 0: no step is in flight
    int64_t begun_us;
};

struct training {
    struct wait *wait;
    struct proc *proc;
    const struct config *config;
    struct points *points;
    struct model *model;
    struct model_net *nets[TRAINING_NETS_MAX];
    int n_nets;
    struct schedule schedule;
    struct progress progress;
    struct held_out held;
    struct state state;
    char *title;                        // heading of the sample sheets
    char resumed_from[CHECKPOINT_PATH]; // valid if the run began with state.step > 0
    char *kernels;                      // used so far, see checkpoint/kernel_list.h
    int shape[5];                       // n, hA, wA, hB, wB of the last step
    int pool_shape[5];                  // of the first step: the size of the pool's slots
    size_t memory_reported;             // bytes of the model in the last `memory` event
    struct feed_batch batch;            // of the next step; n = 0: not there yet
    struct feed_batch prefetched;       // of the step after next, being copied to the device
    struct in_flight in_flight;
    uint64_t split, index; // the batch that training_take_batch waits for
    uint64_t last_step, saved_step;
    bool judged;     // the last step's weights have scores
    bool forked;     // the checkpoint is another run's
    bool changed;    // forked from a run with other data or settings: begin at an epoch boundary
    bool empty_pool; // and begin with an empty pool
    int64_t saved_us, goodbye_us;
    int64_t outcome_us; // when the last step's losses were read
};

// ---- report.c ----

// Sends the run's status, "running" or "finished", to the monitor.
void training_report_status(struct training *t, const char *status);
// Tells the monitor that the checkpoint in `dir` is complete. ERR_IO.
int training_report_checkpoint(struct training *t, const char *dir);
// Returns `err`. Sends an event first if it is ERR_NOT_FINITE.
int training_report_not_finite(struct training *t, int err, uint64_t step);

// ---- data.c ----

// Whether the pool owes no answer. A callback for wait_for; `training` is a struct training.
bool training_pool_is_done(void *training);
// Waits until t->batch is filled. ERR_STOPPED when the process is to stop first.
int training_take_batch(struct training *t, uint64_t split, uint64_t index);
// Computes last_step and the progress counters. Needs the data's size.
void training_plan(struct training *t);
// Waits for a loader, takes the held-out images and the first batch, opens the pool.
int training_begin_data(struct training *t);

// ---- device.c ----

// Maps an error of the device, or of its memory, to the trainer's exit and to an event that says
// how the run continues. Returns other errors as they are.
int training_device_error(const struct training *t, int err);
// Reports why device "auto" is the CPU, if it is, to the log and to the monitor.
void training_report_why_cpu(const struct training *t);

// ---- due.c ----

// The next batch is micro-batch i of n in its update (trainer.accumulate). The last update of an
// epoch has fewer if the batches do not divide evenly.
void training_choose_micro_batch(const struct training *t, int *ret_i, int *ret_n);
// Whether gradients are accumulated that a checkpoint would not hold.
bool training_is_amid_an_update(const struct training *t);
// After a step: whether the settings ask for a checkpoint; for a sample sheet; whether save_minutes
// have passed since the last checkpoint.
bool training_is_save_due(const struct training *t);
bool training_is_render_due(const struct training *t);
bool training_is_time_to_save(const struct training *t);

// ---- judge.c ----

// Passes the step's losses to a schedule that follows one of them.
void training_follow_losses(struct training *t);
// Scores the current weights and records the scores. ERR_STOPPED: nothing was recorded.
int training_judge(struct training *t);
// Renders the sample sheet of this step.
int training_render(struct training *t);

// ---- save.c ----

// Writes a checkpoint of this step, and deletes those that trainer.keep no longer covers.
int training_save(struct training *t);
// Adds the kernels that the tape uses to t->kernels. Warns if a convolution uses other kernels than
// at the checkpoint or earlier in this run.
void training_record_kernels(struct training *t);

// ---- begin.c ----

// Finds the checkpoint, makes the model and fills its weights. `config` is t's, to be resolved.
int training_begin(struct training *t, struct config *config);

#endif
