// norm - normalise, activate, add the skip, pad by reflection: one op, one read, one write.
//
//   forward    y = pad_p( drop( act(z) ) + skip )
//   backward   g = sum of fold(contribution);  dskip = g;  g' = drop(g) * act'(z)
//
//   none       z = x + bias;  dx = g',  dbias = sum of g' over n, h, w
//   instance   z = xhat;  dx = rstd * (g' - mean(g') - xhat * mean(g' * xhat))
//   batch      z = weight * xhat + bias;  dx = weight times what instance has;  dbias as above,
//              dweight = sum of g' * xhat over n, h, w
//   running    z as batch, with the running statistics; no backward
//
// Layout of every tensor: float, [N,H,W,C] in memory, C innermost and without padding; a padded
// one is [N,H+2p,W+2p,C]. Any C >= 1. Reflection leaves out the edge: row -1 is row 1; p < H, W.
//
// Instance norm (Ulyanov et al. 2016, arXiv:1607.08022) has no affine part: per (n, c)
// xhat = (x - mean) * rstd, rstd = 1 / sqrt(var + 1e-5), biased variance about the mean (two
// passes, accumulated in double). Its bias would have no effect and must be NULL.
//
// Batch norm (Ioffe and Szegedy 2015, arXiv:1502.03167) takes mean and variance per c over n, h, w,
// and moves the running ones: r = 0.9 r + 0.1 x, where x is the mean or the unbiased variance.
//
// Dropout (Srivastava et al. 2014): drop(x) is 2 x or 0, by a bit that is a function of the element
// (its place in [N,H,W,C]) alone: bit e % 128, from the lowest of v[0], of rng_block(seed,
// RNG_DROPOUT, index, e / 128); 1 survives.
//
// act'(0) is 0 for ReLU and 0.2 for LeakyReLU.
//
// Runs on the current number of OpenMP threads. The order of every sum is fixed by the shape: the
// bits do not depend on the threads. Nothing is allocated or kept.
#ifndef CPU_NORM_H
#define CPU_NORM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { CPU_PAD_MAX = 3, CPU_NORM_GRADS_MAX = 4 };

enum cpu_norm_kind { CPU_NORM_NONE, CPU_NORM_INSTANCE, CPU_NORM_BATCH, CPU_NORM_RUNNING };
enum cpu_act { CPU_ACT_NONE, CPU_ACT_RELU, CPU_ACT_LEAKY };

struct cpu_norm {
    int n, h, w, c;
    enum cpu_norm_kind kind;
    enum cpu_act act;
    int pad; // border of y, 0..CPU_PAD_MAX
};

// A tensor with a border of `pad` pixels on each side.
struct cpu_padded {
    const float *data; // NULL: absent
    int pad;
};

struct cpu_dropout {
    uint64_t seed, index;
};

// What the forward leaves for the backward; lent for the call.
struct cpu_norm_saved {
    const float *x;      // [N,H,W,C]
    const float *bias;   // [C] or NULL; NULL for instance norm; needed for batch and running
    float *mean, *rstd;  // out of the forward, in to the backward; NULL for CPU_NORM_NONE;
                         // [N,C] for instance, else [C]
    const float *weight; // [C]; batch and running only
    float *running_mean, *running_var; // [C]; batch: in and out, or NULL; running: in
    const struct cpu_dropout *dropout; // NULL: none
};

// Doubles of scratch that both passes need; its contents mean nothing between calls.
size_t cpu_norm_work_doubles(const struct cpu_norm *s);

//   skip    its interior is added after the activation; data may be NULL; must not overlap ret_y
//   work    cpu_norm_work_doubles
//   ret_y   [N,H+2p,W+2p,C], border included; must not overlap x
void cpu_norm_forward(const struct cpu_norm *s, const struct cpu_norm_saved *saved,
                      struct cpu_padded skip, double *work, float *ret_y);

// Gradients of the loss by y as the readers of y computed them. A contribution is a gradient of y
// with a border of its own: each border pixel counts for the pixel it was copied from. `pad` is
// that buffer's border: cpu_norm.pad for a conv's input gradient, 0 for a skip's reader.
struct cpu_norm_grads {
    int count; // 1..CPU_NORM_GRADS_MAX
    struct cpu_padded grad[CPU_NORM_GRADS_MAX];
};

struct cpu_norm_result {
    float *dx;      // [N,H,W,C]; not x; may be a contribution's buffer if that has pad 0
    float *dskip;   // [N,H,W,C] or NULL; neither dx nor x; may be a contribution's with pad 0
    float *dbias;   // [C] or NULL; not for instance
    float *dweight; // [C] or NULL; batch only
    bool add;       // dbias and dweight += instead of =
};

void cpu_norm_backward(const struct cpu_norm *s, const struct cpu_norm_saved *saved,
                       const struct cpu_norm_grads *grads, double *work,
                       const struct cpu_norm_result *ret);

// Gradient of an unpadded tensor: the folded sum of the contributions, [N,H,W,C]. For the input
// pictures, and for a tensor that only a padding op made.
void cpu_fold(const struct cpu_norm *s, const struct cpu_norm_grads *grads, float *ret_g);

#endif
