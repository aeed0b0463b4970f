// The gradient penalty of gan_mode wgangp, as a recipe's discriminator gets it.
//
//   x = alpha real + (1 - alpha) fake, alpha uniform in [0,1) for each image
//
// A conditional discriminator reads x behind the image of A. nets/penalty.h has the penalty itself.
// Source: Gulrajani et al. 2017 (arXiv:1704.00028).
#include <stdlib.h>

#include "base/err.h"
#include "base/rng.h"
#include "base/util.h"
#include "models/recipe.h"
#include "nets/penalty.h"

int model_add_penalty(struct model *m, struct tape *t, const struct net *discriminator,
                      enum model_domain domain) {
    int front = m->recipe->conditional ? t->real[MODEL_A] : -1, ignored;
    struct graph_size real = graph_size(t->graph, t->real[domain]);
    struct graph_size fake = graph_size(t->graph, t->pooled[domain]);
    void *alpha;

    if (!m->penalized)
        return ERR_OK;
    if (real.h != fake.h || real.w != fake.w)
        return err_set(ERR_SHAPE,
                       "fakes of %dx%d, real pictures of %dx%d: gan_mode wgangp mixes the two, so "
                       "they need one size",
                       fake.w, fake.h, real.w, real.h);
    int err = m->device->backend->memory_new(m->device, (size_t)real.n * sizeof(float), &alpha);
    if (err)
        return err;
    // model_step_fini frees it, also after a failure below.
    t->alpha[domain] = alpha;
    t->mixed[domain] = graph_input(t->graph, real.n, real.h, real.w,
                                   real.c + (front < 0 ? 0 : graph_size(t->graph, front).c));
    graph_mix(t->graph, front, t->real[domain], t->pooled[domain], t->alpha[domain],
              t->mixed[domain]);
    return penalty_append(t->graph, discriminator, t->mixed[domain], m->settings.lambda_gp,
                          &t->penalty[domain], &ignored);
}

int model_draw_penalty(struct model *m, enum model_domain domain) {
    int n = m->tape->shape.n;
    // Drawn on the host, so that every device mixes the same images.
    float *alpha = xcalloc((size_t)n, sizeof *alpha);

    for (int i = 0; i < n; i++)
        alpha[i] =
            (float)rng_uniform(m->seed, RNG_PENALTY, m->step, (uint32_t)domain << 16 | (uint32_t)i);
    int err = m->device->backend->copy_in(m->device, m->tape->alpha[domain], alpha,
                                          (size_t)n * sizeof *alpha);
    free(alpha);
    return err;
}
