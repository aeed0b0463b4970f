// device - opens a device by its name, and resolves "auto" on this machine.
#ifndef DEVICE_H
#define DEVICE_H

#include "backend/backend.h"

// Opens the device named by options->name: "cpu", or a plugin (device/plugin.h). Fails with
// ERR_DEVICE (the text says what is missing and what to set instead) and ERR_CONFIG. The caller
// closes *ret_device.
int device_open(const struct device_options *options, struct device **ret_device);
void device_close(struct device *d); // accepts NULL

// The result of device_choose.
struct device_choice {
    const char *name; // "cpu" or "cuda"; lent by the argument, or static
    char dtype[8];    // "fp32", "tf32", "bf16"
    char why[1024];   // the reason why "auto" is the CPU; "" otherwise
};

// Tries the device by opening and closing it. "auto" is "cuda" if that opens, else "cpu". Fails
// with ERR_DEVICE or ERR_CONFIG, as device_open does.
// gpu: as in device_options. A failed attempt leaves no device open.
int device_choose(const char *name, const char *dtype, int gpu, struct device_choice *ret_choice);

#endif
