// An exponential moving average of the generators' weights: less noisy than the weights themselves,
// which an adversary pushes about. Source: Yazici et al. 2019 (arXiv:1806.04498).
//
//   average = ema average + (1 - ema) weights       after each update, from the first weights on
//
// Running statistics are those of the trained net.
#include <string.h>

#include "base/err.h"
#include "models/recipe.h"

static const char *const names[] = {"G_A" MODEL_AVERAGE, "G_B" MODEL_AVERAGE};

static bool is_wanted(const struct model *m) {
    return m->settings.ema > 0;
}

int model_n_averages(const struct model *m) {
    return is_wanted(m) ? m->recipe->n_generators : 0;
}

// Places the twins as optimizer_g places what they average; its other nets leave gaps.
static size_t reserve_as_optimizer(struct model *m) {
    size_t size = 0;

    for (int i = 0; i < m->recipe->n_with_g; i++)
        // One layout for both buffers, so that a single blend moves all averages.
        net_reserve(i < m->recipe->n_generators ? m->averages[i] : m->nets[i], &size);
    return size;
}

static struct model_net describe_average(const struct model *m, int i) {
    struct model_net net = {
        .name = m->recipe->n_generators == 1 ? "G" MODEL_AVERAGE : names[i],
        .n_params = net_n_params(m->averages[i]),
        .params = net_params(m->averages[i]),
    };

    for (int k = 0; k < net.n_params; k++)
        net.params[k].m = net.params[k].v = NULL; // an average has no moments
    return net;
}

int model_average_new(struct model *m) {
    if (!is_wanted(m))
        return ERR_OK;
    for (int i = 0; i < m->recipe->n_generators; i++)
        m->averages[i] = net_twin(m->nets[i]);
    int err = optimizer_init_weights(&m->average, m->device, reserve_as_optimizer(m));
    for (int i = 0; i < m->recipe->n_generators && !err; i++) {
        err = net_bind(m->averages[i], &m->average);
        m->public_nets[m->recipe->n_nets + i] = describe_average(m, i);
    }
    return err;
}

void model_average_fini(struct model *m) {
    for (int i = 0; i < GENERATORS_MAX; i++)
        net_free(m->averages[i]);
    optimizer_fini(&m->average);
}

int model_average_pull(struct model *m) {
    for (int i = 0; i < model_n_averages(m); i++)
        net_copy_statistics(m->averages[i], m->nets[i]);
    return is_wanted(m) ? optimizer_pull(&m->average) : ERR_OK;
}

int model_average_push(struct model *m) {
    // The push refreshes the packed copies too.
    m->average_moved = false;
    return is_wanted(m) ? optimizer_push(&m->average) : ERR_OK;
}

void model_average_start(struct model *m) {
    if (is_wanted(m))
        // The generators come first in optimizer_g, and both buffers have one layout.
        memcpy(m->average.host.w, m->optimizer_g.host.w, m->average.count * sizeof(float));
}

int model_average_move(struct model *m) {
    if (!is_wanted(m))
        return ERR_OK;
    return m->device->backend->blend(m->device, m->average.count, 1 - m->settings.ema,
                                     m->optimizer_g.w, m->settings.ema, m->average.w);
}

const struct net *model_generator(const struct model *m, int i) {
    return is_wanted(m) ? m->averages[i] : m->nets[i];
}

int model_generator_refresh(struct model *m) {
    if (!is_wanted(m))
        return ERR_OK; // the update did
    if (!m->average_moved)
        return ERR_OK;
    m->average_moved = false;
    return optimizer_refresh(&m->average);
}
