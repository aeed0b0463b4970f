// gpu_steps - CycleGAN steps as the checks run them.
#ifndef GPU_STEPS_H
#define GPU_STEPS_H

#include "config/config.h"
#include "gpu/gpu_check.h"
#include "models/model.h"

struct config_trainer gpu_options(const struct gpu_check *g, const char *arch, int width,
                                  const char *dtype);

// Pictures of the host, n of each domain, that differ from step to step. x is freed by the caller.
struct gpu_pictures {
    int n, size;
    size_t bytes; // of those of a domain
    uint8_t *x;
};
struct gpu_pictures gpu_pictures_new(int n, int size);

// ERR_DEVICE_LOST. gpu_step only issues the step. gpu_feed_ahead: what the next gpu_feed gives.
int gpu_feed(struct model *m, const struct gpu_pictures *p, int step);
int gpu_feed_ahead(struct model *m, const struct gpu_pictures *p, int step);
int gpu_step(struct model *m, const struct gpu_pictures *p, int step);

#endif
