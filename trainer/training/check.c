#include "training/check.h"

#include <string.h>

#include "base/err.h"
#include "base/util.h"
#include "judge/judge.h"
#include "streams/feed.h"
#include "training/setup.h"

static bool is_recorded(const struct config *c, const struct model *m, const char *key) {
    for (int i = 0; i < model_n_losses(m); i++)
        if (strncmp(key, "loss/", 5) == 0 && strcmp(key + 5, model_loss_name(m, i)) == 0)
            return true;
    return judge_records(c, model_n_generators(m), key);
}

int training_check_metrics(const struct config *c, const struct model *m,
                           const struct schedule *schedule) {
    const char *key = judge_plateau_metric(c, model_n_generators(m));
    if (schedule_follows(schedule) && !is_recorded(c, m, key))
        return err_set(ERR_CONFIG,
                       "trainer.plateau_metric \"%s\" is not recorded; loss/%s is, and swd/AtoB "
                       "where judge_pictures is above 0",
                       key, model_loss_name(m, 0));
    return judge_check(c, model_n_generators(m));
}

// The side of every image that is trained on; 0 where it depends on the image.
static int fixed_side(const struct config_loader *l) {
    if (strstr(l->preprocess, "crop"))
        return (int)l->crop_size;
    return strcmp(l->preprocess, "resize") == 0 ? (int)l->load_size : 0;
}

// Pixels travel in one frame of a message, all of a domain's batch.
static int check_frame(const struct config *c, int side) {
    int channels = (int)MAX(c->trainer.input_nc, c->trainer.output_nc);
    double bytes = (double)c->loader.batch_size * side * side * channels;
    if (bytes <= (double)BATCH_BYTES_MAX)
        return ERR_OK;
    return err_set(ERR_CONFIG,
                   "loader.batch_size %lld: %.0f MiB of pixels of a domain, %d MiB are the most; "
                   "trainer.accumulate makes a large batch of small ones",
                   (long long)c->loader.batch_size, bytes / 1048576, (int)(BATCH_BYTES_MAX >> 20));
}

static int check_step(const struct config *c, struct model *m) {
    int side = fixed_side(&c->loader);
    if (!side)
        return ERR_OK;
    int err = check_frame(c, side);
    if (!err)
        err = model_shape(m, (int)c->loader.batch_size, side, side, side, side);
    // Too large for the memory, or a size that the nets cannot have: a restart changes neither.
    return err == ERR_LIMIT || err == ERR_SHAPE ? err_set(ERR_CONFIG, "%s", err_text()) : err;
}

int training_check(struct config *c) {
    const struct state fresh = {0};
    const struct model_host host = {.seed = (uint64_t)c->top.seed};
    struct schedule schedule;
    struct model *m = NULL;
    int err = setup_resolve(c, &fresh);
    if (!err)
        err = setup_schedule(c, &schedule);
    if (!err)
        err = model_new(&c->trainer, &host, &m);
    if (!err)
        err = training_check_metrics(c, m, &schedule);
    if (!err)
        err = check_step(c, m);
    model_free(m);
    return err;
}
