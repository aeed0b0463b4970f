// The formulas of schedule.h, one case each.
#include "training/schedule.h"

#include <math.h>
#include <string.h>

#include "base/err.h"
#include "base/util.h"
#include "checkpoint/plateau.h"

static const char *const policies[] = {"linear", "step", "cosine", "plateau"};
static const char *const variants[] = {"none", "REF22", "REF25"};

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
    return err_set(ERR_CONFIG, "schedule variant \"%s\": none, REF22 or REF25", text);
}

// Drops of the reference's plateau scheduler, which always sees the metric 0: the first value is
// the best, and every 6 later ones cause a drop.
static uint64_t drops_of_zero(int steps) {
    return steps > 1 ? (uint64_t)(steps - 1) / 6 : 0;
}

bool schedule_follows(const struct schedule *s) {
    return s->policy == SCHEDULE_PLATEAU && s->variant == SCHEDULE_OWN;
}

double schedule_lr(const struct schedule *s, int epoch, uint64_t drops) {
    // REF22 stepped its scheduler at the start of an epoch, so k is one more.
    int k = epoch - s->epoch_count + (s->variant == SCHEDULE_REF22);
    int over = MAX(0, k + s->epoch_count - s->n_epochs);
    // The reference divides by n_epochs alone and climbs again afterwards.
    int period = MAX(s->n_epochs + (s->variant == SCHEDULE_OWN ? s->n_epochs_decay : 0), 1);

    switch (s->policy) {
    case SCHEDULE_LINEAR:
        // The + 1 keeps the last epoch above 0.
        return s->lr * (1 - (double)over / (s->n_epochs_decay + 1));
    case SCHEDULE_STEP: {
        int falls = k / s->lr_decay_iters;
        return s->lr * pow(0.1, falls);
    }
    case SCHEDULE_COSINE:
        return s->lr * (1 + cos(M_PI * k / period)) / 2;
    case SCHEDULE_PLATEAU:
        return plateau_lr(s->lr, s->variant == SCHEDULE_OWN ? drops : drops_of_zero(k));
    }
    BUG("schedule policy %d", s->policy);
}
