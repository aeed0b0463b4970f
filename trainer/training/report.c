// What the training reports to the monitor about its own state.
#include <stdio.h>
#include <stdlib.h>

#include "base/digest.h"
#include "base/err.h"
#include "base/util.h"
#include "training/parts.h"

void training_report_status(struct training *t, const char *status) {
    // A struct msg has room for the largest message, so it is on the heap.
    struct msg *m = xcalloc(1, sizeof *m);
    m->type = MSG_run_state;
    m->run_state.ts_us = wall_us();
    (void)text_copy(m->run_state.status, sizeof m->run_state.status, status);          // fits
    (void)text_copy(m->run_state.device, sizeof m->run_state.device, t->state.device); // fits
    points_put(t->points, m);
    free(m);
}

int training_report_checkpoint(struct training *t, const char *dir) {
    char path[CHECKPOINT_PATH + 16];
    uint8_t digest[32];
    uint64_t size;
    (void)snprintf(path, sizeof path, "%s/state.json", dir); // fits
    int err = digest_file(path, digest, &size);
    if (err)
        return err;
    struct msg *m = xcalloc(1, sizeof *m);
    m->type = MSG_checkpoint;
    m->checkpoint.step = t->state.step;
    (void)text_copy(m->checkpoint.dir, sizeof m->checkpoint.dir, dir); // fits
    digest_hex(digest, m->checkpoint.digest);
    points_put(t->points, m);
    free(m);
    return ERR_OK;
}

int training_report_not_finite(struct training *t, int err, uint64_t step) {
    if (err == ERR_NOT_FINITE)
        points_event(t->points, "error", "not_finite", step, "%s", err_text());
    return err;
}
