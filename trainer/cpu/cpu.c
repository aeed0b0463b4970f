// The CPU backend: its table, its options, and memory and order as the host has them. Convolutions
// are in cpu/conv.c, the other ops in a file for each family.
#include "cpu/cpu.h"

#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "backend/memory.h"
#include "backend/pixels.h"
#include "base/err.h"
#include "base/util.h"
#include "cpu/concat.h"
#include "cpu/loss.h"
#include "cpu/nce.h"
#include "cpu/norm.h"
#include "cpu/open.h"
#include "cpu/parameters.h"
#include "cpu/resample.h"
#include "cpu/tangent.h"

// ---- memory, order, images ----
//
// All memory is the host's, and an op has ended when its call returns. So copies are memcpy, and
// fences, events and prefetches have nothing to do. A section only carries its values to the ops.

struct device_section {
    struct cpu_device *device;
};

static void describe_host(struct device *d, char *ret_text, size_t size) {
    (void)text_copy(ret_text, size, "the host's processor"); // may be cut
}

// Smaller requests are not checked. Linux overcommits: malloc succeeds, and the OOM killer strikes
// on first use.
#define CHECKED_FROM ((size_t)1 << 20)

static int memory_new(struct device *d, size_t bytes, void **ret_memory) {
    size_t available = bytes < CHECKED_FROM ? 0 : memory_available();
    char text[16];

    // 0: the kernel does not say how much there is.
    if (available && bytes > available)
        return err_set(ERR_LIMIT, "%s are free", memory_text(available, text));
    // xaligned's memory is zeroed, as the contract wants it.
    *ret_memory = xaligned(bytes);
    return ERR_OK;
}

static void memory_free(struct device *d, void *memory) {
    free(memory);
}

static size_t memory_peak_none(struct device *d) {
    return 0;
}

static int copy_bytes(struct device *d, void *to, const void *from, size_t bytes) {
    memcpy(to, from, bytes);
    return ERR_OK;
}

static int image_in(struct device *d, const struct tensor_shape *s, enum pixel_type type,
                    const void *images, void *ret_tensor) {
    // Floats and the tensor's own numbers are the same here.
    if (type == PIXELS_BYTE)
        pixels_to_floats(images, tensor_count(s), ret_tensor);
    else
        memcpy(ret_tensor, images, tensor_count(s) * sizeof(float));
    return ERR_OK;
}

static int images_in(struct device *d, const struct tensor_shape *s, enum pixel_type type,
                     const void *const *images, void *ret_tensor) {
    struct tensor_shape one = {1, s->h, s->w, s->c};
    for (int i = 0; i < s->n; i++)
        (void)image_in(d, &one, type, images[i], // cannot fail
                       (float *)ret_tensor + (size_t)i * tensor_count(&one));
    return ERR_OK;
}

static int image_prefetch(struct device *d, const struct tensor_shape *s, enum pixel_type type,
                          const void *images, int *ret_slot) {
    // A copy ahead of time would only compete with the ops for the cores.
    *ret_slot = -1;
    return ERR_OK;
}

static int image_arrive(struct device *d, const struct tensor_shape *s, enum pixel_type type,
                        int slot, void *ret_tensor) {
    BUG("no images are prefetched on the CPU");
}

static int image_out(struct device *d, const struct tensor_shape *s, enum pixel_type type,
                     const void *tensor, void *ret_shared) {
    memcpy(ret_shared, tensor, tensor_count(s) * sizeof(float));
    return ERR_OK;
}

static int pass_fence(struct device *d, enum device_fence fence) {
    return ERR_OK;
}

static int section_new(struct device *d, struct device_section **ret_section) {
    *ret_section = xcalloc(1, sizeof **ret_section);
    (*ret_section)->device = (struct cpu_device *)d;
    return ERR_OK;
}

static void section_free(struct device_section *section) {
    free(section);
}

static int section_begin(struct device_section *section, const struct device_values *values,
                         bool *ret_issue) {
    // Nothing is recorded: every run issues the ops, which read the values from the device.
    section->device->values = *values;
    *ret_issue = true;
    return ERR_OK;
}

static int section_end(struct device_section *section) {
    return ERR_OK;
}

static void section_drop(struct device_section *section) {
}

static void stream_choose(struct device *d, int stream) {
}

static int pass_event(struct device *d, int event) {
    return ERR_OK;
}

static int plans_save(struct device *d, const char *path) {
    BUG("the CPU has no plans");
}

static void cpu_close(struct device *d) {
    struct cpu_device *cpu = (struct cpu_device *)d;

    dnnl_stream_destroy(cpu->stream);
    dnnl_engine_destroy(cpu->engine);
    free(cpu);
}

static const struct backend backend = {
    .name = "cpu",
    .close = cpu_close,
    .describe = describe_host,
    .memory_new = memory_new,
    .memory_free = memory_free,
    .shared_new = memory_new,
    .shared_free = memory_free,
    .memory_peak = memory_peak_none,
    .copy_in = copy_bytes,
    .copy_out = copy_bytes,
    .copy = copy_bytes,
    .image_in = image_in,
    .images_in = images_in,
    .image_prefetch = image_prefetch,
    .image_arrive = image_arrive,
    .image_out = image_out,
    .fence_set = pass_fence,
    .fence_wait = pass_fence,
    .section_new = section_new,
    .section_free = section_free,
    .section_begin = section_begin,
    .section_end = section_end,
    .section_drop = section_drop,
    .stream_choose = stream_choose,
    .event_record = pass_event,
    .event_wait = pass_event,
    .weights_new = cpu_weights_new,
    .weights_free = cpu_weights_free,
    .weights_refresh = cpu_weights_refresh,
    .weights_bytes = cpu_weights_bytes,
    .conv_new = cpu_conv_new,
    .conv_free = cpu_conv_free,
    .conv_workspace_bytes = cpu_conv_workspace_bytes,
    .plans_save = plans_save,
    .conv_describe = cpu_conv_describe,
    .conv_forward = cpu_conv_forward,
    .conv_backward = cpu_conv_backward,
    .norm_workspace_bytes = cpu_norm_workspace_bytes,
    .norm_forward = cpu_norm_forward,
    .norm_backward = cpu_norm_backward,
    .tanh_forward = cpu_tanh_forward,
    .tanh_backward = cpu_tanh_backward,
    .concat_forward = cpu_concat_forward,
    .concat_backward = cpu_concat_backward,
    .l1 = cpu_l1,
    .gan = cpu_gan,
    .tangent_forward = cpu_tangent_forward,
    .tangent_backward = cpu_tangent_backward,
    .penalty = cpu_penalty,
    .mix = cpu_mix,
    .resample = cpu_resample,
    .flip = cpu_flip,
    .sample_forward = cpu_sample_forward,
    .sample_backward = cpu_sample_backward,
    .nce_workspace_bytes = cpu_nce_workspace_bytes,
    .nce = cpu_nce,
    .adam = cpu_adam,
    .blend = cpu_blend,
    .finite = cpu_finite,
};

// ---- options ----

static int parse_winograd(const char *text, struct cpu_device *cpu) {
    // tile 0 means "by shape" and is right for "auto" and "off" alone.
    text = text ? text : "auto";
    cpu->winograd = strcmp(text, "off") != 0;
    cpu->tile = strcmp(text, "f2") == 0 ? 2 : strcmp(text, "f4") == 0 ? 4 : 0;
    if (cpu->winograd && cpu->tile == 0 && strcmp(text, "auto") != 0)
        return err_set(ERR_CONFIG, "winograd \"%s\": auto, off, f2 or f4", text);
    return ERR_OK;
}

static int check_dtype(const char *text) {
    if (text && strcmp(text, "auto") != 0 && strcmp(text, "fp32") != 0)
        return err_set(ERR_CONFIG,
                       "dtype = \"%s\": the CPU computes in fp32 alone; set dtype = "
                       "\"auto\" or \"fp32\"",
                       text);
    return ERR_OK;
}

static int open_dnnl(struct cpu_device *cpu) {
    DNN(ERR_DEVICE, dnnl_engine_create(&cpu->engine, dnnl_cpu, 0));
    DNN(ERR_DEVICE, dnnl_stream_create(&cpu->stream, cpu->engine, dnnl_stream_default_flags));
    return ERR_OK;
}

int cpu_open(const struct device_options *options, struct device **ret_device) {
    struct cpu_device *cpu = xcalloc(1, sizeof *cpu);
    int err;

    cpu->base = (struct device){.backend = &backend,
                                .dtype = "fp32",
                                .element_bytes = sizeof(float),
                                // Kernels that want whole vectors pad their own copies.
                                .channel_step = 1,
                                .streams = 1};
    cpu->keeps_packed = !options->weights_change;
    err = parse_winograd(options->winograd, cpu);
    if (!err)
        err = check_dtype(options->dtype);
    if (err)
        goto fail;
    if (options->threads < 1) {
        err = err_set(ERR_CONFIG, "threads %d: 1 or more", options->threads);
        goto fail;
    }
    cpu->threads = options->threads;
    // The setting is that of the calling thread, which has to issue the ops.
    omp_set_num_threads(cpu->threads);
    err = open_dnnl(cpu);
    if (err)
        goto fail;
    *ret_device = &cpu->base;
    return ERR_OK;

fail:
    cpu_close(&cpu->base); // takes a half-made device
    return err;
}
