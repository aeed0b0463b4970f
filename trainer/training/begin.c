// Starts the training state: checkpoint or fresh weights, model, schedule. No data is needed yet.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/text.h"
#include "base/util.h"
#include "checkpoint/kernel_list.h"
#include "training/check.h"
#include "training/fork.h"
#include "training/init_from.h"
#include "training/parts.h"
#include "training/setup.h"

#define KERNELS_BYTES_MAX (1 << 20)

// ---- the checkpoint ----

static void report_refusal(void *context, const char *dir, const char *reason) {
    struct training *t = context;
    log_line("%s cannot be used: %s", dir, reason);
    points_event(t->points, "warn", "checkpoint_refused", 0, "%s: %s", dir, reason);
}

static int find_checkpoint(struct training *t) {
    struct checkpoint_refusals refusals = {report_refusal, t};
    int err = checkpoint_find(TRAINING_ROOT, &refusals, t->resumed_from, &t->state);
    // No checkpoint: epochs count from 1, everything else from 0.
    if (err == ERR_AGAIN) {
        t->state = (struct state){.epoch = 1};
        return ERR_OK;
    }
    return err == ERR_FORMAT ? err_set(ERR_DATA, "%s; up --fresh begins anew", err_text()) : err;
}

static int load_kernels(struct training *t) {
    char path[CHECKPOINT_PATH + 16];
    uint8_t *text;
    size_t size;
    (void)snprintf(path, sizeof path, "%s/kernels.txt", t->resumed_from); // fits
    int err = fs_read(path, KERNELS_BYTES_MAX, &text, &size);
    if (err)
        return err;
    t->kernels = kernels_merge(t->kernels, (char *)text);
    free(text);
    return ERR_OK;
}

// A fork may turn on the moving averages: then the checkpoint has none to load.
static int load_nets(struct training *t) {
    char file[80];
    int n = t->n_nets, averages = model_n_averages(t->model);
    // The averages are the last nets, so the file of the last net tells whether there are any.
    (void)snprintf(file, sizeof file, "%s.safetensors", t->nets[n - 1]->name); // fits
    bool begins = averages && t->forked && !state_digest(&t->state, file);
    // Averages that begin now start from the loaded nets.
    int err = checkpoint_load(t->resumed_from, t->nets, begins ? n - averages : n);
    if (!err && begins)
        model_average_start(t->model);
    return err;
}

static int load(struct training *t) {
    int err = load_nets(t);
    if (!err)
        err = load_kernels(t);
    if (!err) // again: the first report may have been lost
        err = training_report_checkpoint(t, t->resumed_from);
    if (err)
        return err;
    log_line("goes on from step %llu", (unsigned long long)t->state.step);
    points_event(t->points, "info", "resumed", t->state.step, "goes on from %s", t->resumed_from);
    return ERR_OK;
}

// ---- the model ----

// A resumed run uses the checkpoint's plans of its device. A fork may run on another device, which
// cannot use them.
static int open_model(struct training *t) {
    struct model_host host = {
        .seed = (uint64_t)t->config->top.seed, .between_ops = wait_between_ops, .context = t->wait};
    char path[CHECKPOINT_PATH + 16];
    bool has_plans = t->state.step && state_digest(&t->state, CHECKPOINT_PLANS) &&
                     strcmp(t->config->trainer.device, "cpu") != 0;
    (void)snprintf(path, sizeof path, "%s/%s", t->resumed_from, CHECKPOINT_PLANS); // fits
    host.plans = has_plans ? path : NULL;
    int err = model_new(&t->config->trainer, &host, &t->model);
    // Only a fork may choose its plans anew.
    if (err == ERR_MISMATCH && has_plans && t->forked) {
        points_event(t->points, "warn", "plans_changed", t->state.step, "%s", err_text());
        host.plans = NULL;
        err = model_new(&t->config->trainer, &host, &t->model);
    }
    // Without its plans a resumed run would choose kernels anew and lose its bits.
    if (!err && model_has_plans(t->model) && t->state.step && !t->forked && !has_plans)
        err = err_set(ERR_MISMATCH,
                      "%s has no %s, which tells what the device used; up --fork goes on without",
                      t->resumed_from, CHECKPOINT_PLANS);
    return err;
}

static int make_model(struct training *t) {
    int err = open_model(t);
    if (err)
        return err;
    t->n_nets = model_n_nets(t->model);
    if (t->n_nets > TRAINING_NETS_MAX)
        BUG("%d nets", t->n_nets);
    for (int i = 0; i < t->n_nets; i++)
        // Lent by the model for its life.
        t->nets[i] = model_net(t->model, i);
    return ERR_OK;
}

// ---- its weights ----

static void report_init(void *context, const struct state_init *init, const char *path) {
    struct training *t = context;
    char key[40];
    log_line("%s begins with %s", init->net, path);
    (void)snprintf(key, sizeof key, "init_from.%s", init->net); // fits
    points_param(t->points, key, "%s %s", init->digest, path);
    points_event(t->points, "info", "init_from", 0, "%s begins with %s", init->net, path);
}

static int first_weights(struct training *t) {
    const struct config *c = t->config;
    int err =
        model_init(t->model, c->trainer.init_type, c->trainer.init_gain, (uint64_t)c->top.seed);
    if (err || !*c->trainer.init_from)
        return err;
    err = init_from_load(c->trainer.init_from, t->nets, t->n_nets, &t->state, report_init, t);
    if (!err && model_n_averages(t->model))
        model_average_start(t->model);
    return err;
}

static int fill_weights(struct training *t) {
    const char *from = t->config->trainer.init_from;
    int err =
        // A resumed run only checks that init_from is still the same.
        t->state.step && *from ? init_from_check(from, t->nets, t->n_nets, &t->state) : ERR_OK;
    if (!err)
        err = t->state.step ? load(t) : first_weights(t);
    // Copies the weights from the host to the device.
    return err ? err : model_weights_changed(t->model);
}

// ---- the whole ----

static void report_facts(struct training *t) {
    training_report_status(t, "running");
    char device[256];
    model_describe_device(t->model, device, sizeof device);
    points_param(t->points, "trainer.device.used", "%s", t->state.device);
    points_param(t->points, "trainer.device.name", "%s", device);
    training_report_why_cpu(t);
    points_param(t->points, "trainer.dtype.used", "%s", t->state.dtype);
    points_param(t->points, "trainer.threads.used", "%lld", (long long)t->config->trainer.threads);
    for (int i = 0; i < t->n_nets; i++) {
        char key[97];
        size_t count = 0;
        for (int k = 0; k < t->nets[i]->n_params; k++)
            if (t->nets[i]->params[k].m) // no statistics
                count += t->nets[i]->params[k].count;
        (void)snprintf(key, sizeof key, "net.%s.parameters", t->nets[i]->name); // fits
        points_param(t->points, key, "%zu", count);
    }
}

int training_begin(struct training *t, struct config *config) {
    const struct state none = {0};
    int err = find_checkpoint(t);
    if (!err)
        err = fork_look(config, t->resumed_from, t->state.step, &t->forked, &t->changed);
    if (!err)
        // A fork may change device and dtype, so the checkpoint's do not count.
        err = setup_resolve(config, t->forked ? &none : &t->state);
    if (!err)
        err = setup_schedule(config, &t->schedule);
    if (err)
        return err;
    // The pool holds images in the dtype of the run.
    t->changed |= t->forked && strcmp(t->state.dtype, config->trainer.dtype) != 0;
    (void)text_copy(t->state.device, sizeof t->state.device, config->trainer.device); // fits
    (void)text_copy(t->state.dtype, sizeof t->state.dtype, config->trainer.dtype);    // fits
    // What is loaded is on disk: training_run does not save it again.
    t->saved_step = t->state.step;
    err = make_model(t);
    if (!err)
        err = training_check_metrics(t->config, t->model, &t->schedule);
    if (!err)
        err = fill_weights(t);
    if (!err)
        report_facts(t);
    return err;
}
