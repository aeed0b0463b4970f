// model - what is computed in a training step, behind one door for every recipe.
//
// A step has three parts, so that the pool's exchange hides behind the second:
//
//   model_shape(m, ...)          once per batch shape; the tape is kept
//   model_set_step(m, step)
//   model_feed(m, A, ...), model_feed(m, B, ...)
//   model_generate(m)            G forward; now model_fake() is valid
//   model_send_fakes(m)          to the host: model_sent_fake()           -> to the pool
//   model_update_g(m, lr)        losses of G, backward, Adam on G_A, G_B
//   model_update_d(m, lr, ...)   D on real and pooled fakes, backward, Adam on D_A, D_B; or
//   model_update_d_pooled(...)   the same with what the pool gave back
//   model_wait(m)
//   model_loss(m, i)
//
// Where model_d_first says so, model_update_d comes before model_update_g. There is no pool then.
//
// On an asynchronous device (model_is_asynchronous) these calls return when the work has been
// issued: the host goes on, and model_wait waits for it. What is fed for the next step travels
// meanwhile. A device that is lost is told of by a later call.
//
// Pictures are float [N,H,W,C] in memory (channels innermost), values in [-1,1]. Parameters are
// float in the reference's state-dict layout: conv [K,C,R,S], transposed conv [C,K,R,S].
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

// Fails with ERR_CONFIG (names the option and what would work), ERR_DEVICE. Weights are zero until
// model_init or a loader has filled them and model_weights_changed has been called.
//
// Of the settings, device is resolved ("auto" is none), and texts are lent for the call.
int model_new(const struct config_trainer *settings, const struct model_host *host,
              struct model **ret_model);
void model_free(struct model *m);

// Fresh weights: `init_type` with `init_gain` (init.h), from Philox (seed, RNG_INIT). Biases 0, a
// batch norm's weights N(1, init_gain^2).
int model_init(struct model *m, const char *init_type, double init_gain, uint64_t seed);

// The recipe's nets and, behind them, the averages of the generators' weights, which have no m, v.
int model_n_nets(const struct model *m);
int model_n_averages(const struct model *m); // 0 without trainer.ema
// Lets the averages begin anew with the weights as they are; the host's, see model_weights_changed.
void model_average_start(struct model *m);
struct model_net *model_net(struct model *m, int i);

// Makes what model_param points to (w, m, v) the model's present state: to be called before reading
// it, if the model has been trained since. Waits. ERR_DEVICE_LOST.
int model_pull(struct model *m);
// The other way: to be called after writing parameters from outside. Refreshes whatever the backend
// derived. Between the two the device has not been asked to train.
int model_weights_changed(struct model *m);

// Selects (building it if it is new) the tape for batches of n pictures, A [hA,wA], B [hB,wB].
// Fails with ERR_SHAPE (names sizes that work), ERR_LIMIT (memory: what was needed).
int model_shape(struct model *m, int n, int h_a, int w_a, int h_b, int w_b);

// The real pictures of the next step, of the selected shape: [n,h,w,c] bytes as they come from a
// loader, or floats. They have been read when it returns. ERR_DEVICE_LOST.
int model_feed(struct model *m, enum model_domain domain, const uint8_t *pictures);
int model_feed_floats(struct model *m, enum model_domain domain, const float *pictures);
// Says what the next model_feed of this domain is given: n pictures [h,w]. On an asynchronous
// device they travel while it works on the step before. They have been read when it returns. At
// most once before each model_feed. ERR_DEVICE_LOST.
int model_prefetch(struct model *m, enum model_domain domain, int n, int h, int w,
                   const uint8_t *pictures);

// Says which step comes, counted from 0: what dropout, patches and flips draw is a function of it
// and of the seed.
void model_set_step(struct model *m, uint64_t step);

// Says that the next batch is number i of n whose gradients make one update, their mean: only
// behind the last of them do model_update_g and _d change weights. n <= trainer.accumulate; 0 of 1
// at first. Steps, and so draws, count batches. Losses are those of each batch.
void model_set_micro_batch(struct model *m, int i, int n);

// What the next model_generate takes instead of its own draws; lent until then. patches[0][l] are
// the positions y w + x of layer l for real_A and fake_B, patches[1][l] for real_B and idt_B.
#define MODEL_PATCH_LAYERS 8
struct model_draws {
    bool flip;
    const int *patches[2][MODEL_PATCH_LAYERS];
};
void model_set_draws(struct model *m, const struct model_draws *draws);

int model_generate(struct model *m);

// fake_A, fake_B [n,h,w,c] of this step, as they were before any update. Lent until the next
// model_generate. rec and idt likewise, after model_update_g. NULL where the recipe makes none.
// They wait for the device; if it is lost, what they point to holds no pictures, and the next call
// that computes says so.
const float *model_fake(struct model *m, enum model_domain domain);
const float *model_rec(struct model *m, enum model_domain domain); // rec_A for MODEL_A
const float *model_idt(struct model *m,
                       enum model_domain domain); // idt_A = G_A(real_B) for MODEL_A
// ERR_OK, or why what they gave holds no pictures.
int model_failure(const struct model *m);

// The fakes as they travel to a pool: [n,h,w,c] of the device's own numbers, so that none is
// rounded: float, or bfloat16 with dtype bf16. Both in model_number_bytes.
size_t model_number_bytes(const struct model *m);
// Lets them leave the device now, while it goes on. Between model_generate and the updates.
// ERR_DEVICE_LOST.
int model_send_fakes(struct model *m);
// Waits for them alone; lent until the next model_generate and, on an asynchronous device, until
// the next model_send_fakes, which writes them again. NULL where the recipe makes none.
const void *model_sent_fake(struct model *m, enum model_domain domain);

int model_update_g(struct model *m, double lr);

// Whether the discriminators' update comes first.
bool model_d_first(const struct model *m);

// pooled_a/_b: what the pool gave back for fake_A/fake_B, [n,h,w,c], read when it returns; NULL:
// the fakes themselves. Not read where model_fake is NULL.
int model_update_d(struct model *m, double lr, const float *pooled_a, const float *pooled_b);
// pooled_a, pooled_b: n pictures each, as model_sent_fake's but not one behind the other.
int model_update_d_pooled(struct model *m, double lr, const void *const *pooled_a,
                          const void *const *pooled_b);

// Losses of the step as the reference logs them (lambdas included), in its order: of cycle_gan D_A
// G_A cycle_A idt_A D_B G_B cycle_B idt_B, of pix2pix G_GAN G_L1 D_real D_fake, of cut G_GAN D_real
// D_fake G NCE and, with nce_idt, NCE_Y. With gan_mode wgangp
// gp_A gp_B, or gp, follow: what the penalty adds to the loss of D. Names without prefix. Valid
// after both updates and model_wait, until the next update.
int model_n_losses(const struct model *m);
const char *model_loss_name(const struct model *m, int i);
double model_loss(const struct model *m, int i);

// Waits for the updates that have been issued (and for nothing that came later). ERR_DEVICE_LOST.
int model_wait(struct model *m);

// False if a gradient of a step so far held a number that is not finite (checked on the flat
// gradient buffers). Valid as the losses are.
bool model_gradients_finite(const struct model *m);
// Whether weights and Adam's moments are finite now. Waits. ERR_DEVICE_LOST.
int model_weights_finite(struct model *m, bool *ret_finite);

// 2, or 1 where only A is translated to B.
int model_n_generators(const struct model *m);

// Runs one generator forward only (its average, with trainer.ema): y = G(x), x [n,h,w,c] -> y. Any
// n, h, w that the net allows; uses tapes of its own. `net` 0 is A to B, 1 is B to A, below
// model_n_generators. Batch norm takes each picture's own statistics, as the reference does when it
// tests; there is no dropout, so the same picture gives the same answer.
int model_translate(struct model *m, int net, int n, int h, int w, const float *x, float *ret_y);

// Bytes held, by what they are for. Of the process on a CPU they are all but some 16 MiB.
struct model_memory {
    size_t maps;        // activations and their gradients, of the largest shape
    size_t scratch;     // of one kernel at a time
    size_t parameters;  // with gradients and moments, and their sum over batches
    size_t average;     // of the generators' parameters
    size_t packed;      // copies of parameters as kernels want them; running statistics
    size_t translation; // activations of model_translate
};
struct model_memory model_memory(const struct model *m);
size_t model_memory_bytes(const struct model *m); // their sum
void model_memory_describe(const struct model *m, char *ret_text, size_t size);

// The device: whether it works beside the host; its dtype; which one it is, for a person; the most
// bytes of its own memory so far (0: its memory is the host's).
bool model_is_asynchronous(const struct model *m);
const char *model_dtype(const struct model *m);
void model_describe_device(const struct model *m, char *ret_text, size_t size);
size_t model_device_memory_peak(const struct model *m);

// Whether the device chooses plans by measuring, so that another model computes the same bits only
// with this one's; writes them. ERR_IO.
bool model_has_plans(const struct model *m);
int model_plans_save(const struct model *m, const char *path);

// Which kernels this model uses, one line per distinct convolution, for the checkpoint (kernel
// choices are part of the bits). Caller frees.
char *model_kernels(const struct model *m);

#endif
