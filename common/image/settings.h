// settings - turns a run's settings into options of the decoder. Curators and loaders both use it,
// so that curators inspect the same pixels as the loaders decode.
#ifndef IMAGE_SETTINGS_H
#define IMAGE_SETTINGS_H

#include "config/config.h"
#include "image/image.h"

// Takes loader.exif, alpha and truncated; the limits are the defaults except max_pixels. fit_w and
// fit_h are 0: full size. `loader` NULL, or texts of it that are NULL: as the reference does.
struct image_how image_settings_how(const struct config_loader *loader, int64_t max_pixels);

#endif
