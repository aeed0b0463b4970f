// What the trainer exits with when its device fails, and why "auto" is the CPU.
#include <stdlib.h>

#include "base/err.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/program_path.h"
#include "training/parts.h"

#define WHY_BYTES_MAX 4096

// The supervisor sets TRAINER_AGAIN for a restarted trainer. Its device worked before and may still
// be resetting.
static bool is_restart(void) {
    return getenv("TRAINER_AGAIN") != NULL;
}

static int device_lost(const struct training *t) {
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

static int device_missing(const struct training *t) {
    unsigned long long saved = t->saved_step;

    if (is_restart()) {
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

void training_report_why_cpu(const struct training *t) {
    uint8_t *why;
    size_t size;

    if (!fs_exists(DEVICE_WHY) || fs_read(DEVICE_WHY, WHY_BYTES_MAX, &why, &size))
        return; // the settings name the device, or the reason is lost
    log_line("device = \"auto\" is the CPU: %s", (char *)why);
    points_param(t->points, "trainer.device.why", "%s", (char *)why);
    if (t->proc->self.incarnation <= 1 && !t->state.step)
        points_event(t->points, "warn", "device_fallback", 0, "device = \"auto\" is the CPU: %s",
                     (char *)why);
    free(why);
}

int training_device_error(const struct training *t, int err) {
    switch (err) {
    case ERR_DEVICE_LOST:
        return device_lost(t);
    case ERR_DEVICE:
        return device_missing(t);
    case ERR_LIMIT: // a restart would fail in the same way
        points_event(t->points, "error", "out_of_memory", t->state.step, "%s", err_text());
        return ERR_CONFIG;
    default:
        return err;
    }
}
