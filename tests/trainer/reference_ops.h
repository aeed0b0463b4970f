// reference_ops - every op of the backend in double precision, straight from its formula. Slow; the
// judge of all backends.
//
// Layouts, shapes and parameters as in backend.h, with double for float.
#ifndef REFERENCE_OPS_H
#define REFERENCE_OPS_H

#include "backend.h"

// Height and width of a convolution's output.
void ref_conv_size(const struct conv_shape *s, int *ret_h, int *ret_w);

void ref_conv(const struct conv_shape *s, const double *x, const double *w, const double *bias,
              double *ret_y);
// All outputs are overwritten; ret_dbias may be NULL.
void ref_conv_backward(const struct conv_shape *s, const double *x, const double *w,
                       const double *dy, double *ret_dx, double *ret_dw, double *ret_dbias);

// skip may be NULL.
void ref_norm(const struct norm_shape *s, const double *x, const double *skip, double *ret_y);
// g [n,h,w,c] is d loss / d inside of y, borders folded already.
void ref_norm_backward(const struct norm_shape *s, const double *x, const double *g,
                       double *ret_dx);
// Adds a part [n,h+2 pad,w+2 pad,c] of a gradient to pictures [first, first + n) of g.
void ref_fold(const struct norm_shape *s, const double *part, int pad, int first, int n, double *g);

double ref_l1(size_t count, double scale, const double *a, const double *b, double *ret_grad);
double ref_gan(const struct gan_args *args, const double *x, double *ret_grad);
void ref_adam(const struct adam_args *args, const double *g, double *p, double *m, double *v);

#endif
