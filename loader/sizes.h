// sizes - whether the images that a run will train on fit together, by their sizes alone.
#ifndef SIZES_H
#define SIZES_H

#include "config/config.h"
#include "manifest.h"

// A batch, and a slot of the pool, holds images of one size. Where `preprocess` does not give one,
// the manifests of sides A and B tell before the first step. Not checked with loader.exif =
// "apply", since the manifest has the sizes as stored.
//
// ERR_DATA names two files of different sizes, and the setting.
int sizes_check(const struct config *c, struct manifest *const manifests[2]);

#endif
