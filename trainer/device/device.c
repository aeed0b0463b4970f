// Opens devices by name. The CPU is linked into the program, and all others are plugins.
#include "device/device.h"

#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/util.h"
#include "cpu/open.h"
#include "device/plugin.h"

int device_open(const struct device_options *options, struct device **ret_device) {
    if (strcmp(options->name, "cpu") == 0)
        return cpu_open(options, ret_device);
    return plugin_open(options, ret_device);
}

void device_close(struct device *d) {
    if (d)
        d->backend->close(d);
}

// Only opening shows that driver, libraries and precision are there. One thread is enough for it.
static int try_device(const char *name, const char *dtype, int gpu, struct device_choice *ret) {
    struct device_options options = {.name = name, .threads = 1, .dtype = dtype, .gpu = gpu};
    struct device *device;
    int err = device_open(&options, &device);
    if (err)
        return err;
    ret->name = name;
    // With "auto" the device chooses the precision. Its text is lent until the close only.
    (void)text_copy(ret->dtype, sizeof ret->dtype, device->dtype); // fits
    device_close(device);
    return ERR_OK;
}

int device_choose(const char *name, const char *dtype, int gpu, struct device_choice *ret_choice) {
    *ret_choice = (struct device_choice){0};
    if (strcmp(name, "auto") != 0)
        return try_device(name, dtype, gpu, ret_choice);
    int err = try_device("cuda", dtype, gpu, ret_choice);
    // Other errors mean that there is a GPU, and that the settings do not suit it.
    if (err != ERR_DEVICE)
        return err;
    // The text ends in advice to set another device. The user set "auto", so only the reason
    // counts.
    static const char prefix[] = "device = \"cuda\": ";
    const char *why = err_text();
    if (strncmp(why, prefix, strlen(prefix)) == 0)
        why += strlen(prefix);
    (void)snprintf(ret_choice->why, sizeof ret_choice->why, "%.*s", (int)strcspn(why, ";"), why);
    return try_device("cpu", dtype, gpu, ret_choice);
}
