// Loading a file into a net.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/util.h"
#include "weights/weights.h"

#define FIXED_TOLERANCE                                                                            \
    1e-3f // the values are multiples of 1/16; float16 keeps them to this tolerance

// "[64,3,7,7]"
static const char *shape_text(int rank, const int64_t *dims, char ret[96]) {
    int n = snprintf(ret, 96, "[");
    for (int i = 0; i < rank; i++)
        n += snprintf(ret + n, 96 - (size_t)n, "%s%lld", i ? "," : "", (long long)dims[i]);
    (void)snprintf(ret + n, 96 - (size_t)n, "]"); // 4 numbers of 20 digits fit
    return ret;
}

static int check_param(const struct weights *w, const char *net, const struct model_param *p) {
    const struct weights_tensor *t = weights_find(w, p->key);
    char there[96], here[96];
    if (!t)
        return err_set(ERR_MISMATCH, "'%s' does not fit %s: it has no %s", weights_path(w), net,
                       p->key);
    if (t->rank != p->rank || memcmp(t->dims, p->dims, (size_t)p->rank * sizeof *p->dims) != 0)
        return err_set(ERR_MISMATCH, "'%s' does not fit %s: %s is %s there and %s here",
                       weights_path(w), net, p->key, shape_text(t->rank, t->dims, there),
                       shape_text(p->rank, p->dims, here));
    // Only num_batches_tracked is an integer; a cast would hide a wrong file.
    if ((t->type == WEIGHTS_I64) != (p->kind == PARAM_BATCHES))
        return err_set(ERR_MISMATCH, "'%s' does not fit %s: %s is of another type", weights_path(w),
                       net, p->key);
    return ERR_OK;
}

static bool is_of_net(const struct model_net *net, const char *name) {
    for (int i = 0; i < net->n_params; i++)
        if (strcmp(net->params[i].key, name) == 0)
            return true;
    return false;
}

int weights_fit(const struct weights *w, const struct model_net *net) {
    for (int i = 0; i < net->n_params; i++) {
        int err = check_param(w, net->name, &net->params[i]);
        if (err)
            return err;
    }
    // The other direction: PyTorch's strict=True refuses unknown tensors too.
    for (int i = 0; i < weights_count(w); i++)
        if (!is_of_net(net, weights_at(w, i)->name))
            return err_set(ERR_MISMATCH, "'%s' does not fit %s: that has no %s", weights_path(w),
                           net->name, weights_at(w, i)->name);
    return ERR_OK;
}

// A fixed filter is not loaded: a file with other values belongs to another net.
static int check_fixed(struct weights *w, const struct weights_tensor *t,
                       const struct model_param *p) {
    float *there = xmalloc(p->count * sizeof *there + 1);
    int err = weights_read(w, t, there);
    for (size_t i = 0; i < p->count && !err; i++)
        if (fabsf(there[i] - p->w[i]) > FIXED_TOLERANCE)
            err =
                err_set(ERR_MISMATCH, "'%s': %s is another filter than [1,2,1] and [1,3,3,1] give",
                        weights_path(w), t->name);
    free(there);
    return err;
}

int weights_load(struct weights *w, struct model_net *net) {
    // All names and shapes are checked before the first value of the net changes.
    int err = weights_fit(w, net);
    for (int i = 0; i < net->n_params && !err; i++) {
        const struct model_param *p = &net->params[i];
        const struct weights_tensor *t = weights_find(w, p->key);
        if (p->kind == PARAM_BATCHES)
            err = weights_read_integers(w, t, p->batches);
        else
            err = p->kind == PARAM_FIXED ? check_fixed(w, t, p) : weights_read(w, t, p->w);
    }
    return err;
}
