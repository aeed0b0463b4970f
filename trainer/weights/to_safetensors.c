// Streams a net into a safetensors file: each tensor is read, written and freed in turn.
#include "weights/to_safetensors.h"

#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/util.h"
#include "weights/safetensors.h"

struct conversion {
    struct weights *from;
    const struct safetensor *tensors;
    void *data; // of the current tensor
};

static int read_next(void *context, int i, const void **ret_data) {
    struct conversion *r = context;
    const struct weights_tensor *t = weights_find(r->from, r->tensors[i].name);
    bool integers = r->tensors[i].type == SAFETENSORS_I64;
    free(r->data);
    // One byte more, since malloc(0) may return NULL for an empty tensor.
    r->data = xmalloc(t->count * (integers ? sizeof(int64_t) : sizeof(float)) + 1);
    int err =
        integers ? weights_read_integers(r->from, t, r->data) : weights_read(r->from, t, r->data);
    *ret_data = r->data;
    return err;
}

int weights_to_safetensors(struct weights *w, const struct recognised *r, const char *path) {
    struct net_options options = recognised_options(r);
    struct net *net;
    int err = r->role == RECOGNISED_GENERATOR ? generator_new(&options, &net)
                                              : discriminator_new(&options, &net);
    if (err)
        return err;
    int n = net_n_params(net);
    struct safetensor *tensors = xcalloc((size_t)n + 1, sizeof *tensors);
    struct conversion context = {.from = w, .tensors = tensors};
    for (int i = 0; i < n; i++) {
        const struct model_param *p = &net_params(net)[i];
        tensors[i] = (struct safetensor){.name = p->key, .rank = p->rank};
        // PyTorch's num_batches_tracked is an int64; everything else is float32.
        tensors[i].type = p->kind == PARAM_BATCHES ? SAFETENSORS_I64 : SAFETENSORS_F32;
        memcpy(tensors[i].dims, p->dims, sizeof tensors[i].dims);
    }
    struct model_net all = {.name = r->arch, .n_params = n, .params = net_params(net)};
    // Checked before the file is created: read_next relies on every tensor being there.
    err = weights_fit(w, &all);
    if (!err)
        err = safetensors_write_from(path, tensors, n, read_next, &context);
    free(context.data);
    free(tensors);
    net_free(net);
    return err;
}
