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
    if (!p->epochs++ || mean < p->best * (1 - THRESHOLD)) {
        p->best = mean;
        p->bad = 0;
        return;
    }
    if (++p->bad > PATIENCE) {
        p->bad = 0;
        p->drops++;
    }
}

void plateau_end_epoch(struct plateau *p) {
    if (p->values)
        count_epoch(p, p->sum / (double)p->values);
    p->values = 0;
    p->sum = 0;
}

double plateau_lr(double lr, uint64_t drops) {
    for (uint64_t i = 0; i < drops && lr - FACTOR * lr > LEAST_DROP; i++)
        lr *= FACTOR;
    return lr;
}
