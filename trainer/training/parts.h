// parts - what the files of the training share and nobody else sees:
//
//   training.c        the loop and its steps
//   training/begin.c  the checkpoint or fresh weights that it begins with
//   training/data.c   the data that it begins with, when a loader has come
//   training/device.c what it ends with when the device does
//   training/due.c    when an update, a checkpoint, a picture is due
//   training/judge.c  scores and pictures
//   training/save.c   checkpoints
#ifndef TRAINING_PARTS_H
#define TRAINING_PARTS_H

#include "checkpoint/checkpoint.h"
#include "judge/held_out.h"
#include "training/progress.h"
#include "training/schedule.h"
#include "training/training.h"

#define TRAINING_ROOT "checkpoints"
#define TRAINING_NETS_MAX 8

// A step that the device has been given, and whose outcome nobody has looked at.
struct under_way {
    struct progress_step progress;
    struct feed_batch batch; // without its pixels; n 0: there is no such step
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
    char *title;                        // over its pictures
    char resumed_from[CHECKPOINT_PATH]; // valid if state.step was not 0
    char *kernels;                      // used so far, see checkpoint/kernel_list.h
    int shape[5];                       // n, hA, wA, hB, wB of the last step
    size_t memory_told;                 // bytes of the model when they were last in an event
    int pool_shape[5];                  // of the first one, which the pool's slots have
    struct feed_batch batch;            // of the next step, or empty
    struct feed_batch ahead;            // of the step after that, on its way to the device
    struct under_way under_way;
    uint64_t split, index; // what batch_is_there looks for
    uint64_t last_step, saved_step;
    bool judged;              // after the last step
    bool forked;              // state is another run's
    bool changed, empty_pool; // and its data or mathematics are not ours; so its pool is not either
    int64_t saved_us, goodbye_us, looked_us; // looked_us: at a step's outcome
};

// ---- training.c ----

// Whether the pool owes no answer; for wait_for, with the training as context.
bool training_pool_is_done(void *training);
// Fills t->batch unless it is. ERR_STOPPED when the process is to stop before it is there.
int training_take_batch(struct training *t, uint64_t split, uint64_t index);
// To the monitor: "running" or "finished".
void training_tell_status(struct training *t, const char *status);

// ---- training/begin.c ----

// Finds the checkpoint, makes the model and fills its weights. `config` is t's, to be resolved.
int training_begin(struct training *t, struct config *config);

// ---- training/data.c ----

// Where the last step lies, once the data is known.
void training_plan(struct training *t);
// Waits for a loader, takes the held-out pictures and the first batch, opens the pool.
int training_begin_data(struct training *t);

// ---- training/device.c ----

// What a failure of the device, or of its memory, ends the trainer with, and to the monitor: text
// and code tell what becomes of the run. Other errors are passed on.
int training_device_error(const struct training *t, int err);
// To the log and the monitor: why device "auto" is the CPU, if it is.
void training_tell_why_cpu(const struct training *t);

// ---- training/due.c ----

// Which of the batches of an update (trainer.accumulate) the next one is; the last update of an
// epoch has those that are left.
void training_choose_share(const struct training *t, int *ret_i, int *ret_n);
// Whether gradients have been summed up that no checkpoint would hold.
bool training_is_amid_an_update(const struct training *t);
// After a step: whether the settings name a checkpoint here; a picture; whether save_minutes have
// passed since the last checkpoint.
bool training_is_save_due(const struct training *t);
bool training_is_render_due(const struct training *t);
bool training_is_time_to_save(const struct training *t);

// ---- training/judge.c ----

// Shows the step's losses to the schedule that follows one of them.
void training_follow_losses(struct training *t);
int training_judge(struct training *t);
int training_render(struct training *t);

// ---- training/save.c ----

int training_save(struct training *t);
// To the monitor: the checkpoint in `dir` is complete.
int training_tell_checkpoint(struct training *t, const char *dir);
// Passes `err` on; to the monitor, if it is one.
int training_tell_not_finite(struct training *t, int err, uint64_t step);
// Keeps the kernels that the tape uses. Tells if a convolution has other ones than when the
// checkpoint was made, or before.
void training_note_kernels(struct training *t);

#endif
