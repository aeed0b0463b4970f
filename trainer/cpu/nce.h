// nce - patches of feature maps and the contrastive loss on them, for CUT.
//
// Runs on the current number of OpenMP threads; the bits are a function of the shape and of that
// number. Nothing is allocated or kept.
#ifndef CPU_NCE_H
#define CPU_NCE_H

#include <stdbool.h>
#include <stddef.h>

// Pixels of maps [n,h,w,c] with a border of `pad`. ids [n,count] are y w' + x, in the map without
// its border or, with `border`, in the whole map.
struct cpu_sample {
    int n, h, w, c, pad, count;
    bool border;
    const int *ids;
};

// y [n,count,c] = x at the ids.
void cpu_sample(const struct cpu_sample *s, const float *x, float *ret_y);
// Its adjoint: dx (+)= dy at the ids; with `add` to what is there, else to zeros. ids of a map may
// repeat.
void cpu_sample_backward(const struct cpu_sample *s, const float *dy, bool add, float *ret_dx);

// cpu_nce - PatchNCE: each q is to be like the k of its own place and unlike those of others.
//
//   q, k      [n, patches, dim], made unit vectors first: q / (|q| + 1e-7); k is constant
//   ret_dq    [n, patches, dim], d loss / d q
//   ret_each  [n, patches] the unscaled loss of each patch; NULL: not wanted
//
//   loss_i = -log( e^(q_i k_i / T) / (e^(q_i k_i / T) + e^(-10 / T) + sum over j != i
//            e^(q_i k_j / T)) )
// with j over the patches of the same picture, with `all` of the batch. The dead term stands for
// the diagonal, as in the reference. Returns scale times the mean.
//
// Source: Park et al. 2020 (arXiv:2007.15651), equation 3 and its code.
struct cpu_nce {
    int n, patches, dim;
    double temperature, scale;
    bool all;
};

size_t cpu_nce_work_floats(const struct cpu_nce *s);
double cpu_nce(const struct cpu_nce *s, const float *q, const float *k, float *work, float *ret_dq,
               float *ret_each);

#endif
