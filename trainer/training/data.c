#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/util.h"
#include "training/parts.h"
#include "training/setup.h"

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
    int err = training_take_batch(t, 0, t->state.batch);
    if (err)
        return err;
    memcpy(t->pool_shape, (int[]){b->n, b->h[0], b->w[0], b->h[1], b->w[1]}, sizeof t->pool_shape);
    // Pictures travel in the numbers of the device: the dtype of the run, which state.json has,
    // says what those of pool.bin are. What the exchange carries imitates the other domain and has
    // the size of its own.
    begin.slot_bytes[REPLAY_FAKE_A] =
        (size_t)b->h[1] * (size_t)b->w[1] * (size_t)b->c[0] * model_number_bytes(t->model);
    begin.slot_bytes[REPLAY_FAKE_B] =
        (size_t)b->h[0] * (size_t)b->w[0] * (size_t)b->c[1] * model_number_bytes(t->model);
    (void)snprintf(path, sizeof path, "%s/pool.bin", t->resumed_from); // fits
    begin.digest = state_digest(&t->state, "pool.bin");
    if (begin.step && begin.path && !begin.digest && t->config->pool.pool_size)
        return err_set(ERR_MISMATCH, "%s has no pool.bin; pool.pool_size was 0", t->resumed_from);
    err = replay_begin(t->wait->replay, &begin);
    return err ? err : wait_for(t->wait, training_pool_is_done, t, "the pool to open");
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

int training_begin_data(struct training *t) {
    const struct config_trainer *c = &t->config->trainer;
    points_state(t->points, STATE_WAITING, t->state.step);
    int err = wait_for(t->wait, has_data, t, "a loader");
    if (err)
        return err;
    if (t->proc->stop)
        return err_set(ERR_STOPPED, "asked to stop");
    begin_fork(t);
    memcpy(t->state.manifest, feed_manifests(t->wait->feed), sizeof t->state.manifest);
    training_plan(t);
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
