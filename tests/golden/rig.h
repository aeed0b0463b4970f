// rig - nets as golden files describe them.
#ifndef GOLDEN_RIG_H
#define GOLDEN_RIG_H

#include "golden/golden.h"
#include "nets/nets.h"

// Fails with ERR_CONFIG (the case is out of scope).
int golden_net_new(const struct json *net, struct net **ret_net);

// Fills parameters in state-dict order by the net's `base` and `wscale`.
void golden_net_fill(const struct json *net, int n_params, struct model_param *params);

// Check `buffer`: a running statistic.
void golden_check_buffer(struct golden_case *j, const struct json *check, int n_params,
                         const struct model_param *params);

#endif
