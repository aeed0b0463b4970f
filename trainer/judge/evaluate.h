// evaluate - how good the generators are, judged on held-out pictures without a learned network.
//
// Per direction: the sliced Wasserstein distance (swd.h) between the fakes and what they imitate,
// which compares sets, not pairs; how well a picture survives the way there and back; how much the
// fakes differ from each other (diversity.h); and where the data are pairs, each fake beside its
// true picture (judge/pair_scores.h). Same weights, pictures and seed, same numbers.
#ifndef EVALUATE_H
#define EVALUATE_H

#include <stdbool.h>

#include "judge/held_out.h"
#include "models/model.h"

// Of one generator, x being a picture it reads and y one of the domain it writes. NaN: there is no
// such number.
struct evaluate_scores {
    double distance;               // G(x) from y; 0 is the same set
    double identity;               // x from y: a generator that changes nothing
    double cycle_l1, cycle_ssim;   // the other generator's G'(G(x)) beside x
    double diversity, of_imitated; // of G(x); of y
    double l1, ssim, psnr;         // G(x) beside its true picture; means over the pairs
};

struct evaluate_options {
    int pictures; // of each domain, at most
    uint64_t seed;
    bool paired;        // held-out picture i of A belongs to picture i of B
    const bool *stop;   // looked at before each picture
    const char *folder; // where PNGs of reals and fakes are written; NULL: nowhere
};

// Fills the scores of net 0, A to B, and of net 1 if there is one. Fakes there and back go through
// bytes, as a user's would.
// ERR_SHAPE: the pictures differ in size or have fewer than 16 pixels on a side; ERR_DEVICE_LOST;
// ERR_STOPPED; ERR_IO, ERR_SPACE.
int evaluate(struct model *m, const struct held_out *held, const struct evaluate_options *options,
             struct evaluate_scores ret_scores[2]);

// Diversity of the fakes as a share of that of the pictures they imitate; NaN if there is none.
double evaluate_diversity_share(const struct evaluate_scores *s);

// One number for a checkpoint, lower is better: the mean over the generators of distance / identity
// or, with pairs, of l1. Up to 2 directions.
double evaluate_total(const struct evaluate_scores *s, int n, bool paired);

#endif
