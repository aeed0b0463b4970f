#include "sizes.h"

#include <string.h>

#include "base/err.h"
#include "base/util.h"
#include "preprocess.h"

// The size of a record as it is trained on. Two halves of one file are a pair.
static void trained_size(const struct config *c, enum preprocess p, bool halves,
                         const struct manifest_record *r, int *ret_w, int *ret_h) {
    int crop = (int)c->loader.crop_size;
    preprocess_scaled_size(p, halves ? r->w / 2 : r->w, r->h, (int)c->loader.load_size, crop, ret_w,
                           ret_h);
    // A side that is shorter than the crop stays as it is.
    if (p == PREPROCESS_CROP || p == PREPROCESS_SCALE_WIDTH_AND_CROP) {
        *ret_w = MIN(*ret_w, crop);
        *ret_h = MIN(*ret_h, crop);
    }
}

// Only what stands in the way of this run is named.
static const char *needed_settings(const struct config *c) {
    if (c->pool.pool_size <= 0)
        return "loader.batch_size = 1";
    return c->loader.batch_size > 1 ? "pool.pool_size = 0 and loader.batch_size = 1"
                                    : "pool.pool_size = 0";
}

static int check_side(const struct config *c, enum preprocess p, const struct manifest *m) {
    bool halves = strcmp(c->loader.dataset_mode, "aligned") == 0;
    int w = 0, h = 0;
    for (size_t i = 0; i < m->count; i++) {
        const struct manifest_record *r = &m->records[i];
        int to_w, to_h;
        trained_size(c, p, halves, r, &to_w, &to_h);
        if (i == 0) {
            w = to_w;
            h = to_h;
        } else if (to_w != w || to_h != h)
            return err_set(ERR_DATA,
                           "loader.preprocess = \"%s\" makes %dx%d of '%s' and %dx%d of '%s': set "
                           "%s, or a preprocess that gives one size",
                           c->loader.preprocess, w, h, m->records[0].path, to_w, to_h, r->path,
                           needed_settings(c));
    }
    return ERR_OK;
}

int sizes_check(const struct config *c, struct manifest *const manifests[2]) {
    enum preprocess p;
    bool one_size = c->pool.pool_size > 0 || c->loader.batch_size > 1;
    if (!one_size || strcmp(c->loader.exif, "apply") == 0 ||
        !preprocess_from_name(c->loader.preprocess, &p))
        return ERR_OK;
    for (int side = 0; side < 2; side++) {
        int err = check_side(c, p, manifests[side]);
        if (err)
            return err;
    }
    return ERR_OK;
}
