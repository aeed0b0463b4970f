// gpu_judge - compares whole nets and training steps with a computation in double precision.
#ifndef GPU_JUDGE_H
#define GPU_JUDGE_H

#include "config/config.h"
#include "gpu/gpu_check.h"
#include "models/model.h"
#include "trainer/oracle/net.h"

// Bounds on a gpu_distance.
struct gpu_bounds {
    double forward, dx, gradient, loss;
};

// Fills a map with numbers in [-1,1] that every dtype holds exactly: multiples of 1/128. The
// program's seed and `stream` fix them.
void gpu_fill(const struct gpu_check *g, int stream, struct ref_map *m);
struct ref_map gpu_picture(const struct gpu_check *g, int stream, int n, int size, int c);
// As floats; the caller frees them.
float *gpu_floats(const struct ref_map *m);

// |x - r|| / ||r||, and 1 minus the cosine of the angle between x and r.
double gpu_relative(size_t count, const double *x, const double *r);
double gpu_one_minus_cosine(size_t count, const double *x, const double *r);

// The distance of a net or a step from the judge.
struct gpu_distance {
    double forward;  // of a net's output; relative
    double dx;       // 1 - cosine of the gradient of its input
    double loss;     // of the worst loss; relative
    double gradient; // 1 - cosine of the worst parameter's gradient
    int gradients;
    char key[80]; // of that parameter
};
// Adds a parameter's gradient. One that is zero has no direction, and is left out.
void gpu_add_gradient(struct gpu_distance *d, const char *key, size_t count, const double *x,
                      const double *r);
// Adds a loss.
void gpu_add_loss(struct gpu_distance *d, double x, double r);

// A bound is that of the dtype or, if more, a multiple of the distance that rounding alone causes.
// The multiple allows for chance: rounding decides which signs flip before ReLUs, and tensor cores
// may cut numbers that the judge rounds. A loss's error is a sum of both signs, so it has 1.5 times
// the multiple. Small nets have twice all of it: few numbers even out less.
extern const double gpu_rounding_factors[GPU_DTYPES];
extern const enum ref_rounding gpu_roundings[GPU_DTYPES];
struct gpu_bounds gpu_bounds_beside(const struct gpu_check *g, int dtype,
                                    const struct gpu_distance *rounding);
// Prints the distance that rounding alone causes.
void gpu_tell_rounding(int dtype, const struct gpu_distance *rounding);

// A step of a recipe in double precision, with the weights of a model before the step.
#define GPU_NETS 4
// The judge's result of a step: gradients and losses.
struct gpu_step_answer {
    int n_nets, n_losses;
    struct net *net[GPU_NETS];
    struct ref_net *ref[GPU_NETS]; // the gradients are in there
    double loss[8];                // in the model's order; NAN: not judged
};
// The random choices of CUT's step, which the judge has to share.
struct gpu_draws {
    int patches, *ids[2][MODEL_PATCH_LAYERS]; // of cut, see model_set_draws
};
// Computes a step of a recipe in double precision, with the weights that the model has before it.
// o->model is cycle_gan, pix2pix or cut, with resnets or unet_128, without dropout.
// gpu_step_answer_fini frees the result.
void gpu_judge_step(const struct config_trainer *o, struct model *m, const struct ref_map real[2],
                    const struct gpu_draws *draws, enum ref_rounding rounding,
                    struct gpu_step_answer *ret);
void gpu_step_answer_fini(struct gpu_step_answer *a);

// Part of gpu_nets.
void gpu_forward(struct gpu_check *g);

#endif
