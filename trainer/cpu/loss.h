// loss - the losses of the CPU: entries of struct backend, which has shapes and formulas.
//
// Sums are taken in double, in an order that the shape fixes: the bits do not depend on the number
// of OpenMP threads. Nothing is allocated or kept.
#ifndef CPU_LOSS_H
#define CPU_LOSS_H

#include "backend/backend.h"

int cpu_l1(struct device *d, const struct l1_args *args, const void *a, const void *b,
           void *ret_grad, double *ret_loss);
int cpu_gan(struct device *d, const struct gan_args *args, const void *x, void *ret_grad,
            double *ret_loss);
// ret_u is in float. Lengths are in double, because PENALTY_EPS would vanish in a float sum.
int cpu_penalty(struct device *d, const struct penalty_args *args, const void *g, void *ret_u,
                double *ret_loss);

#endif
