// From scores to metrics: their names, the best checkpoint, the warning of collapse, the user's
// command.
#include "judge/judge.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/log.h"
#include "base/util.h"
#include "judge/evaluate.h"
#include "judge/judge_command.h"

#define FOLDER "judge" // of the images for the user's command

// The names of the scores of one direction: AtoB, BtoA.
struct score_names {
    const char *distance, *identity, *cycle_l1, *cycle_ssim, *diversity, *l1, *ssim, *psnr;
};
// Documented in judge.h; the monitor stores them by these names.
static const struct score_names names[2] = {
    {"swd/AtoB", "swd/AtoB_identity", "held_out/cycle_L1_A", "held_out/cycle_SSIM_A",
     "diversity/AtoB", "paired/L1_AtoB", "paired/SSIM_AtoB", "paired/PSNR_AtoB"},
    {"swd/BtoA", "swd/BtoA_identity", "held_out/cycle_L1_B", "held_out/cycle_SSIM_B",
     "diversity/BtoA", "paired/L1_BtoA", "paired/SSIM_BtoA", "paired/PSNR_BtoA"},
};

// The first generator translates in the run's direction, the second one back.
static const struct score_names *names_of(bool swapped, int net) {
    // Exclusive or: two reversals cancel.
    return &names[(net == 1) != swapped];
}

static bool is_swapped(const struct config *c) {
    return strcmp(c->top.direction, "BtoA") == 0;
}

static bool is_paired(const struct config *c) {
    return strcmp(c->loader.dataset_mode, "aligned") == 0;
}

bool judge_records(const struct config *c, int n_generators, const char *key) {
    if (!c->trainer.judge_pictures)
        return false;
    if (strcmp(key, "judge/score") == 0)
        return true;
    for (int i = 0; i < n_generators; i++) {
        const struct score_names *n = names_of(is_swapped(c), i);
        // The identity is left out: it does not depend on the weights.
        if (strcmp(key, n->distance) == 0 || strcmp(key, n->diversity) == 0)
            return true;
        if (n_generators > 1 && (strcmp(key, n->cycle_l1) == 0 || strcmp(key, n->cycle_ssim) == 0))
            return true;
        if (is_paired(c) &&
            (strcmp(key, n->l1) == 0 || strcmp(key, n->ssim) == 0 || strcmp(key, n->psnr) == 0))
            return true;
    }
    return false;
}

const char *judge_plateau_metric(const struct config *c, int n_generators) {
    const char *key = c->trainer.plateau_metric;
    // The default must hold in both directions, or BtoA would need a setting.
    bool other_way = n_generators == 1 && is_swapped(c) && strcmp(key, names[0].distance) == 0;

    return other_way ? names[1].distance : key;
}

int judge_check(const struct config *c, int n_generators) {
    const char *key = best_name(c->trainer.best_metric);
    const struct score_names *first = names_of(is_swapped(c), 0);
    // state.json stores the name without escapes.
    if (strlen(c->trainer.best_metric) > 64 || strpbrk(c->trainer.best_metric, "\"\\"))
        return err_set(ERR_CONFIG, "trainer.best_metric \"%s\": a name of up to 64 letters",
                       c->trainer.best_metric);
    if (!c->trainer.judge_pictures || judge_records(c, n_generators, key))
        return ERR_OK;
    if (c->trainer.judge_command[0] && strncmp(key, "judge/", 6) == 0)
        return ERR_OK; // the command may print it
    return err_set(ERR_CONFIG,
                   "trainer.best_metric \"%s\" is not recorded here; judge/score, %s and %s are",
                   c->trainer.best_metric, first->distance,
                   n_generators > 1 ? first->cycle_ssim : first->diversity);
}

void judge_stored_name(const struct held_out *held, const char *key, char ret[65]) {
    static const char prefix[] = "held_out/";
    size_t n = sizeof prefix - 1, size = strlen(key);
    int side = size && key[size - 1] == held_out_domain(held, 1); // cycle_L1_A, cycle_SSIM_B
    if (strncmp(key, prefix, n) == 0 && held->trained[side])
        (void)snprintf(ret, 65, "training/%.55s", key + n); // names have up to 64 letters
    else
        (void)snprintf(ret, 65, "%.64s", key);
}

// `ours`: a repeated training records the same value.
static void record_as(const struct judge *j, bool ours, const char *key, double value) {
    const char *best = j->config->trainer.best_metric;
    // Not available here, see evaluate.h.
    if (isnan(value))
        return;
    char stored[65];
    judge_stored_name(j->held, key, stored);
    points_metric(j->points, stored, ours, j->state->step, value);
    if (j->follow)
        j->follow(j->context, key, value);
    // The untrained nets are never the best: a training writes no checkpoint of step 0.
    if (j->state->step && strcmp(key, best_name(best)) == 0 &&
        best_note(&j->state->best, best, j->state->step, value))
        points_metric(j->points, "judge/best", ours, j->state->step, value);
}

static void record(const struct judge *j, const char *key, double value) {
    record_as(j, true, key, value);
}

static void record_direction(const struct judge *j, int net, const struct evaluate_scores *s) {
    const struct score_names *n = names_of(j->held->swapped, net);
    record(j, n->distance, s->distance);
    // Constant for a run, unless its images change; it makes the distance readable.
    record(j, n->identity, s->identity);
    record(j, n->cycle_l1, s->cycle_l1);
    record(j, n->cycle_ssim, s->cycle_ssim);
    record(j, n->diversity, evaluate_diversity_share(s));
    record(j, n->l1, s->l1);
    record(j, n->ssim, s->ssim);
    record(j, n->psnr, s->psnr);
}

// Untrained nets (step 0) are not expected to have diversity.
static void warn_of_collapse(const struct judge *j, int net, const struct evaluate_scores *s) {
    double share = evaluate_diversity_share(s), least = j->config->trainer.collapse_below;
    if (j->state->step && share < least)
        points_event(j->points, "warn", "collapsed", j->state->step,
                     "the fakes of G_%s hardly differ from each other: %.2g of the diversity of "
                     "the pictures they imitate (trainer.collapse_below = %g). Look at the "
                     "samples; go on from an earlier checkpoint with --fork and a lower rate or "
                     "a larger lambda",
                     net ? "B" : "A", share, least);
}

// ---- the user's command ----

static void record_command_score(void *context, const char *name, double value) {
    char key[65];
    (void)snprintf(key, sizeof key, "judge/%s", name); // fits
    // An outside program need not print the same number again.
    record_as(context, false, key, value);
}

static int keep_alive(void *context) {
    const struct judge *j = context;
    int err = j->meanwhile(j->context);
    if (!err && *j->stop)
        err = err_set(ERR_STOPPED, "asked to stop");
    return err;
}

static int run_command(struct judge *j, const char *folder) {
    const struct judge_command command = {
        .command = j->config->trainer.judge_command,
        .folder = folder,
        .workdir = *j->config->top.workdir ? j->config->top.workdir : NULL,
        .timeout_us = j->config->trainer.judge_timeout_s * 1000000,
        .context = j,
        .score = record_command_score,
        .meanwhile = keep_alive,
    };
    int err = judge_command_run(&command);
    // ERR_DATA is a fault of the user's command; others end the judging.
    if (err != ERR_DATA)
        return err;
    log_line("%s", err_text());
    points_event(j->points, "warn", "judge_command", j->state->step, "%s", err_text());
    return ERR_OK;
}

int judge(struct judge *j) {
    int n = model_n_generators(j->model);
    bool asks = j->config->trainer.judge_command[0] != 0;
    struct evaluate_options options = {
        .pictures = (int)j->config->trainer.judge_pictures,
        .seed = (uint64_t)j->config->top.seed,
        .paired = is_paired(j->config),
        .stop = j->stop,
        .folder = asks ? FOLDER : NULL,
    };
    struct evaluate_scores scores[2];
    // judge_pictures = 0 turns all scores off.
    if (!options.pictures)
        return ERR_OK;
    points_line(j->points, "step %llu, judging", (unsigned long long)j->state->step);
    int err = evaluate(j->model, j->held, &options, scores);
    // The last two: images for the user's command could not be written.
    if (err == ERR_SHAPE || err == ERR_IO || err == ERR_SPACE) {
        points_event(j->points, "warn", "not_judged", j->state->step, "%s", err_text());
        return ERR_OK;
    }
    if (err)
        return err;
    for (int i = 0; i < n; i++) {
        record_direction(j, i, &scores[i]);
        warn_of_collapse(j, i, &scores[i]);
    }
    // Before the command: its failure must not lose our score.
    record(j, "judge/score", evaluate_total(scores, n, options.paired));
    return asks ? run_command(j, FOLDER) : ERR_OK;
}
