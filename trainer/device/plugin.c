// Loads a device from a shared library. Each failure names what is missing and the way out.
#include "device/plugin.h"

#include <dlfcn.h>
#include <string.h>

#include "base/err.h"
#include "base/fs.h"
#include "base/program_path.h"
#include "device_interface.h"

// The advice at the end of a text. device_choose cuts texts at this semicolon.
#define INSTEAD "; or set device = \"cpu\" or \"auto\""

// Only "cuda" is a known plugin: any other name is most likely a typing error.
static int no_plugin(const char *name, const char *path) {
    if (strcmp(name, "cuda") != 0)
        return err_set(ERR_DEVICE,
                       "device = \"%s\": no such device; set device = \"cpu\", "
                       "\"cuda\" or \"auto\"",
                       name);
    return err_set(ERR_DEVICE,
                   "device = \"cuda\": this build has no CUDA ('%s' is missing): build where nvcc "
                   "and cuDNN are installed" INSTEAD,
                   path);
}

// The loader's reason names the libraries that are missing.
static int not_loaded(const char *name, const char *why) {
    return err_set(ERR_DEVICE,
                   "device = \"%s\" cannot be loaded: %s; it needs the libraries it was built with "
                   "(for cuda: CUDA's runtime and cuDNN 9, and NVIDIA's driver)" INSTEAD,
                   name, why);
}

// A plugin of a build with another backend.h has other structs: calling it would corrupt memory.
static int check_interface(void *library, const char *name, const char *path) {
    const char *interface = dlsym(library, "device_plugin_interface");

    if (interface && strcmp(interface, DEVICE_INTERFACE) == 0)
        return ERR_OK;
    return err_set(ERR_DEVICE,
                   "device = \"%s\": '%s' is of another build than this program: make builds it "
                   "anew" INSTEAD,
                   name, path);
}

int plugin_open(const struct device_options *options, struct device **ret_device) {
    int (*open)(const struct device_options *, struct device **);
    char path[PATH_MAX];
    int err;

    err = plugin_path(options->name, path);
    if (err)
        return err;
    if (!fs_exists(path))
        return no_plugin(options->name, path);
    // RTLD_NOW: a missing symbol is reported here and not in the first step. The handle is never
    // closed, since the open device runs the library's code.
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!library)
        return not_loaded(options->name, dlerror());
    err = check_interface(library, options->name, path);
    if (err)
        return err;
    *(void **)&open =
        dlsym(library, "device_plugin_open"); // POSIX: dlsym gives void *, not a function pointer
    if (!open)
        return not_loaded(options->name, dlerror());
    return open(options, ret_device);
}
