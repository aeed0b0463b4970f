// gpu_steps - CycleGAN steps as the checks and measurements run them.
#ifndef GPU_STEPS_H
#define GPU_STEPS_H

#include "config/config.h"
#include "gpu/gpu_check.h"
#include "models/model.h"

// The trainer's options for a generator `arch` of `width` filters in a dtype. Pointers are lent.
struct config_trainer gpu_options(const struct gpu_check *g, const char *arch, int width,
                                  const char *dtype);

// Images of the host, n of each domain, that differ from step to step. The caller frees x.
struct gpu_pictures {
    int n, size;
    size_t bytes; // of those of a domain
    uint8_t *x;
};
struct gpu_pictures gpu_pictures_new(int n, int size);

// gpu_feed writes a step's images into the model. gpu_feed_ahead starts the transfer of those that
// the next gpu_feed writes. gpu_step only issues the step. All fail with ERR_DEVICE_LOST.
int gpu_feed(struct model *m, const struct gpu_pictures *p, int step);
int gpu_feed_ahead(struct model *m, const struct gpu_pictures *p, int step);
int gpu_step(struct model *m, const struct gpu_pictures *p, int step);

#endif
