// evaluate - how far the fakes are from what they imitate, in one number a direction.
//
// Sliced Wasserstein distance (swd.h) on held-out pictures. It compares sets, not pairs: lower is
// nearer, 0 is the same set. Where the data are pairs, also each fake against its true picture
// (pairs.h). Same weights, pictures and seed, same numbers.
#ifndef EVALUATE_H
#define EVALUATE_H

#include <stdbool.h>

#include "held_out.h"
#include "model.h"

struct evaluate_scores {
    double a_to_b; // G_A(real_A) from real_B
    double b_to_a; // G_B(real_B) from real_A; 0 if there is no G_B
    // The same of generators that change nothing: the scale to read the two above by.
    double a_to_b_identity; // real_A from real_B
    double b_to_a_identity; // real_B from real_A
    // Means over the pairs of what net G_A and net G_B made; NaN without pairs or without G_B, and
    // ssim also below its least side.
    double l1[2], ssim[2];
};

struct evaluate_options {
    int pictures; // of each domain, at most
    uint64_t seed;
    bool paired;      // held-out picture i of A belongs to picture i of B
    const bool *stop; // looked at before each picture
};

// ERR_SHAPE: the pictures differ in size or have fewer than 16 pixels on a side; ERR_DEVICE_LOST;
// ERR_STOPPED.
int evaluate(struct model *m, const struct held_out *held, const struct evaluate_options *options,
             struct evaluate_scores *ret_scores);

#endif
