// schedule - the learning rate of an epoch.
//
// With e the epoch (from 1) and k = e - epoch_count:
//   linear   1 - max(0, e - n_epochs) / (n_epochs_decay + 1)
//   step     0.1^floor(k / lr_decay_iters), in epochs
//   cosine   (1 + cos(pi k / (n_epochs + n_epochs_decay))) / 2
//   plateau  0.2^drops, see plateau.h
// No epoch has rate 0. The public reference differs, before (REF22) and after (REF25) its rewrite
// of 2025. It stepped its scheduler at the start of an epoch, then at the end: REF22 has k one
// more, and in `linear` e one more, so that the last epoch has rate 0. In both `cosine` divides by
// n_epochs alone, so that it climbs again afterwards, and `plateau` is fed a constant 0: the rate
// falls every 6 epochs.
#ifndef SCHEDULE_H
#define SCHEDULE_H

#include <stdbool.h>
#include <stdint.h>

enum schedule_policy { SCHEDULE_LINEAR, SCHEDULE_STEP, SCHEDULE_COSINE, SCHEDULE_PLATEAU };
enum schedule_variant { SCHEDULE_OWN, SCHEDULE_REF22, SCHEDULE_REF25 };

struct schedule {
    enum schedule_policy policy;
    enum schedule_variant variant;
    int n_epochs, n_epochs_decay; // epochs at the full rate, epochs of decay
    int epoch_count;              // the first epoch of this training, >= 1
    int lr_decay_iters;           // SCHEDULE_STEP only, >= 1
    double lr;                    // the full rate
};

// "linear", "step", "cosine", "plateau". Fails with ERR_CONFIG.
int schedule_policy_parse(const char *text, enum schedule_policy *ret_policy);

// "none" (SCHEDULE_OWN), "REF22", "REF25". Fails with ERR_CONFIG.
int schedule_variant_parse(const char *text, enum schedule_variant *ret_variant);

// Whether the rate follows a metric.
bool schedule_follows(const struct schedule *s);

// The rate used during epoch `epoch` >= epoch_count, after so many drops (plateau.h; only
// SCHEDULE_OWN reads them).
double schedule_lr(const struct schedule *s, int epoch, uint64_t drops);

#endif
