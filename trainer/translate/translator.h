// translator - one trained generator: its weights, and inference on images.
//
// It holds what inference needs: no gradients, no moments, no other net. The result of an image
// depends on that image alone. Batch norm uses the statistics of each image, as the PyTorch
// repository's test script does, and there is no dropout.
//
//   translator_new; fill translator_params; translator_ready
//   translator_shape(t, n, h, w); write translator_input; translator_run; read translator_output
//
// The last few tapes are kept, one per shape. They share one arena of the largest size so far.
#ifndef TRANSLATOR_H
#define TRANSLATOR_H

#include <stddef.h>

#include "image/image.h"
#include "nets/nets.h"

struct translator;

struct translator_options {
    struct net_options net; // of a generator
    const char *device;     // "cpu" or "cuda"
    const char *winograd;   // see device_options, as the following
    const char *dtype;
    int gpu, threads;
};

// ERR_CONFIG (names the option), ERR_DEVICE.
int translator_new(const struct translator_options *options, struct translator **ret);
void translator_free(struct translator *t);

// The state dict, named "G", all zero. checkpoint_load_net or weights_load fill it by its name. It
// has no optimizer state.
struct model_net *translator_params(struct translator *t);
// To be called after filling.
int translator_ready(struct translator *t);

const struct net *translator_net(const struct translator *t);
struct device *translator_device(const struct translator *t);
// The CPU, which computes bands (bands.h). Lent. ERR_DEVICE.
int translator_host(struct translator *t, struct device **ret_device);
int translator_channels_in(const struct translator *t);
int translator_channels_out(const struct translator *t);

// The padded length of an image's side: the next that the net takes, at least 16.
int translator_padded(const struct translator *t, int side);

// Bytes of memory that n whole pictures of h x w (padded already) need besides the weights. Builds
// the tape if it is new, allocates no arena. ERR_SHAPE, ERR_DEVICE.
int translator_bytes(struct translator *t, int n, int h, int w, size_t *ret_bytes);

// A lower bound of translator_bytes, found without building a tape. Usually most of it.
size_t translator_least_bytes(const struct translator *t, int n, int h, int w);

// Bytes of the host's memory that the pictures travel in; 0 where the device is not asynchronous.
size_t translator_staging_bytes(const struct translator *t, int n, int h, int w);

// The most images that may be translated at a time, of `wanted`. 1 for a net with batch norm: its
// statistics would mix the images.
int translator_batch(const struct translator *t, int wanted);

// Selects the tape for n pictures of h x w; BUG if translator_batch forbids n. ERR_SHAPE,
// ERR_DEVICE, ERR_LIMIT (the device has not the memory; smaller shapes may be selected then).
int translator_shape(struct translator *t, int n, int h, int w);
// [n,h,w,c] of the selected shape; valid until the next translator_shape.
float *translator_input(struct translator *t);
const float *translator_output(const struct translator *t);
// ERR_DEVICE_LOST.
int translator_run(struct translator *t);

// Frees the arena.
void translator_trim(struct translator *t);

// The kernels that the tapes use, one line each. The caller frees it. NULL: no tape yet. For tests.
char *translator_kernels(const struct translator *t);

#endif
