// settings - how the settings of a run say that images are decoded. Curators judge what
// the loaders decode, so both ask here.
#ifndef IMAGE_SETTINGS_H
#define IMAGE_SETTINGS_H

#include "config/config.h"
#include "image/image.h"

// loader.exif, alpha and truncated, and the default limits but for max_pixels. In full size:
// whether and to what an image may be decoded smaller is the loader's business.
// `loader` NULL, or words that are NULL: as the reference.
struct image_how image_settings_how(const struct config_loader *loader, int64_t max_pixels);

#endif
