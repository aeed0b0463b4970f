// Records the metrics of each step. `true` in points_metric marks a value that a repeated run
// records again; times are not such values.
#include "training/progress.h"

#include <stdio.h>

#include "base/util.h"

#define MEAN_STEPS 20 // the line's averages are over about so many steps

static void record_step(struct progress *p, const struct model *m, const struct progress_step *s) {
    uint64_t step = s->step;
    for (int i = 0; i < model_n_losses(m); i++) {
        char key[65];
        (void)snprintf(key, sizeof key, "loss/%s", model_loss_name(m, i)); // fits
        points_metric(p->points, key, true, step, model_loss(m, i));
    }
    points_metric(p->points, "lr", true, step, s->lr);
    points_metric(p->points, "epoch", true, step, (double)s->epoch);
    points_metric(p->points, "time/step_ms", false, step, (double)s->step_us / 1e3);
    points_metric(p->points, "time/wait_ms", false, step, (double)s->wait_us / 1e3);
    if (model_device_memory_peak(m))
        points_metric(p->points, "memory/device_peak_mb", false, step,
                      (double)model_device_memory_peak(m) / 1e6);
    points_metric(p->points, "rate/img_per_s", false, step, s->n * 1e6 / (double)s->step_us);
}

static void update_means(struct progress *p, const struct progress_step *s) {
    // The first step sets the mean.
    double weight = p->step_us > 0 ? 1.0 / MEAN_STEPS : 1;
    p->step_us += weight * ((double)s->step_us - p->step_us);
    p->wait_us += weight * ((double)s->wait_us - p->wait_us);
}

static void losses_text(const struct model *m, char *ret, size_t size) {
    size_t at = 0;
    ret[0] = 0;
    for (int i = 0; i < model_n_losses(m) && at < size; i++)
        at += (size_t)snprintf(ret + at, size - at, " %s %.3f", model_loss_name(m, i),
                               model_loss(m, i));
}

static void print_line(struct progress *p, const struct model *m, const struct progress_step *s) {
    char losses[320];
    long long left = (long long)((double)(p->last_step - s->step) * p->step_us / 1e6);
    losses_text(m, losses, sizeof losses);
    points_line(p->points,
                "epoch %llu/%llu batch %llu/%llu step %llu/%llu  %.2f img/s  wait %.0f%%  "
                "ETA %lld:%02lld:%02lld %s",
                (unsigned long long)s->epoch, (unsigned long long)p->last_epoch,
                (unsigned long long)s->batch + 1, (unsigned long long)p->epoch_batches,
                (unsigned long long)s->step, (unsigned long long)p->last_step,
                s->n * 1e6 / p->step_us, 100 * p->wait_us / p->step_us, left / 3600, left / 60 % 60,
                left % 60, losses);
}

void progress_step(struct progress *p, const struct model *m, const struct progress_step *s) {
    // By the step number, so that a resumed run records the same steps.
    if (s->step % p->print_every == 0)
        record_step(p, m, s);
    update_means(p, s);
    print_line(p, m, s);
    points_state(p->points, STATE_RUNNING, s->step);
}
