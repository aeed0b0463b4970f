#include "image/settings.h"

#include <string.h>

static bool is(const char *word, const char *wanted) {
    return word && strcmp(word, wanted) == 0;
}

struct image_how image_settings_how(const struct config_loader *loader, int64_t max_pixels) {
    struct image_how how = {.limits = image_default_limits};
    how.limits.max_pixels = max_pixels;
    if (!loader)
        return how;
    how.apply_exif = is(loader->exif, "apply");
    how.alpha_on_white = is(loader->alpha, "white");
    how.keep_truncated = is(loader->truncated, "keep");
    return how;
}
