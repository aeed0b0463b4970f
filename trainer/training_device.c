// What the trainer ends with when its device does.
#include "err.h"
#include "training_parts.h"

// After a loss the device of a process that was started again may not be back yet.
static bool was_there(const struct training *t) {
    return t->proc->self.incarnation > 1;
}

static int lost(const struct training *t) {
    unsigned long long step = t->state.step + 1, saved = t->saved_step;

    points_event(t->points, "error", "device_lost", t->state.step, "%s", err_text());
    if (!saved)
        return err_prefix(ERR_DEVICE_LOST,
                          "the device failed at step %llu, before the first checkpoint; the run "
                          "begins again if it comes back (the kernel's log may say more: dmesg | "
                          "grep -i -e nvrm -e xid)",
                          step);
    return err_prefix(ERR_DEVICE_LOST,
                      "the device failed at step %llu; the checkpoint of step %llu is whole, the "
                      "run goes on from it if the device comes back (the kernel's log may say "
                      "more: dmesg | grep -i -e nvrm -e xid)",
                      step, saved);
}

static int missing(const struct training *t) {
    unsigned long long saved = t->saved_step;

    if (was_there(t)) {
        points_event(t->points, "error", "device_missing", t->state.step, "%s", err_text());
        return err_prefix(ERR_DEVICE_LOST, "the device that this run computes on is not back");
    }
    if (!saved)
        return ERR_DEVICE;
    return err_prefix(ERR_DEVICE,
                      "this run computes on device \"%s\" (its checkpoint of step %llu was made "
                      "there), which is not to be had here; up --fork NEW with trainer.device = "
                      "\"cpu\" goes on without it",
                      t->state.device, saved);
}

int training_device_error(const struct training *t, int err) {
    switch (err) {
    case ERR_DEVICE_LOST:
        return lost(t);
    case ERR_DEVICE:
        return missing(t);
    case ERR_LIMIT: // it would be the same again
        points_event(t->points, "error", "out_of_memory", t->state.step, "%s", err_text());
        return ERR_CONFIG;
    default:
        return err;
    }
}
