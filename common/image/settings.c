// Short, and apart from decode.c: the decoder itself knows no settings.
#include "image/settings.h"

#include <string.h>

static bool is_equal(const char *word, const char *wanted) {
    return word && strcmp(word, wanted) == 0;
}

struct image_how image_settings_how(const struct config_loader *loader, int64_t max_pixels) {
    struct image_how how = {.limits = image_default_limits};
    how.limits.max_pixels = max_pixels;
    if (!loader)
        return how;
    how.apply_exif = is_equal(loader->exif, "apply");
    how.alpha_on_white = is_equal(loader->alpha, "white");
    how.keep_truncated = is_equal(loader->truncated, "keep");
    return how;
}
