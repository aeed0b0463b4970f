// domain - what the kept pictures of a domain look like together, and how far two domains lie
// apart.
//
// Of the pictures to train on; each counts the same, whatever its size.
//
//   cyclegan-domain 1
//   manifest <digest>
//   pictures <n>
//   mean <image_stats>       means over the pictures of the doubles of image_stats, as %a
//   spread <image_stats>     their standard deviations
//   sides <3>                least, median and largest shorter side
//   aspects <3>              least, median and largest width / height
//   shares <32> x 4          of red, green, blue and luma: share of the pixels in each bin
//   digest <sha256>          of all lines above
#ifndef DOMAIN_H
#define DOMAIN_H

#include "curation/curation.h"

// How a number is distributed over the pictures of a curation.
struct spread {
    double *values; // ascending; owned
    size_t count;
};

// The values that `value` (NaN: none) takes on all pictures.
void spread_init(struct spread *ret, const struct curation *c,
                 double (*value)(const struct picture *));
void spread_fini(struct spread *s);

// The value that the share q (0: the least, 1: the largest) does not exceed; 0 of none.
double spread_quantile(const struct spread *s, double q);

// Everything that is compared; sides and aspects are minimum, median, maximum.
struct domain {
    // Hex digest of the manifest that these numbers belong to.
    char manifest[65];
    size_t pictures;
    struct image_stats mean, spread;
    double sides[3], aspects[3];
    double shares[STATS_CHANNELS][STATS_BINS];
};

// After a curation; `manifest` is its digest.
void domain_of(const struct curation *c, const char *manifest, struct domain *ret_domain);

// ERR_IO, ERR_SPACE.
int domain_save(const struct domain *d, const char *path);

// ERR_IO; ERR_FORMAT: not as it was written.
int domain_load(const char *path, struct domain *ret_domain);

// In levels of 255, of red, green, blue and luma.
//
//   earth    the earth mover's (first Wasserstein) distance of the two distributions of levels,
//            the integral of |F_a - F_b| (S. S. Vallender 1974); F is linear within a bin. It is
//            how far levels have to be moved on average to make one out of the other.
//   frechet  sqrt((m_a - m_b)^2 + (s_a - s_b)^2), the Frechet distance of two normal distributions
//            with the pixels' means and deviations (D. C. Dowson, B. V. Landau 1982)
//   colours  mean of earth over red, green and blue
struct domain_distance {
    double earth[STATS_CHANNELS], frechet[STATS_CHANNELS], colours;
};
void domain_distance(const struct domain *a, const struct domain *b,
                     struct domain_distance *ret_distance);

#endif
