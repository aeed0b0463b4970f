#include "nets/penalty.h"

#include "base/err.h"

int penalty_append(struct graph *g, const struct net *discriminator, int x, double scale,
                   double *ret_loss, int *ret_g) {
    int begin = graph_n_ops(g), map, err;

    graph_require_gradient(g, x);
    err = net_forward(discriminator, g, x, NET_THROUGH, &map);
    if (err)
        return err;
    graph_sum(g, map);
    graph_backward_since(g, begin);
    *ret_g = graph_gradient(g, x);
    graph_forget_gradient(g, x);

    int u = graph_penalty(g, *ret_g, scale, ret_loss);
    begin = graph_n_ops(g);
    err = net_forward_along(discriminator, g, x, u, &map);
    if (err)
        return err;
    graph_sum(g, map);
    graph_backward_since(g, begin);
    return ERR_OK;
}
