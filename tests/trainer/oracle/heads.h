// heads - trainer/oracle/ops.h for what is neither a convolution nor a norm: joins, mixes,
// resampling, patches, the gradient penalty's ops. In double, straight from the formulas that
// backend.h and cpu/tangent.h state.
#ifndef REFERENCE_HEADS_H
#define REFERENCE_HEADS_H

#include "backend/backend.h"

void ref_concat(const struct concat_shape *s, const double *a, const double *b, double *ret_y);
void ref_concat_backward(const struct concat_shape *s, const double *y, const double *dy,
                         double *ret_da, double *ret_db);
// front may be NULL where c_front is 0.
void ref_mix(const struct mix_shape *s, const double *share, const double *front,
             const double *real, const double *fake, double *ret_y);
void ref_flip(const struct tensor_shape *s, bool flip, const double *x, double *ret_y);
void ref_resample(const struct resample_shape *s, const double *x, double *ret_y);

// ids: the host's, in place of s->ids. dx is added to.
void ref_sample(const struct sample_shape *s, const int *ids, const double *x, double *ret_y);
void ref_sample_backward(const struct sample_shape *s, const int *ids, const double *dy,
                         double *dx);
// Returns the loss, which accumulates nothing; ret_each [n,patches] may be NULL.
double ref_nce(const struct nce_args *s, const double *q, const double *k, double *ret_dq,
               double *ret_each);

struct ref_tangent {
    const double *x, *dx, *g_y, *g_dy; // g_y NULL: none; g_* NULL both: forward alone
    const double *weight, *bias;       // NORM_BATCH; else NULL
    double *y, *dy;                    // forward; NULL: not wanted
    double *gx, *gdx;                  // backward
    double *dweight, *dbias;           // NULL: not wanted
};
void ref_tangent(const struct norm_shape *s, const struct ref_tangent *t);
// g [n,count]; returns the loss.
double ref_penalty(int n, size_t count, double scale, const double *g, double *ret_u);

#endif
