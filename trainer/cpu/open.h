// open - the CPU as a device, for the room that opens devices by name. Without oneDNN's headers, so
// that a program without the CPU's backend (the GPU's check) can bring a stand-in.
#ifndef CPU_OPEN_H
#define CPU_OPEN_H

#include "backend/backend.h"

// Opens the CPU: options->threads OpenMP threads, options->winograd. Fails with ERR_CONFIG (an
// option that the CPU does not have) and ERR_DEVICE (oneDNN). Close it with its `close`.
int cpu_open(const struct device_options *options, struct device **ret_device);

#endif
