// schedule - the learning rate of an epoch.
//
// With e the epoch (from 1), k = e - epoch_count + 1 (REF22) or e - epoch_count (REF25):
//   linear   1 - max(0, k + epoch_count - n_epochs) / (n_epochs_decay + 1); under REF22 the last
//            epoch has rate 0
//   step     0.1^floor(k / lr_decay_iters), in epochs
//   cosine   (1 + cos(pi k / n_epochs)) / 2; climbs again after n_epochs
//   plateau  what a reduce-on-plateau rule with factor 0.2, patience 5 makes of a metric that is
//            always 0: times 0.2 every 6 epochs, until a drop would be below 1e-8
// The two variants are the public reference before and after its 2025 rewrite: it stepped its
// scheduler at the start of an epoch, then at the end.
#ifndef SCHEDULE_H
#define SCHEDULE_H

enum schedule_policy { SCHEDULE_LINEAR, SCHEDULE_STEP, SCHEDULE_COSINE, SCHEDULE_PLATEAU };
enum schedule_variant { SCHEDULE_REF22, SCHEDULE_REF25 };

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

// "REF22", "REF25". Fails with ERR_CONFIG.
int schedule_variant_parse(const char *text, enum schedule_variant *ret_variant);

// The rate used during epoch `epoch` >= epoch_count.
double schedule_lr(const struct schedule *s, int epoch);

#endif
