// rig - small models on the emulated device, and what it can be told; for tests of the
// backend.
#ifndef CUDA_RIG_H
#define CUDA_RIG_H

#include <dlfcn.h>

#include "base/util.h"
#include "trainer/models/model_test.h"

// recipe_options on the emulated device; pix2pix with batch norm and dropout, CUT without blurs.
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

// Where plugins lie, as tests/run says.
static inline char *lib(const char *file) {
    return xasprintf("%s/lib/%s", getenv("BUILD") ? getenv("BUILD") : "build", file);
}

// A function of the emulation's own, see cuda_runtime_api.h there; the plugin stays loaded.
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

// The ways of taking turns.
static inline void take_turns(uint64_t seed) {
    void (*order)(uint64_t);

    *(void **)&order = emulation("cuda_host_order");
    order(seed);
}

// Which machine it is and what fails; NULL: the usual one.
static inline void machine(const char *text) {
    void (*describe)(const char *);

    *(void **)&describe = emulation("cuda_host_machine");
    describe(text);
}

// What was not given back.
static inline int objects_left(void) {
    int (*objects)(void);

    *(void **)&objects = emulation("cuda_host_objects");
    return objects();
}

#endif
