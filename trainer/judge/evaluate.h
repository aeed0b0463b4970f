// evaluate - scores of the generators on held-out images, without a learned network.
//
// For each direction: the sliced Wasserstein distance (swd.h) between the set of fakes and the set
// of images they imitate; the error of an image after translation there and back; the diversity of
// the fakes (diversity.h); and with paired data each fake compared with its true image
// (pair_scores.h). The same weights, images and seed give the same numbers.
#ifndef EVALUATE_H
#define EVALUATE_H

#include <stdbool.h>

#include "judge/held_out.h"
#include "models/model.h"

// Scores of one generator G. x is its input, y an image of the domain it translates to. NaN: not
// available.
struct evaluate_scores {
    double distance;               // of the sets G(x) and y; 0: equal
    double identity;               // of x and y: that of a generator that changes nothing
    double cycle_l1, cycle_ssim;   // of G'(G(x)) and x, with the other generator G'
    double diversity, of_imitated; // of G(x); of y
    double l1, ssim, psnr;         // of G(x) and its true image; means over the pairs
};

struct evaluate_options {
    int pictures; // of each domain, at most
    uint64_t seed;
    bool paired;        // held-out picture i of A belongs to picture i of B
    const bool *stop;   // checked before each image
    const char *folder; // PNGs of reals and fakes are written here; NULL: none are
};

// Computes the scores of net 0, A to B, and of net 1 if there is one. Fakes are rounded to bytes,
// as in files. ERR_SHAPE: the images differ in size or have a side below 16 pixels.
// ERR_DEVICE_LOST, ERR_STOPPED, ERR_IO, ERR_SPACE.
int evaluate(struct model *m, const struct held_out *held, const struct evaluate_options *options,
             struct evaluate_scores ret_scores[2]);

// Diversity of the fakes divided by that of the images they imitate. NaN if the latter is 0.
double evaluate_diversity_share(const struct evaluate_scores *s);

// The score of a checkpoint; lower is better. The mean over n generators of distance / identity, or
// with paired data of l1.
double evaluate_total(const struct evaluate_scores *s, int n, bool paired);

#endif
