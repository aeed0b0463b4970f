// PyTorch's ReduceLROnPlateau, mode min and relative threshold, with the values that pytorch-
// CycleGAN-and-pix2pix sets. LEAST_DROP is its `eps`.
#include "checkpoint/plateau.h"

#define FACTOR 0.2
#define THRESHOLD 0.01
#define PATIENCE 5
#define LEAST_DROP 1e-8

void plateau_note(struct plateau *p, double value) {
    p->values++;
    p->sum += value;
}

static void count_epoch(struct plateau *p, double mean) {
    // The first epoch has nothing to compare with and becomes the best.
    if (!p->epochs++ || mean < p->best * (1 - THRESHOLD)) {
        p->best = mean;
        p->bad = 0;
        return;
    }
    // The sixth bad epoch in a row lowers the rate, as PyTorch's `>` does.
    if (++p->bad > PATIENCE) {
        p->bad = 0;
        p->drops++;
    }
}

void plateau_end_epoch(struct plateau *p) {
    // An epoch without a value of the metric does not count as bad.
    if (p->values)
        count_epoch(p, p->sum / (double)p->values);
    p->values = 0;
    p->sum = 0;
}

double plateau_lr(double lr, uint64_t drops) {
    // PyTorch leaves the rate as it is when the change would be at most eps.
    for (uint64_t i = 0; i < drops && lr - FACTOR * lr > LEAST_DROP; i++)
        lr *= FACTOR;
    return lr;
}
