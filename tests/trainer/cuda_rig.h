// cuda_rig - small models on the emulated device, and what it can be told; for tests of the
// backend.
#ifndef CUDA_RIG_H
#define CUDA_RIG_H

#include <dlfcn.h>

#include "model_test.h"
#include "util.h"

static inline struct model_options options_of(const char *model) {
    return (struct model_options){
        .model = model,
        .device = "cuda-host",
        .netG = "resnet_6blocks",
        .netD = "n_layers",
        .norm = strcmp(model, "pix2pix") == 0 ? "batch" : "instance",
        .gan_mode = strcmp(model, "pix2pix") == 0 ? "vanilla" : "lsgan",
        .dropout = strcmp(model, "pix2pix") == 0,
        .seed = 5,
        .input_nc = 3,
        .output_nc = 3,
        .ngf = 4,
        .ndf = 4,
        .n_layers_D = 2,
        .beta1 = 0.5,
        .beta2 = 0.999,
        .lambda_A = 10,
        .lambda_B = 7,
        .lambda_identity = 0.5,
        .lambda_L1 = 100,
        .cut = {.lambda_GAN = 1,
                .lambda_NCE = 1,
                .nce_T = 0.07,
                .nce_layers = "0,4,8",
                .netF_nc = 8,
                .num_patches = 16,
                .nce_idt = true,
                .no_antialias = true,
                .no_antialias_up = true},
        .threads = 2,
        .shapes = 2,
    };
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
