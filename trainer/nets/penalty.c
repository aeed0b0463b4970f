#include "nets/penalty.h"

#include "base/err.h"

// A file of its own, though short, because penalty.h explains what these few calls add up to.
int penalty_append(struct graph *g, const struct net *discriminator, int x, double scale,
                   double *ret_loss, int *ret_g) {
    int begin = graph_n_ops(g), map, err;

    // D forward, and backward to x alone: g = d sum(D(x)) / d x.
    graph_require_gradient(g, x);
    err = net_forward(discriminator, g, x, NET_THROUGH, &map);
    if (err)
        return err;
    // Without batch norm images do not mix: one backward gives each image's own gradient.
    graph_sum(g, map);
    graph_backward_since(g, begin);
    *ret_g = graph_gradient(g, x);
    graph_forget_gradient(g, x); // the second pass must not differentiate by x

    int u = graph_penalty(g, *ret_g, scale, ret_loss);
    // D's derivative along u, and its backward to the parameters.
    begin = graph_n_ops(g);
    err = net_forward_along(discriminator, g, x, u, &map);
    if (err)
        return err;
    graph_sum(g, map);
    graph_backward_since(g, begin);
    return ERR_OK;
}
