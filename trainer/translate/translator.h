// translator - one generator, for use alone: its weights, and pictures through it.
//
// Holds what using needs: no gradients, no moments, no other net. What a picture becomes depends on
// it alone: batch norm takes each picture's own statistics, as the reference does when it tests,
// and there is no dropout.
//
//   translator_new; fill translator_params; translator_ready
//   translator_shape(t, n, h, w); write translator_input; translator_run; read translator_output
//
// A shape's tape is kept until others need its place. The arena is one, for the largest so far.
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

// The state dict, named "G"; zeros at first. To be filled by checkpoint_load_net or weights_load,
// which go by its name. No optimizer state: adam_steps counts nothing.
struct model_net *translator_params(struct translator *t);
// After filling.
int translator_ready(struct translator *t);

const struct net *translator_net(const struct translator *t);
struct device *translator_device(const struct translator *t);
// The CPU, for work that the device cannot do: bands.h. Lent. ERR_DEVICE.
int translator_host(struct translator *t, struct device **ret_device);
int translator_channels_in(const struct translator *t);
int translator_channels_out(const struct translator *t);

// The side that a picture's side is padded to: the next that the net takes, at least 16.
int translator_padded(const struct translator *t, int side);

// Bytes of memory that n whole pictures of h x w (padded already) need besides the weights. Builds
// the tape if it is new, allocates no arena. ERR_SHAPE, ERR_DEVICE.
int translator_bytes(struct translator *t, int n, int h, int w, size_t *ret_bytes);

// The same without building anything: no more than translator_bytes would say, mostly most of it.
size_t translator_least_bytes(const struct translator *t, int n, int h, int w);

// Bytes of the host's memory that the pictures travel in; 0 where the device is not asynchronous.
size_t translator_staging_bytes(const struct translator *t, int n, int h, int w);

// Selects the tape for n pictures of h x w. ERR_SHAPE, ERR_DEVICE, ERR_LIMIT (the device has not
// the memory; smaller shapes may be selected then).
int translator_shape(struct translator *t, int n, int h, int w);
// [n,h,w,c] of the selected shape; valid until the next translator_shape.
float *translator_input(struct translator *t);
const float *translator_output(const struct translator *t);
// ERR_DEVICE_LOST.
int translator_run(struct translator *t);

// Gives the arena back.
void translator_trim(struct translator *t);

// Which kernels the tapes use, one line each. Caller frees; NULL: no tape yet.
char *translator_kernels(const struct translator *t);

#endif
