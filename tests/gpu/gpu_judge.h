// gpu_judge - what whole nets and steps are compared with, and how.
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

// Numbers in [-1,1] that every dtype holds exactly: multiples of 1/128.
void gpu_fill(const struct gpu_check *g, int stream, struct ref_map *m);
struct ref_map gpu_picture(const struct gpu_check *g, int stream, int n, int size, int c);
// As floats; the caller frees them.
float *gpu_floats(const struct ref_map *m);

// ||x - r|| / ||r||
double gpu_relative(size_t count, const double *x, const double *r);
double gpu_one_minus_cosine(size_t count, const double *x, const double *r);

// How far a net or a step is from the judge.
struct gpu_distance {
    double forward;  // of a net's output; relative
    double dx;       // 1 - cosine of the gradient of its input
    double loss;     // of the worst loss; relative
    double gradient; // 1 - cosine of the worst parameter's gradient
    int gradients;
    char key[80]; // of that parameter
};
// Takes a parameter's gradient into account. One that is zero has no direction: it is left out.
void gpu_add_gradient(struct gpu_distance *d, const char *key, size_t count, const double *x,
                      const double *r);
// Likewise a loss.
void gpu_add_loss(struct gpu_distance *d, double x, double r);

// The bounds of a dtype or, where that is more, a multiple of what its rounding alone does: which
// signs it flips in front of ReLUs is drawn anew, tensor cores may cut what the judge rounds, and a
// loss's error is a sum of both signs, so 1.5 times that. Twice all of it for small nets, where
// chance has few numbers to even out.
extern const double gpu_rounding_factors[GPU_DTYPES];
extern const enum ref_rounding gpu_roundings[GPU_DTYPES];
struct gpu_bounds gpu_bounds_beside(const struct gpu_check *g, int dtype,
                                    const struct gpu_distance *rounding);
// A line that says what rounding alone does.
void gpu_tell_rounding(int dtype, const struct gpu_distance *rounding);

// A step of a recipe in double precision, with the weights of a model before the step.
#define GPU_NETS 4
struct gpu_step_answer {
    int n_nets, n_losses;
    struct net *net[GPU_NETS];
    struct ref_net *ref[GPU_NETS]; // the gradients are in there
    double loss[8];                // in the model's order; NAN: not judged
};
struct gpu_draws {
    int patches, *ids[2][MODEL_PATCH_LAYERS]; // of cut, see model_set_draws
};
// o->model is cycle_gan, pix2pix or cut, with resnets or unet_128, without dropout.
void gpu_judge_step(const struct config_trainer *o, struct model *m, const struct ref_map real[2],
                    const struct gpu_draws *draws, enum ref_rounding rounding,
                    struct gpu_step_answer *ret);
void gpu_step_answer_fini(struct gpu_step_answer *a);

// Part of gpu_nets.
void gpu_forward(struct gpu_check *g);

#endif
