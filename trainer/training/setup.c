// Turns settings into values: "auto" and 0 are replaced, and the checkpoint's choice binds a
// resumed run.
#include "training/setup.h"

#include <string.h>

#include "base/err.h"
#include "base/log.h"
#include "base/util.h"
#include "device/device.h"

static int resolve_from_state(struct config_trainer *t, const struct state *s) {
    if (strcmp(t->device, "auto") != 0 && strcmp(t->device, s->device) != 0)
        return err_set(ERR_MISMATCH, "trainer.device is \"%s\", the checkpoint was made on \"%s\"",
                       t->device, s->device);
    if (strcmp(t->dtype, "auto") != 0 && strcmp(t->dtype, s->dtype) != 0)
        return err_set(ERR_MISMATCH, "trainer.dtype is \"%s\", the checkpoint was made with \"%s\"",
                       t->dtype, s->dtype);
    config_set_text(&t->device, s->device);
    config_set_text(&t->dtype, s->dtype);
    return ERR_OK;
}

int setup_resolve(struct config *c, const struct state *state) {
    struct config_trainer *t = &c->trainer;
    if (!t->threads)
        // Also for a resumed run: results do not depend on the number of threads.
        t->threads = core_count();
    if (state->step)
        return resolve_from_state(t, state);
    // Both are given: model_new reports a missing device.
    if (strcmp(t->device, "auto") != 0 && strcmp(t->dtype, "auto") != 0)
        return ERR_OK;
    struct device_choice device;
    int err = device_choose(t->device, t->dtype, (int)t->gpu, &device);
    if (err)
        return err;
    if (device.why[0])
        log_line("device = \"auto\" is the CPU: %s", device.why);
    config_set_text(&t->device, device.name);
    config_set_text(&t->dtype, device.dtype);
    return ERR_OK;
}

int setup_schedule(const struct config *c, struct schedule *ret_schedule) {
    const struct config_trainer *t = &c->trainer;
    struct schedule s = {
        .variant = strcmp(t->lr_compat, "reference") == 0 ? SCHEDULE_REF22 : SCHEDULE_OWN,
        .n_epochs = (int)t->n_epochs,
        .n_epochs_decay = (int)t->n_epochs_decay,
        .epoch_count = 1,
        .lr_decay_iters = (int)t->lr_decay_iters,
        .lr = t->lr,
    };
    int err = schedule_policy_parse(t->lr_policy, &s.policy);
    if (!err)
        *ret_schedule = s;
    return err;
}

uint64_t setup_last_step(const struct config *c, uint64_t epoch_batches) {
    const struct config_trainer *t = &c->trainer;
    uint64_t steps = (uint64_t)(t->n_epochs + t->n_epochs_decay) * epoch_batches;
    return t->max_steps ? MIN(steps, (uint64_t)t->max_steps) : steps;
}
