#include "backend.h"

#include <string.h>

#include "err.h"

int device_open(const struct device_options *options, struct device **ret_device) {
    if (strcmp(options->name, "cpu") == 0)
        return backend_cpu_open(options, ret_device);
    if (strcmp(options->name, "cuda") == 0)
        return err_set(ERR_DEVICE, "device = \"cuda\": this build has no CUDA; set device = "
                                   "\"cpu\" or \"auto\"");
    return err_set(ERR_DEVICE, "device = \"%s\": no such device; set device = \"cpu\" or \"auto\"",
                   options->name);
}

void device_close(struct device *d) {
    if (d)
        d->backend->close(d);
}
