// rig - small models on the emulated device, and the controls of the emulation, for tests of the
// backend.
#ifndef CUDA_RIG_H
#define CUDA_RIG_H

#include <dlfcn.h>

#include "base/util.h"
#include "trainer/models/model_test.h"

// recipe_options on the emulated device: pix2pix with batch norm and dropout, CUT without blurs.
static inline struct config_trainer options_of(const char *model) {
    struct config_trainer o = recipe_options(model);

    o.device = "cuda-host";
    o.no_antialias = o.no_antialias_up = true;
    if (strcmp(model, "pix2pix") == 0) {
        o.norm = "batch";
        o.gan_mode = "vanilla";
        o.no_dropout = false;
    }
    return o;
}

static const char *const recipes[] = {"cycle_gan", "pix2pix", "cut"};

// The path of a plugin below $BUILD, which tests/run sets. The caller frees it.
static inline char *lib(const char *file) {
    return xasprintf("%s/lib/%s", getenv("BUILD") ? getenv("BUILD") : "build", file);
}

// A function of the emulation, which the plugin exports; see emulation/cuda_runtime_api.h. The
// plugin stays loaded, so the pointer remains valid.
static inline void *emulation(const char *name) {
    char *path = lib("device_cuda-host.so");
    void *plugin = dlopen(path, RTLD_NOW), *function;

    if (!plugin)
        fail_msg("%s", dlerror());
    function = dlsym(plugin, name);
    assert_non_null(function);
    free(path);
    return function;
}

// Sets the order of blocks, threads and streams; see cuda_host_order.
static inline void take_turns(uint64_t seed) {
    void (*order)(uint64_t);

    *(void **)&order = emulation("cuda_host_order");
    order(seed);
}

// Describes the machine and the call that fails; see cuda_host_machine. NULL: the usual machine.
static inline void machine(const char *text) {
    void (*describe)(const char *);

    *(void **)&describe = emulation("cuda_host_machine");
    describe(text);
}

// Allocations, streams, events and graphs that were not freed.
static inline int objects_left(void) {
    int (*objects)(void);

    *(void **)&objects = emulation("cuda_host_objects");
    return objects();
}

#endif
