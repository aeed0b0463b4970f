// ops - every op of the backend in double precision, straight from its formula. Slow; the
// oracle of all backends. Convolutions and norms use all of OpenMP's threads.
//
// Layouts, shapes and parameters as in backend.h, with double for float.
#ifndef REFERENCE_OPS_H
#define REFERENCE_OPS_H

#include "backend/backend.h"

// Height and width of a convolution's output.
void ref_conv_size(const struct conv_shape *s, int *ret_h, int *ret_w);

void ref_conv(const struct conv_shape *s, const double *x, const double *w, const double *bias,
              double *ret_y);
// All outputs are overwritten; they may be NULL.
void ref_conv_backward(const struct conv_shape *s, const double *x, const double *w,
                       const double *dy, double *ret_dx, double *ret_dw, double *ret_dbias);

// Batch norm's parameters, [c] each, and dropout.
struct ref_layer {
    const double *weight, *bias;
    double *running_mean, *running_var;
    const struct norm_dropout *dropout; // NULL: none; values are then those of its section
    const struct device_values *values;
};

// skip may be NULL; layer only for instance norm and none without dropout. Moves nothing.
void ref_norm(const struct norm_shape *s, const struct ref_layer *layer, const double *x,
              const double *skip, double *ret_y);
// backend.h's ret_stats. Not of NORM_NONE.
void ref_norm_stats(const struct norm_shape *s, const struct ref_layer *layer, const double *x,
                    double *ret_stats);
// What NORM_BATCH does to the running statistics.
void ref_norm_move(const struct norm_shape *s, const struct ref_layer *layer, const double *x);

struct ref_norm_gradients {
    double *dx, *dweight, *dbias; // the last two may be NULL
};
// g [n,h,w,c] is d loss / d inside of y, borders folded already.
void ref_norm_backward(const struct norm_shape *s, const struct ref_layer *layer, const double *x,
                       const double *g, const struct ref_norm_gradients *ret);
// Adds a part [n,h+2 pad,w+2 pad,c] of a gradient to pictures [first, first + n) of g.
void ref_fold(const struct norm_shape *s, const double *part, int pad, int first, int n, double *g);

double ref_l1(size_t count, double scale, const double *a, const double *b, double *ret_grad);
double ref_gan(const struct gan_args *args, const double *x, double *ret_grad);
// values: lr and t.
void ref_adam(const struct adam_args *args, const struct device_values *values, const double *g,
              double *p, double *m, double *v);

#endif
