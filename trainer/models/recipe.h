// recipe - the model's struct and the interface of a recipe, for the files of models/ alone.
#ifndef MODEL_RECIPE_H
#define MODEL_RECIPE_H

#include "config/config.h"
#include "graph/graph.h"
#include "models/model.h"
#include "nets/nets.h"
#include "nets/optimizer.h"

// CycleGAN is the largest recipe: four nets, two of them generators, eight losses.
#define NETS_MAX 4
#define GENERATORS_MAX 2
#define LOSSES 8
#define TRANSLATIONS 4 // shapes of model_translate that are kept

// Domains may differ in size; the number of images is the same.
struct tape_shape {
    int n, h[2], w[2]; // by enum model_domain
};

// Ops [begin, end) of a tape.
// Each part is a section of the device and runs by one graph_run.
struct model_part {
    int begin, end;
    struct device_section *section; // NULL: not run since the arena's last move
};

// Images on their way from the device to the host.
// Allocated at the first transfer and kept with the tape.
struct leaving {
    float *host[2]; // shared memory; NULL: not asked for so far
    bool sent;      // since the last model_generate
    enum pixel_type type;
};

// A step for one shape. Tensors by enum model_domain; -1: there is none.
struct tape {
    struct tape_shape shape;
    uint64_t used; // the model's clock at its last use
    struct graph *graph;
    struct model_part generate, update_g, update_d;
    int real[2], pooled[2], fake[2], rec[2], idt[2];
    int seen[2];  // the input of G, if that is a flipped copy of `real`
    int mixed[2]; // of a gradient penalty: the discriminator's input
    struct patches *patches;
    struct leaving fakes, recs, idts, elements; // elements: of the fakes
    // Shared memory. A loss is the sum of loss and loss_fake; that is D's second half.
    double *loss, *loss_fake, *penalty; // [LOSSES], [LOSSES], [2]
    float *alpha[2];                    // of a gradient penalty: the device's, [n]
};

// A tape of model_translate for one shape of one generator.
struct translation {
    int net, n, h, w;
    uint64_t used;
    struct graph *graph; // NULL: free slot
    struct model_part all;
    int x, y;
    float *host; // shared memory for y; NULL where the device is not asynchronous
};

// Micro-batch i of the n that make one update.
struct micro_batch {
    int i, n;
};

// The sum of an update's gradients; see models/accumulate.c.
enum accumulate_section {
    ACCUMULATE_FIRST,
    ACCUMULATE_NEXT,
    ACCUMULATE_UPDATE,
    ACCUMULATE_SECTIONS
};
struct accumulator {
    struct optimizer *optimizer; // NULL: not used
    float *sum;                  // [optimizer->count], of the device
    int n;                       // the divisor of ACCUMULATE_UPDATE
    struct device_section *section[ACCUMULATE_SECTIONS];
};

// The differences between recipes. Nets [0, n_with_g) have one optimizer, the others another.
struct recipe {
    const char *name;
    int n_nets, n_generators, n_with_g;
    const char *nets[NETS_MAX];
    bool d_first;     // the discriminators' update comes before the generators'
    bool conditional; // D reads [a; b], the image of A in front of that of B
    int n_losses;
    const char *losses[LOSSES];
    double logged[LOSSES]; // the logged loss is so many times the one that is minimized; 0: 1
    unsigned total;        // total_loss is the sum of these losses, 1 << their number; 0: no sum
    int total_loss;
    // Fills m->nets. Fails with ERR_CONFIG.
    int (*make_nets)(struct model *m, const struct config_trainer *c);
    // Fills the tape for tape->shape. Fails with ERR_SHAPE, ERR_DEVICE.
    int (*build)(struct model *m, struct tape *tape);
    // Before each model_generate; may be NULL. ERR_DEVICE_LOST.
    int (*prepare)(struct model *m, struct tape *tape);
    // Frees what build has made besides the graph; takes a half-made tape. May be NULL.
    void (*tape_fini)(struct model *m, struct tape *tape);
};

// All tapes of steps share one arena: only the selected one runs.
struct model {
    const struct recipe *recipe;
    struct config_trainer settings; // its texts are gone after model_new
    uint64_t seed;
    enum gan_mode gan_mode;
    bool penalized;
    struct graph_hook hook;
    struct device *device;
    struct optimizer optimizer_g, optimizer_d;
    struct net *nets[NETS_MAX];
    struct model_net public_nets[NETS_MAX + GENERATORS_MAX]; // the averages behind the others
    // Averages of the generators' weights, laid out as in optimizer_g. Without settings.ema:
    // nothing.
    struct optimizer average;
    struct net *averages[GENERATORS_MAX];
    struct micro_batch micro_batch;
    struct accumulator accumulator_g, accumulator_d;
    bool average_moved; // since the device derived its packed weights from it
    int n_tapes;
    struct tape **tapes; // settings.shapes of them at most
    struct tape *tape;   // the selected one; NULL: none yet
    struct translation translations[TRANSLATIONS];
    uint64_t clock, step;
    int failed; // an error of a call that returns images; the next call that computes reports it
    char *failure;
    int n_patch_layers, patch_layers[NET_SAMPLES_MAX]; // of CUT
    int prefetched[2];                                 // see image_prefetch; -1: none
    const struct model_draws *draws;                   // NULL: by seed and step
    void *arena, *translation_arena;                   // for the largest tape of each kind
    size_t arena_bytes, translation_arena_bytes;
};

// cut with nce_idt logs one loss more, so it is a recipe of its own.
extern const struct recipe recipe_cyclegan, recipe_pix2pix, recipe_cut, recipe_cut_idt;

// models/memory.c. The use of an arena, for messages.
struct model_batch {
    const char *what; // "a step"
    int n, h, w;
};
// Makes *arena at least as large as the graph needs. ERR_LIMIT if the model would pass
// trainer.memory or there is not so much; the text has sizes that fit, and there is no arena then.
// If the arena moves, its contents are lost, and the sections that ran on it are dropped.
int model_arena_grow(struct model *m, const struct model_batch *b, const struct graph *g,
                     void **arena, size_t *bytes);
// Adds to ERR_LIMIT of other memory the bytes that weights need; returns err.
int model_no_weights(const struct model *m, int err);

// models/section.c. Runs a part of a tape, with Adam and what follows from it if `optimizer` is not
// NULL.
// The section's values are filled by the caller, except Adam's t.
struct model_run {
    struct graph *graph;
    void *arena;
    struct device_values values;
    struct optimizer *optimizer;
};
int model_run_part(struct model *m, struct model_part *part, struct model_run *run);
// Forgets the part's recording; the next run makes a new one. Accepts a part that never ran.
void model_drop_part(struct model *m, struct model_part *part);

// models/accumulate.c: nothing is allocated with settings.accumulate of 0 or 1.
int model_accumulate_new(struct model *m);
void model_accumulate_fini(struct model *m);
size_t model_accumulate_bytes(const struct model *m);
// Whether updates are made of several batches.
bool model_accumulates(const struct model *m);
// Follows a tape's part that has left an optimizer's gradients. Updates behind the last
// micro-batch.
int model_accumulate(struct model *m, struct optimizer *o, double lr);
// Adam, and the step of the averages. Ops of the section that is open. ERR_DEVICE_LOST.
int model_update(struct model *m, struct optimizer *o);

// models/average.c: the averaged generators. Between model_new and model_free; nothing without
// settings.ema.
// ERR_LIMIT if the device has no memory for them.
int model_average_new(struct model *m);
void model_average_fini(struct model *m);
// As model_pull and model_weights_changed, for the averages.
int model_average_pull(struct model *m);
int model_average_push(struct model *m);
// One update's step of the average. An op, behind Adam's. ERR_DEVICE_LOST.
int model_average_move(struct model *m);
// The generator that translates: its average, or the trained one without averages.
const struct net *model_generator(const struct model *m, int i);
// Refreshes the packed copies of averages that have moved. ERR_DEVICE_LOST.
int model_generator_refresh(struct model *m);

// Frees the tape of a slot and clears the slot; nothing for a free one.
void model_translation_fini(struct model *m, struct translation *t);

// Frees the parts of a tape that steps use; takes a half-made one.
void model_step_fini(struct model *m, struct tape *t);

// models/penalty.c: appends, behind the losses and gradients of a domain's discriminator, the
// penalty of gan_mode wgangp and its gradient; nothing in another mode. Fails with ERR_SHAPE,
// ERR_DEVICE.
int model_add_penalty(struct model *m, struct tape *t, const struct net *discriminator,
                      enum model_domain domain);
// Draws this step's alpha of each image, before the tape's part runs. ERR_DEVICE_LOST.
int model_draw_penalty(struct model *m, enum model_domain domain);

#endif
