// loss - heads, losses and the optimizer of the CPU backend.
//
// Arrays are float and dense, pictures [N,H,W,C] with C innermost. All functions run on the current
// number of OpenMP threads; sums are taken in double over parts whose number is fixed, so that the
// bits do not depend on the threads. Nothing is allocated or kept.
#ifndef CPU_MISC_H
#define CPU_MISC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cpu/norm.h"

// cpu_tanh - the generator's head, y = tanh(x + bias[c])
//
//   x, ret_y  [pixels, c]; may be the same
//   bias      [c] or NULL
void cpu_tanh(size_t pixels, int c, const float *x, const float *bias, float *ret_y);

// cpu_tanh_backward - dx = g (1 - y^2), g the folded sum of the contributions; dbias = sum of dx
//
//   s          shape n, h, w, c of y; the other fields are not read
//   y          [N,H,W,C] what cpu_tanh gave
//   grads      as in cpu_norm_backward
//   work       cpu_norm_work_doubles(s)
//   ret->dx    [N,H,W,C]; not y; may be a contribution's buffer if that has pad 0
//   ret->dbias [C] or NULL; add as in cpu_norm. dskip must be NULL.
void cpu_tanh_backward(const struct cpu_norm *s, const float *y, const struct cpu_norm_grads *grads,
                       double *work, const struct cpu_norm_result *ret);

// cpu_l1 - weighted mean absolute difference and its gradient
//
//   a, b      [count]
//   ret_grad  [count] d loss / d a, or NULL; may be a; 0 where a equals b
//
// Returns weight / count * sum |a - b|.
double cpu_l1(size_t count, const float *a, const float *b, double weight, float *ret_grad);

// cpu_gan_loss - weighted mean loss of a map of predictions x, and its gradient
//
//               target real                target fake
//   lsgan       (x - 1)^2                  x^2              Mao et al. 2017, arXiv:1611.04076
//   vanilla     softplus(-x)               softplus(x)      Goodfellow et al. 2014, arXiv:1406.2661
//   wgangp      -x                         x                Arjovsky et al. 2017, arXiv:1701.07875
//   nonsat.     softplus(-x)               softplus(x)      the same, named so by CUT
//
// softplus(x) = max(x, 0) + log(1 + e^-|x|). The gradient penalty of wgangp is not part of it.
//
//   x         [count]
//   ret_grad  [count] d loss / d x, or NULL; may be x
enum cpu_gan { CPU_GAN_LSGAN, CPU_GAN_VANILLA, CPU_GAN_WGANGP, CPU_GAN_NONSATURATING };
enum cpu_gan_target { CPU_GAN_FAKE, CPU_GAN_REAL };

struct cpu_gan_loss {
    enum cpu_gan mode;
    enum cpu_gan_target target;
    double weight;
};

double cpu_gan_loss(const struct cpu_gan_loss *l, size_t count, const float *x, float *ret_grad);

// cpu_adam - one step of Adam (Kingma and Ba 2015, arXiv:1412.6980, algorithm 1 with the epsilon
// outside the corrected root), in float, in the order of PyTorch's:
//
//   m = beta1 m + (1 - beta1) g                  v = beta2 v + (1 - beta2) g g
//   w = w - (lr / (1 - beta1^t)) m / (sqrt(v) / sqrt(1 - beta2^t) + eps)
//
// w, m, v [count] are updated; g [count]. t >= 1 counts this step. None may overlap.
struct cpu_adam {
    double lr, beta1, beta2, eps;
    int64_t t;
};

void cpu_adam(const struct cpu_adam *a, size_t count, const float *g, float *w, float *m, float *v);

// y = a x + b y in float.
void cpu_blend(size_t count, float a, const float *x, float b, float *y);

// False if x holds an infinity or a NaN.
bool cpu_all_finite(size_t count, const float *x);

#endif
