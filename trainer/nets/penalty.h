// penalty - the gradient penalty of Wasserstein GANs (Gulrajani et al. 2017, arXiv:1704.00028).
//
//   loss = scale mean over n of (|g_n + 1e-16| - 1)^2,   g = d sum(D(x)) / d x
//
// Its gradient by D's parameters p needs no second backward pass: with u = d loss / d g held fixed,
// d loss / d p = d <g, u> / d p, and <g, u> is the derivative of sum(D(x)) along u. So the tape has
// D forward, D backward to x, u, D's derivative along u, and that one's backward.
#ifndef PENALTY_H
#define PENALTY_H

#include "graph/graph.h"
#include "nets/nets.h"

// Appends all of it for x, an input without gradient; d loss / d parameters is added to what an
// earlier op of the tape has left. ret_g: g, [n,h,w,c]; kept only if graph_keep is called. Fails
// with ERR_SHAPE, ERR_DEVICE.
int penalty_append(struct graph *g, const struct net *discriminator, int x, double scale,
                   double *ret_loss, int *ret_g);

#endif
