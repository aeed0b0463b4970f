// check - bounds on size and looks that every picture has to keep, whatever its kind.
//
//   reason      value (unit)                                             setting
//   small       shorter side (pixels)                                    min_side
//   large       longer side                                              max_side
//   narrow      width / height                                           min_aspect
//   wide        width / height                                           max_aspect
//   grayscale   chroma, 0..255 (stats.h)                                 min_chroma
//   dark        luma, 0..255                                             min_luma
//   bright      luma                                                     max_luma
//   flat        contrast, 0..127; entropy, 0..8 bits                     min_contrast, min_entropy
//   blurred     sharpness: variance of the Laplacian (stats_reduce)      min_sharpness
//
// A bound of 0 is none. The first in this order that does not hold is the reason.
#ifndef CHECK_H
#define CHECK_H

#include "config/config.h"
#include "pictures/picture.h"

#define CHECK_BORDER 0.1 // of a bound: this near to it is borderline

struct check {
    const char *reason, *value_name, *setting;
    bool is_max; // a bound above; else below
    double (*value)(const struct picture *p, const struct image_stats *stats);
    double (*bound)(const struct config_curator *settings);
};

extern const struct check checks[];
extern const int check_count;

// Rejects a known picture outside the bounds. Of a pair in one file both halves are looked at, each
// with its own domain's bounds, so that both domains decide alike; the other half's fault has a
// reason that begins with "partner_".
//   other  the other domain's settings for a half; else NULL
void check_picture(const struct config_curator *settings, const struct config_curator *other,
                   struct picture *p);

// Rejects a picture as `smaller_than_crop` that has no room for a crop, where the loader does not
// resize first (preprocess = crop). reading: the loader's settings; NULL: no crop.
void check_crop(const struct config_loader *reading, struct picture *p);

// The check whose bound the known picture is nearest to, NULL if no bound is set.
//   ret_margin  |value - bound| / bound
const struct check *check_nearest(const struct config_curator *settings, const struct picture *p,
                                  double *ret_margin);

#endif
