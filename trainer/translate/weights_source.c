// Three ways to a translator: a run, a checkpoint's folder, or a file.
#include "translate/weights_source.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/util.h"
#include "checkpoint/checkpoint.h"
#include "checkpoint/sources.h"
#include "device/device.h"
#include "nets/options.h"
#include "weights/recognise.h"
#include "weights/weights.h"

static int check_channels(const struct net_options *o) {
    if (o->in_nc != 1 && o->in_nc != 3)
        return err_set(ERR_CONFIG, "pictures have 1 or 3 channels, the generator takes %d",
                       o->in_nc);
    if (o->out_nc != 1 && o->out_nc != 3)
        return err_set(ERR_CONFIG, "pictures have 1 or 3 channels, the generator gives %d",
                       o->out_nc);
    return ERR_OK;
}

static int make_translator(const struct net_options *net, const struct config_trainer *c,
                           struct translator **ret) {
    struct translator_options options = {.net = *net,
                                         .device = c->device,
                                         .dtype = c->dtype,
                                         .gpu = (int)c->gpu,
                                         .winograd = c->winograd,
                                         .threads = (int)c->threads};
    int err = check_channels(net);

    return err ? err : translator_new(&options, ret);
}

// ---- of a run or a checkpoint ----

static int folder_of(const struct weights_source_request *r, char ret[CHECKPOINT_PATH]) {
    if (r->run)
        return fs_is_dir(r->run) ? sources_checkpoint(r->run, r->step, ret)
                                 : err_set(ERR_IO, "there is no run '%s'", r->run);
    if (!text_copy(ret, CHECKPOINT_PATH, r->checkpoint))
        return err_set(ERR_USAGE, "the path '%s' is too long", r->checkpoint);
    if (!fs_is_dir(ret))
        return err_set(ERR_IO, "there is no checkpoint '%s'", ret);
    return ERR_OK;
}

// The first generator of a model translates in the run's direction.
static int choose_net(const struct weights_source_request *r, const struct config *c,
                      const char **ret_name) {
    // Compared with the run's direction: a run from B to A calls its first net G_A too.
    bool reversed = r->direction && strcmp(r->direction, c->top.direction) != 0;
    bool both = strcmp(c->trainer.model, "cycle_gan") == 0;

    if (reversed && !both)
        return err_set(ERR_CONFIG, "--direction %s: this run has learnt %s only", r->direction,
                       c->top.direction);
    *ret_name = !both ? "G" : reversed ? "G_B" : "G_A";
    return ERR_OK;
}

// The dtype of the settings belongs to their device. Another device chooses its own.
static void choose_device(const struct weights_source_request *r, struct config_trainer *c) {
    struct device_choice found;

    if (r->gpu >= 0)
        c->gpu = r->gpu;
    if (r->dtype || (r->device && strcmp(r->device, c->device) != 0))
        config_set_text(&c->dtype, r->dtype ? r->dtype : "auto");
    if (r->device)
        config_set_text(&c->device, r->device);
    else if (strcmp(c->device, "cuda") == 0 &&
             device_choose(c->device, c->dtype, (int)c->gpu, &found) == ERR_DEVICE) {
        log_line("the run's device is not here: %s; the CPU is used", err_text());
        config_set_text(&c->device, "cpu");
        config_set_text(&c->dtype, r->dtype ? r->dtype : "auto");
    }
}

// Replaces "auto" and 0 in the settings. Unlike a training, a translation need not compute on the
// device of the checkpoint.
static int resolve_device(const struct weights_source_request *r, struct config_trainer *c) {
    struct device_choice choice;
    choose_device(r, c);
    c->threads = r->threads ? r->threads : core_count();
    if (strcmp(c->device, "auto") != 0 && strcmp(c->dtype, "auto") != 0)
        return ERR_OK;
    int err = device_choose(c->device, c->dtype, (int)c->gpu, &choice);
    if (err)
        return err;
    if (choice.why[0])
        log_line("device = \"auto\" is the CPU: %s", choice.why);
    config_set_text(&c->device, choice.name);
    config_set_text(&c->dtype, choice.dtype);
    return ERR_OK;
}

// Loads the moving average if the checkpoint has one, unless `raw`.
static int load_checkpoint(const char *folder, const char *name, bool raw,
                           struct weights_source *o) {
    struct model_net *params = translator_params(o->translator);

    char average[32], *file;
    (void)snprintf(average, sizeof average, "%s" MODEL_AVERAGE, name); // fits
    file = xasprintf("%s/%s.safetensors", folder, average);
    params->name = !raw && fs_exists(file) ? average : name;
    free(file);
    o->text = xasprintf("%s of %s", params->name, folder);
    int err = checkpoint_load_net(folder, params);
    // `average` is on the stack and must not outlive this call.
    params->name = name;
    return err ? err : translator_ready(o->translator);
}

static int open_checkpoint(const struct weights_source_request *r, struct weights_source *o) {
    char folder[CHECKPOINT_PATH], path[SOURCES_PATH];
    const char *name = "";
    int err = folder_of(r, folder);

    if (err)
        return err;
    // The run's settings may be newer than the checkpoint's; a folder has only its own.
    char *conf = xasprintf("%s/pipeline.conf", r->run ? r->run : folder);
    err = config_load_effective(conf, &o->config);
    free(conf);
    if (!err)
        err = choose_net(r, o->config, &name);
    if (!err)
        // For the message alone: it names the directions that exist.
        err = sources_generator(folder, name, o->config->top.direction, path);
    if (!err)
        err = resolve_device(r, &o->config->trainer);
    if (err)
        return err;
    struct net_options net =
        net_options_of(&o->config->trainer, strcmp(name, "G_B") == 0 ? NET_B_TO_A : NET_A_TO_B);
    err = make_translator(&net, &o->config->trainer, &o->translator);
    return err ? err : load_checkpoint(folder, name, r->raw, o);
}

// ---- of a file ----

static int load_file(struct weights *w, const struct recognised *found, struct weights_source *o) {
    char what[160];
    int err = weights_load(w, translator_params(o->translator));

    if (err)
        return err;
    recognised_text(found, what, sizeof what);
    o->text = xasprintf("%s: %s%s%s", weights_path(w), what, *weights_notes(w) ? "\n" : "",
                        weights_notes(w));
    return translator_ready(o->translator);
}

static int open_recognised(const struct weights_source_request *r, struct weights *w,
                           struct weights_source *o) {
    struct recognised found;
    int err = recognise(w, &found);

    if (!err && found.role != RECOGNISED_GENERATOR)
        err =
            err_set(ERR_CONFIG, "'%s' is a discriminator; a generator translates", weights_path(w));
    if (err)
        return err;
    // .arch points into `found`, which lives until the translator is made.
    struct net_options net = recognised_options(&found);
    struct device_choice device;
    const char *dtype = r->dtype ? r->dtype : "auto";
    int gpu = r->gpu < 0 ? 0 : r->gpu;
    err = device_choose(r->device ? r->device : "auto", dtype, gpu, &device);
    if (err)
        return err;
    struct translator_options options = {
        .net = net,
        .device = device.name,
        .dtype = device.dtype,
        .gpu = gpu,
        .winograd = "auto",
        .threads = r->threads ? r->threads : core_count(),
    };
    err = check_channels(&net);
    if (!err)
        err = translator_new(&options, &o->translator);
    return err ? err : load_file(w, &found, o);
}

static int open_file(const struct weights_source_request *r, struct weights_source *o) {
    struct weights *w = NULL;

    if (r->direction)
        return err_set(ERR_USAGE, "--direction: a file of weights holds one generator, which goes "
                                  "the one way that it was trained for");
    int err = checkpoint_check_file(r->weights);
    if (!err)
        err = weights_open(r->weights, &w);
    if (!err)
        err = open_recognised(r, w, o);
    weights_close(w);
    return err;
}

// ---- the whole ----

int weights_source_open(const struct weights_source_request *r, struct weights_source *ret) {
    struct weights_source o = {0};

    // Counted as booleans: exactly one.
    if (!!r->run + !!r->checkpoint + !!r->weights != 1)
        return err_set(ERR_USAGE, "one of --run, --checkpoint and --weights is needed");
    if (r->step && !r->run)
        return err_set(ERR_USAGE, "--step goes with --run");
    int err = r->weights ? open_file(r, &o) : open_checkpoint(r, &o);
    if (err) {
        weights_source_close(&o);
        return err;
    }
    *ret = o;
    return ERR_OK;
}

void weights_source_close(struct weights_source *o) {
    translator_free(o->translator);
    config_free(o->config);
    free(o->text);
    *o = (struct weights_source){0};
}
