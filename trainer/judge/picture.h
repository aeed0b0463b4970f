// picture - one image through a trained generator.
#ifndef PICTURE_H
#define PICTURE_H

#include "image/image.h"
#include "models/model.h"

// ret = G(im) for an image of any size: reflected at the right and lower edge to a size that the
// nets take (a multiple of 4, at least 16), cut back afterwards. `channels` is what the generator
// gives. Fails as model_translate does.
int picture_translate(struct model *m, int net, int channels, const struct image *im,
                      struct image *ret_image);

#endif
