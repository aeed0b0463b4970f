#include "schedule.h"

#include <math.h>
#include <string.h>

#include "err.h"
#include "util.h"

static const char *const policies[] = {"linear", "step", "cosine", "plateau"};
static const char *const variants[] = {"REF22", "REF25"};

int schedule_policy_parse(const char *text, enum schedule_policy *ret_policy) {
    for (unsigned i = 0; i < COUNT(policies); i++)
        if (strcmp(text, policies[i]) == 0) {
            *ret_policy = (enum schedule_policy)i;
            return ERR_OK;
        }
    return err_set(ERR_CONFIG, "lr_policy \"%s\": linear, step, cosine or plateau", text);
}

int schedule_variant_parse(const char *text, enum schedule_variant *ret_variant) {
    for (unsigned i = 0; i < COUNT(variants); i++)
        if (strcmp(text, variants[i]) == 0) {
            *ret_variant = (enum schedule_variant)i;
            return ERR_OK;
        }
    return err_set(ERR_CONFIG, "schedule variant \"%s\": REF22 or REF25", text);
}

// The first metric is the best and the next 6 are bad: more than 5 bad ones make a drop.
static double plateau_lr(double lr, int steps) {
    for (int i = 0; i < (steps - 1) / 6; i++)
        if (lr - 0.2 * lr > 1e-8)
            lr *= 0.2;
    return lr;
}

double schedule_lr(const struct schedule *s, int epoch) {
    int k = epoch - s->epoch_count + (s->variant == SCHEDULE_REF22);

    switch (s->policy) {
    case SCHEDULE_LINEAR: {
        int over = MAX(0, k + s->epoch_count - s->n_epochs);
        return s->lr * (1 - (double)over / (s->n_epochs_decay + 1));
    }
    case SCHEDULE_STEP: {
        int drops = k / s->lr_decay_iters;
        return s->lr * pow(0.1, drops);
    }
    case SCHEDULE_COSINE:
        return s->lr * (1 + cos(M_PI * k / s->n_epochs)) / 2;
    case SCHEDULE_PLATEAU:
        return plateau_lr(s->lr, k);
    }
    BUG("schedule policy %d", s->policy);
}
