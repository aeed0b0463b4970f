// Decides by numbers alone, save for save_minutes: a resumed run takes the same decisions.
#include "base/util.h"
#include "training/parts.h"

// ---- updates by several batches: trainer.accumulate ----

static uint64_t batches_an_update(const struct training *t) {
    return (uint64_t)MAX(t->config->trainer.accumulate, 1);
}

void training_choose_micro_batch(const struct training *t, int *ret_i, int *ret_n) {
    uint64_t most = batches_an_update(t), i = t->state.batch % most;
    // Updates do not cross the end of an epoch, nor the last step.
    uint64_t n = MIN(most, t->progress.epoch_batches - (t->state.batch - i));
    *ret_i = (int)i;
    *ret_n = (int)MIN(n, i + t->last_step - t->state.step);
}

bool training_is_amid_an_update(const struct training *t) {
    return t->state.batch % batches_an_update(t) && t->state.step < t->last_step;
}

// Number of batches of the update that has just ended.
static uint64_t batches_of_last_update(const struct training *t) {
    uint64_t most = batches_an_update(t), rest = t->progress.epoch_batches % most;
    // batch 0 means that an epoch has just ended, maybe with a smaller update.
    return t->state.batch || !rest ? most : rest;
}

// ---- checkpoints and sample sheets ----

// True if a multiple of save_every_steps lies in the update that has just ended. Checkpoints are
// written at the end of an update only.
bool training_is_save_due(const struct training *t) {
    uint64_t every = (uint64_t)t->config->trainer.save_every_steps, step = t->state.step;
    // The last update is complete too: training_choose_micro_batch shortens it.
    if (step >= t->last_step)
        return true;
    if (training_is_amid_an_update(t))
        return false;
    if (!every || !step)
        return t->state.batch == 0;
    return step / every != (step - MIN(step, batches_of_last_update(t))) / every;
}

bool training_is_render_due(const struct training *t) {
    uint64_t step = t->state.step;
    // Early sheets show a wrong set-up soon.
    return step == 0 || step == 10 || step == 100 ||
           step % (uint64_t)t->config->trainer.sample_every == 0 || training_is_save_due(t);
}

bool training_is_time_to_save(const struct training *t) {
    double minutes = t->config->trainer.save_minutes;
    return minutes > 0 && (double)(now_us() - t->saved_us) > minutes * 6e7;
}
