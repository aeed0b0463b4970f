// look - a quick look at the images, for what settings and sizes decide together. It reads headers
// only.
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/util.h"
#include "ctl/ctl.h"
#include "image/image.h"

enum { FILES_MAX = 2000, HEADER_BYTES = 1 << 16 };

// nftw passes no context, so the look of one folder is global to this file.
static struct look {
    const struct config_curator *curator;
    int files;
    double unit;       // width that images are scaled to; 0: they keep their size
    double w, h;       // of the first image
    char *first, *odd; // the first image; one whose size differs
} look;

// Rounding to multiples of 4 may make one size of two that are nearer than this.
static bool differ(double a, double b) {
    return a > b ? a - b >= 4 : b - a >= 4;
}

static bool probe(const char *path, struct image_info *ret_info) {
    static uint8_t bytes[HEADER_BYTES];
    FILE *f = fopen(path, "re");
    if (!f)
        return false;
    size_t size = fread(bytes, 1, sizeof bytes, f);
    (void)fclose(f); // read only
    return image_probe(path, bytes, size, &image_default_limits, ret_info) == ERR_OK;
}

static int look_at(const char *path, const struct stat *st, int kind, struct FTW *ftw) {
    struct image_info info;
    if (kind != FTW_F || look.odd)
        return 0;
    if (++look.files > FILES_MAX)
        return 1; // ends the walk
    if (!probe(path, &info))
        return 0; // not an image
    if (MIN(info.w, info.h) < look.curator->min_side ||
        MAX(info.w, info.h) > look.curator->max_side)
        return 0; // left out
    double w = look.unit > 0 ? look.unit : info.w;
    double h = look.unit > 0 ? look.unit * info.h / info.w : info.h;
    if (!look.first) {
        look.first = xstrdup(path);
        look.w = w;
        look.h = h;
    } else if (differ(w, look.w) || differ(h, look.h))
        look.odd = xstrdup(path);
    return 0;
}

// Other curators, patterns and limits choose by rules that no look at sizes can follow.
static bool takes_all(const struct config_curator *k) {
    return strcmp(k->use, "folder") == 0 && !*k->include && !*k->exclude && !k->limit;
}

int look_at_images(const struct config *c) {
    const struct config_loader *l = &c->loader;
    bool scales = strcmp(l->preprocess, "scale_width") == 0;
    if (!scales && strcmp(l->preprocess, "none") != 0)
        return ERR_OK; // one size comes out, or the images decide as the loader says
    if (c->pool.pool_size == 0 && l->batch_size == 1)
        return ERR_OK;
    int err = ERR_OK;
    for (int d = 0; d < 2 && !err; d++) {
        if (!takes_all(&c->curator[d]))
            continue;
        look = (struct look){.curator = &c->curator[d], .unit = scales ? (double)l->load_size : 0};
        (void)nftw(c->curator[d].root, look_at, 16,
                   0); // follows links, leaves out what it cannot read
        if (look.odd)
            err = err_set(ERR_DATA,
                          "loader.preprocess = \"%s\" with images of several sizes, as '%s' and "
                          "'%s': set pool.pool_size = 0 and loader.batch_size = 1, or a preprocess "
                          "that gives one size",
                          l->preprocess, look.first, look.odd);
        free(look.first);
        free(look.odd);
    }
    return err;
}
