// The CUDA backend, a plugin: opens a GPU and fills in the table.
#include "cuda/cuda.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/util.h"
#include "device_interface.h"

// The oldest compute capability with bfloat16 and TF32.
#define OLDEST_MAJOR 8
#define OLDEST_TEXT "8.0 (RTX 30 series, A100)"
// Source: the table of driver versions in CUDA 13's release notes.
#define DRIVER_TEXT "CUDA 13 needs 580 or later; for a data-centre GPU cuda-compat-13-0 will do"
// Memory that the driver takes in the first steps: code of kernels, cuDNN's handles, graphs. An
// estimate.
#define RESERVE_BYTES ((size_t)256 << 20)
#define RESERVE_PART 32 // of a small GPU's memory

static void close_device(struct device *device) {
    struct cuda_device *d = cuda_of(device);

    if (!d)
        return;
    // cuDNN's handles refer to the streams, so they are closed first.
    cuda_convs_close(d->convs);
    cuda_ring_close(d);
    cuda_streams_close(d);
    free(d);
}

static void describe(struct device *device, char *ret_text, size_t size) {
    const struct cuda_device *d = cuda_of(device);
    char cudnn[80];

    cuda_convs_version(d->convs, cudnn, sizeof cudnn);
    (void)snprintf(ret_text, size, "%s, driver for CUDA %d.%d, %s", d->name, d->driver / 1000,
                   d->driver % 1000 / 10, cudnn);
}

static const char *visible(void) {
    const char *text = getenv("CUDA_VISIBLE_DEVICES");

    return !text ? "not set" : *text ? text : "empty";
}

// The number of GPUs, or an error that says why there are none and how to go on.
static int count_devices(int *ret_count, int *ret_driver) {
    int runtime = 0;
    cudaError_t code;

    *ret_driver = 0;
    (void)cudaDriverGetVersion(ret_driver); // 0: there is none
    (void)cudaRuntimeGetVersion(&runtime);  // only for the text
    if (!*ret_driver)
        return err_set(ERR_DEVICE, "device = \"cuda\": there is no NVIDIA driver on this machine; "
                                   "set device = \"cpu\" or \"auto\"");
    code = cudaGetDeviceCount(ret_count);
    if (code == cudaErrorInsufficientDriver)
        return err_set(ERR_DEVICE,
                       "device = \"cuda\": the NVIDIA driver is too old: it knows CUDA %d.%d, this "
                       "program needs CUDA %d.%d; install a newer driver (" DRIVER_TEXT
                       "), or set device = \"cpu\" or \"auto\"",
                       *ret_driver / 1000, *ret_driver % 1000 / 10, runtime / 1000,
                       runtime % 1000 / 10);
    if (code == cudaErrorNoDevice || (code == cudaSuccess && !*ret_count))
        return err_set(ERR_DEVICE,
                       "device = \"cuda\": the NVIDIA driver shows no GPU (CUDA_VISIBLE_DEVICES is "
                       "%s); set device = \"cpu\" or \"auto\"",
                       visible());
    CUDA(ERR_DEVICE, code);
    return ERR_OK;
}

// A plugin without code for this GPU is reported when it opens, before any step.
static int check_code(int gpu, const struct cudaDeviceProp *p) {
    cudaError_t code = cuda_kernels_check();

    if (!cuda_error_is_no_code(code)) {
        CUDA(ERR_DEVICE, code);
        return ERR_OK;
    }
    (void)cudaGetLastError(); // reported here
    return err_set(ERR_DEVICE,
                   "the CUDA plugin has no code for GPU %d, %s, compute capability %d.%d: %s (%s); "
                   "build it with make CUDA_ARCHS=%d%d, or set device = \"cpu\"",
                   gpu, p->name, p->major, p->minor, cudaGetErrorString(code),
                   cudaGetErrorName(code), p->major, p->minor);
}

static int choose_device(struct cuda_device *d, const struct device_options *o) {
    struct cudaDeviceProp p;
    int count = 0, err = count_devices(&count, &d->driver);

    if (err)
        return err;
    if (o->gpu < 0 || o->gpu >= count)
        return err_set(ERR_DEVICE,
                       "gpu = %d: there are %d GPUs, counted from 0 (CUDA_VISIBLE_DEVICES is %s)",
                       o->gpu, count, visible());
    CUDA(ERR_DEVICE, cudaGetDeviceProperties(&p, o->gpu));
    (void)text_copy(d->name, sizeof d->name, p.name); // a name that long is cut
    if (p.major < OLDEST_MAJOR)
        return err_set(
            ERR_DEVICE,
            "the GPU %d, %s, has compute capability %d.%d; needed is at least " OLDEST_TEXT
            "; set device = \"cpu\" or another gpu",
            o->gpu, p.name, p.major, p.minor);
    // Only now, because the call already takes memory of the GPU.
    CUDA(ERR_DEVICE, cudaSetDevice(o->gpu));
    d->limits = (struct cuda_limits){p.multiProcessorCount, p.sharedMemPerBlockOptin};
    // Without shared memory no picture fits, and every norm takes two passes.
    if (getenv("CUDA_TWO_PASSES")) // docs/cuda.md: for tests
        d->limits.shared_bytes = 0;
    d->total_bytes = p.totalGlobalMem;
    d->base.reserve_bytes = MIN(RESERVE_BYTES, p.totalGlobalMem / RESERVE_PART);
    return check_code(o->gpu, &p);
}

// After cuda_streams_open: each handle of cuDNN is bound to one of the streams.
static int open_convs(struct cuda_device *d, const struct device_options *o) {
    cudaStream_t streams[DEVICE_STREAMS];

    for (int i = 0; i < DEVICE_STREAMS; i++)
        streams[i] = d->launches[i].stream;
    struct cuda_convs_options options = {
        .math = d->math, .plans = o->plans, .stream_count = DEVICE_STREAMS, .streams = streams};
    return cuda_convs_open(&options, &d->convs);
}

// One table for all devices. Every call fills in the same values.
static const struct backend *table(void) {
    static struct backend backend = {
        .name = "cuda",
        .close = close_device,
        .describe = describe,
        .memory_new = cuda_entry_memory_new,
        .memory_free = cuda_entry_memory_free,
        .shared_new = cuda_entry_shared_new,
        .shared_free = cuda_entry_shared_free,
        .memory_peak = cuda_entry_memory_peak,
        .copy_in = cuda_entry_copy_in,
        .copy_out = cuda_entry_copy_out,
        .copy = cuda_entry_copy,
        .image_in = cuda_entry_image_in,
        .images_in = cuda_entry_images_in,
        .image_prefetch = cuda_entry_image_prefetch,
        .image_arrive = cuda_entry_image_arrive,
        .image_out = cuda_entry_image_out,
        .fence_set = cuda_entry_fence_set,
        .fence_wait = cuda_entry_fence_wait,
        .section_new = cuda_entry_section_new,
        .section_free = cuda_entry_section_free,
        .section_begin = cuda_entry_section_begin,
        .section_end = cuda_entry_section_end,
        .section_drop = cuda_entry_section_drop,
        .stream_choose = cuda_entry_stream_choose,
        .event_record = cuda_entry_event_record,
        .event_wait = cuda_entry_event_wait,
        .weights_new = cuda_entry_weights_new,
        .weights_free = cuda_entry_weights_free,
        .weights_refresh = cuda_entry_weights_refresh,
        .weights_bytes = cuda_entry_weights_bytes,
        .conv_new = cuda_entry_conv_new,
        .conv_free = cuda_entry_conv_free,
        .conv_workspace_bytes = cuda_entry_conv_workspace_bytes,
        .plans_save = cuda_entry_plans_save,
        .conv_describe = cuda_entry_conv_describe,
        .conv_forward = cuda_entry_conv_forward,
        .conv_backward = cuda_entry_conv_backward,
    };

    cuda_entries(&backend);
    return &backend;
}

// TF32 is the default: it keeps fp32's range and storage, and runs on tensor cores.
static int math_of(const struct device_options *o, enum cuda_math *ret_math) {
    if (!o->dtype || strcmp(o->dtype, "auto") == 0) {
        *ret_math = MATH_TF32;
        return ERR_OK;
    }
    if (cuda_math_parse(o->dtype, ret_math))
        return ERR_OK;
    return err_set(ERR_CONFIG, "dtype = \"%s\": a GPU computes with \"bf16\", \"tf32\" or \"fp32\"",
                   o->dtype);
}

// The order is that of dependence; close_device undoes it and accepts what is half made.
static int open_all(struct cuda_device *d, const struct device_options *o) {
    int err = cuda_streams_open(d);

    if (!err)
        err = cuda_ring_open(d);
    return err ? err : open_convs(d, o);
}

// A failure before the first step means that the GPU cannot be used. ERR_DEVICE_LOST would ask for
// a new start, which would fail again.
static int refused(const struct cuda_device *d, int err) {
    if (err != ERR_DEVICE_LOST)
        return err;
    return err_set(ERR_DEVICE,
                   "GPU %d (%s) cannot be used: %s; set device = \"cpu\" or another gpu", d->gpu,
                   d->name, err_text());
}

const char device_plugin_interface[] = DEVICE_INTERFACE;

int device_plugin_open(const struct device_options *o, struct device **ret_device) {
    struct cuda_device *d = xcalloc(1, sizeof *d);
    int err = math_of(o, &d->math);

    d->gpu = o->gpu;
    (void)text_copy(d->name, sizeof d->name, "its name is unknown"); // fits
    d->eager = getenv("CUDA_EAGER") != NULL; // docs/cuda.md: to look for faults
    d->base = (struct device){.backend = table(),
                              .dtype = cuda_math_name(d->math),
                              .element_bytes = cuda_math_bytes(d->math),
                              .channel_step = CUDA_CHANNELS,
                              .streams = DEVICE_STREAMS,
                              .asynchronous = true,
                              .has_plans = true};
    if (!err)
        err = choose_device(d, o);
    if (err) {
        err = refused(d, err);
        // Nothing else has been made so far.
        free(d);
        return err;
    }
    err = open_all(d, o);
    if (err) {
        err = refused(d, err);
        close_device(&d->base);
        return err;
    }
    *ret_device = &d->base;
    return ERR_OK;
}
