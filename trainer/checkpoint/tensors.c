// Describes parameters and Adam's moments as tensors of files, for writing and for reading alike.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/util.h"
#include "checkpoint/parts.h"

struct safetensor checkpoint_tensor(const struct model_param *p, const char *name,
                                    const void *data) {
    struct safetensor t = {.name = name, .rank = p->rank, .data = data};

    // num_batches_tracked: one int64, with no fp32 values.
    if (p->kind == PARAM_BATCHES) {
        t.type = SAFETENSORS_I64;
        t.data = p->batches;
    }
    memcpy(t.dims, p->dims, sizeof t.dims);
    return t;
}

void checkpoint_net_file(const struct model_net *net, char ret[64]) {
    if (snprintf(ret, 64, "%s.safetensors", net->name) >= 64)
        BUG("net name '%s'", net->name);
}

struct safetensor *checkpoint_optimizer_tensors(struct model_net *const *nets, int n_nets,
                                                int *ret_n) {
    struct safetensor *tensors = NULL;
    int n = 0;

    for (int k = 0; k < n_nets; k++) {
        const struct model_net *net = nets[k];

        // At most two moments for each parameter, and the net's step count.
        tensors = xrealloc(tensors, (size_t)(n + 2 * net->n_params + 1) * sizeof *tensors);
        if (net->adam_steps)
            tensors[n++] = (struct safetensor){.name = xasprintf("adam.t.%s", net->name),
                                               .type = SAFETENSORS_I64,
                                               .data = net->adam_steps};
        for (int i = 0; i < net->n_params; i++) {
            const struct model_param *p = &net->params[i];

            // Fixed filters and running statistics are not optimized.
            if (!p->m)
                continue;
            tensors[n++] = checkpoint_tensor(p, xasprintf("adam.m.%s.%s", net->name, p->key), p->m);
            tensors[n++] = checkpoint_tensor(p, xasprintf("adam.v.%s.%s", net->name, p->key), p->v);
        }
    }
    *ret_n = n;
    return tensors;
}

void checkpoint_free_tensors(struct safetensor *tensors, int n) {
    for (int i = 0; i < n; i++)
        free((char *)tensors[i].name);
    free(tensors);
}
