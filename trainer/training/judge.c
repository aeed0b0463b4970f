// Connects the judge room to the training: which scores the schedule follows, and what a failure
// means.
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/util.h"
#include "judge/judge.h"
#include "judge/samples.h"
#include "training/parts.h"

// Scores of the untrained nets (step 0) do not count.
static void follow(struct training *t, const char *key, double value) {
    const char *metric = judge_plateau_metric(t->config, model_n_generators(t->model));
    if (schedule_follows(&t->schedule) && t->state.step && strcmp(key, metric) == 0)
        plateau_note(&t->state.plateau, value);
}

void training_follow_losses(struct training *t) {
    for (int i = 0; i < model_n_losses(t->model); i++) {
        char key[65];
        (void)snprintf(key, sizeof key, "loss/%s", model_loss_name(t->model, i)); // fits
        follow(t, key, model_loss(t->model, i));
    }
}

static void follow_score(void *context, const char *key, double value) {
    follow(context, key, value);
}

static int pump(void *context) {
    struct training *t = context;
    // The user's command may run for minutes; the peers need answers meanwhile.
    return wait_pump(t->wait);
}

int training_judge(struct training *t) {
    struct judge j = {.model = t->model,
                      .held = &t->held,
                      .config = t->config,
                      .points = t->points,
                      .stop = &t->proc->stop,
                      .state = &t->state,
                      .follow = follow_score,
                      .meanwhile = pump,
                      .context = t};
    int err = judge(&j);
    // Stays false after a stop: the resumed run judges this step again.
    t->judged = !err;
    return err;
}

int training_render(struct training *t) {
    struct samples_options options = {
        .title = t->title, .step = t->state.step, .probes = (int)t->config->trainer.probes};
    char path[SAMPLES_PATH];
    int err = samples_render(t->model, &t->held, &options, path);
    if (!err) {
        points_sample(t->points, t->state.step, "sheet", path);
        err = samples_page(t->title, model_n_generators(t->model));
    }
    // A full disk may have room again at the next checkpoint. The training does not need the sheet.
    if (err == ERR_SHAPE || err == ERR_IO || err == ERR_SPACE) {
        points_event(t->points, "warn", "not_rendered", t->state.step, "%s", err_text());
        return ERR_OK;
    }
    return err;
}
