// model - the computation of a training step, behind one interface for every recipe.
//
// The order of a step lets the exchange with the pool run beside the generators' update:
//
//   model_shape(m, ...)          once per batch shape; the tape is kept
//   model_set_step(m, step)
//   model_feed(m, A, ...), model_feed(m, B, ...)
//   model_generate(m)            forward pass of the generators
//   model_send_fakes(m)          to the host; model_sent_fake() has them   -> to the pool
//   model_update_g(m, lr)        losses of G, backward, Adam on G_A, G_B
//   model_update_d_pooled(...)   D on real images and on the pool's answer, backward, Adam on D_A,
//                                D_B; or model_update_d, with this step's own fakes
//   model_wait(m)
//   model_loss(m, i)
//
// If model_d_first, the discriminators' update comes before model_update_g, and there is no pool.
//
// On an asynchronous device (model_is_asynchronous) these calls return when the work has been
// issued; model_wait waits for it. A lost device is reported by a later call.
//
// Images are float [N,H,W,C] in memory, channels innermost, values in [-1,1]. nets/param.h
// describes parameters.
//
// Source of the step and its order: Zhu et al. 2017 (arXiv:1703.10593), sections 3 and 4.
#ifndef MODEL_H
#define MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "nets/param.h"

enum model_domain { MODEL_A, MODEL_B };

// What a model needs besides its settings.
struct model_host {
    uint64_t seed;     // of dropout, patches, flips and penalties
    const char *plans; // a file of model_plans_save, whose choices are kept; NULL: none
    // Called between ops, since a step on the CPU can take 20 s: the process answers pings then. It
    // must not touch the model. NULL: nothing is called.
    void (*between_ops)(void *context);
    void *context;
};

struct config_trainer; // common/config: the settings of the trainer

struct model;

// ---- life and parameters ----

// Of the settings, `device` is resolved ("auto" is not accepted), and texts are lent for the call.
// Weights are zero until model_init, or until the caller fills them and calls
// model_weights_changed. Fails with ERR_CONFIG (the text names the setting and values that work),
// ERR_DEVICE.
int model_new(const struct config_trainer *settings, const struct model_host *host,
              struct model **ret_model);
void model_free(struct model *m);

// Fresh weights: `init_type` with `init_gain` (init.h), from Philox (seed, RNG_INIT). Biases 0, a
// batch norm's weights N(1, init_gain^2).
int model_init(struct model *m, const char *init_type, double init_gain, uint64_t seed);

// The recipe's nets and, behind them, the averages of the generators' weights, which have no m, v.
int model_n_nets(const struct model *m);
int model_n_averages(const struct model *m); // 0 without trainer.ema
// Sets the averages to the present weights, on the host; model_weights_changed has to follow.
void model_average_start(struct model *m);
struct model_net *model_net(struct model *m, int i);

// Makes what model_param points to (w, m, v) the model's present state: to be called before reading
// it, if the model has been trained since. Waits. ERR_DEVICE_LOST.
int model_pull(struct model *m);
// The other way: to be called after writing parameters from outside. Refreshes whatever the backend
// derived. Between the two the device has not been asked to train.
int model_weights_changed(struct model *m);

// Selects (building it if it is new) the tape for batches of n images, A [hA,wA], B [hB,wB].
// Fails with ERR_SHAPE (names sizes that work), ERR_LIMIT (memory: what was needed).
int model_shape(struct model *m, int n, int h_a, int w_a, int h_b, int w_b);

// The real images of the next step, of the selected shape: [n,h,w,c] bytes as they come from a
// loader, or floats. They have been read when it returns. ERR_DEVICE_LOST.
int model_feed(struct model *m, enum model_domain domain, const uint8_t *images);
int model_feed_floats(struct model *m, enum model_domain domain, const float *images);
// Announces the images of the domain's next model_feed, n of [h,w]. An asynchronous device
// transfers them while it works on the step before. On return they have been read. At most once
// before each model_feed. ERR_DEVICE_LOST.
int model_prefetch(struct model *m, enum model_domain domain, int n, int h, int w,
                   const uint8_t *images);

// The number of the next step, from 0. Dropout, patches, flips and penalties draw from it and the
// seed alone.
void model_set_step(struct model *m, uint64_t step);

// Gradient accumulation: the next batch is micro-batch i of n, whose gradients make one update by
// their mean. model_update_g and _d change weights behind the last one only. n <=
// trainer.accumulate; 0 of 1 at first. A step is a micro-batch, and losses are those of each.
void model_set_micro_batch(struct model *m, int i, int n);

// Replaces the draws of the next model_generate, for comparisons with the reference; lent until
// then. patches[0][l] are positions y w + x in layer l for real_A and fake_B, patches[1][l] for
// real_B and idt_B.
#define MODEL_PATCH_LAYERS 8
struct model_draws {
    bool flip;
    const int *patches[2][MODEL_PATCH_LAYERS];
};
void model_set_draws(struct model *m, const struct model_draws *draws);

// ---- a step ----

int model_generate(struct model *m);

// fake_A, fake_B [n,h,w,c] of this step, from before its updates; rec and idt after model_update_g.
// Lent until the next model_generate. NULL where the recipe makes none. They wait for the device.
// After a device loss the contents are undefined, and the next call that computes fails. For tests:
// training sends the fakes, see below.
const float *model_fake(struct model *m, enum model_domain domain);
const float *model_rec(struct model *m, enum model_domain domain); // rec_A for MODEL_A
const float *model_idt(struct model *m,
                       enum model_domain domain); // idt_A = G_A(real_B) for MODEL_A
// The error of these calls: ERR_OK if their images are valid.
int model_failure(const struct model *m);

// The fakes for a pool are [n,h,w,c] in the device's own numbers, so that none is rounded: float,
// or bfloat16 with dtype bf16. A number has model_number_bytes.
size_t model_number_bytes(const struct model *m);
// Starts their transfer to the host, beside later work. Between model_generate and the updates.
// ERR_DEVICE_LOST.
int model_send_fakes(struct model *m);
// Waits for that transfer alone. Lent until the next model_generate, on an asynchronous device
// until the next model_send_fakes, which overwrites them. NULL where the recipe makes none.
const void *model_sent_fake(struct model *m, enum model_domain domain);

int model_update_g(struct model *m, double lr);

// Whether the discriminators' update comes before the generators'.
bool model_d_first(const struct model *m);

// pooled_a, pooled_b: the pool's answer for fake_A, fake_B, [n,h,w,c], read on return; NULL: the
// fakes themselves. Not read where model_fake is NULL.
int model_update_d(struct model *m, double lr, const float *pooled_a, const float *pooled_b);
// The same with n separate images each, in model_sent_fake's numbers.
int model_update_d_pooled(struct model *m, double lr, const void *const *pooled_a,
                          const void *const *pooled_b);

// ---- results ----

// Losses of the step as the reference logs them, lambdas included, in its order:
//
//   cycle_gan  D_A G_A cycle_A idt_A D_B G_B cycle_B idt_B
//   pix2pix    G_GAN G_L1 D_real D_fake
//   cut        G_GAN D_real D_fake G NCE; with nce_idt also NCE_Y
//
// With gan_mode wgangp, gp_A and gp_B, or gp, follow: the penalty's share of D's loss. Valid after
// both updates and model_wait, until the next update.
int model_n_losses(const struct model *m);
const char *model_loss_name(const struct model *m, int i);
double model_loss(const struct model *m, int i);

// Waits for the updates that have been issued, and for no later work. ERR_DEVICE_LOST.
int model_wait(struct model *m);

// False if a gradient of any step so far held NaN or infinity. Valid as the losses are.
bool model_gradients_finite(const struct model *m);
// Whether weights and Adam's moments are finite now. Waits. ERR_DEVICE_LOST.
int model_weights_finite(struct model *m, bool *ret_finite);

// 2; 1 if the recipe translates A to B only.
int model_n_generators(const struct model *m);

// y = G(x), x [n,h,w,c], by one generator, or its average with trainer.ema. `net` 0 translates A to
// B, 1 B to A; below model_n_generators. Any n, h, w that the net takes, on tapes of its own, so it
// may come within a step. Batch norm takes the statistics of each image, as the reference's test
// does, and there is no dropout: an image always gives the same answer. Fails with ERR_SHAPE,
// ERR_LIMIT, ERR_DEVICE_LOST.
int model_translate(struct model *m, int net, int n, int h, int w, const float *x, float *ret_y);

// ---- memory and device ----

// Bytes held, by use. On a CPU the process needs some 16 MiB besides.
struct model_memory {
    size_t maps;        // activations and their gradients, of the largest shape
    size_t scratch;     // of one kernel at a time
    size_t parameters;  // with gradients and moments, and their sum over batches
    size_t average;     // of the generators' parameters
    size_t packed;      // copies of parameters in the kernels' layouts; running statistics
    size_t translation; // activations of model_translate
};
struct model_memory model_memory(const struct model *m);
size_t model_memory_bytes(const struct model *m); // their sum
void model_memory_describe(const struct model *m, char *ret_text, size_t size);

// The device: whether it computes while the host goes on; its dtype; its name for a person; the
// most bytes of its own memory so far (0: its memory is the host's).
bool model_is_asynchronous(const struct model *m);
const char *model_dtype(const struct model *m);
void model_describe_device(const struct model *m, char *ret_text, size_t size);
size_t model_device_memory_peak(const struct model *m);

// Whether the device chooses plans by measuring. Then another model computes the same bits only
// with the file that model_plans_save writes. ERR_IO.
bool model_has_plans(const struct model *m);
int model_plans_save(const struct model *m, const char *path);

// The kernels of this model, one line per distinct convolution, for the checkpoint: they are part
// of the bits. The caller frees the text.
char *model_kernels(const struct model *m);

#endif
