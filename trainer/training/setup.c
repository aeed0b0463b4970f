#include "training/setup.h"

#include <string.h>

#include "base/err.h"
#include "base/log.h"
#include "base/util.h"
#include "device/device.h"

static int resolve_from_state(struct config_trainer *t, const struct state *s) {
    if (strcmp(t->device, "auto") != 0 && strcmp(t->device, s->device) != 0)
        return err_set(ERR_MISMATCH, "trainer.device is \"%s\", the checkpoint was made on \"%s\"",
                       t->device, s->device);
    if (strcmp(t->dtype, "auto") != 0 && strcmp(t->dtype, s->dtype) != 0)
        return err_set(ERR_MISMATCH, "trainer.dtype is \"%s\", the checkpoint was made with \"%s\"",
                       t->dtype, s->dtype);
    config_set_text(&t->device, s->device);
    config_set_text(&t->dtype, s->dtype);
    return ERR_OK;
}

int setup_resolve(struct config *c, const struct state *state) {
    struct config_trainer *t = &c->trainer;
    if (!t->threads)
        t->threads = core_count();
    if (state->step)
        return resolve_from_state(t, state);
    if (strcmp(t->device, "auto") != 0 && strcmp(t->dtype, "auto") != 0)
        return ERR_OK;
    struct device_choice device;
    int err = device_choose(t->device, t->dtype, (int)t->gpu, &device);
    if (err)
        return err;
    if (device.why[0])
        log_line("device = \"auto\" is the CPU: %s", device.why);
    config_set_text(&t->device, device.name);
    config_set_text(&t->dtype, device.dtype);
    return ERR_OK;
}

struct model_options setup_model(const struct config *c, void (*between_ops)(void *),
                                 void *context) {
    const struct config_trainer *t = &c->trainer;
    return (struct model_options){
        .model = t->model,
        .device = t->device,
        .dtype = t->dtype,
        .gpu = (int)t->gpu,
        .netG = t->netG,
        .upsample = t->upsample,
        .netD = t->netD,
        .norm = t->norm,
        .gan_mode = t->gan_mode,
        .winograd = t->winograd,
        .dropout = !t->no_dropout,
        .seed = (uint64_t)c->top.seed,
        .input_nc = (int)t->input_nc,
        .output_nc = (int)t->output_nc,
        .ngf = (int)t->ngf,
        .ndf = (int)t->ndf,
        .n_layers_D = (int)t->n_layers_D,
        .ema = t->ema,
        .accumulate = (int)t->accumulate,
        .beta1 = t->beta1,
        .beta2 = t->beta2,
        .lambda_A = t->lambda_A,
        .lambda_B = t->lambda_B,
        .lambda_identity = t->lambda_identity,
        .lambda_L1 = t->lambda_L1,
        .lambda_gp = t->lambda_gp,
        .cut = {.lambda_GAN = t->lambda_GAN,
                .lambda_NCE = t->lambda_NCE,
                .nce_T = t->nce_T,
                .nce_layers = t->nce_layers,
                .netF_nc = (int)t->netF_nc,
                .num_patches = (int)t->num_patches,
                .nce_idt = t->nce_idt,
                .all_negatives = t->nce_includes_all_negatives_from_minibatch,
                .flip_equivariance = t->flip_equivariance,
                .no_antialias = t->no_antialias,
                .no_antialias_up = t->no_antialias_up},
        .threads = (int)t->threads,
        .shapes = (int)t->shapes,
        .memory_bytes = (size_t)t->memory,
        .between_ops = between_ops,
        .context = context,
    };
}

int setup_schedule(const struct config *c, struct schedule *ret_schedule) {
    const struct config_trainer *t = &c->trainer;
    struct schedule s = {
        .variant = strcmp(t->lr_compat, "reference") == 0 ? SCHEDULE_REF22 : SCHEDULE_OWN,
        .n_epochs = (int)t->n_epochs,
        .n_epochs_decay = (int)t->n_epochs_decay,
        .epoch_count = 1,
        .lr_decay_iters = (int)t->lr_decay_iters,
        .lr = t->lr,
    };
    int err = schedule_policy_parse(t->lr_policy, &s.policy);
    if (!err)
        *ret_schedule = s;
    return err;
}

uint64_t setup_last_step(const struct config *c, uint64_t epoch_batches) {
    const struct config_trainer *t = &c->trainer;
    uint64_t steps = (uint64_t)(t->n_epochs + t->n_epochs_decay) * epoch_batches;
    return t->max_steps ? MIN(steps, (uint64_t)t->max_steps) : steps;
}
