#include "training.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "checkpoint.h"
#include "digest.h"
#include "err.h"
#include "fork.h"
#include "fs.h"
#include "guard.h"
#include "init_from.h"
#include "judge.h"
#include "kernels.h"
#include "log.h"
#include "progress.h"
#include "samples.h"
#include "setup.h"
#include "util.h"

#define ROOT "checkpoints"
#define FINISHED "finished" // tells the supervisor and the next `up`
#define NETS_MAX 8
#define GOODBYE_US 1000000 // for peers to take the fin
#define KERNELS_BYTES_MAX (1 << 20)

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
    struct model_net *nets[NETS_MAX];
    int n_nets;
    struct schedule schedule;
    struct progress progress;
    struct held_out held;
    struct state state;
    char *title;                        // over its pictures
    char resumed_from[CHECKPOINT_PATH]; // valid if state.step was not 0
    char *kernels;                      // used so far, see kernels.h
    int shape[5];                       // n, hA, wA, hB, wB of the last step
    int pool_shape[5];                  // of the first one, which the pool's slots have
    struct feed_batch batch;            // of the next step, or empty
    struct under_way under_way;
    uint64_t split, index; // what batch_is_there looks for
    uint64_t last_step, saved_step;
    bool judged;              // after the last step
    bool forked;              // state is another run's
    bool changed, empty_pool; // and its data or mathematics are not ours; so its pool is not either
    int64_t saved_us, goodbye_us, looked_us; // looked_us: at a step's outcome
};

// ---- what is waited for ----

static bool has_data(void *context) {
    struct training *t = context;
    return t->proc->stop || feed_ready(t->wait->feed);
}

static bool batch_is_there(void *context) {
    struct training *t = context;
    uint64_t epoch = t->split ? 1 : t->state.epoch;
    return t->proc->stop ||
           feed_take(t->wait->feed, t->split, epoch, t->index, &t->batch) == ERR_OK;
}

static bool pool_is_done(void *context) {
    struct training *t = context;
    return !replay_busy(t->wait->replay);
}

static bool all_have_gone(void *context) {
    struct training *t = context;
    return now_us() > t->goodbye_us ||
           (!feed_loaders(t->wait->feed) && !replay_is_up(t->wait->replay));
}

// Fills t->batch unless it is. ERR_STOPPED when the process is to stop before it is there.
static int take_batch(struct training *t, uint64_t split, uint64_t index) {
    if (t->batch.n)
        return ERR_OK;
    t->split = split;
    t->index = index;
    int err = wait_for(t->wait, batch_is_there, t, "a batch from a loader");
    if (!err && !t->batch.n)
        err = err_set(ERR_STOPPED, "asked to stop");
    return err;
}

// ---- beginning ----

static void tell_refusal(void *context, const char *dir, const char *reason) {
    struct training *t = context;
    log_line("%s cannot be used: %s", dir, reason);
    points_event(t->points, "warn", "checkpoint_refused", 0, "%s: %s", dir, reason);
}

static int find_checkpoint(struct training *t) {
    struct checkpoint_refusals refusals = {tell_refusal, t};
    int err = checkpoint_find(ROOT, &refusals, t->resumed_from, &t->state);
    if (err == ERR_AGAIN) {
        t->state = (struct state){.epoch = 1};
        return ERR_OK;
    }
    return err == ERR_FORMAT ? err_set(ERR_DATA, "%s; up --fresh begins anew", err_text()) : err;
}

// On the device that made the checkpoint, the plans that it used. A fork may be on another device,
// which cannot follow them.
static int open_model(struct training *t) {
    struct model_options options = setup_model(t->config, wait_between_ops, t->wait);
    char path[CHECKPOINT_PATH + 16];
    bool has_plans = t->state.step && state_digest(&t->state, CHECKPOINT_PLANS) &&
                     strcmp(t->config->trainer.device, "cpu") != 0;
    (void)snprintf(path, sizeof path, "%s/%s", t->resumed_from, CHECKPOINT_PLANS); // fits
    options.plans = has_plans ? path : NULL;
    int err = model_new(&options, &t->model);
    if (err == ERR_MISMATCH && has_plans && t->forked) {
        points_event(t->points, "warn", "plans_changed", t->state.step, "%s", err_text());
        options.plans = NULL;
        err = model_new(&options, &t->model);
    }
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
    if (t->n_nets > NETS_MAX)
        BUG("%d nets", t->n_nets);
    for (int i = 0; i < t->n_nets; i++)
        t->nets[i] = model_net(t->model, i);
    return ERR_OK;
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

static int tell_checkpoint(struct training *t, const char *dir) {
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

// A fork may be the first of its line to average the generators.
static int load_nets(struct training *t) {
    char file[80];
    int n = t->n_nets, averages = model_n_averages(t->model);
    (void)snprintf(file, sizeof file, "%s.safetensors", t->nets[n - 1]->name); // fits
    bool begins = averages && t->forked && !state_digest(&t->state, file);
    int err = checkpoint_load(t->resumed_from, t->nets, begins ? n - averages : n);
    if (!err && begins)
        model_average_start(t->model);
    return err;
}

static int load(struct training *t) {
    int err = load_nets(t);
    if (!err)
        err = load_kernels(t);
    if (!err) // again: its record may not have been written
        err = tell_checkpoint(t, t->resumed_from);
    if (err)
        return err;
    log_line("goes on from step %llu", (unsigned long long)t->state.step);
    points_event(t->points, "info", "resumed", t->state.step, "goes on from %s", t->resumed_from);
    return ERR_OK;
}

static void tell_init(void *context, const struct state_init *init, const char *path) {
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
    err = init_from_load(c->trainer.init_from, t->nets, t->n_nets, &t->state, tell_init, t);
    if (!err && model_n_averages(t->model))
        model_average_start(t->model);
    return err;
}

static int fill_weights(struct training *t) {
    const char *from = t->config->trainer.init_from;
    int err =
        t->state.step && *from ? init_from_check(from, t->nets, t->n_nets, &t->state) : ERR_OK;
    if (!err)
        err = t->state.step ? load(t) : first_weights(t);
    return err ? err : model_weights_changed(t->model);
}

static void tell_status(struct training *t, const char *status) {
    struct msg *m = xcalloc(1, sizeof *m);
    m->type = MSG_run_state;
    m->run_state.ts_us = wall_us();
    (void)text_copy(m->run_state.status, sizeof m->run_state.status, status);          // fits
    (void)text_copy(m->run_state.device, sizeof m->run_state.device, t->state.device); // fits
    points_put(t->points, m);
    free(m);
}

static void tell_facts(struct training *t) {
    tell_status(t, "running");
    char device[256];
    model_describe_device(t->model, device, sizeof device);
    points_param(t->points, "trainer.device.used", "%s", t->state.device);
    points_param(t->points, "trainer.device.name", "%s", device);
    points_param(t->points, "trainer.dtype.used", "%s", t->state.dtype);
    points_param(t->points, "trainer.threads.used", "%llu", (unsigned long long)t->state.threads);
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

static bool is_recorded(const struct training *t, const char *key) {
    for (int i = 0; i < model_n_losses(t->model); i++)
        if (!strncmp(key, "loss/", 5) && !strcmp(key + 5, model_loss_name(t->model, i)))
            return true;
    return judge_records(t->config, model_n_generators(t->model), key);
}

static int check_plateau_metric(const struct training *t) {
    const char *key = t->config->trainer.plateau_metric;
    if (!schedule_follows(&t->schedule) || is_recorded(t, key))
        return ERR_OK;
    return err_set(ERR_CONFIG,
                   "trainer.plateau_metric \"%s\" is not recorded; loss/%s is, and swd/AtoB where "
                   "judge_pictures is above 0",
                   key, model_loss_name(t->model, 0));
}

static int begin(struct training *t, struct config *config) {
    const struct state none = {0};
    int err = find_checkpoint(t);
    if (!err)
        err = fork_look(config, t->resumed_from, t->state.step, &t->forked, &t->changed);
    if (!err)
        err = setup_resolve(config, t->forked ? &none : &t->state);
    if (!err)
        err = setup_schedule(config, &t->schedule);
    if (err)
        return err;
    (void)text_copy(t->state.device, sizeof t->state.device, config->trainer.device); // fits
    (void)text_copy(t->state.dtype, sizeof t->state.dtype, config->trainer.dtype);    // fits
    t->state.threads = (uint64_t)config->trainer.threads;
    t->saved_step = t->state.step;
    err = make_model(t);
    if (!err)
        err = check_plateau_metric(t);
    if (!err)
        err = judge_check(t->config, model_n_generators(t->model));
    if (!err)
        err = fill_weights(t);
    if (!err)
        tell_facts(t);
    return err;
}

int training_new(struct wait *wait, struct training **ret_training) {
    struct training *t = xcalloc(1, sizeof *t);
    *t = (struct training){.wait = wait,
                           .proc = wait->proc,
                           .config = wait->proc->config,
                           .points = wait->proc->points,
                           .kernels = xstrdup("")};
    const struct config_top *top = &t->config->top;
    t->title = top->note[0] ? xasprintf("%s (%s)", top->name, top->note) : xstrdup(top->name);
    int err = begin(t, wait->proc->config);
    if (err) {
        training_free(t);
        return err;
    }
    *ret_training = t;
    return ERR_OK;
}

void training_free(struct training *t) {
    if (!t)
        return;
    feed_batch_fini(&t->batch);
    feed_batch_fini(&t->under_way.batch);
    held_out_fini(&t->held);
    model_free(t->model);
    free(t->kernels);
    free(t->title);
    free(t);
}

// ---- judging and rendering ----

// Of the untrained nets nothing counts.
static void follow(struct training *t, const char *key, double value) {
    if (schedule_follows(&t->schedule) && t->state.step &&
        strcmp(key, t->config->trainer.plateau_metric) == 0)
        plateau_note(&t->state.plateau, value);
}

static void follow_losses(struct training *t) {
    for (int i = 0; i < model_n_losses(t->model); i++) {
        char key[65];
        (void)snprintf(key, sizeof key, "loss/%s", model_loss_name(t->model, i)); // fits
        follow(t, key, model_loss(t->model, i));
    }
}

static void follow_score(void *context, const char *key, double value) {
    follow(context, key, value);
}

static int judge_nets(struct training *t) {
    struct judge j = {.model = t->model,
                      .held = &t->held,
                      .config = t->config,
                      .points = t->points,
                      .wait = t->wait,
                      .state = &t->state,
                      .follow = follow_score,
                      .context = t};
    int err = judge(&j);
    t->judged = !err;
    return err;
}

static int render(struct training *t) {
    struct samples_options options = {
        .title = t->title, .step = t->state.step, .probes = (int)t->config->trainer.probes};
    char path[SAMPLES_PATH];
    int err = samples_render(t->model, &t->held, &options, path);
    if (err == ERR_SHAPE) {
        points_event(t->points, "warn", "not_rendered", t->state.step, "%s", err_text());
        return ERR_OK;
    }
    if (err)
        return err;
    points_sample(t->points, t->state.step, "sheet", path);
    return samples_page(t->title);
}

// ---- updates by several batches: trainer.accumulate ----

static uint64_t batches_an_update(const struct training *t) {
    return (uint64_t)MAX(t->config->trainer.accumulate, 1);
}

// Which of the batches of an update the next one is; the last of an epoch are those that are left.
static void choose_share(const struct training *t, int *ret_i, int *ret_n) {
    uint64_t most = batches_an_update(t), i = t->state.batch % most;
    uint64_t n = MIN(most, t->progress.epoch_batches - (t->state.batch - i));
    *ret_i = (int)i;
    *ret_n = (int)MIN(n, i + t->last_step - t->state.step);
}

// Gradients have been summed up that no checkpoint would hold.
static bool is_amid_an_update(const struct training *t) {
    return t->state.batch % batches_an_update(t) && t->state.step < t->last_step;
}

// Of the update that has just ended.
static uint64_t batches_of_last_update(const struct training *t) {
    uint64_t most = batches_an_update(t), rest = t->progress.epoch_batches % most;
    return t->state.batch || !rest ? most : rest;
}

// Due since the last update but one: a checkpoint waits for the end of its update.
static bool is_save_due(const struct training *t) {
    uint64_t every = (uint64_t)t->config->trainer.save_every_steps, step = t->state.step;
    if (step >= t->last_step)
        return true;
    if (is_amid_an_update(t))
        return false;
    if (!every || !step)
        return t->state.batch == 0;
    return step / every != (step - MIN(step, batches_of_last_update(t))) / every;
}

static bool is_render_due(const struct training *t) {
    uint64_t step = t->state.step;
    return step == 0 || step == 10 || step == 100 ||
           step % (uint64_t)t->config->trainer.sample_every == 0 || is_save_due(t);
}

// ---- saving ----

static int save_pool(struct training *t, const char *folder) {
    char path[CHECKPOINT_PATH + 16];
    (void)snprintf(path, sizeof path, "%s/pool.bin", folder); // fits
    replay_save(t->wait->replay, t->state.step, path);
    return wait_for(t->wait, pool_is_done, t, "the pool's snapshot");
}

// Tells if a convolution has other kernels than when the checkpoint was made, or before.
static void note_kernels(struct training *t) {
    char *now = model_kernels(t->model), *changed = kernels_changed(t->kernels, now);
    if (changed) {
        log_line("other kernels than in the checkpoint: %s", changed);
        points_event(t->points, "warn", "kernels_changed", t->state.step,
                     "the numbers will differ in their last bits from those of an undisturbed "
                     "training: now %s",
                     changed);
    }
    free(changed);
    t->kernels = kernels_merge(t->kernels, now);
    free(now);
}

static int save_plans(const struct training *t, const char *folder) {
    char path[CHECKPOINT_PATH + 16];
    (void)snprintf(path, sizeof path, "%s/%s", folder, CHECKPOINT_PLANS); // fits
    return model_has_plans(t->model) ? model_plans_save(t->model, path) : ERR_OK;
}

static int write_files(struct training *t, const char *folder) {
    int err = model_pull(t->model);
    if (!err)
        err = save_plans(t, folder);
    if (err)
        return err;
    note_kernels(t);
    t->state.scheduled = is_save_due(t) && t->judged;
    struct checkpoint_content content = {.nets = t->nets,
                                         .n_nets = t->n_nets,
                                         .config = t->config,
                                         .kernels = t->kernels,
                                         .plans = model_has_plans(t->model),
                                         .pool_digest = replay_saved_digest(t->wait->replay)};
    return checkpoint_write(folder, &content, &t->state);
}

static int tell_not_finite(struct training *t, int err, uint64_t step) {
    if (err)
        points_event(t->points, "error", "not_finite", step, "%s", err_text());
    return err;
}

// All points up to this step are in the ring by now.
static int save(struct training *t) {
    char folder[CHECKPOINT_PATH], path[CHECKPOINT_PATH];
    int64_t begun_us = now_us();
    int err = guard_weights(t->model, t->state.step, t->saved_step);
    if (err)
        return tell_not_finite(t, err, t->state.step);
    err = checkpoint_begin(ROOT, t->state.step, folder);
    if (!err)
        err = save_pool(t, folder);
    if (!err)
        err = write_files(t, folder);
    if (!err)
        err = checkpoint_commit(ROOT, folder, t->state.step);
    if (err)
        return err;
    checkpoint_path(ROOT, t->state.step, path);
    t->saved_step = t->state.step;
    t->saved_us = now_us();
    err = tell_checkpoint(t, path);
    if (err)
        return err;
    points_event(t->points, "info", "checkpoint", t->state.step, "%s in %lld ms", path,
                 (long long)(t->saved_us - begun_us) / 1000);
    err = checkpoint_mark_best(ROOT, t->state.best.step);
    return err ? err
               : checkpoint_retain(ROOT, &t->state, (int)t->config->trainer.keep,
                                   (int)t->config->trainer.keep_weights_every);
}

static bool is_time_to_save(const struct training *t) {
    double minutes = t->config->trainer.save_minutes;
    return minutes > 0 && (double)(now_us() - t->saved_us) > minutes * 6e7;
}

static int after_step(struct training *t) {
    int err = ERR_OK;
    if (is_render_due(t))
        err = render(t);
    if (!err && is_save_due(t))
        err = judge_nets(t);
    if (!err && (is_save_due(t) || (is_time_to_save(t) && !is_amid_an_update(t))))
        err = save(t);
    return err;
}

// ---- a step's outcome ----

static int check_finite(struct training *t) {
    const struct under_way *u = &t->under_way;
    bool swapped = strcmp(t->config->top.direction, "BtoA") == 0;
    struct guard guard = {.step = u->progress.step,
                          .saved_step = t->saved_step,
                          .batch = &u->batch,
                          .manifests = t->state.manifest,
                          .domains = swapped ? "BA" : "AB"};
    return tell_not_finite(t, guard_step(t->model, &guard), guard.step);
}

// Waits for the step that is under way, if one is, and looks at it.
static int look(struct training *t) {
    struct under_way *u = &t->under_way;
    if (!u->batch.n)
        return ERR_OK;
    int err = model_wait(t->model);
    if (!err)
        err = check_finite(t);
    if (err)
        return err;
    follow_losses(t);
    int64_t now = now_us();
    u->progress.step_us = MAX(now - MAX(u->begun_us, t->looked_us), 1);
    t->looked_us = now;
    progress_step(&t->progress, t->model, &u->progress);
    feed_batch_fini(&u->batch);
    return ERR_OK;
}

// ---- a step ----

// A step that is under way had its outcome in the tape of its shape.
static int load_batch(struct training *t) {
    const struct feed_batch *b = &t->batch;
    int shape[5] = {b->n, b->h[0], b->w[0], b->h[1], b->w[1]};
    bool is_new = memcmp(shape, t->shape, sizeof shape) != 0;
    int err = is_new ? look(t) : ERR_OK;
    if (err)
        return err;
    err = model_shape(t->model, b->n, b->h[0], b->w[0], b->h[1], b->w[1]);
    if (err)
        return err;
    int share, shares;
    choose_share(t, &share, &shares);
    model_set_share(t->model, share, shares);
    model_set_step(t->model, t->state.step);
    memcpy(t->shape, shape, sizeof shape);
    if (is_new)
        note_kernels(t); // before the tape may be gone again
    for (int i = 0; i < 2 && !err; i++)
        err = model_feed(t->model, (enum model_domain)i, b->pixels[i]);
    return err;
}

// While the device generates, there is time to look at the step before.
static int generate(struct training *t) {
    int err = model_generate(t->model);
    return err ? err : look(t);
}

// Without a pool, and D before G.
static int compute_d_first(struct training *t, double lr) {
    int err = generate(t);
    if (!err)
        err = model_update_d(t->model, lr, NULL, NULL);
    return err ? err : model_update_g(t->model, lr);
}

// A slot of the pool holds pictures of one size.
static int check_pool_fits(const struct training *t) {
    const int *now = t->shape + 1, *slot = t->pool_shape + 1;
    if (!t->config->pool.pool_size || !memcmp(now, slot, 4 * sizeof *now))
        return ERR_OK;
    return err_set(ERR_DATA,
                   "step %llu: pictures of %dx%d and %dx%d, the pool was opened for %dx%d and "
                   "%dx%d; with pictures of several sizes set pool.pool_size = 0 or "
                   "loader.preprocess = \"resize_and_crop\"",
                   (unsigned long long)t->state.step + 1, now[1], now[0], now[3], now[2], slot[1],
                   slot[0], slot[3], slot[2]);
}

static int send_fakes(struct training *t) {
    const float *fakes[REPLAY_TABLES] = {model_fake(t->model, MODEL_A),
                                         model_fake(t->model, MODEL_B)};
    replay_exchange(t->wait->replay, t->state.step + 1, (uint64_t)t->batch.n, fakes);
    return wait_pump(t->wait); // they go to the pool now
}

// The pool's exchange hides behind G's update. A device apart is given that first: the fakes leave
// it meanwhile.
static int update_g_and_exchange(struct training *t, double lr) {
    bool apart = model_is_apart(t->model);
    int err = apart ? model_send_fakes(t->model) : send_fakes(t);
    if (!err)
        err = model_update_g(t->model, lr);
    return err || !apart ? err : send_fakes(t);
}

static int compute_pooled(struct training *t, double lr, int64_t *wait_us) {
    struct replay *r = t->wait->replay;
    int err = check_pool_fits(t);
    if (!err)
        err = generate(t);
    if (!err && !t->config->pool.pool_size) {
        err = model_update_g(t->model, lr);
        return err ? err : model_update_d(t->model, lr, NULL, NULL);
    }
    if (!err)
        err = update_g_and_exchange(t, lr);
    int64_t begun_us = now_us();
    if (!err)
        err = wait_for(t->wait, pool_is_done, t, "the pool");
    *wait_us += now_us() - begun_us;
    return err ? err
               : model_update_d(t->model, lr, replay_pooled(r, REPLAY_FAKE_A),
                                replay_pooled(r, REPLAY_FAKE_B));
}

static void count_step(struct training *t) {
    t->judged = false;
    t->state.step++;
    t->state.images += (uint64_t)t->batch.n;
    if (++t->state.batch == t->progress.epoch_batches) {
        t->state.batch = 0;
        t->state.epoch++;
    }
}

// The batch's pixels are with the model; its numbers may have to be told.
static void keep_numbers(struct training *t) {
    struct feed_batch *b = &t->batch;
    t->under_way.batch =
        (struct feed_batch){.split = b->split, .epoch = b->epoch, .index = b->index, .n = b->n};
    for (int i = 0; i < 2; i++) {
        t->under_way.batch.records[i] = b->records[i];
        b->records[i] = NULL;
    }
    feed_batch_fini(b);
}

// Whether something has to know how this step ended before the next one begins.
static bool is_awaited(const struct training *t) {
    return !model_is_apart(t->model) || t->state.batch == 0 || is_render_due(t) || is_save_due(t) ||
           is_time_to_save(t);
}

static int step(struct training *t) {
    struct progress_step s = {.epoch = t->state.epoch, .batch = t->state.batch};
    int64_t begun_us = now_us();
    int err = take_batch(t, 0, t->state.batch);
    s.wait_us = now_us() - begun_us;
    if (!err)
        err = load_batch(t);
    if (err)
        return err;
    if (t->state.batch == 0)
        plateau_end_epoch(&t->state.plateau);
    s.lr = schedule_lr(&t->schedule, (int)t->state.epoch, t->state.plateau.drops);
    err = model_d_first(t->model) ? compute_d_first(t, s.lr) : compute_pooled(t, s.lr, &s.wait_us);
    if (err)
        return err;
    s.n = t->batch.n;
    count_step(t);
    s.step = t->state.step;
    keep_numbers(t);
    t->under_way.progress = s;
    t->under_way.begun_us = begun_us;
    if (!is_awaited(t))
        return ERR_OK;
    err = look(t);
    return err ? err : after_step(t);
}

// ---- the whole ----

static void plan(struct training *t) {
    uint64_t batches = feed_epoch_batches(t->wait->feed);
    t->last_step = setup_last_step(t->config, batches);
    t->progress = (struct progress){
        .points = t->points,
        .last_step = t->last_step,
        .last_epoch = (t->last_step + batches - 1) / batches,
        .epoch_batches = batches,
        .print_every = (uint64_t)t->config->trainer.print_every,
    };
}

static int take_held_out(struct training *t) {
    int err = ERR_OK;
    for (int i = 0; i < held_out_wanted(&t->held) && !err; i++) {
        err = take_batch(t, 1, (uint64_t)i);
        if (!err)
            held_out_keep(&t->held, &t->batch);
        feed_batch_fini(&t->batch);
    }
    return err;
}

// The first batch tells the pictures' size.
static int begin_pool(struct training *t) {
    const struct feed_batch *b = &t->batch;
    char path[CHECKPOINT_PATH + 16];
    struct replay_begin begin = {.step = t->state.step, .path = t->empty_pool ? NULL : path};
    int err = take_batch(t, 0, t->state.batch);
    if (err)
        return err;
    memcpy(t->pool_shape, (int[]){b->n, b->h[0], b->w[0], b->h[1], b->w[1]}, sizeof t->pool_shape);
    // What the exchange carries imitates the other domain and has the size of its own.
    begin.slot_bytes[REPLAY_FAKE_A] =
        (size_t)b->h[1] * (size_t)b->w[1] * (size_t)b->c[0] * sizeof(float);
    begin.slot_bytes[REPLAY_FAKE_B] =
        (size_t)b->h[0] * (size_t)b->w[0] * (size_t)b->c[1] * sizeof(float);
    (void)snprintf(path, sizeof path, "%s/pool.bin", t->resumed_from); // fits
    begin.digest = state_digest(&t->state, "pool.bin");
    if (begin.step && begin.path && !begin.digest && t->config->pool.pool_size)
        return err_set(ERR_MISMATCH, "%s has no pool.bin; pool.pool_size was 0", t->resumed_from);
    err = replay_begin(t->wait->replay, &begin);
    return err ? err : wait_for(t->wait, pool_is_done, t, "the pool to open");
}

// What is left of an epoch, and the pool, have a meaning only with the data they were made of.
static void begin_fork(struct training *t) {
    if (!t->forked)
        return;
    t->changed |= !state_same_data(feed_manifests(t->wait->feed), t->state.manifest);
    if (!t->changed)
        return;
    t->state.epoch += t->state.batch > 0;
    t->state.batch = 0;
    t->state.best = (struct best){0};
    t->empty_pool = true;
    points_event(t->points, "info", "forked", t->state.step,
                 "data or settings are not the checkpoint's: goes on with the beginning of epoch "
                 "%llu and an empty pool",
                 (unsigned long long)t->state.epoch);
}

static int begin_data(struct training *t) {
    const struct config_trainer *c = &t->config->trainer;
    points_state(t->points, STATE_WAITING, t->state.step);
    int err = wait_for(t->wait, has_data, t, "a loader");
    if (err)
        return err;
    if (t->proc->stop)
        return err_set(ERR_STOPPED, "asked to stop");
    begin_fork(t);
    memcpy(t->state.manifest, feed_manifests(t->wait->feed), sizeof t->state.manifest);
    plan(t);
    held_out_init(&t->held, (uint64_t)MAX(c->judge_pictures, c->probes), t->state.manifest);
    feed_want_held_out(t->wait->feed, (uint64_t)held_out_wanted(&t->held));
    // The pool wants to know the pictures' size even if no step is left.
    uint64_t left = t->last_step > t->state.step ? t->last_step - t->state.step : 1;
    feed_want_training(t->wait->feed, t->state.epoch, t->state.batch, left);
    err = take_held_out(t);
    if (!err)
        err = begin_pool(t);
    t->saved_us = now_us();
    return err;
}

// What comes before the first step: the untrained nets' pictures and scores, or what was left
// undone when a signal came before a checkpoint's judgement had ended.
static int begin_steps(struct training *t) {
    int err = ERR_OK;
    if (!t->state.step) {
        err = render(t);
        return err ? err : judge_nets(t);
    }
    return is_save_due(t) && !t->state.scheduled ? after_step(t) : ERR_OK;
}

static int train(struct training *t) {
    int err = begin_data(t);
    if (!err)
        err = begin_steps(t);
    while (!err && (!t->proc->stop || is_amid_an_update(t)) && t->state.step < t->last_step)
        err = step(t);
    if (err == ERR_STOPPED)
        err = ERR_OK;
    if (!err)
        err = look(t);
    if (!err && t->state.step != t->saved_step && !is_amid_an_update(t))
        err = save(t);
    return err;
}

static int say_goodbye(struct training *t) {
    points_state(t->points, STATE_STOPPING, t->state.step);
    feed_finish(t->wait->feed);
    replay_finish(t->wait->replay);
    t->goodbye_us = now_us() + GOODBYE_US;
    return wait_for(t->wait, all_have_gone, t, "peers to take leave");
}

static bool is_finished(const struct training *t) {
    return t->last_step && t->state.step >= t->last_step && t->state.scheduled;
}

int training_run(struct training *t) {
    int err = ERR_OK;
    if (t->state.step && !t->forked) { // the data is known from the checkpoint
        feed_expect(t->wait->feed, t->state.manifest);
        plan(t);
    }
    if (!is_finished(t))
        err = train(t);
    if (!err && is_finished(t)) {
        points_event(t->points, "info", "finished", t->state.step, "%llu steps, %llu pictures",
                     (unsigned long long)t->state.step, (unsigned long long)t->state.images);
        tell_status(t, "finished");
        err = fs_write_atomic(FINISHED, "", 0);
    }
    return err ? err : say_goodbye(t);
}
