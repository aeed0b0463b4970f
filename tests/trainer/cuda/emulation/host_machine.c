// The emulated machine: its driver and devices, and what is to go wrong on it.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "trainer/cuda/emulation/host_runtime.h"

#define GPUS_MAX 8
#define TEXT_MAX 4096
#define ANY "any"

struct gpu {
    int major, minor;
    size_t total, others; // bytes of memory; what others hold of it
    char name[128];
};

// The call that fails: number `at` of those of `function`.
struct fault {
    char function[64]; // "": none
    uint64_t at, seen;
    cudaError_t error;
    bool stays;
    char then[256]; // the description that other processes find from then on
};

static struct {
    bool known, idle;
    int driver, n_gpus, current;
    struct gpu gpus[GPUS_MAX];
    struct fault fault;
    uint64_t calls;
    char failed[64];
} machine;

static const struct gpu usual = {9, 0, (size_t)16 << 30, 0, "emulation on the host"};

// ---- the description ----

static struct gpu *last_gpu(const char *line) {
    if (!machine.n_gpus)
        cuda_host_die("machine: '%s' before a gpu", line);
    return &machine.gpus[machine.n_gpus - 1];
}

static void read_gpu(const char *line) {
    struct gpu *g = &machine.gpus[machine.n_gpus++];
    double mib;

    if (machine.n_gpus > GPUS_MAX ||
        sscanf(line, "gpu %d.%d %lf %127[^\n]", &g->major, &g->minor, &mib, g->name) != 4)
        cuda_host_die("machine: '%s'", line);
    g->total = (size_t)(mib * 1048576);
}

static void read_fault(const char *line) {
    struct fault *f = &machine.fault;
    unsigned long long at;
    char stays[8] = "";

    if (sscanf(line, "fail %63s %llu %d %7s", f->function, &at, &f->error, stays) < 3)
        cuda_host_die("machine: '%s'", line);
    f->at = at;
    f->stays = strcmp(stays, "stays") == 0;
}

static void read_line(const char *line) {
    double mib;

    if (strncmp(line, "gpu ", 4) == 0)
        read_gpu(line);
    else if (strncmp(line, "fail ", 5) == 0)
        read_fault(line);
    else if (strcmp(line, "idle") == 0)
        machine.idle = true;
    else if (sscanf(line, "others %lf", &mib) == 1)
        last_gpu(line)->others = (size_t)(mib * 1048576);
    else if (sscanf(line, "driver %d", &machine.driver) != 1 &&
             sscanf(line, "then %255s", machine.fault.then) != 1 && *line)
        cuda_host_die("machine: '%s'", line);
}

static void describe_usual(void) {
    memset(&machine, 0, sizeof machine);
    machine.known = true;
    machine.driver = CUDART_VERSION;
}

void cuda_host_machine(const char *text) {
    char copy[TEXT_MAX], *rest = NULL;

    describe_usual();
    cuda_host.broken = cuda_host.last = cudaSuccess;
    if (snprintf(copy, sizeof copy, "%s", text ? text : "") >= (int)sizeof copy)
        cuda_host_die("machine: more than %d bytes", TEXT_MAX);
    for (char *l = strtok_r(copy, "\n", &rest); l; l = strtok_r(NULL, "\n", &rest))
        read_line(l);
    if (!text || (!machine.n_gpus && !strstr(text, "driver ")))
        machine.gpus[machine.n_gpus++] = usual;
}

static const char *description_file(void) {
    return getenv("CUDA_HOST_MACHINE");
}

static void know(void) {
    char text[TEXT_MAX] = "";
    FILE *f;

    if (machine.known)
        return;
    if (!description_file()) {
        cuda_host_machine(NULL);
        return;
    }
    f = fopen(description_file(), "r");
    if (f) {
        text[fread(text, 1, sizeof text - 1, f)] = 0;
        (void)fclose(f); // only read
        cuda_host_machine(text);
    } else {
        cuda_host_die("machine: '%s' cannot be read", description_file());
    }
}

void cuda_host_device(int major, int minor) {
    cuda_host_machine(NULL);
    machine.gpus[0].major = major ? major : usual.major;
    machine.gpus[0].minor = minor;
}

// ---- faults ----

static void trigger(const char *function) {
    struct fault *f = &machine.fault;

    (void)snprintf(machine.failed, sizeof machine.failed, "%s", function); // may be cut
    f->function[0] = 0;
    if (f->then[0] && rename(f->then, description_file()) != 0)
        cuda_host_die("machine: '%s' cannot be renamed", f->then);
}

// "any" means calls: a kernel fails after its call.
bool cuda_host_is_due(const char *function, cudaError_t *ret_error, bool *ret_stays) {
    struct fault *f = &machine.fault;
    bool is_call = strncmp(function, "kernel", strlen("kernel")) != 0;

    know();
    machine.calls += is_call;
    if (!(is_call && strcmp(f->function, ANY) == 0) && strcmp(f->function, function) != 0)
        return false;
    if (++f->seen != f->at)
        return false;
    *ret_error = f->error;
    *ret_stays = f->stays;
    trigger(function);
    return true;
}

bool cuda_host_is_idle(void) {
    return machine.idle;
}

uint64_t cuda_host_calls(void) {
    return machine.calls;
}

const char *cuda_host_failed_call(void) {
    return machine.failed[0] ? machine.failed : NULL;
}

// ---- devices ----

// The device that an entry of CUDA_VISIBLE_DEVICES names, -1 if none.
static int named(const char *entry) {
    char *end;
    long i = strtol(entry, &end, 10);

    return end == entry || (*end && *end != ',') || i < 0 || i >= machine.n_gpus ? -1 : (int)i;
}

// The devices that the process sees: the list of the environment up to its first entry that names
// none. One named twice hides them all.
static int visible(int ret_gpus[GPUS_MAX]) {
    const char *at = getenv("CUDA_VISIBLE_DEVICES");
    int n = 0;

    know();
    if (!at) {
        for (n = 0; n < machine.n_gpus; n++)
            ret_gpus[n] = n;
        return n;
    }
    for (int i; (i = named(at)) >= 0; at++) {
        for (int k = 0; k < n; k++)
            if (ret_gpus[k] == i)
                return 0;
        ret_gpus[n++] = i;
        at += strcspn(at, ",");
        if (!*at)
            break;
    }
    return n;
}

static struct gpu *gpu(int device) {
    int gpus[GPUS_MAX];

    return device >= 0 && device < visible(gpus) ? &machine.gpus[gpus[device]] : NULL;
}

static const struct gpu *current(void) {
    const struct gpu *g = gpu(machine.current);

    return g ? g : &usual;
}

cudaError_t cudaDriverGetVersion(int *ret) {
    ENTER();
    know();
    *ret = machine.driver;
    return cudaSuccess;
}

cudaError_t cudaRuntimeGetVersion(int *ret) {
    ENTER();
    *ret = CUDART_VERSION;
    return cudaSuccess;
}

// A driver of the same major version will do.
cudaError_t cudaGetDeviceCount(int *ret_count) {
    int gpus[GPUS_MAX];

    ENTER();
    *ret_count = 0;
    if (machine.driver / 1000 < CUDART_VERSION / 1000)
        return cuda_host_failed(cudaErrorInsufficientDriver);
    *ret_count = visible(gpus);
    return *ret_count ? cudaSuccess : cuda_host_failed(cudaErrorNoDevice);
}

cudaError_t cudaSetDevice(int device) {
    ENTER();
    if (!gpu(device))
        return cuda_host_failed(cudaErrorInvalidDevice);
    machine.current = device;
    return cudaSuccess;
}

cudaError_t cudaGetDevice(int *ret_device) {
    ENTER();
    *ret_device = machine.current;
    return cudaSuccess;
}

cudaError_t cudaSetDeviceFlags(unsigned flags) {
    ENTER();
    return cudaSuccess;
}

static size_t shared_limit(const struct gpu *g) {
    if (g->major == 8)
        return g->minor == 0 ? 166912 : 101376;
    return 232448;
}

size_t cuda_host_shared_limit(void) {
    return shared_limit(current());
}

void cuda_host_budget(size_t *ret_total, size_t *ret_others) {
    know();
    *ret_total = current()->total;
    *ret_others = current()->others;
}

cudaError_t cudaGetDeviceProperties(struct cudaDeviceProp *ret, int device) {
    const struct gpu *g;

    ENTER();
    g = gpu(device);
    if (!g)
        return cuda_host_failed(cudaErrorInvalidDevice);
    *ret = (struct cudaDeviceProp){.totalGlobalMem = g->total,
                                   .sharedMemPerBlock = 49152,
                                   .sharedMemPerBlockOptin = shared_limit(g),
                                   .sharedMemPerMultiprocessor = shared_limit(g) + 1024,
                                   .regsPerBlock = 65536,
                                   .warpSize = 32,
                                   .maxThreadsPerBlock = 1024,
                                   .major = g->major,
                                   .minor = g->minor,
                                   .multiProcessorCount = 132,
                                   .l2CacheSize = 50 << 20,
                                   .maxThreadsPerMultiProcessor = 2048,
                                   .canMapHostMemory = 1,
                                   .memoryBusWidth = 5120};
    (void)snprintf(ret->name, sizeof ret->name, "%s", g->name); // fits
    return cudaSuccess;
}

cudaError_t cudaDeviceGetAttribute(int *ret, enum cudaDeviceAttr attribute, int device) {
    struct cudaDeviceProp p;
    cudaError_t error = cudaGetDeviceProperties(&p, device);

    if (error)
        return error;
    switch (attribute) {
    case cudaDevAttrMaxSharedMemoryPerBlockOptin:
        *ret = (int)p.sharedMemPerBlockOptin;
        return cudaSuccess;
    case cudaDevAttrMultiProcessorCount:
        *ret = p.multiProcessorCount;
        return cudaSuccess;
    case cudaDevAttrComputeCapabilityMajor:
        *ret = p.major;
        return cudaSuccess;
    case cudaDevAttrComputeCapabilityMinor:
        *ret = p.minor;
        return cudaSuccess;
    }
    return cuda_host_failed(cudaErrorInvalidValue);
}

// The host's compiler knows no registers; memory that kernels share is not told from kernel to
// kernel.
cudaError_t cudaFuncGetAttributes(struct cudaFuncAttributes *ret, const void *kernel) {
    ENTER();
    *ret = (struct cudaFuncAttributes){.maxThreadsPerBlock = 1024};
    return cudaSuccess;
}

cudaError_t cudaDeviceGetStreamPriorityRange(int *ret_least, int *ret_greatest) {
    ENTER();
    *ret_least = 0;
    *ret_greatest = -5;
    return cudaSuccess;
}
