// The loop. On an asynchronous device a step is issued, and its losses are read during the next
// one.
#include "training/training.h"

#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/fs.h"
#include "base/text.h"
#include "base/util.h"
#include "training/nan_check.h"
#include "training/parts.h"

#define FINISHED "finished" // file: tells the supervisor and the next `up` that nothing is left
#define GOODBYE_US 1000000  // so long the peers may take to receive the end of stream

int training_new(struct wait *wait, struct training **ret_training) {
    struct training *t = xcalloc(1, sizeof *t);
    *t = (struct training){.wait = wait,
                           .proc = wait->proc,
                           .config = wait->proc->config,
                           .points = wait->proc->points,
                           .kernels = xstrdup("")};
    const struct config_top *top = &t->config->top;
    t->title = top->note[0] ? xasprintf("%s (%s)", top->name, top->note) : xstrdup(top->name);
    // The only place that writes to the settings; afterwards t->config is const.
    int err = training_device_error(t, training_begin(t, wait->proc->config));
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
    feed_batch_fini(&t->prefetched);
    feed_batch_fini(&t->in_flight.batch);
    held_out_fini(&t->held);
    model_free(t->model);
    free(t->kernels);
    free(t->title);
    free(t);
}

// ---- leaving ----

static bool peers_have_left(void *context) {
    struct training *t = context;
    return now_us() > t->goodbye_us ||
           (!feed_loaders(t->wait->feed) && !replay_is_up(t->wait->replay));
}

// ---- a step's outcome ----

static int check_finite(struct training *t) {
    const struct in_flight *u = &t->in_flight;
    bool swapped = strcmp(t->config->top.direction, "BtoA") == 0;
    struct nan_check check = {.step = u->progress.step,
                              .saved_step = t->saved_step,
                              .batch = &u->batch,
                              .manifests = t->state.manifest,
                              .domains = swapped ? "BA" : "AB"};
    return training_report_not_finite(t, nan_check_step(t->model, &check), check.step);
}

// Waits for the step in flight, if there is one, and reads its losses.
static int finish_step(struct training *t) {
    struct in_flight *u = &t->in_flight;
    if (!u->batch.n)
        return ERR_OK;
    int err = model_wait(t->model);
    if (!err)
        err = check_finite(t);
    if (err)
        return err;
    training_follow_losses(t);
    int64_t now = now_us();
    // Overlapping steps: time counts from the later of its begin and the last outcome.
    u->progress.step_us = MAX(now - MAX(u->begun_us, t->outcome_us), 1);
    t->outcome_us = now;
    progress_step(&t->progress, t->model, &u->progress);
    feed_batch_fini(&u->batch);
    return ERR_OK;
}

// ---- a step ----

// Copies the next batch, if it has arrived, to the device while the device computes.
static int prefetch_batch(struct training *t) {
    bool is_last = t->state.batch + 1 == t->progress.epoch_batches;
    uint64_t epoch = t->state.epoch + is_last, index = is_last ? 0 : t->state.batch + 1;
    struct feed_batch *b = &t->prefetched;
    int err = ERR_OK;
    // The CPU computes at once, so nothing overlaps with the copy.
    if (!model_is_asynchronous(t->model) || b->n || feed_take(t->wait->feed, 0, epoch, index, b))
        return ERR_OK;
    for (int i = 0; i < 2 && !err; i++)
        err = model_prefetch(t->model, (enum model_domain)i, b->n, b->h[i], b->w[i], b->pixels[i]);
    return err;
}

// Reports the memory once, and again when a new shape needs more.
static void report_memory(struct training *t) {
    size_t bytes = model_memory_bytes(t->model);
    char text[256];

    if (bytes <= t->memory_reported)
        return;
    t->memory_reported = bytes;
    model_memory_describe(t->model, text, sizeof text);
    points_event(t->points, "info", "memory", t->state.step, "%s", text);
}

// A new shape may evict the tape that holds the losses of the step in flight, so they are read
// first.
static int load_batch(struct training *t) {
    const struct feed_batch *b = &t->batch;
    int shape[5] = {b->n, b->h[0], b->w[0], b->h[1], b->w[1]};
    bool is_new = memcmp(shape, t->shape, sizeof shape) != 0;
    int err = is_new ? finish_step(t) : ERR_OK;
    if (err)
        return err;
    err = model_shape(t->model, b->n, b->h[0], b->w[0], b->h[1], b->w[1]);
    if (err)
        return err;
    int micro_batch, n;
    training_choose_micro_batch(t, &micro_batch, &n);
    model_set_micro_batch(t->model, micro_batch, n);
    // Dropout's random numbers depend on the step, not on the number of calls.
    model_set_step(t->model, t->state.step);
    memcpy(t->shape, shape, sizeof shape);
    if (is_new) {
        training_record_kernels(t); // now: the tape may be evicted later
        report_memory(t);
    }
    for (int i = 0; i < 2 && !err; i++)
        err = model_feed(t->model, (enum model_domain)i, b->pixels[i]);
    return err;
}

// The losses of the step before are read while the device generates. Fakes for the pool are copied
// from the device as soon as they exist.
static int generate_fakes(struct training *t, bool for_pool) {
    int err = model_generate(t->model);
    if (!err && for_pool)
        err = model_send_fakes(t->model);
    return err ? err : finish_step(t);
}

// Without a pool, and D before G.
static int compute_d_first(struct training *t, double lr) {
    int err = generate_fakes(t, false);
    if (!err)
        err = model_update_d(t->model, lr, NULL, NULL);
    return err ? err : model_update_g(t->model, lr);
}

// All slots of the pool have the same size.
static int check_pool_fits(const struct training *t) {
    const int *now = t->shape + 1, *slot = t->pool_shape + 1;
    // Only heights and widths must agree; the last batch of an epoch may be smaller.
    if (!t->config->pool.pool_size || memcmp(now, slot, 4 * sizeof *now) == 0)
        return ERR_OK;
    return err_set(ERR_DATA,
                   "step %llu: pictures of %dx%d and %dx%d, the pool was opened for %dx%d and "
                   "%dx%d; with pictures of several sizes set pool.pool_size = 0 or "
                   "loader.preprocess = \"resize_and_crop\"",
                   (unsigned long long)t->state.step + 1, now[1], now[0], now[3], now[2], slot[1],
                   slot[0], slot[3], slot[2]);
}

static int send_fakes(struct training *t) {
    const void *fakes[REPLAY_TABLES] = {model_sent_fake(t->model, MODEL_A),
                                        model_sent_fake(t->model, MODEL_B)};
    // model_sent_fake waits for the copy. A failed copy must not reach the pool.
    int err = model_failure(t->model);
    if (err)
        return err;
    // count_step comes later: this step's number is one more.
    replay_exchange(t->wait->replay, t->state.step + 1, (uint64_t)t->batch.n, fakes);
    return wait_pump(t->wait); // sends them now, before the next computation
}

// The exchange with the pool overlaps the update of G. An asynchronous device gets the update first
// and copies the fakes meanwhile.
static int update_g_and_exchange(struct training *t, double lr) {
    bool asynchronous = model_is_asynchronous(t->model);
    int err = asynchronous ? ERR_OK : send_fakes(t);
    if (!err)
        err = model_update_g(t->model, lr);
    return err || !asynchronous ? err : send_fakes(t);
}

static int compute_pooled(struct training *t, double lr, int64_t *wait_us) {
    struct replay *r = t->wait->replay;
    int err = check_pool_fits(t);
    if (!err)
        err = generate_fakes(t, t->config->pool.pool_size > 0);
    // Without a pool the fakes never leave the device.
    if (!err && !t->config->pool.pool_size) {
        err = model_update_g(t->model, lr);
        return err ? err : model_update_d(t->model, lr, NULL, NULL);
    }
    if (!err)
        err = update_g_and_exchange(t, lr);
    if (!err)
        err = prefetch_batch(t);
    int64_t begun_us = now_us();
    if (!err)
        err = wait_for(t->wait, training_pool_is_done, t, "the pool");
    *wait_us += now_us() - begun_us;
    return err ? err
               : model_update_d_pooled(t->model, lr, replay_pooled(r, REPLAY_FAKE_A),
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

// The model has copied the pixels. The record numbers are kept to name the images in an error.
static void keep_numbers(struct training *t) {
    struct feed_batch *b = &t->batch;
    t->in_flight.batch =
        (struct feed_batch){.split = b->split, .epoch = b->epoch, .index = b->index, .n = b->n};
    for (int i = 0; i < 2; i++) {
        t->in_flight.batch.records[i] = b->records[i];
        b->records[i] = NULL;
    }
    feed_batch_fini(b);
}

// Whether the next step cannot begin before this one has ended: the CPU computes at once, and a
// schedule, a sheet or a checkpoint needs the result.
static bool is_awaited(const struct training *t) {
    return !model_is_asynchronous(t->model) || t->state.batch == 0 || training_is_render_due(t) ||
           training_is_save_due(t) || training_is_time_to_save(t);
}

static int after_step(struct training *t) {
    int err = ERR_OK;
    if (training_is_render_due(t))
        err = training_render(t);
    if (!err && training_is_save_due(t))
        err = training_judge(t);
    if (!err && (training_is_save_due(t) ||
                 (training_is_time_to_save(t) && !training_is_amid_an_update(t))))
        err = training_save(t);
    return err;
}

static int run_step(struct training *t) {
    struct progress_step s = {.epoch = t->state.epoch, .batch = t->state.batch};
    int64_t begun_us = now_us();
    int err = training_take_batch(t, 0, t->state.batch);
    s.wait_us = now_us() - begun_us;
    if (!err)
        err = load_batch(t);
    if (err)
        return err;
    // At the first step of an epoch, not the last: the outcome of the last step must be counted.
    if (t->state.batch == 0)
        plateau_end_epoch(&t->state.plateau);
    // After plateau_end_epoch, which may lower the rate.
    s.lr = schedule_lr(&t->schedule, (int)t->state.epoch, t->state.plateau.drops);
    err = model_d_first(t->model) ? compute_d_first(t, s.lr) : compute_pooled(t, s.lr, &s.wait_us);
    if (!err)
        err = prefetch_batch(t);
    if (err)
        return err;
    s.n = t->batch.n;
    count_step(t);
    s.step = t->state.step;
    keep_numbers(t);
    t->in_flight.progress = s;
    t->in_flight.begun_us = begun_us;
    // The next run_step finishes this one.
    if (!is_awaited(t))
        return ERR_OK;
    err = finish_step(t);
    return err ? err : after_step(t);
}

// ---- the whole ----

// Before the first step: sheet and scores of the untrained nets. A resumed run repeats the work
// after a step that a signal has cut short.
static int begin_steps(struct training *t) {
    int err = ERR_OK;
    if (!t->state.step) {
        err = training_render(t);
        return err ? err : training_judge(t);
    }
    return training_is_save_due(t) && !t->state.scheduled ? after_step(t) : ERR_OK;
}

static int train(struct training *t) {
    int err = training_begin_data(t);
    if (!err)
        err = begin_steps(t);
    // A stop waits for the end of an update: gradients are not saved.
    while (!err && (!t->proc->stop || training_is_amid_an_update(t)) &&
           t->state.step < t->last_step)
        err = run_step(t);
    // The stop interrupted a wait; the state is that after a whole step.
    if (err == ERR_STOPPED)
        err = ERR_OK;
    if (!err)
        err = finish_step(t);
    // On SIGTERM too, so that no step is lost.
    if (!err && t->state.step != t->saved_step && !training_is_amid_an_update(t))
        err = training_save(t);
    return err;
}

static int say_goodbye(struct training *t) {
    points_state(t->points, STATE_STOPPING, t->state.step);
    feed_finish(t->wait->feed);
    replay_finish(t->wait->replay);
    t->goodbye_us = now_us() + GOODBYE_US;
    return wait_for(t->wait, peers_have_left, t, "peers to leave");
}

static bool is_finished(const struct training *t) {
    return t->last_step && t->state.step >= t->last_step && t->state.scheduled;
}

int training_run(struct training *t) {
    int err = ERR_OK;
    if (t->state.step && !t->forked) { // the checkpoint names the data
        // A fork may have other data, so nothing is expected of it.
        feed_expect(t->wait->feed, t->state.manifest);
        training_plan(t);
    }
    if (!is_finished(t))
        err = training_device_error(t, train(t));
    if (!err && is_finished(t)) {
        points_event(t->points, "info", "finished", t->state.step, "%llu steps, %llu pictures",
                     (unsigned long long)t->state.step, (unsigned long long)t->state.images);
        training_report_status(t, "finished");
        err = fs_write_atomic(FINISHED, "", 0);
    }
    return err ? err : say_goodbye(t);
}
