// Obtains everything that the steps read: held-out images, training batches, and the pool.
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/util.h"
#include "training/parts.h"
#include "training/setup.h"

// ---- waiting for a batch, and for the pool ----

// A stop request takes effect between updates only: a checkpoint cannot hold accumulated gradients.
static bool batch_has_arrived(void *context) {
    struct training *t = context;
    uint64_t epoch = t->split ? 1 : t->state.epoch;
    bool stop = t->proc->stop && (t->split || !training_is_amid_an_update(t));
    // The batch is taken inside of the condition: it is complete when wait_for returns.
    return stop || feed_take(t->wait->feed, t->split, epoch, t->index, &t->batch) == ERR_OK;
}

bool training_pool_is_done(void *context) {
    struct training *t = context;
    return !replay_busy(t->wait->replay);
}

int training_take_batch(struct training *t, uint64_t split, uint64_t index) {
    // The prefetched batch is the next one; its pixels are on the way to the device.
    if (!t->batch.n && t->prefetched.n && !split)
        feed_batch_move(&t->prefetched, &t->batch);
    if (t->batch.n)
        return ERR_OK;
    t->split = split;
    t->index = index;
    int err = wait_for(t->wait, batch_has_arrived, t, "a batch from a loader");
    // wait_for returned because of the stop.
    if (!err && !t->batch.n)
        err = err_set(ERR_STOPPED, "asked to stop");
    return err;
}

// ---- the data that the run begins with ----

static bool has_data(void *context) {
    struct training *t = context;
    return t->proc->stop || feed_ready(t->wait->feed);
}

void training_plan(struct training *t) {
    uint64_t batches = feed_epoch_batches(t->wait->feed);
    t->last_step = setup_last_step(t->config, batches);
    t->progress = (struct progress){
        .points = t->points,
        .last_step = t->last_step,
        // max_steps may end the training amid an epoch.
        .last_epoch = (t->last_step + batches - 1) / batches,
        .epoch_batches = batches,
        .print_every = (uint64_t)t->config->trainer.print_every,
    };
}

static int take_held_out(struct training *t) {
    int err = ERR_OK;
    for (int i = 0; i < held_out_wanted(&t->held) && !err; i++) {
        err = training_take_batch(t, 1, (uint64_t)i);
        if (!err)
            held_out_keep(&t->held, t->batch.index, t->batch.h, t->batch.w, t->batch.c,
                          t->batch.pixels);
        // held_out_keep has copied the pixels.
        feed_batch_fini(&t->batch);
    }
    return err;
}

// The first batch gives the size of the images, hence of the pool's slots.
static int begin_pool(struct training *t) {
    const struct feed_batch *b = &t->batch;
    char path[CHECKPOINT_PATH + 16];
    struct replay_begin begin = {.step = t->state.step, .path = t->empty_pool ? NULL : path};
    int err = training_take_batch(t, 0, t->state.batch);
    if (err)
        return err;
    memcpy(t->pool_shape, (int[]){b->n, b->h[0], b->w[0], b->h[1], b->w[1]}, sizeof t->pool_shape);
    // Images travel in the device's number type. state.json keeps that dtype, so pool.bin need not.
    // A fake has the size of the image it was made from and the channels of the domain it imitates.
    begin.slot_bytes[REPLAY_FAKE_A] =
        (size_t)b->h[1] * (size_t)b->w[1] * (size_t)b->c[0] * model_number_bytes(t->model);
    begin.slot_bytes[REPLAY_FAKE_B] =
        (size_t)b->h[0] * (size_t)b->w[0] * (size_t)b->c[1] * model_number_bytes(t->model);
    (void)snprintf(path, sizeof path, "%s/pool.bin", t->resumed_from); // fits
    begin.digest = state_digest(&t->state, "pool.bin");
    // A pool that begins empty would train on other images than an undisturbed run.
    if (begin.step && begin.path && !begin.digest && t->config->pool.pool_size)
        return err_set(ERR_MISMATCH, "%s has no pool.bin; pool.pool_size was 0", t->resumed_from);
    err = replay_begin(t->wait->replay, &begin);
    return err ? err : wait_for(t->wait, training_pool_is_done, t, "the pool to open");
}

// With other data, the rest of the epoch and the content of the pool mean nothing.
static void begin_fork(struct training *t) {
    if (!t->forked)
        return;
    t->changed |= !manifest_same_data(feed_manifests(t->wait->feed), t->state.manifest);
    if (!t->changed)
        return;
    // A begun epoch counts as done: with other data its rest has no meaning.
    t->state.epoch += t->state.batch > 0;
    t->state.batch = 0;
    // Scores on other data cannot be compared.
    t->state.best = (struct best){0};
    t->empty_pool = true;
    points_event(t->points, "info", "forked", t->state.step,
                 "data or settings are not the checkpoint's: goes on with the beginning of epoch "
                 "%llu and an empty pool",
                 (unsigned long long)t->state.epoch);
}

static void begin_held_out(struct training *t) {
    const struct config_trainer *c = &t->config->trainer;
    uint64_t available[2];
    for (int i = 0; i < 2; i++) {
        const struct manifest_summary *m = &t->state.manifest[i];
        available[i] =
            m->held_out ? m->held_out : m->count; // else the loader sends training images
    }
    held_out_init(&t->held, (uint64_t)MAX(c->judge_pictures, c->probes), available);
    t->held.swapped = strcmp(t->config->top.direction, "BtoA") == 0;
    for (int i = 0; i < 2; i++)
        t->held.trained[i] = t->state.manifest[i].held_out == 0;
}

int training_begin_data(struct training *t) {
    points_state(t->points, STATE_WAITING, t->state.step);
    int err = wait_for(t->wait, has_data, t, "a loader");
    if (err)
        return err;
    if (t->proc->stop)
        return err_set(ERR_STOPPED, "asked to stop");
    begin_fork(t);
    memcpy(t->state.manifest, feed_manifests(t->wait->feed), sizeof t->state.manifest);
    training_plan(t);
    begin_held_out(t);
    // Ordered before the training batches, as feed.h promises.
    feed_want_held_out(t->wait->feed, (uint64_t)held_out_wanted(&t->held));
    // One batch even if no step is left: the pool needs the size of the images.
    uint64_t left = t->last_step > t->state.step ? t->last_step - t->state.step : 1;
    feed_want_training(t->wait->feed, t->state.epoch, t->state.batch, left);
    err = take_held_out(t);
    if (!err)
        err = begin_pool(t);
    // save_minutes counts from the first step, not from the wait for data.
    t->saved_us = now_us();
    return err;
}
